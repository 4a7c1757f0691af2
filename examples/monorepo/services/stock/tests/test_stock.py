from stock.models import Article, SessionLocal


def test_one_is_written(db_session):
    with SessionLocal.begin() as session:
        session.add(Article(text="first"))

    assert db_session.query(Article).count() == 1
