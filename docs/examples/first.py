"""Attaches a portrait to a user, makes two thumbnails, and finds all three again."""

from __future__ import annotations

from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.stores.fs import FileSystemStore


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


def main() -> None:
    engine = create_engine("sqlite:///users.db")
    Base.metadata.create_all(engine)
    store = FileSystemStore("userimages", base_url="https://images.example.com/")

    with store_context(store), Session(engine) as session:
        user = User(name="Ada")
        session.add(user)
        with open("portrait.jpg", "rb") as file:
            user.picture.from_file(file)
        user.picture.generate_thumbnails(
            [
                {"width": 300},
                {"width": 96, "height": 96, "fit": "fill"},
            ]
        )
        session.commit()

    with store_context(store), Session(engine) as session:
        for user in session.scalars(select(User)):
            print(user.name, user.picture.size, user.picture.mimetype)
            for image in user.picture:
                print(image.locate())


if __name__ == "__main__":
    main()
