"""Thumbnails at the level of image sets; how they look is the business of the imaging tests."""

from __future__ import annotations

import importlib
import io
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import Engine, ForeignKey, String, create_engine, text
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import VECTOR_TYPES, Image, LegacyImage, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    NoOriginalError,
    PolicyViolationError,
    UnreadableImageError,
    VariantConflictError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, RenditionOptions
from sqlalchemy_imageattach.imaging.engines.pillow import PillowDecoder
from sqlalchemy_imageattach.imaging.filters import FILTERS
from sqlalchemy_imageattach.key import ImageKey
from tests.onex import FourMethodStore
from tests.statements import statements

from .models import Base as ModelBase
from .models import Post, User, UserPicture
from .support import (
    SVG,
    CountingStore,
    StreamingStore,
    animation,
    color_of,
    database,
    picture,
    size_of,
)


@pytest.fixture
def user(session: Session) -> User:
    """One with a picture of 60×40, stored."""
    user = User()
    session.add(user)
    user.picture.from_blob(picture(60, 40))
    session.commit()
    return user


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each time that a picture is decoded, how many are made from it."""
    made: list[int] = []
    frames = PillowDecoder.frames

    def counted(self: Any, source: Any, info: Any, orders: Any, policy: Any) -> Any:
        made.append(len(orders))
        return frames(self, source, info, orders, policy)

    monkeypatch.setattr(PillowDecoder, "frames", counted)
    return made


# --- making ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size", "mimetype"),
    [
        ({"ratio": 0.5}, (30, 20), "image/png"),
        ({"ratio": 2}, (120, 80), "image/png"),
        ({"width": 30}, (30, 20), "image/png"),
        ({"height": 10}, (15, 10), "image/png"),
        ({"width": 30, "height": 30}, (30, 20), "image/png"),
        ({"width": 30, "filter": "mitchell"}, (30, 20), "image/png"),
        ({"width": 30, "height": 30, "fit": "cover"}, (45, 30), "image/png"),
        ({"width": 30, "height": 30, "fit": "fill", "focal_point": (0.0, 1.0)}, (30, 30), "image/png"),
        ({"width": 600, "upscale": False, "format": "webp"}, (60, 40), "image/webp"),
        ({"width": 30, "format": "webp", "quality": 50}, (30, 20), "image/webp"),
        ({"width": 30, "format": "image/jpeg"}, (30, 20), "image/jpeg"),
        ({"width": 30, "format": "avif"}, (30, 20), "image/avif"),
    ],
)
def test_a_thumbnail_is_made_as_asked(
    session: Session, user: User, options: Any, size: tuple[int, int], mimetype: str
) -> None:
    small = user.picture.generate_thumbnail(**options)
    assert (small.size, small.mimetype, small.original) == (size, mimetype, False)
    session.commit()
    assert size_of(small.make_blob()) == size
    with Pillow.open(io.BytesIO(small.make_blob())) as opened:
        assert opened.get_format_mimetype() == mimetype
    assert small in user.picture
    assert user.picture.size == (60, 40)


@pytest.mark.parametrize("filter", sorted(FILTERS))
def test_every_filter_that_wand_knows_is_accepted(user: User, filter: str) -> None:
    assert user.picture.generate_thumbnail(width=30, filter=filter).size == (30, 20)


def test_a_thumbnail_is_made_before_the_first_flush(session: Session, store: CountingStore) -> None:
    user = User()
    user.picture.from_blob(picture())
    small = user.picture.generate_thumbnail(width=30)
    assert size_of(small.make_blob()) == (30, 20)
    assert not store.calls
    session.add(user)
    session.commit()
    assert len(user.picture) == len(store) == 2
    assert store.calls == {"put": 2}


def test_the_bytes_of_a_stored_original_are_fetched_once(session: Session, user: User, store: CountingStore) -> None:
    session.expunge_all()
    store.calls.clear()
    session.get_one(User, 1).picture.generate_thumbnails([{"width": 10}, {"width": 20}, {"width": 30}])
    session.commit()
    assert store.calls == {"get": 1, "put": 3}


def test_several_thumbnails_cost_one_decoding(user: User, decodings: list[int]) -> None:
    wide, narrow, again, webp = user.picture.generate_thumbnails(
        [{"width": 40}, Rendition(width=10), {"ratio": 1 / 6}, {"width": 40, "format": "webp"}]
    )
    assert [image.size for image in (wide, narrow, webp)] == [(40, 27), (10, 7), (40, 27)]
    assert again is narrow
    assert decodings == [3]


def test_no_thumbnail_costs_no_decoding(user: User, store: CountingStore, decodings: list[int]) -> None:
    store.calls.clear()
    assert user.picture.generate_thumbnails([]) == []
    assert not decodings
    assert not store.calls


def gps_photo(width: int = 60, height: int = 40) -> bytes:
    """A photograph that tells where it was taken."""
    exif = Pillow.Exif()
    exif.get_ifd(0x8825)[18] = "GPS-MARK"
    return picture(width, height, "red", "JPEG", exif=exif)


@pytest.mark.parametrize(
    "options",
    [{"width": 90, "upscale": False}, {"width": 60}, {"height": 40}, {"ratio": 1.0}, {"width": 60, "quality": 50}],
)
@pytest.mark.parametrize("method", ["thumbnail", "generate_thumbnail"])
def test_an_original_never_stands_in_for_what_is_made_of_it(
    session: Session, store: CountingStore, options: Any, method: str
) -> None:
    user = User()
    session.add(user)
    original = user.picture.from_blob(gps_photo())
    session.commit()
    made = getattr(user.picture, method)(**options)
    session.commit()
    assert (made.size, made.mimetype, made.original) == ((60, 40), "image/jpeg", False)
    assert b"GPS-MARK" in original.make_blob()
    assert b"GPS-MARK" not in made.make_blob()
    assert made.locate() != original.locate()
    assert user.picture.original is original
    assert len(user.picture) == len(store) == 2
    session.expire_all()
    assert getattr(user.picture, method)(**options) is made
    # what somebody attached, or unless it is asked for
    assert user.picture.find_thumbnail(width=60) is made
    expected = made if "quality" in options else original
    assert getattr(user.picture, method)(**options, reuse_original=True) is expected


def test_an_original_replaced_by_one_of_its_size_takes_what_was_made_of_it_along(
    session: Session, user: User, store: CountingStore
) -> None:
    user.picture.thumbnail(width=60)
    session.commit()
    user.picture.from_blob(picture(60, 40, "blue"))
    session.commit()
    assert len(user.picture) == len(store) == 1
    assert color_of(user.picture.thumbnail(width=60).make_blob()) == (0, 0, 255)


def test_one_with_the_size_of_the_original_but_another_type_stands_beside_it(
    session: Session, user: User, store: CountingStore
) -> None:
    assert user.picture.generate_thumbnail(width=60, format="webp") is not user.picture.original
    session.commit()
    assert sorted(image.mimetype for image in user.picture) == ["image/png", "image/webp"]
    assert user.picture.find_thumbnail(width=60).mimetype == "image/webp"
    assert user.picture.find_thumbnail(width=60, format="png").original
    assert len(store) == 2


def test_two_parts_of_one_size_stand_side_by_side(session: Session, store: CountingStore) -> None:
    halves = Pillow.new("RGB", (60, 40), "red")
    halves.paste("blue", (30, 0, 60, 40))
    file = io.BytesIO()
    halves.save(file, "PNG")
    user = User()
    session.add(user)
    user.picture.from_blob(file.getvalue())
    session.commit()
    square: Any = {"width": 10, "height": 10, "fit": "fill"}
    left = user.picture.thumbnail(**square, focal_point=(0, 0.5))
    right = user.picture.thumbnail(**square, focal_point=(1, 0.5))
    session.commit()
    assert (color_of(left.make_blob())[0] > 240, color_of(right.make_blob())[2] > 240) == (True, True)
    assert left.size == right.size
    assert left.locate() != right.locate()
    assert user.picture.thumbnail(**square, focal_point=(0.0, 1)) is left
    assert user.picture.thumbnail(**square, focal_point=(0.95, 0)) is right
    assert user.picture.find_thumbnail(width=10, variant=right.variant) is right
    whole = user.picture.generate_thumbnail(width=10)
    assert user.picture.find_thumbnail(width=10) is whole
    session.commit()
    assert len(user.picture) == len(store) == 4


def test_one_that_is_there_is_given_back_and_made_anew_only_if_asked_to(
    session: Session, user: User, store: CountingStore, decodings: list[int]
) -> None:
    first = user.picture.generate_thumbnail(width=30)
    session.commit()
    url = first.locate()
    assert user.picture.generate_thumbnail(width=30) is first
    assert user.picture.generate_thumbnails([{"width": 30}, {"height": 20}]) == [first, first]
    session.commit()
    assert (first.locate(), decodings) == (url, [1])
    second = user.picture.generate_thumbnail(width=30, regenerate=True)
    session.commit()
    assert second.locate() != url
    assert decodings == [1, 1]
    assert [image for image in user.picture if not image.original] == [second]
    assert len(store) == 2


def test_replacing_one_before_the_flush_stores_one(session: Session, user: User, store: CountingStore) -> None:
    store.calls.clear()
    for _ in range(3):
        user.picture.generate_thumbnail(width=30, regenerate=True)
    session.commit()
    assert len(user.picture) == len(store) == 2
    assert store.calls["put"] == 1


def test_several_are_found_or_made_from_one_decoding(session: Session, user: User, decodings: list[int]) -> None:
    wanted: list[RenditionOptions] = [{"width": 30}, {"width": 15}, {"width": 30, "format": "webp"}]
    first = user.picture.thumbnail(width=15)
    made = user.picture.thumbnails(wanted)
    assert (made[1] is first, decodings) == (True, [1, 2])
    session.commit()
    assert user.picture.thumbnails(wanted) == made
    assert decodings == [1, 2]


def test_a_still_picture_is_there_once_be_its_frames_asked_for_or_not(
    session: Session, engine: Engine, user: User, store: CountingStore
) -> None:
    still = user.picture.thumbnail(width=30)
    session.commit()
    store.calls.clear()
    with statements(engine) as sent:
        assert user.picture.width == 60
        sent.clear()
        assert user.picture.thumbnail(width=30, animated=True) is still
    assert (sent, store.calls) == ([], {})
    # where the row does not say how many frames there are, the file does
    assert user.picture.original is not None
    user.picture.original.frames = None
    session.commit()
    assert user.picture.thumbnail(width=30, animated=True) is still
    assert store.calls == {"get": 1}


@pytest.mark.parametrize("mixin", [Image, LegacyImage])
def test_what_1x_has_made_is_known_although_it_cut_the_other_side_off(context: CountingStore, mixin: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, mixin):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    with database(Base.metadata) as engine, Session(engine) as session:
        columns = "owner_id, width, height, mimetype, original, created_at"
        session.execute(text("INSERT INTO owner VALUES (1)"))
        for row in ((1, 640, 427, 1), (1, 150, 100, 0), (1, 179, 120, 0)):
            values = f"{row[0]}, {row[1]}, {row[2]}, 'image/png', {row[3]}, '2016-06-30'"
            session.execute(text(f"INSERT INTO portrait ({columns}) VALUES ({values})"))
            context.put(ImageKey("portrait", *row[:3], "image/png"), io.BytesIO(picture(*row[1:3])), reproducible=False)
        session.commit()
        image_set = session.get_one(Owner, 1).picture
        # we round the first one up to 150×100 as well, and the second one to 180×120
        assert image_set.thumbnail(width=150).size == (150, 100)
        assert image_set.thumbnail(height=120).size == (179, 120)
        assert image_set.thumbnail(width=180).size == (180, 120)
        assert image_set.thumbnail(height=120).size == (180, 120)
        assert image_set.count() == 4


class LegacyBase(DeclarativeBase):
    pass


class LegacyOwner(LegacyBase):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[LegacyPortrait]] = image_attachment()


class LegacyPortrait(LegacyBase, LegacyImage):
    __tablename__ = "portrait"
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)


@pytest.mark.parametrize(
    ("first", "second", "taken_by"),
    [
        ({"width": 30}, {"width": 30, "format": "webp"}, "another picture"),
        ({"width": 30}, {"width": 30, "format": "jpeg", "quality": 50}, "another picture"),
        (
            {"width": 20, "height": 20, "fit": "fill", "focal_point": (0, 0.5)},
            {"width": 20, "height": 20, "fit": "fill", "focal_point": (1, 0.5)},
            "another picture",
        ),
        ({"width": 10}, {"width": 60}, "the original"),
    ],
)
@pytest.mark.parametrize("method", ["thumbnail", "generate_thumbnail"])
def test_a_table_of_1x_refuses_a_second_picture_in_one_place(
    context: CountingStore, first: Any, second: Any, taken_by: str, method: str
) -> None:
    with database(LegacyBase.metadata) as engine, Session(engine) as session:
        owner = LegacyOwner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40))
        made = getattr(owner.picture, method)(**first)
        session.commit()
        blob = made.make_blob()
        assert getattr(owner.picture, method)(**first) is made
        with pytest.raises(VariantConflictError, match=f"expected a size that is free, but .* is taken by {taken_by}"):
            getattr(owner.picture, method)(**second)
        with pytest.raises(VariantConflictError, match="expected a size that is free"):
            owner.picture.generate_thumbnails([{"width": 17}, second])
        session.commit()
        assert len(owner.picture) == len(context) == 2
        assert made.make_blob() == blob
        if taken_by == "the original":
            assert getattr(owner.picture, method)(**second, reuse_original=True) is owner.picture.original
            with pytest.raises(VariantConflictError):
                owner.picture.generate_thumbnail(**second, regenerate=True)
        else:
            again = owner.picture.generate_thumbnail(**second, regenerate=True)
            session.commit()
            assert again in owner.picture
            assert len(owner.picture) == len(context) == 2


@pytest.mark.parametrize(("width", "height"), [(60, 40), (61, 60), (40, 60), (37, 60)])
def test_what_a_table_of_1x_has_is_taken_for_the_whole_picture_or_its_middle(
    context: CountingStore, width: int, height: int
) -> None:
    wanted: list[RenditionOptions] = [
        {"width": 30},
        {"height": 17},
        {"width": 20, "height": 20, "fit": "fill"},
        {"width": 25, "height": 16, "fit": "fill"},
        {"width": 24, "height": 24, "fit": "cover"},
    ]
    with database(LegacyBase.metadata) as engine:
        with Session(engine) as session:
            owner = LegacyOwner(id=1)
            session.add(owner)
            owner.picture.from_blob(picture(width, height))
            session.commit()
            for options in wanted:
                owner.picture.thumbnails([options])
            session.commit()
            count = len(owner.picture)
        with Session(engine) as session:
            image_set = session.get_one(LegacyOwner, 1).picture
            for options in wanted:
                assert image_set.thumbnails([options])[0] in image_set
            assert len(image_set) == count


def test_a_store_without_revisions_has_room_for_one_picture_of_a_size(session: Session) -> None:
    user = User()
    session.add(user)
    store = FourMethodStore()
    user.picture.from_blob(picture(60, 40), store)
    session.commit()
    with pytest.raises(VariantConflictError, match="has one blob for each size and type, .* taken by the original"):
        user.picture.thumbnail(width=60, store=store)
    user.picture.thumbnail(width=20, height=20, fit="fill", focal_point=(0, 0), store=store)
    with pytest.raises(VariantConflictError, match="taken by another picture"):
        user.picture.thumbnail(width=20, height=20, fit="fill", focal_point=(1, 1), store=store)
    session.commit()
    assert user.picture.make_blob(store) == picture(60, 40)
    assert len(user.picture) == len(store.blobs) == 2


@pytest.mark.parametrize("name", ["own_keys", "many_to_many"])
def test_pictures_with_keys_of_their_own_have_variants_too(context: CountingStore, name: str) -> None:
    mapping = importlib.import_module(f".mappings.{name}", __package__)
    assert [column.name for column in mapping.Picture.__table__.primary_key] == ["id"]
    with database(mapping.metadata) as engine, Session(engine) as session:
        owner = mapping.Owner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40))
        session.commit()
        square: Any = {"width": 10, "height": 10, "fit": "fill"}
        made = [owner.picture.thumbnail(**square, focal_point=(x, 0.5)) for x in (0.0, 0.5, 1.0, 0.0)]
        session.commit()
        assert (made[3] is made[0], len(owner.picture), len(context)) == (True, 4, 4)


def test_a_joined_table_without_the_column_has_room_for_one_picture_of_a_size(context: CountingStore) -> None:
    mapping = importlib.import_module(".mappings.joined_pictures", __package__)
    with database(mapping.metadata) as engine, Session(engine) as session:
        owner = mapping.Owner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40))
        owner.picture.thumbnail(width=10, height=10, fit="fill", focal_point=(0.0, 0.5))
        with pytest.raises(VariantConflictError):
            owner.picture.thumbnail(width=10, height=10, fit="fill", focal_point=(1.0, 0.5))
        session.commit()
        assert len(owner.picture) == len(context) == 2


def test_a_column_of_ones_own_called_variant_is_left_alone(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, LegacyImage):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        variant: Mapped[str | None]  # type: ignore[assignment]
        frames: Mapped[str | None]  # type: ignore[assignment]

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40), extra_kwargs={"variant": "large", "frames": "golden"})
        owner.picture.thumbnail(width=30)
        session.commit()
        rows = {(image.original, image.variant, image.frames) for image in owner.picture}
        assert rows == {(True, "large", "golden"), (False, None, None)}


def test_a_rolled_back_thumbnail_leaves_nothing(session: Session, user: User, store: CountingStore) -> None:
    user.picture.generate_thumbnail(width=30)
    session.flush()
    assert len(store) == 2
    session.rollback()
    assert len(user.picture) == len(store) == 1


def test_thumbnails_are_those_of_their_own_picture_of_several(session: Session) -> None:
    post = Post()
    for index, color in ((1, "red"), (2, "blue")):
        post.photos.get_image_set(order_index=index).from_blob(picture(60, 40, color))
    session.add(post)
    session.commit()
    for image_set, rgb in zip(post.photos.image_sets, [(255, 0, 0), (0, 0, 255)], strict=True):
        assert color_of(image_set.generate_thumbnail(width=30).make_blob()) == rgb
        assert color_of(image_set.thumbnail(width=15).make_blob()) == rgb
    session.commit()
    for image_set, rgb in zip(post.photos.image_sets, [(255, 0, 0), (0, 0, 255)], strict=True):
        assert color_of(image_set.find_thumbnail(width=30).make_blob()) == rgb
        assert color_of(image_set.thumbnail(width=15).make_blob()) == rgb
        assert len(image_set) == 3


@pytest.mark.parametrize("default", [None, "avatar"])
def test_a_thumbnail_has_all_that_tells_its_picture_apart(context: CountingStore, default: str | None) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        avatar = image_attachment("Portrait", primaryjoin="and_(Owner.id == Portrait.of, Portrait.kind == 'avatar')")
        banner = image_attachment("Portrait", primaryjoin="and_(Owner.id == Portrait.of, Portrait.kind == 'banner')")

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        of: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        kind: Mapped[str] = mapped_column(String(10), primary_key=True, default=default)

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        for name in ("avatar", "banner"):
            getattr(owner, name).from_blob(picture(60, 40), extra_kwargs={"kind": name})
            getattr(owner, name).generate_thumbnail(width=30)
        session.commit()
        for name in ("avatar", "banner"):
            getattr(owner, name).thumbnail(width=15)
        session.commit()
        for name in ("avatar", "banner"):
            assert {(image.kind, image.width) for image in getattr(owner, name)} == {(name, w) for w in (15, 30, 60)}


def test_a_set_without_an_original_has_no_thumbnails(session: Session) -> None:
    user = User()
    for make in (user.picture.generate_thumbnail, user.picture.thumbnail):
        with pytest.raises(NoOriginalError, match=r"User\.picture has no picture yet") as caught:
            make(width=10)
        assert isinstance(caught.value, OSError)


def test_an_original_that_is_gone_is_an_error_of_the_store_and_changes_nothing(
    session: Session, user: User, store: CountingStore
) -> None:
    for key in store.blobs:
        store.delete_key(key)
    with pytest.raises(OSError, match="no such blob"):
        user.picture.generate_thumbnails([{"width": 10}, {"width": 20}])
    assert len(user.picture) == 1


def test_if_one_of_several_cannot_be_made_none_is(session: Session, user: User) -> None:
    with pytest.raises((InvalidValueError, PolicyViolationError)):
        user.picture.generate_thumbnails([{"width": 10}, {"width": 200_000, "format": "webp"}])
    assert len(user.picture) == 1


def test_if_the_application_refuses_one_of_several_none_is_made(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

        @validates("picture")
        def refuse_the_unlucky(self, _: str, image: Portrait) -> Portrait:
            if image.width == 13:
                raise LookupError
            return image

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        owner.picture.from_blob(picture(60, 40))
        former = owner.picture.generate_thumbnail(width=12)
        session.commit()
        with pytest.raises(LookupError):
            owner.picture.generate_thumbnails([{"width": 11}, {"width": 12}, {"width": 13}])
        session.commit()
        assert owner.picture.find_thumbnail(width=12) is former
        assert len(owner.picture) == len(context) == 2


def test_a_damaged_original_says_so(session: Session) -> None:
    user = User()
    blob = bytearray(picture(300, 300, format="PNG"))
    middle = blob.index(b"IDAT") + 6
    blob[middle : middle + 20] = b"\xff" * 20
    user.picture.from_blob(bytes(blob))
    with pytest.raises(UnreadableImageError):
        user.picture.generate_thumbnail(width=10)
    assert len(user.picture) == 1


# --- finding ---------------------------------------------------------------------------------------------------------


def test_thumbnails_are_found_without_a_statement_or_a_look_into_the_store(
    session: Session, engine: Engine, user: User, store: CountingStore, decodings: list[int]
) -> None:
    made = user.picture.generate_thumbnails([{"width": 30}, {"width": 15}, {"width": 30, "format": "webp"}])
    session.commit()
    wide, narrow, webp = (user.picture.find_thumbnail(*i.size, format=i.mimetype) for i in made)
    store.calls.clear()
    decodings.clear()
    with statements(engine) as sent:
        assert user.picture.find_thumbnail(width=15) is narrow
        assert user.picture.find_thumbnail(15) is narrow
        assert user.picture.find_thumbnail(height=10) is narrow
        assert user.picture.find_thumbnail(width=15, height=10) is narrow
        assert user.picture.find_thumbnail(width=30, format="webp") is webp
        assert user.picture.find_thumbnail(width=30, format="image/webp") is webp
        assert user.picture.find_thumbnail(width=30, format="png") is wide
        assert user.picture.find_thumbnail(width=60) is user.picture.original
        assert user.picture.thumbnail(width=15) is narrow
        assert user.picture.thumbnail(ratio=0.25) is narrow
        assert user.picture.thumbnail(width=30, format="webp") is webp
    assert sent == []
    assert not store.calls
    assert not decodings


@pytest.mark.parametrize("size", [{"width": 31}, {"height": 21}, {"width": 30, "height": 21}])
def test_a_size_that_is_not_there_is_not_found(session: Session, user: User, size: Any) -> None:
    user.picture.generate_thumbnail(width=30)
    with pytest.raises(NoResultFound, match=r"no image with width=.*: generate_thumbnail\(\) makes one"):
        user.picture.find_thumbnail(**size)


def test_a_type_that_is_not_there_is_not_found(user: User) -> None:
    with pytest.raises(NoResultFound, match="format=webp"):
        user.picture.find_thumbnail(width=60, format="webp")


def test_the_manuals_pattern_of_finding_or_making(session: Session, user: User) -> None:
    def find_or_create(width: int) -> UserPicture:
        try:
            return user.picture.find_thumbnail(width=width)
        except NoResultFound:
            return user.picture.generate_thumbnail(width=width)

    made = find_or_create(30)
    assert find_or_create(30) is made


def test_thumbnail_makes_what_is_not_there_and_flushes_it(
    session: Session, user: User, store: CountingStore, decodings: list[int]
) -> None:
    small = user.picture.thumbnail(width=30)
    assert len(store) == 2
    assert user.picture.thumbnail(width=30) is small
    session.commit()
    assert user.picture.thumbnail(width=30).size == (30, 20)
    assert decodings == [1]


def test_thumbnail_finds_what_another_session_has_committed_meanwhile(
    context: CountingStore, decodings: list[int], tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'database'}")
    ModelBase.metadata.create_all(engine)
    with Session(engine) as session, Session(engine) as other:
        user = User(id=1)
        user.picture.from_blob(picture())
        session.add(user)
        session.commit()
        assert [image.width for image in user.picture] == [60]
        other.get_one(User, 1).picture.generate_thumbnail(width=30)
        other.commit()
        assert [image.width for image in user.picture] == [60]  # loaded before
        found = user.picture.thumbnail(width=30)
        assert found.size == (30, 20)
        assert any(found is image for image in user.picture)
        session.commit()
        assert len(user.picture) == len(context) == 2
    assert decodings == [1]
    engine.dispose()


def test_thumbnail_of_an_owner_in_no_session_is_made(context: CountingStore) -> None:
    user = User()
    user.picture.from_blob(picture())
    assert user.picture.thumbnail(width=30).size == (30, 20)
    assert len(user.picture) == 2


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blob", "mimetype"),
    [
        (picture(format="JPEG"), "image/jpeg"),
        (picture(format="WEBP"), "image/webp"),
        (picture(format="TIFF"), "image/png"),
        (picture(format="BMP"), "image/png"),
        (picture(mode="RGBA", color=(255, 0, 0, 128)), "image/png"),
        (animation(), "image/png"),
    ],
)
def test_the_default_type_suits_the_web(session: Session, blob: bytes, mimetype: str) -> None:
    user = User()
    user.picture.from_blob(blob)
    assert user.picture.generate_thumbnail(width=30).mimetype == mimetype


def test_a_moving_picture_gives_a_still_one_unless_asked(session: Session) -> None:
    user = User()
    user.picture.from_blob(animation(60, 40, ("red", "lime", "blue")))
    still = user.picture.generate_thumbnail(width=30)
    moving = user.picture.generate_thumbnail(width=30, animated=True)
    assert (still.mimetype, moving.mimetype) == ("image/png", "image/gif")
    assert color_of(still.make_blob()) == (255, 0, 0)
    with Pillow.open(io.BytesIO(moving.make_blob())) as opened:
        assert getattr(opened, "n_frames", 1) == 3


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    drawing = image_attachment("Drawing")


class Drawing(Base, Image):
    __tablename__ = "drawing"
    image_policy = ImagePolicy().allowing("image/svg+xml")
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)


def test_a_drawing_becomes_a_png_of_any_size(context: CountingStore) -> None:
    assert frozenset({"application/pdf", "image/svg+xml"}) == VECTOR_TYPES
    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        owner.drawing.from_blob(SVG)
        session.commit()
        small, large = owner.drawing.generate_thumbnails([{"width": 30}, {"width": 600}])
        assert (small.size, large.size) == ((30, 20), (600, 400))
        assert small.mimetype == large.mimetype == "image/png"
        assert color_of(large.make_blob()) == (255, 0, 0)
        # the size of the drawing itself gives a PNG of it
        png = owner.drawing.generate_thumbnail(ratio=1)
        assert (png.size, png.mimetype, png.original) == ((120, 80), "image/png", False)
        session.commit()
        assert owner.drawing.mimetype == "image/svg+xml"
        assert len(context) == 4


# --- policies --------------------------------------------------------------------------------------------------------


def test_an_original_older_than_its_policy_still_has_thumbnails_unless_it_is_too_large(
    session: Session, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserPicture, "image_policy", ImagePolicy(max_bytes=1, allowed_types={"image/webp"}))  # type: ignore[arg-type]
    assert user.picture.generate_thumbnail(width=30).size == (30, 20)
    monkeypatch.setattr(UserPicture, "image_policy", ImagePolicy(max_pixels=60 * 40 - 1))
    with pytest.raises(PolicyViolationError, match="at most 2,399 pixels, got 2,400"):
        user.picture.generate_thumbnail(width=20)


def test_a_thumbnail_cannot_be_larger_than_the_policy_allows(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserPicture, "image_policy", ImagePolicy(max_pixels=10_000))
    with pytest.raises(PolicyViolationError, match="at most 10,000 pixels"):
        user.picture.generate_thumbnail(width=600)
    assert len(user.picture) == 1


# --- stores ----------------------------------------------------------------------------------------------------------


def test_the_files_of_a_store_need_not_be_able_to_seek(engine: Engine) -> None:
    with store_context(StreamingStore()) as store, Session(engine) as session:
        user = User()
        session.add(user)
        user.picture.from_blob(picture())
        session.commit()
        assert user.picture.generate_thumbnail(width=30).size == (30, 20)
        session.commit()
        assert user.picture.make_blob() == picture()
        with user.picture.open_file(use_seek=True) as file:
            assert file.seek(0, io.SEEK_END) == len(picture())
        with user.picture.open_file() as file:
            assert b"".join(file) == picture()
        assert isinstance(store, StreamingStore)
        assert len(store) == 2


def test_the_original_is_read_from_the_store_that_is_known_to_have_it(session: Session, user: User) -> None:
    original = user.picture.from_blob(picture())
    session.commit()
    elsewhere = CountingStore()
    small = user.picture.generate_thumbnail(width=30, store=elsewhere)
    session.commit()
    assert len(elsewhere) == 1
    assert size_of(small.make_blob(elsewhere)) == (30, 20)
    assert original.make_blob() == picture()


# --- what cannot be asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InvalidValueError, "ratio, width or height"),
        ({"width": 0}, InvalidValueError, "width: expected pixels, 1 or more, .*got 0"),
        ({"height": -1}, InvalidValueError, "height: expected pixels, 1 or more, .*got -1"),
        ({"width": 30.5}, InvalidTypeError, r"width: expected an int \(pixels, 1 or more\), got float \(30\.5\)"),
        ({"width": "30"}, InvalidTypeError, r"width: expected an int .*got str \('30'\)"),
        ({"width": True}, InvalidTypeError, r"width: expected an int .*got bool"),
        ({"ratio": math.nan}, InvalidValueError, "ratio: expected a finite number above 0.*, such as 0.5, got nan"),
        ({"ratio": math.inf}, InvalidValueError, "ratio: .*got inf"),
        ({"ratio": 0}, InvalidValueError, "ratio: .*got 0"),
        ({"ratio": "1/2"}, InvalidTypeError, "ratio: expected a number"),
        ({"ratio": 0.5, "width": 30}, InvalidValueError, "either ratio or width and height, got both; leave one out"),
        ({"width": 30, "format": "doc"}, InvalidValueError, "format: expected one of .*got 'doc'"),
        ({"width": 30, "quality": 101}, InvalidValueError, "quality: expected 1 to 100, got 101"),
        ({"width": 30, "fit": "fill"}, InvalidValueError, "expected both width and height"),
        ({"width": 30, "height": 30, "fit": "stretch"}, InvalidValueError, "fit: expected one of"),
        ({"width": 30, "filter": "sharp"}, InvalidValueError, "filter: expected one of"),
        ({"width": 30, "focal_point": (2, 0)}, InvalidValueError, "focal_point: expected fractions"),
        ({"width": 30, "store": "s3"}, InvalidTypeError, r"expected a store .*, got str \('s3'\)"),
    ],
)
def test_what_makes_no_sense_is_refused(
    session: Session, user: User, store: CountingStore, options: Any, error: type[Exception], message: str
) -> None:
    store.calls.clear()
    with pytest.raises(error, match=message):
        user.picture.generate_thumbnail(**options)
    if "store" not in options:  # what is already there needs no store
        with pytest.raises(error, match=message):
            user.picture.thumbnail(**options)
        with pytest.raises(error, match=message):
            user.picture.generate_thumbnails([{"width": 10}, options])
    assert len(user.picture) == 1
    assert not store.calls


@pytest.mark.parametrize(
    ("renditions", "message"),
    [
        (5, r"expected several renditions, such as .*, got int \(5\)"),
        ({"width": 5}, "expected several renditions, such as"),
        ("abc", "expected several renditions, such as"),
        (Rendition(width=5), "expected several renditions, such as"),
        ([5], "expected a Rendition or a mapping of its parameters such as .*, got 5"),
        ([{"wdth": 5}], "expected some of the parameters ratio, width, .*, got 'wdth'"),
    ],
)
def test_what_is_no_list_of_renditions_is_refused(user: User, renditions: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        user.picture.generate_thumbnails(renditions)
    assert len(user.picture) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InvalidTypeError, r"find_thumbnail\(\) needs a width, a height, or both"),
        ({"width": "60"}, InvalidTypeError, r"width: expected an int .*got str \('60'\)"),
        ({"height": 0}, InvalidValueError, "height: expected pixels, 1 or more"),
        ({"width": 60, "format": "doc"}, InvalidValueError, "format: expected one of .*got 'doc'"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(user: User, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        user.picture.find_thumbnail(**options)
