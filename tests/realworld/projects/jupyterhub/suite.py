from jupyterhub import orm


def test_a_user_is_stored(db_clone):
    with orm.new_session_factory(db_clone.url)() as session:
        session.add(orm.User(name="ada"))
        session.commit()

    with orm.new_session_factory(db_clone.url)() as session:
        assert orm.User.find(session, "ada")


def test_nobody_is_there_in_another_test(db_clone):
    with orm.new_session_factory(db_clone.url)() as session:
        assert orm.User.find(session, "ada") is None
