"""What a class declares of its pictures, and what becomes of it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, LegacyImage
from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    UnknownVariantError,
    UnreadableImageError,
    VariantConflictError,
)
from sqlalchemy_imageattach.imaging.engines.pillow import PillowDecoder
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.store import key_of
from tests.statements import statements

from ..entity.support import CountingStore, color_of, database, picture
from .models import Product, ProductPhoto

# --- declarations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, InvalidValueError, "either widths=.*, or width, height or both, got no size"),
        ({"widths": (1,), "width": 2}, InvalidValueError, "got both"),
        ({"widths": 320}, InvalidTypeError, r"widths: expected a tuple, got int \(320\); write widths=\(…,\)"),
        ({"widths": (0,)}, InvalidValueError, "width: expected pixels, 1 or more"),
        ({"widths": ("320",)}, InvalidTypeError, "width: expected an int"),
        ({"width": 0, "densities": (1, 2)}, InvalidValueError, "width: expected pixels, 1 or more"),
        ({"width": 160, "height": 80, "aspect": (16, 9)}, InvalidValueError, "the shape of width=160 and height=80"),
        ({"width": 160, "aspect": (16, 0)}, InvalidValueError, "a pair of integers of 1 or more"),
        ({"width": 160, "aspect": 1.5}, InvalidTypeError, "aspect: expected a pair"),
        ({"width": 160, "aspect": (16, 9), "fit": "contain"}, InvalidValueError, "fit: expected 'fill' with an aspect"),
        ({"width": 160, "fit": "fill"}, InvalidValueError, "both width and height"),
        ({"width": 9, "focal_point": (2, 0)}, InvalidValueError, "focal_point: expected fractions"),
        ({"width": 9, "formats": ("tiff",)}, InvalidValueError, "format: expected one of"),
        ({"width": 9, "formats": ("jpeg", "jpeg")}, InvalidValueError, "each format once"),
        ({"width": 9, "formats": "webp"}, InvalidTypeError, "formats: expected a tuple"),
        ({"width": 9, "quality": 101}, InvalidValueError, "quality"),
        ({"width": 9, "densities": ()}, InvalidValueError, "one number or more"),
        ({"width": 9, "densities": (0,)}, InvalidValueError, "numbers above 0"),
        ({"widths": (9,), "densities": (1, 2)}, InvalidValueError, "leave densities out"),
        ({"width": 9, "make": "sometime"}, InvalidValueError, "make: expected one of 'now', 'later', 'on demand'"),
        ({"widht": 9}, TypeError, "widht"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_when_it_is_written(
    options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Variant(**options)


@pytest.mark.parametrize(
    ("variants", "error", "words"),
    [
        (["card"], InvalidTypeError, "Photo.image_variants: expected a mapping of names to Variant"),
        ({"card": {"width": 9}}, InvalidTypeError, r"Photo.image_variants\['card'\]: expected a Variant"),
        ({"": Variant(width=9)}, InvalidValueError, "names of 1 to 64 characters"),
    ],
)
def test_what_is_no_declaration_is_refused_when_the_class_is_made(
    variants: Any, error: type[Exception], words: str
) -> None:
    class Base(DeclarativeBase):
        pass

    with pytest.raises(error, match=words):

        class Photo(Base, Image):
            __tablename__ = "photo"
            id: Mapped[int] = mapped_column(primary_key=True)
            image_variants = variants


@pytest.mark.parametrize(
    ("variant", "sizes"),
    [
        (Variant(widths=(160, 320)), [(160, None), (320, None)]),
        (Variant(widths=(160, 320), aspect=(16, 9)), [(160, 90), (320, 180)]),
        (Variant(width=160, aspect=(16, 9)), [(160, 90)]),
        (Variant(height=90, aspect=(16, 9)), [(160, 90)]),
        (Variant(width=160, height=90, aspect=(16, 9)), [(160, 90)]),
        (Variant(height=20, densities=(1, 1.5, 2)), [(None, 20), (None, 30), (None, 40)]),
    ],
)
def test_a_declaration_stands_for_sizes(variant: Variant, sizes: Any) -> None:
    assert list(variant.sizes) == sizes


# --- made with the attaching -----------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each time that a picture is decoded, one entry."""
    made: list[int] = []
    frames = PillowDecoder.frames

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return frames(self, *args, **kwargs)

    monkeypatch.setattr(PillowDecoder, "frames", counted)
    return made


@pytest.fixture
def product(session: Session) -> Product:
    """One with a photograph of 200×100, red on its left and blue on its right."""
    product = Product()
    session.add(product)
    product.photo.from_blob(halves())
    session.commit()
    return product


