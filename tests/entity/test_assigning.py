"""The attribute of an image set, as forms, factories and admin panels use it."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

import sqlalchemy_imageattach
from sqlalchemy_imageattach.entity import image_attachment
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, RejectedImageError

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
