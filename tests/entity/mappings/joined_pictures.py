"""Pictures with joined-table inheritance."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class AnyPicture(Base, Image):
    __tablename__ = "picture"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "any"}

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))


class Picture(AnyPicture):
    __tablename__ = "portrait"
    __mapper_args__ = {"polymorphic_identity": "portrait"}
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "width", "height", "mimetype"],
            ["picture.user_id", "picture.width", "picture.height", "picture.mimetype"],
        ),
    )

    user_id: Mapped[int] = mapped_column(primary_key=True)
    width: Mapped[int] = mapped_column(primary_key=True)
    height: Mapped[int] = mapped_column(primary_key=True)
    mimetype: Mapped[str] = mapped_column(String(255), primary_key=True)
    pose: Mapped[str | None]
