"""What a blog is made of."""

from sqlalchemy.orm import Mapped, mapped_column

from blog import db


class Post(db.Model):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
