from billing.models import Invoice, SessionLocal


def test_one_is_written(db_session):
    with SessionLocal.begin() as session:
        session.add(Invoice(text="first"))

    assert db_session.query(Invoice).count() == 1
