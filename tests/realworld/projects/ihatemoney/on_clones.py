"""A pytest plugin: the package's own tests, unchanged, each on a clone."""

import pytest


@pytest.fixture(autouse=True)
def on_a_clone(request, db_clone):
    if request.cls:
        request.cls.SQLALCHEMY_DATABASE_URI = "sqlite:////nowhere/tests.db"
