"""A blog."""

import os

from flask import Flask, jsonify, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
migrate = Migrate()


def create_app() -> Flask:
    """Make the application."""
    app = Flask(__name__)
    # A relative file is in instance/.
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("BLOG_DATABASE", "sqlite:///blog.db")
    db.init_app(app)
    migrate.init_app(app, db)

    from blog.models import Post

    @app.get("/posts")
    def posts():
        return jsonify([post.title for post in db.session.scalars(db.select(Post))])

    @app.post("/posts")
    def write():
        db.session.add(Post(title=request.get_json()["title"]))
        db.session.commit()
        return "", 201

    return app
