"""The tables of these tests: one for each way in which a picture can belong to something."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image, LegacyImage, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.variants import Variant


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "tx_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment(back_populates="user")
    photos: Mapped[MultipleImageSet[UserPhoto]] = image_attachment()
    __table_args__ = (UniqueConstraint("name"),)


class UserPicture(Image, Base):
    __tablename__ = "tx_user_picture"
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    user: Mapped[User] = relationship(back_populates="picture")


class UserPhoto(Image, Base):
    __tablename__ = "tx_user_photo"
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Comment(Base):
    """Keeps its user from being deleted."""

    __tablename__ = "tx_comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))


class Vote(Base):
    """Its user may be missing until COMMIT, where the database has constraints that wait so long."""

    __tablename__ = "tx_vote"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], [User.id], deferrable=True, initially="DEFERRED").ddl_if(
            callable_=lambda *_, dialect, **__: dialect.name in {"sqlite", "postgresql"}
        ),
    )


class Country(Base):
    """Its primary key is given by people, who change their minds; the database takes its flag along."""

    __tablename__ = "tx_country"
    code: Mapped[str] = mapped_column(String(8), primary_key=True)
    flag: Mapped[SingleImageSet[CountryFlag]] = image_attachment()


class CountryFlag(Image, Base):
    __tablename__ = "tx_country_flag"
    code: Mapped[str] = mapped_column(ForeignKey(Country.code, onupdate="CASCADE"), primary_key=True)


class City(Base):
    """Its primary key is given by people too, and SQLAlchemy takes its crest along."""

    __tablename__ = "tx_city"
    code: Mapped[str] = mapped_column(String(8), primary_key=True)
    crest: Mapped[SingleImageSet[CityCrest]] = image_attachment(
        passive_updates=False, primaryjoin="City.code == foreign(CityCrest.code)"
    )


class CityCrest(Image, Base):
    """Without a foreign key in the database, as in databases that cannot cascade updates."""

    __tablename__ = "tx_city_crest"
    code: Mapped[str] = mapped_column(String(8), primary_key=True)


class Member(Base):
    """Of a database that SQLAlchemy-ImageAttach 1.x has made."""

    __tablename__ = "tx_member"
    id: Mapped[int] = mapped_column(primary_key=True)
    portrait: Mapped[SingleImageSet[MemberPortrait]] = image_attachment()


class MemberPortrait(LegacyImage, Base):
    __tablename__ = "tx_member_portrait"
    member_id: Mapped[int] = mapped_column(ForeignKey(Member.id), primary_key=True)


class Gallery(Base):
    """Its pictures are known to stores by a number of their own making."""

    __tablename__ = "tx_gallery"
    id: Mapped[int] = mapped_column(primary_key=True)
    poster: Mapped[SingleImageSet[GalleryPoster]] = image_attachment()


class GalleryPoster(Image, Base):
    __tablename__ = "tx_gallery_poster"
    gallery_id: Mapped[int] = mapped_column(ForeignKey(Gallery.id), primary_key=True)
    wall: Mapped[int] = mapped_column(default=0)
    was_changed: Mapped[bool] = mapped_column(default=False, onupdate=True)

    @property
    def object_id(self) -> int:
        return self.gallery_id * 1000 + self.wall


class Product(Base):
    """What is made of its photograph is declared."""

    __tablename__ = "tx_product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Image, Base):
    """Of the squares there are two of one size and type; where the picture's own one is cut the focal point says."""

    __tablename__ = "tx_product_photo"
    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id), primary_key=True)
    image_variants = {
        "card": Variant(width=20),
        "square": Variant(width=12, height=12, fit="fill"),
        "corner": Variant(width=12, height=12, fit="fill", focal_point=(0, 0)),
        "list": Variant(width=10, make="later"),
        "strip": Variant(widths=(9, 18), aspect=(3, 1), make="later"),
        "print": Variant(width=24, make="on demand"),
    }


IMAGE_CLASSES: tuple[type[Image], ...] = (
    UserPicture,
    UserPhoto,
    CountryFlag,
    CityCrest,
    MemberPortrait,
    GalleryPoster,
    ProductPhoto,
)
