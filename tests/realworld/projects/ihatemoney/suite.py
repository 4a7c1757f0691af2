import pytest
from ihatemoney import models
from setup_db import create_app


@pytest.fixture
def app(db_clone):
    app = create_app()
    with app.app_context():
        yield app
        models.db.session.remove()
        models.db.engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.usefixtures("app")
def test_a_project_of_the_same_name_is_new_in_every_test(turn):
    models.db.session.add(
        models.Project(
            id="trip", name="trip", password="", contact_email="a@b.c", default_currency="XXX"
        )
    )
    models.db.session.commit()

    assert models.Project.query.count() == 1
