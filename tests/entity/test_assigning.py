"""The attribute of an image set, as forms, factories and admin panels use it."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

import sqlalchemy_imageattach
from sqlalchemy_imageattach.entity import Image, image_attachment
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, RejectedImageError
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .models import Post, User
from .support import CountingStore, picture


def test_a_file_is_attached_and_none_clears(session: Session, store: CountingStore) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    session.add(user)
    session.commit()
    assert user.picture.make_blob() == picture()
    user.picture = FileStorage(io.BytesIO(picture(color="blue")), "blue.png")
    session.commit()
    assert user.picture.make_blob() == picture(color="blue")
    assert len(store) == 1
    setattr(user, "picture", None)  # noqa: B010 - as form libraries do
    session.commit()
    assert not user.picture
    assert not store.blobs


BLANK: dict[str, Any] = {
    "Werkzeug": lambda: FileStorage(io.BytesIO(), filename="", content_type="application/octet-stream"),
    "Werkzeug without a name": lambda: FileStorage(io.BytesIO()),
    "Starlette": lambda: UploadFile(io.BytesIO(), size=0, filename=""),
}


@pytest.mark.parametrize("framework", BLANK)
def test_a_field_in_which_no_file_was_chosen_changes_nothing(session: Session, framework: str) -> None:
    user: Any = User(picture=BLANK[framework]())
    session.add(user)
    session.commit()
    assert not user.picture
    user.picture = io.BytesIO(picture())
    session.commit()
    user.picture = BLANK[framework]()
    assert not session.is_modified(user)
    session.commit()
    assert user.picture.make_blob() == picture()
    with pytest.raises(RejectedImageError):  # of whoever asks for it by name
        user.picture.from_file(BLANK[framework]())


def test_a_file_that_has_a_name_is_not_passed_over_even_if_it_is_empty(session: Session) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    session.add(user)
    session.commit()
    for wrong in (FileStorage(io.BytesIO(), "photo.jpg"), FileStorage(io.BytesIO(b"x"), ""), io.BytesIO()):
        with pytest.raises(RejectedImageError):
            user.picture = wrong
    assert user.picture.make_blob() == picture()


def test_an_upload_without_a_name_that_was_read_already_is_attached_whole(session: Session) -> None:
    upload = FileStorage(io.BytesIO(picture()), filename="")
    upload.read()
    user: Any = User(picture=upload)
    session.add(user)
    session.commit()
    assert user.picture.make_blob() == picture()


def test_what_it_has_can_be_assigned_to_it(session: Session) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    session.add(user)
    session.commit()
    user.picture = user.picture
    session.commit()
    assert len(user.picture) == 1
    user.picture = []
    session.commit()
    assert not user.picture


@pytest.mark.parametrize("wrong", ["photo.jpg", b"bytes", 5, object(), [io.BytesIO()], {"file": 1}])
def test_anything_else_is_refused_and_the_set_is_as_it_was(session: Session, wrong: Any) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    session.add(user)
    session.commit()
    with pytest.raises(InvalidTypeError, match="expected"):
        user.picture = wrong
    with pytest.raises(RejectedImageError):
        user.picture = io.BytesIO(b"no picture")
    assert user.picture.make_blob() == picture()
    with pytest.raises(InvalidTypeError):
        User(picture=wrong)


def test_a_set_of_several_says_how_to_choose_one(session: Session) -> None:
    post: Any = Post()
    with pytest.raises(InvalidTypeError, match=r"get_image_set\(…\)\.from_file\(file\)"):
        post.photos = io.BytesIO(picture())
    for verb in ("from_file", "from_blob", "thumbnail", "locate"):
        with pytest.raises(InvalidTypeError, match=rf"get_image_set\(order_index=…\)\.{verb}"):
            getattr(post.photos, verb)
        assert not hasattr(post.photos, verb)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        post.photos.nonsense()
    post.photos.get_image_set(order_index=1).from_blob(picture())
    session.add(post)
    session.commit()
    post.photos = None
    session.commit()
    assert not post.photos


def test_a_picture_of_several_is_chosen_by_the_identity_of_an_image(session: Session) -> None:
    posts = [Post(), Post()]
    for post in posts:
        for index in (1, 2):
            post.photos.get_image_set(order_index=index).from_blob(picture())
    session.add_all(posts)
    session.commit()
    for image in posts[0].photos:
        assert list(posts[0].photos.get_image_set(**image.identity_map)) == [image]
    with pytest.raises(InvalidValueError, match="of another owner"):
        posts[0].photos.get_image_set(**posts[1].photos[0].identity_map)
    with pytest.raises(InvalidTypeError, match="expected values for order_index, got post_id"):
        posts[0].photos.get_image_set(post_id=posts[0].id)


def test_a_part_of_what_tells_pictures_apart_is_enough_for_one_that_is_there() -> None:
    class Own(DeclarativeBase):
        pass

    class House(Own):
        __tablename__ = "house"
        id: Mapped[int] = mapped_column(primary_key=True)
        views = image_attachment("View", uselist=True)

    class View(Own, Image):
        __tablename__ = "view"
        house_id: Mapped[int] = mapped_column(ForeignKey("house.id"), primary_key=True)
        side: Mapped[str] = mapped_column(String(9), primary_key=True)
        floor: Mapped[int] = mapped_column(primary_key=True)

    house = House()
    for side, floor in (("north", 1), ("south", 1), ("south", 2)):
        house.views.get_image_set(side=side, floor=floor).from_blob(picture(), MemoryStore())
    assert house.views.get_image_set(side="north") == house.views.get_image_set(side="north", floor=1)
    assert len(house.views.get_image_set(floor=2)) == 1
    for unclear in ({"side": "south"}, {"floor": 1}, {"side": "east"}, {}):
        with pytest.raises(InvalidTypeError, match="expected values for side, floor"):
            house.views.get_image_set(**unclear)


def test_pixels_are_not_taken_for_a_ratio(session: Session) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    for make in (user.picture.thumbnail, user.picture.generate_thumbnail):
        with pytest.raises(InvalidValueError, match="width=150"):
            make(150)


def test_a_format_is_spelt_in_any_case(session: Session) -> None:
    user: Any = User(picture=io.BytesIO(picture()))
    assert user.picture.generate_thumbnail(width=30, format="JPEG").mimetype == "image/jpeg"
    assert user.picture.find_thumbnail(width=30, format="Image/JPEG").mimetype == "image/jpeg"


def test_the_package_has_what_programs_need_most() -> None:
    assert sqlalchemy_imageattach.image_attachment is image_attachment
    for name in sqlalchemy_imageattach.__all__:
        assert getattr(sqlalchemy_imageattach, name)
    with pytest.raises(AttributeError, match="no attribute 'Picture'"):
        sqlalchemy_imageattach.Picture  # noqa: B018


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, sqlalchemy_imageattach as it; assert 'sqlalchemy' not in sys.modules; print(it.__version__)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    as_module = [sys.executable, "-m", "sqlalchemy_imageattach.version"]
    assert subprocess.run(as_module, check=True, capture_output=True, text=True).stdout == printed