def halves(width: int = 200, height: int = 100) -> bytes:
    image = Pillow.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def sizes(images: Any) -> list[tuple[int, int, str]]:
    return [(image.width, image.height, image.mimetype.removeprefix("image/")) for image in images]


def test_what_is_to_be_made_now_is_made_with_the_attaching_from_one_decoding(
    session: Session, store: CountingStore, decodings: list[int]
) -> None:
    product = Product()
    session.add(product)
    product.photo.from_blob(halves())
    assert decodings == [1]
    assert not store.calls
    session.commit()
    assert len(product.photo) == len(store) == 1 + 6 + 2
    assert sizes(product.photo.variant("card")) == [
        (32, 16, "webp"), (64, 32, "webp"), (96, 48, "webp"), (32, 16, "jpeg"), (64, 32, "jpeg"), (96, 48, "jpeg"),
    ]  # fmt: skip
    assert sizes(product.photo.variant("avatar")) == [(16, 16, "jpeg"), (32, 32, "jpeg")]
    assert {image.made_for for image in product.photo} == {None, "card", "avatar"}
    for name in ("hero", "print"):
        assert not product.photo.variant(name)
    assert [len(product.photo.variant(name).missing) for name in ("card", "hero", "print")] == [0, 2, 1]


def test_variants_are_found_without_a_statement_or_the_store(
    session: Session, engine: Engine, product: Product, store: CountingStore
) -> None:
    assert len(product.photo) == 9
    store.calls.clear()
    with statements(engine) as sent:
        assert product.photo.variant("card").is_complete
        assert [image.locate() for image in product.photo.variant("avatar")]
    assert (sent, store.calls) == ([], {})


def test_a_variant_is_never_larger_than_the_original_and_no_size_is_made_twice(session: Session) -> None:
    product = Product()
    session.add(product)
    product.photo.from_blob(halves(40, 20))
    session.commit()
    assert sizes(product.photo.variant("card")) == [
        (32, 16, "webp"), (40, 20, "webp"), (32, 16, "jpeg"), (40, 20, "jpeg"),
    ]  # fmt: skip
    assert product.photo.variant("card").is_complete
    assert product.photo.original not in list(product.photo.variant("card"))


def test_a_rollback_leaves_nothing_and_the_next_attempt_makes_all(session: Session, store: CountingStore) -> None:
    product = Product()
    session.add(product)
    product.photo.from_blob(halves())
    session.flush()
    assert len(store) == 9
    session.rollback()
    assert len(store) == 0
    session.add(product)
    session.commit()
    assert len(store) == len(product.photo) == 9


def test_a_savepoint_that_is_rolled_back_takes_its_variants_along(
    session: Session, product: Product, store: CountingStore
) -> None:
    before = {key_of(image) for image in product.photo}
    with session.begin_nested() as savepoint:
        product.photo.from_blob(picture(200, 100, "lime", "JPEG"))
        session.flush()
        assert len(store) == 18
        savepoint.rollback()
    session.commit()
    assert {key_of(image) for image in product.photo} == before == set(store.blobs)


def test_a_picture_that_cannot_be_decoded_is_refused_and_the_former_one_stays(
    session: Session, product: Product, store: CountingStore
) -> None:
    damaged = bytearray(picture(300, 300, format="PNG"))
    middle = damaged.index(b"IDAT") + 6
    damaged[middle : middle + 20] = b"\xff" * 20
    images = list(product.photo)
    with pytest.raises(UnreadableImageError):
        product.photo.from_blob(bytes(damaged))
    session.commit()
    assert list(product.photo) == images
    assert len(store) == 9


def test_replacing_a_picture_replaces_what_was_made_of_it(
    session: Session, product: Product, store: CountingStore
) -> None:
    product.photo.make_variants()
    session.commit()
    assert len(store) == 9 + 3
    product.photo.from_blob(picture(200, 100, "lime", "JPEG"))
    session.commit()
    assert len(store) == len(product.photo) == 9
    assert all(color_of(image.make_blob())[1] > 240 for image in product.photo)


def test_missing_variants_are_made_when_they_are_asked_for(
    session: Session, product: Product, decodings: list[int]
) -> None:
    made = product.photo.make_variants("hero", "print")
    assert sizes(made) == [(48, 27, "jpeg"), (80, 45, "jpeg"), (100, 50, "jpeg")]
    assert decodings == [1]
    assert {image.made_for for image in made} == {"hero", "print"}
    session.commit()
    assert product.photo.make_variants("hero", "print") == made
    assert decodings == [1]


