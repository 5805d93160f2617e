"""Columns of the application that merely bear our names, and what a class says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, insert, select, text
from sqlalchemy.orm import Session, declarative_base, declared_attr

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image, LegacyImage, image_attachment
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .models import UserPicture
from .support import database, picture


def models(mixin: type[Image], **columns: Any) -> tuple[Any, Any, Any]:
    base: Any = declarative_base()
    owner = type("User", (base,), {
        "__tablename__": "user",
        "id": Column(Integer, primary_key=True),
        "picture": image_attachment("UserPicture"),
    })  # fmt: skip
    image = type("UserPicture", (base, mixin), {
        "__tablename__": "user_picture",
        "user_id": Column(Integer, ForeignKey("user.id"), primary_key=True),
        **columns,
    })  # fmt: skip
    return base, owner, image


OURS: dict[str, Any] = {"checksum": String(32), "revision": Integer, "byte_size": String(8)}


@pytest.mark.parametrize("name", OURS)
def test_a_column_of_the_application_stays_as_it_is(name: str) -> None:
    value = {"checksum": "5d41402abc4b2a76b9719d911017c592", "revision": 7, "byte_size": "2 KB"}[name]
    base, owner, image_class = models(LegacyImage, **{name: Column(OURS[name])})
    store = MemoryStore()
    with database(base.metadata) as engine, store_context(store), Session(engine) as session:
        user = owner(id=1)
        session.add(user)
        for _ in range(2):
            user.picture.from_blob(picture(), extra_kwargs={name: value})
            session.commit()
            assert session.execute(text(f"select {name} from user_picture")).scalar() == value
            image = user.picture.original
            assert key_of(image).revision is None
            assert image.make_blob() == picture()
            assert "_ts=" in image.locate()
        user.picture.generate_thumbnail(width=30)
        session.commit()
        user.id = 2
        session.delete(user)
        session.rollback()
        user.picture.clear()
        session.commit()
        assert not store.blobs
        assert not list(session.scalars(select(image_class)))


def test_rows_that_were_there_before_are_read(tmp_path: Any) -> None:
    base, owner, image_class = models(LegacyImage, revision=Column(Integer))
    store = MemoryStore()
    with database(base.metadata) as engine, Session(engine, info={"image_store": store}) as session:
        session.execute(insert(owner).values(id=1))
        session.execute(
            insert(image_class.__table__).values(
                **{"user_id": 1, "width": 60, "height": 40, "mimetype": "image/png", "original": True, "revision": 3},
            )
        )
        session.commit()
        [image] = session.scalars(select(image_class))
        with open(tmp_path / "it", "w+b") as file:
            file.write(picture())
            file.seek(0)
            store.put(key_of(image), file, reproducible=False)
        assert image.make_blob() == picture()
        assert image.revision == 3


def test_a_column_that_takes_the_place_of_ours_is_ours() -> None:
    base, owner, _ = models(Image, checksum=Column("sha256", String(64)))
    with database(base.metadata) as engine, Session(engine, info={"image_store": MemoryStore()}) as session:
        user = owner(id=1)
        session.add(user)
        user.picture.from_blob(picture())
        session.commit()
        assert len(session.execute(text("select sha256 from user_picture")).scalar_one()) == 64


def of_table(cls: Any) -> Any:
    return f"of-{cls.__tablename__}"


def test_the_type_of_a_class_is_the_string_that_its_objects_have() -> None:
    assert UserPicture.object_type == UserPicture().object_type == "user-picture"  # type: ignore[comparison-overlap]
    for overriding, expected in (
        ("portrait", "portrait"),
        (declared_attr(of_table), "of-user_picture"),
    ):
        _, _, image = models(Image, object_type=overriding)
        assert image.object_type == image().object_type == expected
    _, _, image = models(Image, object_type=property(lambda self: "instance-only"))
    assert image().object_type == "instance-only"
    assert hasattr(Image, "object_type")
