from ihatemoney.run import create_app


class Settings:
    SECRET_KEY = "tests"


def create(url):
    Settings.SQLALCHEMY_DATABASE_URI = url
    create_app(Settings)
