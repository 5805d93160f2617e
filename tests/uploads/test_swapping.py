"""Who has sent a picture sends another one in its place, at each moment: what was looked at is what is attached."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, selectinload

from sqlalchemy_imageattach.errors import RejectedImageError, StoreError
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.storewrapper import StoreWrapper
from sqlalchemy_imageattach.testing.sources import ONE_MD5, noise
from sqlalchemy_imageattach.uploads import Uploads
from sqlalchemy_imageattach.uploads.quarantine import QuarantinedFile, new_id
from tests.pictures import picture

from .conftest import SECRET, Site
from .models import Base, Photo, Picture, Post, User


def _padded(head: bytes) -> bytes:
    return head + noise(150_000 - len(head))


# of one length, which is more than what is read at a time
SEEN, OTHER = _padded(picture(60, 40, "red", "JPEG")), _padded(picture(50, 50, "blue", "JPEG"))

MOMENTS = ("open", "half read", "looked at", "copying", "copied", "marking", "marked")


class Watched(StoreWrapper):
    """The store of a site whose sender knows what is done with it, and sends something else at some moment."""

    def __init__(self, store: Store, moment: str, swap: Callable[[], object]) -> None:
        super().__init__(store)
        self._moment = moment
        self._swap = swap

    def at(self, moment: str) -> None:
        if moment == self._moment:
            self._swap()

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        file = super().get(key, use_seek=use_seek)
        self.at("open")
        return io.BufferedReader(_Watched(file, self), 1000)

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        self.at("copying")
        done = super().copy_from(other, source, target, checksum=checksum, reproducible=reproducible)
        self.at("copied")
        return done

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        self.at("marking")
        super().put_once(key, file)
        self.at("marked")


class _Watched(io.RawIOBase):
    def __init__(self, file: IO[bytes], store: Watched) -> None:
        self._file = file
        self._store = store
        self._reads = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._reads += 1
        if self._reads == 2:
            self._store.at("half read")
        part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


def watched(site: Site, moment: str, number: int = 1, of: type = Picture) -> tuple[Watched, Uploads, list[str]]:
    """A store, uploads to it, and the tokens of so many that have arrived and are sent again at that moment."""
    permits = [site.uploads.direct_upload(of, user=1) for _ in range(number)]

    def send(content: bytes) -> None:
        for permit in permits:
            assert site.send(permit, content) < 300

    send(SEEN)
    store = Watched(site.store, moment, lambda: send(OTHER))
    return store, Uploads(SECRET, store, endpoint="/uploads"), [permit.token for permit in permits]


def require_what_was_looked_at(image: Any, moment: str) -> None:
    blob = image.make_blob()
    assert (image.byte_size, image.checksum) == (len(blob), hashlib.sha256(blob).hexdigest())
    assert (image.size, blob) in [((60, 40), SEEN), ((50, 50), OTHER)]
    if moment not in {"open", "half read"}:
        assert blob == SEEN


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_was_looked_at_is_what_is_attached(site: Site, engine: Engine, moment: str) -> None:
    store, uploads, [token] = watched(site, moment)
    with Session(engine, info={"image_store": store, "image_uploads": uploads}) as session:
        session.add(owner := User(id=1))
        try:
            image = owner.picture.from_upload(token, user=1)
        except (RejectedImageError, StoreError):  # a service may break off what it is just sending
            assert moment in {"open", "half read"}
            assert site.pictures() == 0
            return
        store.at("looked at")
        session.commit()
        require_what_was_looked_at(image, moment)
        with check(session, Base, site.store, checksum=True) as report:
            assert report.ok
            assert not list(report)
        assert site.pictures() == 1


@pytest.mark.parametrize("moment", ["looked at", "copying"])
def test_a_rolled_back_transaction_is_tried_again_with_what_is_there_then(
    site: Site, engine: Engine, moment: str
) -> None:
    store, uploads, [token] = watched(site, moment)
    with Session(engine, info={"image_store": store, "image_uploads": uploads}) as session:
        session.add(User(id=1))
        session.commit()
        image = session.get_one(User, 1).picture.from_upload(token, user=1)
        store.at("looked at")
        session.flush()
        assert (image.size, image.make_blob()) == ((60, 40), SEEN)
        session.rollback()
        assert (site.quarantined(), site.pictures()) == (1, 0)
        again = session.get_one(User, 1).picture.from_upload(token, user=1)
        session.commit()
        assert (again.size, again.make_blob()) == ((50, 50), OTHER)
        assert site.pictures() == 1


def test_several_pictures_of_one_flush(site: Site, engine: Engine) -> None:
    store, uploads, tokens = watched(site, "copying", 3, Photo)
    with Session(engine, info={"image_store": store, "image_uploads": uploads}) as session:
        session.add(post := Post(id=1))
        for position, token in enumerate(tokens):
            post.photos.get_image_set(position=position).from_upload(token, user=1)
        session.commit()
        for position in range(3):
            image = post.photos.get_image_set(position=position).require_original()
            require_what_was_looked_at(image, "copying")
    assert site.pictures() == 3


def test_one_that_is_awaited(site: Site, tmp_path: Path) -> None:
    store, uploads, [token] = watched(site, "copying")

    async def use() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/async.db")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine, info={"image_store": store, "image_uploads": uploads}) as session:
            session.add(User(id=1))
            await session.commit()
            owner = await session.get_one(User, 1, options=[selectinload(User.picture)])
            image = await owner.picture.afrom_upload(token, user=1)
            await session.commit()
            assert await image.amake_blob() == SEEN
        await engine.dispose()

    asyncio.run(use())


def test_a_content_of_the_same_md5_is_another_one(site: Site) -> None:
    upload, target = QuarantinedFile(site.store, new_id()), ImageKey("picture", 1, 8, 16, "image/png", new_revision())
    upload.put(io.BytesIO(ONE_MD5[0]))
    content = upload.read(None)
    upload.put(io.BytesIO(ONE_MD5[1]))
    assert not content.copy_into(site.store, target, reproducible=False)
    assert not site.store.has_key(target)
    with content.open() as file:
        assert file.read() == ONE_MD5[0]