def test_a_name_that_is_not_declared_is_said_to_be_none(product: Product) -> None:
    for use in (product.photo.variant, product.photo.make_variants):
        with pytest.raises(
            UnknownVariantError, match=r"ProductPhoto\.image_variants declares \('card', .*got 'poster'"
        ):
            use("poster")
    with pytest.raises(UnknownVariantError):
        product.photo.picture("poster", alt="")


def test_an_owner_without_a_picture_has_no_variants(session: Session) -> None:
    product = Product()
    session.add(product)
    assert not product.photo.variant("card")
    assert product.photo.picture("card", alt="") == ""
    assert product.photo.focal_point is None


def test_tables_of_1x_have_variants_too_where_there_is_room(store: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    from sqlalchemy_imageattach.entity import image_attachment

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, LegacyImage):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        image_variants = {"small": Variant(width=30), "square": Variant(width=20, height=20, fit="fill")}

    with database(Base.metadata) as engine, Session(engine, info={"image_store": store}) as session:
        owner = Owner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40))
        session.commit()
        session.expunge_all()
        image_set = session.get_one(Owner, 1).picture
        assert (sizes(image_set.variant("small")), sizes(image_set.variant("square"))) == (
            *([(30, 20, "png")], [(20, 20, "png")]),
        )
        with pytest.raises(VariantConflictError):  # 30×20 would be in its own size
            image_set.from_blob(picture(30, 20))
        assert image_set.original.size == (60, 40)
        assert image_set.focal_point is None
        with pytest.raises(
            InvalidTypeError, match="a class with the columns focal_x and focal_y, which Portrait has not"
        ):
            image_set.focal_point = (0, 0)


# --- the focal point -------------------------------------------------------------------------------------------------


def test_moving_the_focal_point_makes_anew_just_what_it_moves(
    session: Session, product: Product, store: CountingStore
) -> None:
    product.photo.make_variants("hero")
    session.commit()
    before = {key_of(image) for image in product.photo}
    urls = [image.locate() for image in product.photo.variant("avatar")]
    product.photo.focal_point = (0.0, 0.5)
    session.flush()
    assert before < set(store.blobs)
    session.commit()
    after = {key_of(image) for image in product.photo}
    assert after == set(store.blobs)
    assert product.photo.focal_point == (0.0, 0.5)
    assert {key.width for key in before - after} == {key.width for key in after - before} == {16, 32, 48, 80}
    assert {(key.width, key.height) for key in before & after} == {(200, 100), (32, 16), (64, 32), (96, 48)}
    assert all(color_of(image.make_blob())[0] > 200 for image in product.photo.variant("avatar"))
    assert not set(urls) & {image.locate() for image in product.photo.variant("avatar")}
    # another one that leads to the same cut
    product.photo.focal_point = (0.1, 0.9)
    session.commit()
    assert {key_of(image) for image in product.photo} == after
    product.photo.focal_point = None
    session.commit()
    assert product.photo.focal_point is None
    assert len(store) == len(product.photo) == 11


def test_a_focal_point_that_is_rolled_back_leaves_all_as_it_was(
    session: Session, product: Product, store: CountingStore
) -> None:
    before = {key_of(image) for image in product.photo}
    product.photo.focal_point = (1.0, 0.5)
    session.flush()
    session.rollback()
    assert product.photo.focal_point is None
    assert {key_of(image) for image in product.photo} == before == set(store.blobs)


@pytest.mark.parametrize(
    ("point", "error", "words"),
    [
        ((0.5, 1.5), InvalidValueError, "focal_point: expected fractions of the picture, 0 to 1, got 1.5"),
        ((-0.5, 0), InvalidValueError, "fractions"),
        ((float("nan"), 0), InvalidValueError, "nan"),
        ((0.5,), InvalidTypeError, "a pair of fractions"),
        ("middle", InvalidTypeError, "a pair of fractions"),
        ((True, 0.5), InvalidTypeError, "numbers"),
    ],
)
def test_a_focal_point_outside_is_refused(product: Product, point: Any, error: type[Exception], words: str) -> None:
    images = list(product.photo)
    with pytest.raises(error, match=words):
        product.photo.focal_point = point
    assert (list(product.photo), product.photo.focal_point) == (images, None)


def test_a_picture_without_an_original_has_no_focal_point_to_set(session: Session) -> None:
    product = Product()
    with pytest.raises(OSError, match="no picture yet"):
        product.photo.focal_point = (0, 0)


def test_it_is_declared_of_the_class_and_not_of_the_mixin() -> None:
    assert set(ProductPhoto.image_variants) == {"card", "avatar", "hero", "print"}
    assert dict(Image.image_variants) == {}
