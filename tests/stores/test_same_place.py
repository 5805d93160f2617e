"""A store that stands for others is known to be the same place, so that what was just written is never deleted."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import product

import PIL.Image
import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.context import LocalProxyStore, store_context
from sqlalchemy_imageattach.entity import LegacyImage, SingleImageSet, image_attachment
from sqlalchemy_imageattach.store import Store, are_same_place
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import FaultyStore


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, LegacyImage):
    __tablename__ = "user_picture"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


def _picture(colour: str) -> bytes:
    PIL.Image.new("RGB", (4, 4), colour).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


# each makes a new store over the same two, of which the first one is always written to
WAYS: dict[str, Callable[[MemoryStore, MemoryStore], Store]] = {
    "alone": lambda a, b: a,
    "mirror": MirrorStore,
    "mirror the other way round": lambda a, b: MirrorStore(b, a),
    "overlay": OverlayStore,
    "faulty": lambda a, b: FaultyStore(a),
    "faulty around a mirror": lambda a, b: FaultyStore(MirrorStore(a, b)),
    "mirror of faulty ones": lambda a, b: MirrorStore(FaultyStore(a), FaultyStore(b)),
    "overlay of a mirror": lambda a, b: OverlayStore(MirrorStore(a, MemoryStore()), b),
    "proxy of a mirror": lambda a, b: LocalProxyStore(lambda: MirrorStore(a, b)),
}


@pytest.mark.parametrize(("first", "second"), [*product(WAYS, WAYS)])
@pytest.mark.parametrize("expire", [False, True])
def test_a_picture_without_revision_survives_its_replacement_by_way_of_another_store(
    first: str, second: str, expire: bool
) -> None:
    a, b = MemoryStore(), MemoryStore()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=expire) as session:
        session.add(user := User(id=1))
        for way, colour in ((first, "red"), (second, "blue")):
            with store_context(store := WAYS[way](a, b)):
                user.picture.from_blob(_picture(colour))
                session.commit()
    assert _picture("blue") in a.blobs.values()
    assert len(a) == 1
    with Session(engine) as session:
        assert session.get_one(User, 1).picture.make_blob(store) == _picture("blue")
    engine.dispose()


def test_two_mirrors_are_one_place_and_stores_with_nothing_in_common_are_not() -> None:
    a, b, c, d = (MemoryStore() for _ in range(4))
    for make in (MirrorStore, OverlayStore):
        assert are_same_place(make(a, b), make(a, b))
        assert are_same_place(make(a, b), a)
        assert are_same_place(b, make(a, b))
        assert not are_same_place(make(a, b), make(c, d))
        assert not are_same_place(make(a, b), c)
        assert not are_same_place(FaultyStore(c), make(a, b))
