from shelf.books import Book, put


def test_a_book_is_put_once(db_session):
    put("1", "Emma")
    put("1", "Emma")

    assert db_session.query(Book).count() == 1
