"""A Flask application as its documentation teaches it; nothing in it is for tests."""

from flask import Flask, abort, jsonify, request
from sqlalchemy import String, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

Session = scoped_session(sessionmaker())


class Base(DeclarativeBase):
    pass


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200), unique=True)


def create_app(url="sqlite:///board.db"):
    app = Flask(__name__)
    Session.remove()
    Session.configure(bind=create_engine(url))

    @app.get("/posts")
    def index():
        return jsonify(list(Session.scalars(select(Post.title).order_by(Post.id))))

    @app.post("/posts")
    def create():
        Session.add(Post(title=request.get_json()["title"]))
        try:
            Session.commit()
        except IntegrityError:
            abort(409)
        return "", 201

    @app.teardown_appcontext
    def remove(error):
        Session.remove()

    return app
