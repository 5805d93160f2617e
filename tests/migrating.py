"""What the tests of migration, check and sweep share: models of all kinds, rows with blobs, and stores that watch."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any

from sqlalchemy import Engine, ForeignKey, String, create_engine, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import (
    Image,
    LegacyImage,
    MultipleImageSet,
    SingleImageSet,
    image_attachment,
)
from sqlalchemy_imageattach.errors import BlobNotFoundError
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.store import Store, StoredBlob
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests import pictures
from tests.onex import FourMethodStore


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), default="")
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    photos: Mapped[MultipleImageSet[PostPhoto]] = image_attachment()


class PostPhoto(Base, Image):
    __tablename__ = "post_photo"

    post_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("post.id"), primary_key=True)
    order_index: Mapped[int] = mapped_column(primary_key=True)


def database(url: Any = "sqlite://", base: type[DeclarativeBase] = Base) -> Engine:
    """An engine with the tables of ``base``."""
    engine = create_engine(url)
    base.metadata.create_all(engine)
    return engine


def picture(size: int = 40, color: Any = "red") -> bytes:
    """The bytes of a square PNG."""
    return pictures.picture(size, size, color)


def attach(session: Session, store: Store, blob: bytes, name: str = "") -> User:
    """A new user with a picture, not flushed yet."""
    user = User(name=name)
    user.picture.from_blob(blob, store)
    session.add(user)
    return user


def fill(engine: Engine, store: Store, count: int, first: int = 1, *, blob: bytes | None = None) -> list[ImageKey]:
    """Rows of users with pictures, and their blobs, without the detour of attaching them."""
    keys, users, rows = [], [], []
    for user_id in range(first, first + count):
        content = blob if blob is not None else f"picture {user_id}".encode()
        key = ImageKey("user-picture", user_id, 640, 480, "image/jpeg", new_revision())
        store.put(key, io.BytesIO(content), reproducible=False)
        keys.append(key)
        users.append({"id": user_id, "name": ""})
        rows.append(row_of(key, content, user_id=user_id))
    with engine.begin() as connection:
        connection.execute(insert(User), users)
        connection.execute(insert(UserPicture), rows)
    return keys


def row_of(key: ImageKey, content: bytes, **identity: Any) -> dict[str, Any]:
    """The columns of the row that has ``content`` as its blob."""
    return {
        **identity,
        "width": key.width,
        "height": key.height,
        "mimetype": key.mimetype,
        "original": True,
        "created_at": datetime.now(UTC),
        "revision": key.revision,
        "byte_size": len(content),
        "checksum": hashlib.sha256(content).hexdigest(),
    }


# --- 1.x -------------------------------------------------------------------------------------------------------------


class LegacyBase(DeclarativeBase):
    pass


class OldPicture(LegacyBase, LegacyImage):
    __tablename__ = "old_picture"

    owner_id: Mapped[int] = mapped_column(primary_key=True)


def fill_legacy(engine: Engine, store: Store, count: int) -> list[ImageKey]:
    """Rows and blobs as 1.x left them."""
    keys, rows = [], []
    for owner_id in range(1, count + 1):
        key = ImageKey("old-picture", owner_id, 30, 20, "image/png")
        store.put(key, io.BytesIO(f"old picture {owner_id}".encode()), reproducible=False)
        keys.append(key)
        columns = ("owner_id", "width", "height", "mimetype", "original", "created_at")
        row = row_of(key, b"", owner_id=owner_id)
        rows.append({name: row[name] for name in columns})
    with engine.begin() as connection:
        connection.execute(insert(OldPicture), rows)
    return keys


class ListingFourMethodStore(FourMethodStore):
    """One that can tell what it has, but takes no revisions; ``extra`` is what lies there besides."""

    extra: tuple[StoredBlob, ...] = ()

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        for key, blob in list(self.blobs.items()):
            yield StoredBlob(key.object_name(), len(blob), datetime(2020, 1, 1, tzinfo=UTC), key)
        yield from self.extra


# --- stores that watch -----------------------------------------------------------------------------------------------


class Hooked(MemoryStore):
    """A memory store that calls a function before each operation, with its name."""

    def __init__(self, hook: Callable[[str], object] = lambda operation: None) -> None:
        super().__init__()
        self.hook = hook
        self.operations: list[str] = []

    def _call(self, operation: str) -> None:
        self.operations.append(operation)
        self.hook(operation)

    def put_file(self, file, *args: Any, **kwargs: Any) -> None:
        self._call("put")
        super().put_file(file, *args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        self._call("get")
        return super().get_file(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        self._call("delete")
        return super().delete_file(*args, **kwargs)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        self._call("list")
        yield from super().list_blobs(prefix)
        self._call("listed")


class Mirror(Store):
    """A stand-in for a mirror: it writes to all, deletes from all, and reads from the first that has the blob."""

    def __init__(self, *stores: Store) -> None:
        self.stores = stores

    def put_file(self, file, *args: Any, revision: str | None = None) -> None:
        blob = file.read()
        for store in self.stores:
            store.put_file(io.BytesIO(blob), *args, revision=revision)  # type: ignore[call-arg]

    def get_file(self, *args: Any, revision: str | None = None) -> IO[bytes]:
        for store in self.stores:
            try:
                return store.get_file(*args, revision=revision)  # type: ignore[call-arg]
            except BlobNotFoundError:
                continue
        msg = "in none of them"
        raise BlobNotFoundError(msg)

    def get_url(self, *args: Any, revision: str | None = None) -> str:
        return self.stores[0].get_url(*args, revision=revision)  # type: ignore[call-arg]

    def delete_file(self, *args: Any, revision: str | None = None) -> None:
        for store in self.stores:
            store.delete_file(*args, revision=revision)  # type: ignore[call-arg]


def read(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


def content_of(store: Store) -> dict[str, bytes]:
    """All blobs of a store that can list them, by the object names of their keys."""
    return {blob.key.object_name(): read(store, blob.key) for blob in store.list_blobs() if blob.key is not None}
