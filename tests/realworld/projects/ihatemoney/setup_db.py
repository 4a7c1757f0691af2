import os

from ihatemoney import run


class Settings:
    SECRET_KEY = "tests"
    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL", "sqlite:////nowhere/tests.db")


def create_app():
    return run.create_app(Settings)


def migrate(url):
    create_app()
