"""How pictures get into image sets."""

from __future__ import annotations

import hashlib
import io
import tempfile
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import DateTime, Engine, ForeignKey, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates

from sqlalchemy_imageattach.entity import Image, image_attachment
from sqlalchemy_imageattach.errors import (
    ConcurrentReplacementError,
    InvalidTypeError,
    InvalidValueError,
    PolicyViolationError,
    RejectedImageError,
    UnreadableImageError,
    UnsavedImageError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy
from tests.statements import statements

from .models import Base, Post, User, UserPicture
from .support import SVG, CountingStore, animation, color_of, database, picture, size_of


@pytest.fixture
def user(session: Session) -> User:
    user = User()
    session.add(user)
    session.commit()
    return user


# --- what a picture is known by --------------------------------------------------------------------------------------


def test_the_columns_of_a_picture_tell_what_it_is(session: Session, user: User) -> None:
    blob = picture(60, 40)
    image = user.picture.from_blob(blob)
    assert (image.width, image.height, image.mimetype, image.original) == (60, 40, "image/png", True)
    session.commit()
    session.expunge_all()
    image = session.get_one(User, user_id := 1).picture.require_original()
    assert image.user_id == user_id
    assert (image.size, image.mimetype, image.original) == ((60, 40), "image/png", True)
    assert (image.byte_size, image.checksum) == (len(blob), hashlib.sha256(blob).hexdigest())
    assert image.revision
    assert abs(datetime.now(UTC) - image.created_at.replace(tzinfo=UTC)) < timedelta(minutes=10)


@pytest.mark.parametrize(
    "default",
    [
        {"default": lambda: datetime(2001, 2, 3)},
        {"default": datetime(2001, 2, 3)},
        {"default": text("'2001-02-03 00:00:00'")},
        {"server_default": text("'2001-02-03 00:00:00'")},
        {"server_default": "2001-02-03 00:00:00"},
    ],
    ids=["function", "value", "expression", "expression of the server", "value of the server"],
)
@pytest.mark.parametrize("way", [{}, {"created_at": datetime(2010, 1, 1)}], ids=["by default", "given"])
def test_a_picture_is_dated_by_the_default_of_its_column(context: CountingStore, default: Any, way: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        created_at = mapped_column(DateTime, nullable=False, **default)

    expected = way.get("created_at", datetime(2001, 2, 3))
    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        image = owner.picture.from_blob(picture(), extra_kwargs=way)
        session.commit()
        assert image.created_at == expected
        image.created_at = datetime(1999, 1, 1)
        session.commit()
        image = owner.picture.from_blob(picture(color="blue"), extra_kwargs=way)  # by an UPDATE of the same row
        session.commit()
        assert image.created_at == expected


@pytest.mark.parametrize("zone", [UTC, None])
def test_a_picture_is_dated_even_if_its_column_has_no_default(context: CountingStore, zone: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        created_at = mapped_column(DateTime(timezone=zone is not None), nullable=False)

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        image = owner.picture.from_blob(picture())
        session.flush()
        assert image.created_at.tzinfo is zone
        assert abs(datetime.now(UTC) - image.created_at.replace(tzinfo=UTC)) < timedelta(minutes=10)


def test_the_original_is_told_without_its_date(engine: Engine, session: Session, user: User) -> None:
    image = user.picture.from_blob(picture())
    session.flush()
    # as it is where the database sets it; below an AsyncSession it cannot be loaded
    session.expire(image, ["created_at"])
    with statements(engine) as sent:
        assert user.picture.original is image
    assert not sent


def test_attaching_costs_the_inserts_and_nothing_else(engine: Engine, session: Session) -> None:
    user = User(id=1)
    with statements(engine) as sent:
        user.picture.from_blob(picture())
        session.add(user)
        session.commit()
    assert [statement.split(" (")[0] for statement in sent] == ["INSERT INTO user", "INSERT INTO user_picture"]


def test_nothing_is_written_before_the_flush(session: Session, user: User, store: CountingStore) -> None:
    with session.no_autoflush:
        user.picture.from_blob(picture())
        assert not store.calls
    session.flush()
    assert store.calls == {"put": 1}
    session.commit()
    assert store.calls == {"put": 1}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_the_type_is_what_the_bytes_say(session: Session, user: User, format: str) -> None:
    assert user.picture.from_blob(picture(format=format)).mimetype == f"image/{format.lower()}"
    session.commit()
    assert user.picture.size == (60, 40)
    assert user.picture.make_blob() == picture(format=format)


def test_the_size_is_the_upright_one(session: Session, user: User) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turned by a quarter
    user.picture.from_blob(picture(60, 40, format="JPEG", exif=exif))
    session.commit()
    assert user.picture.size == (40, 60)
    assert user.picture.generate_thumbnail(width=20).size == (20, 30)


# --- where it comes from ---------------------------------------------------------------------------------------------


def test_a_file_is_read_from_where_it_stands_to_its_end(session: Session, user: User) -> None:
    file = io.BytesIO(b"a preamble" + picture())
    file.seek(10)
    user.picture.from_file(file)
    file.close()
    session.commit()
    assert user.picture.make_blob() == picture()


def test_a_file_is_left_where_it_was_and_stays_open(user: User) -> None:
    file = io.BytesIO(picture())
    user.picture.from_file(file)
    assert not file.closed
    assert file.tell() == 0
    user.picture.from_file(file)
    assert user.picture.size == (60, 40)


def test_a_file_may_be_closed_changed_or_deleted_before_the_flush(session: Session, user: User, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(picture())
    with path.open("rb") as file:
        user.picture.from_file(file)
    path.unlink()
    session.commit()
    assert user.picture.make_blob() == picture()


def test_a_source_that_can_only_read_is_enough(session: Session, user: User) -> None:
    class Response:
        """What ``urlopen()`` gives, at its least."""

        def __init__(self) -> None:
            self._file = io.BytesIO(picture())

        def read(self, size: int = -1) -> bytes:
            return self._file.read(min(size, 7) if size > 0 else size)

    user.picture.from_file(Response())
    session.commit()
    assert user.picture.make_blob() == picture()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_blob_may_be_any_kind_of_bytes_and_change_afterwards(session: Session, user: User, kind: Any) -> None:
    content = bytearray(picture())
    blob = kind(content) if kind is not bytearray else content
    user.picture.from_blob(blob)
    content[:] = bytes(len(content))
    session.commit()
    assert user.picture.make_blob() == picture()


def test_the_manuals_order_of_parameters_stands(user: User, store: CountingStore) -> None:
    other = CountingStore()
    kwargs = {"note": "mine"}
    assert user.picture.from_file(io.BytesIO(picture()), other, (), kwargs).note == "mine"
    assert user.picture.from_blob(picture(), other, (), kwargs).note == "mine"
    image = user.picture.from_raw_file(io.BytesIO(picture()), other, (60, 40), "image/png", True, (), kwargs)
    assert (image.note, image.original) == ("mine", True)
    small = user.picture.generate_thumbnail(0.5, None, None, "mitchell", other)
    assert small.size == (30, 20)
    assert user.picture.find_thumbnail(30) is small is user.picture.find_thumbnail(None, 20)
    assert user.picture.open_file(other, True).seekable()
    assert small.open_file(other, True).seekable()


# --- from_raw_file() -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"size": (40, 60)}, r"said to be of \(40, 60\) pixels, but it is of \(60, 40\)"),
        ({"mimetype": "image/jpeg"}, r"said to be image/jpeg, but its bytes are image/png"),
        ({"size": [60, 40], "mimetype": "image/gif"}, r"said to be image/gif"),
    ],
)
def test_a_file_that_is_not_as_it_was_said_to_be_is_rejected(user: User, expected: Any, message: str) -> None:
    user.picture.from_blob(before := picture(20, 20))
    with pytest.raises(RejectedImageError, match=message):
        user.picture.from_raw_file(io.BytesIO(picture()), **expected)
    assert user.picture.make_blob() == before


@pytest.mark.parametrize("expected", [{}, {"size": (60, 40)}, {"size": [60, 40], "mimetype": "image/png"}])
def test_a_file_that_is_as_it_was_said_to_be_is_attached(user: User, expected: Any) -> None:
    assert user.picture.from_raw_file(io.BytesIO(picture()), **expected) is user.picture.original


def test_a_thumbnail_made_elsewhere_can_be_added(session: Session, user: User, store: CountingStore) -> None:
    user.picture.from_blob(picture())
    small = user.picture.from_raw_file(io.BytesIO(picture(30, 20, "blue")), original=False)
    assert not small.original
    session.commit()
    assert user.picture.size == (60, 40)
    assert color_of(user.picture.find_thumbnail(width=30).make_blob()) == (0, 0, 255)
    # in place of one of the same size …
    user.picture.from_raw_file(io.BytesIO(picture(30, 20, "lime")), original=False)
    session.commit()
    assert color_of(user.picture.find_thumbnail(width=30).make_blob()) == (0, 255, 0)
    assert len(user.picture) == len(store) == 2
    # … but not in place of the original, which goes together with its thumbnails
    with pytest.raises(InvalidValueError, match=r"cannot have both the size and the type of its original"):
        user.picture.from_raw_file(io.BytesIO(picture(60, 40, "lime")), original=False)
    user.picture.from_blob(picture(10, 10))
    session.commit()
    assert len(user.picture) == len(store) == 1


def test_a_thumbnail_made_elsewhere_is_not_added_to_a_picture_that_was_replaced_meanwhile(
    context: CountingStore, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'database'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session, Session(engine) as other:
        session.add(user := User(id=1))
        user.picture.from_blob(picture(60, 40, "red"))
        session.commit()
        assert user.picture.original is not None
        other.get_one(User, 1).picture.from_blob(picture(60, 40, "blue"))
        other.commit()
        user.picture.from_raw_file(io.BytesIO(picture(30, 20, "red")), original=False)
        with pytest.raises(ConcurrentReplacementError, match="roll back, refresh the image set and try again"):
            session.commit()
        session.rollback()
        assert [color_of(image.make_blob()) for image in user.picture] == [(0, 0, 255)]
    assert len(context) == 1
    engine.dispose()


# --- extra_args and extra_kwargs -------------------------------------------------------------------------------------


def test_the_constructor_of_the_image_class_gets_what_is_said(session: Session, user: User) -> None:
    user.picture.from_file(io.BytesIO(picture()), extra_kwargs={"note": "from the archive"})
    session.commit()
    assert user.picture.require_original().note == "from the archive"


def test_positional_arguments_reach_a_constructor_of_ones_own(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture")

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        source: Mapped[str]

        def __init__(self, source: str = "made", *, prefix: str = "") -> None:
            self.source = prefix + source

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        owner.picture.from_blob(picture(), extra_args=["scan"], extra_kwargs={"prefix": "a "})
        owner.picture.generate_thumbnail(width=10)
        session.commit()
        assert sorted(image.source for image in owner.picture) == ["a scan", "made"]


def test_a_constructor_that_needs_more_says_what(user: User) -> None:
    with pytest.raises(InvalidTypeError, match=r"UserPicture could not be made: .*colour.* extra_args and"):
        user.picture.from_blob(picture(), extra_kwargs={"colour": "red"})
    assert not user.picture


# --- policies --------------------------------------------------------------------------------------------------------


class Strict(DeclarativeBase):
    pass


class Owner(Strict):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    drawing = image_attachment("Drawing")
    icon = image_attachment("Icon")


class Drawing(Strict, Image):
    __tablename__ = "drawing"
    image_policy = ImagePolicy().allowing("image/svg+xml")
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)


class Icon(Strict, Image):
    __tablename__ = "icon"
    image_policy = ImagePolicy(max_bytes=1000, max_pixels=2500, allowed_types=frozenset({"image/png"}))
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (picture(51, 50), r"at most 2,500 pixels, got 2,550"),
        (picture(20, 20, format="JPEG"), r"expected one of PNG, got image/jpeg"),
        (picture(40, 40) + bytes(2000), r"at most 1,?000 bytes"),
    ],
    ids=["pixels", "type", "bytes"],
)
def test_each_class_has_a_policy_of_its_own(context: CountingStore, blob: bytes, message: str) -> None:
    owner = Owner()
    for attach in (owner.icon.from_blob, lambda blob: owner.icon.from_file(io.BytesIO(blob))):
        with pytest.raises(PolicyViolationError, match=message):
            attach(blob)
    assert not owner.icon
    owner.icon.from_blob(picture(50, 50))
    assert owner.icon


def test_a_file_is_not_read_further_than_its_policy_allows(context: CountingStore) -> None:
    class Endless:
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            assert self.given < 2**24
            return bytes(size)

    endless = Endless()
    with pytest.raises(PolicyViolationError, match="at most 1,000 bytes"):
        Owner().icon.from_file(endless)
    assert endless.given <= 2**20


def test_drawings_are_refused_unless_the_class_allows_them(session: Session, user: User) -> None:
    with pytest.raises(PolicyViolationError, match=r"got image/svg\+xml"):
        user.picture.from_blob(SVG)
    owner = Owner()
    assert owner.drawing.from_blob(SVG).size == (120, 80)


@pytest.mark.parametrize(
    "blob",
    [b"", b"no picture at all", picture()[:60], picture(200, 200, format="JPEG")[:-300]],
    ids=["empty", "text", "cut in its header", "cut at its end"],
)
def test_what_is_no_whole_picture_is_rejected_and_nothing_is_lost(
    session: Session, user: User, store: CountingStore, blob: bytes
) -> None:
    user.picture.from_blob(before := picture(20, 20))
    session.commit()
    with pytest.raises(UnreadableImageError):
        user.picture.from_blob(blob)
    session.commit()
    assert user.picture.make_blob() == before
    assert len(store) == 1


def test_a_source_that_fails_is_an_error_of_its_own_and_changes_nothing(user: User) -> None:
    class Broken(io.BytesIO):
        def read(self, size: Any = -1) -> bytes:
            msg = "the line went dead"
            raise ConnectionResetError(msg)

    user.picture.from_blob(picture())
    with pytest.raises(ConnectionResetError, match="the line went dead"):
        user.picture.from_file(Broken(picture(20, 20)))
    assert user.picture.size == (60, 40)


# --- reading what was attached ---------------------------------------------------------------------------------------


def test_a_picture_can_be_read_before_it_is_stored(user: User, store: CountingStore, session: Session) -> None:
    with session.no_autoflush:
        image = user.picture.from_blob(picture())
        assert image.make_blob() == user.picture.make_blob() == picture()
        with user.picture.open_file(use_seek=True) as file:
            assert file.read(4) == b"\x89PNG"
            file.seek(0)
            assert file.read() == picture()
    assert not store.calls


def test_locating_a_picture_that_waits_flushes_it(user: User, store: CountingStore) -> None:
    user.picture.from_blob(picture())
    (url,) = {user.picture.locate(), user.picture[0].locate()}
    (key,) = store.blobs
    assert url == f"memory:///{key.file_path()}"


def test_a_picture_that_cannot_be_flushed_cannot_be_located(session: Session, store: CountingStore, user: User) -> None:
    transient = User()
    transient.picture.from_blob(picture())
    with pytest.raises(UnsavedImageError, match="has no blob yet: flush or commit its session first"):
        transient.picture.locate()
    with session.no_autoflush:
        user.picture.from_blob(picture())
        with pytest.raises(UnsavedImageError):
            user.picture.locate()
    assert not store.calls


def test_the_new_picture_takes_the_place_of_the_old_one_and_its_thumbnails(
    session: Session, user: User, store: CountingStore
) -> None:
    user.picture.from_blob(picture(60, 40, "red"))
    user.picture.generate_thumbnails([{"width": 30}, {"width": 10}])
    session.commit()
    url = user.picture.locate()
    user.picture.from_blob(picture(60, 40, "blue"))
    session.commit()
    assert [image.original for image in user.picture] == [True]
    assert color_of(user.picture.make_blob()) == (0, 0, 255)
    assert user.picture.locate() != url
    assert len(store) == 1


def test_a_picture_that_the_application_refuses_leaves_the_former_one(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment("Picture")

        @validates("picture")
        def require_landscape(self, _: str, image: Picture) -> Picture:
            if image.width < image.height:
                raise Upright
            return image

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    class Upright(Exception):
        pass

    with database(Base.metadata) as engine, Session(engine) as session:
        owner = Owner()
        session.add(owner)
        image = owner.picture.from_blob(picture(60, 40))
        owner.picture.generate_thumbnail(width=10)
        session.commit()
        with pytest.raises(Upright):
            owner.picture.from_blob(picture(40, 60))
        session.commit()
        assert sorted(one.width for one in owner.picture) == [10, 60]
        assert image.make_blob() == picture(60, 40)
        assert len(context) == 2


def test_attaching_twice_before_the_flush_stores_the_last_one_only(
    session: Session, user: User, store: CountingStore
) -> None:
    user.picture.from_blob(picture(60, 40, "red"))
    user.picture.generate_thumbnail(width=30)
    user.picture.from_blob(picture(60, 40, "blue"))
    session.commit()
    assert color_of(user.picture.make_blob()) == (0, 0, 255)
    assert len(user.picture) == len(store) == store.calls["put"] == 1


def test_large_pictures_wait_in_a_temporary_file_that_does_not_stay(
    session: Session, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    noise = bytes(range(256)) * (3 * 1900 * 1600 // 256)
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.frombytes("RGB", (1900, 1600), noise[: 1900 * 1600 * 3]).save(file, "BMP")
    file.seek(0)
    user.picture.from_file(file)
    assert len(list(tmp_path.iterdir())) == 1
    session.commit()
    assert list(tmp_path.iterdir()) == []
    assert user.picture.require_original().byte_size == len(file.getvalue())


# --- several pictures ------------------------------------------------------------------------------------------------


def test_pictures_of_one_owner_never_mix(session: Session, store: CountingStore) -> None:
    post = Post()
    for index, color in ((2, "blue"), (1, "red")):
        image_set = post.photos.get_image_set(order_index=index)
        image = image_set.from_blob(picture(60, 40, color))
        assert image.order_index == index
        image_set.generate_thumbnail(width=30)
    session.add(post)
    session.commit()
    one, two = post.photos.image_sets
    assert [one.require_original().order_index, two.require_original().order_index] == [1, 2]
    for image_set, rgb in ((one, (255, 0, 0)), (two, (0, 0, 255))):
        assert color_of(image_set.make_blob()) == rgb
        assert color_of(image_set.find_thumbnail(width=30).make_blob()) == rgb
    # thumbnails and replacements are those of their own picture
    two.from_blob(picture(60, 40, "lime"))
    one.generate_thumbnail(width=20)
    session.commit()
    assert [sorted(image.width for image in image_set) for image_set in post.photos.image_sets] == [[20, 30, 60], [60]]
    assert color_of(one.find_thumbnail(width=20).make_blob()) == (255, 0, 0)
    assert color_of(two.make_blob()) == (0, 255, 0)
    assert len(store) == 4


class Side(Enum):
    FRONT = "first"
    BACK = "and last"


def test_pictures_told_apart_by_an_enumeration_are_in_its_order(context: CountingStore) -> None:
    class Base(DeclarativeBase):
        pass

    class Sheet(Base):
        __tablename__ = "sheet"
        id: Mapped[int] = mapped_column(primary_key=True)
        scans = image_attachment("Scan", uselist=True)

    class Scan(Base, Image):
        __tablename__ = "scan"
        sheet_id: Mapped[int] = mapped_column(ForeignKey("sheet.id"), primary_key=True)
        side: Mapped[Side] = mapped_column(primary_key=True)

        @property
        def object_id(self) -> int:
            return 2 * self.sheet_id + (self.side is Side.BACK)

    with database(Base.metadata) as engine, Session(engine) as session:
        sheet = Sheet()
        session.add(sheet)
        for side in (Side.BACK, Side.FRONT):
            sheet.scans.get_image_set(side=side).from_blob(picture())
        session.commit()
        assert [scan.require_original().side for scan in sheet.scans.image_sets] == [Side.FRONT, Side.BACK]
        # the database takes the name, which then finds nothing, and would be stored as another picture
        with pytest.raises(InvalidTypeError, match=r"Scan\.side: expected Side, as its column has, got str"):
            sheet.scans.get_image_set(side="FRONT")


@pytest.mark.parametrize("choice", [{}, {"order": 1}, {"order_index": 1, "width_": 60}])
def test_a_picture_of_several_is_chosen_by_all_that_tells_them_apart_and_no_more(choice: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected values for order_index, got .*Post\.photos apart"):
        Post().photos.get_image_set(**choice)


def test_moving_pictures_are_attached_as_they_are(session: Session, user: User) -> None:
    user.picture.from_blob(animation())
    session.commit()
    assert user.picture.make_blob() == animation()
    assert user.picture.mimetype == "image/gif"
    assert size_of(user.picture.make_blob()) == user.picture.size


def test_identity_attributes_and_their_values(session: Session, user: User) -> None:
    assert list(UserPicture.identity_attributes()) == ["user_id", "width", "height", "mimetype", "variant"]
    user.picture.from_blob(picture())
    session.commit()
    assert dict(user.picture.require_original().identity_map) == {
        "user_id": user.id,
        "width": 60,
        "height": 40,
        "mimetype": "image/png",
        "variant": "",
    }
