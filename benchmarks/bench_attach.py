"""Attaching JPEGs of 2 MB and of 12 megapixels and committing: SQLite in a file, blobs in a directory of the same disk.

Compared with depot (which writes the file and looks at nothing), sqlalchemy-file and advanced-alchemy.  The floor is
hash, write and insert without an ORM.  Its writing is what no store of files in the layout of 1.x can do without: one
directory for the owner, and one file in it, under its own name at once.  Not in it are looking at the picture, its
columns but the digest, a file that is there whole or not at all, and the removal of what is rolled back.  Beside it are
the same by an ORM, and by one that has a relationship from the owner to the pictures, as image sets are one: less than
that no library can take that stores pictures together with their owners.  Depot makes a directory for each file as
well, and two files in it.

The way of SQLAlchemy-ImageAttach 1.1 has a race of its own, with the same files.  It decodes the whole picture by Wand
to learn its size; that, a plain write and a plain commit are done here, without a digest.

Also counts the statements of an attach, and the peak memory of attaching a very long file.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
from PIL import Image as PillowImage
from sqlalchemy import Engine, ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry, relationship

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.entity.image import utc_now
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.stores.fs import FileSystemStore


class Base(DeclarativeBase):
    """The catalogue."""


class User(Base):
    """Somebody."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    """Somebody's picture."""

    __tablename__ = "user_picture"
    image_policy = ImagePolicy(max_bytes=None)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


def database(directory: Path, name: str, base: type[DeclarativeBase]) -> Engine:
    """An empty database in a file."""
    engine = create_engine(f"sqlite:///{directory / name}.db")
    base.metadata.create_all(engine)
    return engine


def make_shards(root: Path) -> str:
    """The directories that a thousand owners have left in the layout of 1.x; gives the path of ``root``."""
    for number in range(1000):
        (root / str(number)).mkdir(parents=True)
    return str(root)


def write(root: str, owner: int, name: str, photo: bytes) -> None:
    """A file in the new directory of its owner; in pieces, since one long write() is slower on some kernels."""
    directory = f"{root}/{owner % 1000}/{owner // 1000}"
    os.mkdir(directory)
    with open(f"{directory}/{owner}.{name}", "wb", buffering=0) as target:
        for start in range(0, len(photo), 1 << 18):
            target.write(memoryview(photo)[start : start + (1 << 18)])


def ours(directory: Path, photo: bytes, *, fsync: bool) -> Callable[[], None]:
    """Attach and commit with this library, into a store that has had a thousand owners before."""
    name = f"ours-{fsync}"
    make_shards(directory / name / "user-picture")
    engine, store = database(directory, name, Base), FileSystemStore(str(directory / name), "/", fsync=fsync)

    def attach() -> None:
        with store_context(store), Session(engine) as session:
            user = User()
            user.picture.from_file(io.BytesIO(photo))
            session.add(user)
            session.commit()

    return attach


def as_progressive(photo: bytes) -> bytes:
    """The same picture in scans, which are counted."""
    target = io.BytesIO()
    with PillowImage.open(io.BytesIO(photo)) as picture:
        picture.save(target, "JPEG", quality="keep", progressive=True)
    return target.getvalue()


def depot(directory: Path, photo: bytes) -> Callable[[], None]:
    """Attach and commit with depot."""
    from depot.fields.sqlalchemy import UploadedFileField
    from depot.manager import DepotManager

    class DepotBase(DeclarativeBase):
        """Depot's catalogue."""

    class Document(DepotBase):
        """A file."""

        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        content = mapped_column(UploadedFileField(upload_storage=directory.name))

    DepotManager.configure(directory.name, {"depot.storage_path": str(directory / "depot")})
    engine = database(directory, "depot", DepotBase)

    def attach() -> None:
        with Session(engine) as session:
            session.add(Document(content=io.BytesIO(photo)))
            session.commit()

    return attach


def sqlalchemy_file(directory: Path, photo: bytes) -> Callable[[], None]:
    """Attach and commit with sqlalchemy-file, with its validator of pictures, which looks at the header."""
    from libcloud.storage.drivers.local import LocalStorageDriver
    from sqlalchemy_file import File, ImageField
    from sqlalchemy_file.storage import StorageManager

    class FileBase(DeclarativeBase):
        """Its catalogue."""

    class Document(FileBase):
        """A file."""

        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        content = mapped_column(ImageField(upload_storage=directory.name))

    (directory / "sqlalchemy-file" / "pictures").mkdir(parents=True)
    driver = LocalStorageDriver(str(directory / "sqlalchemy-file"))
    StorageManager.add_storage(directory.name, driver.get_container("pictures"))
    engine = database(directory, "sqlalchemy-file", FileBase)

    def attach() -> None:
        with Session(engine) as session:
            session.add(Document(content=File(photo, filename="photo.jpg", content_type="image/jpeg")))
            session.commit()

    return attach


def advanced_alchemy(directory: Path, photo: bytes) -> Callable[[], None]:
    """Attach and commit with advanced-alchemy, whose sessions save files after the commit."""
    from advanced_alchemy.types.file_object import FileObject, StoredObject, storages
    from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend
    from obstore.store import LocalStore

    class AlchemyBase(DeclarativeBase):
        """Its catalogue."""

    class Document(AlchemyBase):
        """A file."""

        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        content = mapped_column(StoredObject(backend=directory.name))

    storages.register_backend(ObstoreBackend(key=directory.name, fs=LocalStore(directory / "alchemy", mkdir=True)))
    engine = database(directory, "advanced-alchemy", AlchemyBase)
    numbers = itertools.count()

    def attach() -> None:
        with Session(engine) as session:
            content = FileObject(backend=directory.name, filename=f"{next(numbers)}.jpg", content=photo)
            content.save()
            session.add(Document(content=content))
            session.commit()

    return attach


def orm(directory: Path, photo: bytes) -> Callable[[], None]:
    """What it takes with an ORM: the same two rows by plain classes."""
    engine = database(directory, "orm", Base)
    root = make_shards(directory / "orm")
    mapped = registry()
    user_class, picture_class = type("PlainUser", (), {}), type("PlainPicture", (), {})
    mapped.map_imperatively(picture_class, UserPicture.__table__)
    mapped.map_imperatively(user_class, User.__table__)

    def attach() -> None:
        digest = hashlib.sha256(photo).hexdigest()
        with Session(engine) as session:
            user = user_class()
            session.add(user)
            session.flush()
            write(root, user.id, "jpe", photo)
            picture = picture_class()
            values = {"user_id": user.id, "width": 4000, "height": 3000, "mimetype": "image/jpeg", "variant": ""}
            for name, value in {**values, "checksum": digest, "original": True, "created_at": utc_now()}.items():
                setattr(picture, name, value)
            session.add(picture)
            session.commit()

    return attach


def orm_relationship(directory: Path, photo: bytes) -> Callable[[], None]:
    """The same by plain classes of which one refers to the other, so that one flush writes both rows."""
    engine = database(directory, "orm-relationship", Base)
    root = make_shards(directory / "orm-relationship")
    mapped = registry()
    user_class, picture_class = type("PlainUser", (), {}), type("PlainPicture", (), {})
    mapped.map_imperatively(picture_class, UserPicture.__table__)
    pictures = relationship(picture_class, cascade="all, delete-orphan")
    mapped.map_imperatively(user_class, User.__table__, properties={"pictures": pictures})

    def attach() -> None:
        digest = hashlib.sha256(photo).hexdigest()
        with Session(engine) as session:
            user, picture = user_class(), picture_class()
            values = {"width": 4000, "height": 3000, "mimetype": "image/jpeg", "variant": ""}
            for name, value in {**values, "checksum": digest, "original": True, "created_at": utc_now()}.items():
                setattr(picture, name, value)
            user.pictures.append(picture)
            session.add(user)
            session.flush()
            write(root, user.id, "jpe", photo)
            session.commit()

    return attach


def as_upstream(directory: Path, photo: bytes) -> Callable[[], None]:
    """What 1.1 did: decode the whole picture by Wand for its size, write the file, insert the row, commit."""
    from wand.image import Image as WandImage

    engine = database(directory, "upstream", Base)
    root = make_shards(directory / "upstream")

    def attach() -> None:
        with WandImage(file=io.BytesIO(photo)) as picture:
            width, height = picture.size
            mimetype = picture.mimetype
        with Session(engine) as session:
            user = User()
            session.add(user)
            session.flush()
            write(root, user.id, f"{width}x{height}.jpe", photo)
            values = {"user_id": user.id, "width": width, "height": height, "mimetype": mimetype, "original": True}
            session.execute(UserPicture.__table__.insert(), values)
            session.commit()

    return attach


def bare(directory: Path, photo: bytes) -> Callable[[], None]:
    """The limit: hash, write, insert, commit, without any ORM."""
    engine = database(directory, "bare", Base)
    root = make_shards(directory / "bare")

    def attach() -> None:
        digest = hashlib.sha256(photo).hexdigest()
        with engine.begin() as connection:
            (ident,) = connection.execute(User.__table__.insert()).inserted_primary_key or (0,)
            write(root, ident, "jpe", photo)
            values = {"user_id": ident, "width": 4000, "height": 3000, "mimetype": "image/jpeg", "checksum": digest}
            connection.execute(UserPicture.__table__.insert(), values)

    return attach


def count_statements(directory: Path, photo: bytes) -> list[str]:
    """The statements of one attach."""
    engine = database(directory, "count", Base)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with store_context(FileSystemStore(str(directory / "count"), "/")), Session(engine) as session:
        user = User()
        user.picture.from_blob(photo)
        session.add(user)
        session.commit()
    return statements


def peak_of_long_file() -> float:
    """MiB that attaching a file of 500 MB adds to the peak memory of a process."""
    answer = subprocess.run([sys.executable, __file__, "--long-file"], check=True, capture_output=True, text=True)
    return float(answer.stdout)


def attach_long_file() -> None:
    """In a process of its own: attach 500 MB, and print by how many MiB the peak grew."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        attach = ours(directory, harness.photograph(64, 48), fsync=False)
        attach()
        before = harness.peak_memory()
        header = harness.photograph(640, 480)
        long_file = directory / "long.jpg"
        # a comment segment can be skipped: what follows the start of the picture is 500 MB of them
        filler = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
        with open(long_file, "wb") as target:
            target.write(header[:2])
            for _ in range(500_000_000 // len(filler)):
                target.write(filler)
            target.write(header[2:])
        engine, store = database(directory, "long", Base), FileSystemStore(str(directory / "long"), "/")
        with store_context(store), Session(engine) as session, open(long_file, "rb") as source:
            user = User()
            user.picture.from_file(source)
            session.add(user)
            session.commit()
        print(harness.peak_memory() - before)


FLOOR, OURS, DEPOT, UPSTREAM = "floor: hash, write, insert", "ours, fsync=False", "depot", "as 1.1: decoded by Wand"
RELATED = "the same rows by an ORM relationship"


def attaching(photo: bytes, turns: int) -> tuple[dict[str, harness.Figure], list[str]]:
    """The figures of all candidates, and the statements of an attach."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "progressive").mkdir()
        candidates = {
            OURS: ours(directory, photo, fsync=False),
            "ours, the same as progressive JPEG": ours(directory / "progressive", as_progressive(photo), fsync=False),
            "ours, fsync=True (the default)": ours(directory, photo, fsync=True),
            "the same rows by a plain ORM": orm(directory, photo),
            RELATED: orm_relationship(directory, photo),
            FLOOR: bare(directory, photo),
        }
        if harness.try_require(depot="filedepot>=0.12,<0.13"):
            candidates[DEPOT] = depot(directory, photo)
        if harness.try_require(sqlalchemy_file="sqlalchemy-file>=0.7", fasteners="fasteners"):
            candidates["sqlalchemy-file"] = sqlalchemy_file(directory, photo)
        if harness.try_require(advanced_alchemy="advanced-alchemy>=1.4,<2", obstore="obstore>=0.12,<0.13"):
            candidates["advanced-alchemy"] = advanced_alchemy(directory, photo)
        figures = harness.race(candidates, turns)
        statements = count_statements(directory, photo)
    harness.report(f"attach {len(photo) / 1e6:.1f} MB and commit", figures, FLOOR)
    return figures, statements


def decoding(photo: bytes, turns: int) -> dict[str, harness.Figure]:
    """The figures of 1.1's way and of ours with the same file."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        candidates = {UPSTREAM: as_upstream(directory, photo), OURS: ours(directory, photo, fsync=False)}
        figures = harness.race(candidates, turns)
    harness.report(f"attach {len(photo) / 1e6:.1f} MB of 12 megapixels and commit, beside 1.1", figures, OURS)
    return figures


def main() -> int:
    """Run all of it."""
    photo, large = harness.photograph(4000, 3000, 90), harness.photograph(4000, 3000, 98)
    figures, statements = attaching(photo, 60)
    attaching(large, 15)
    beside = [decoding(each, 15) for each in (photo, large)] if harness.try_require(wand="Wand>=0.6.13,<0.8") else []
    print()
    floor = figures[FLOOR].cpu
    print(f"{RELATED}: {figures[RELATED].cpu / floor:.2f} times hash, write and insert")
    print(f"ours: {figures[OURS].cpu / figures[RELATED].cpu:.2f} times {RELATED}")
    verdicts = [
        harness.verdict("CPU of attaching 2 MB, times hash, write and insert", figures[OURS].cpu / floor, at_most=1.3),
        harness.verdict("statements of an attach (two INSERTs)", len(statements), at_most=2),
        harness.verdict("MiB added by attaching 500 MB", peak_of_long_file(), at_most=64),
    ]
    if DEPOT in figures:
        ratio = figures[OURS].cpu / figures[DEPOT].cpu
        verdicts.append(harness.verdict("CPU of attaching 2 MB, times that of depot", ratio, at_most=1.25))
    if beside:
        # the bound is that of the 2 MB that the others are about; what grows with the file is in both ways
        ratio = beside[0][UPSTREAM].cpu / beside[0][OURS].cpu
        verdicts.append(harness.verdict("CPU of the same 2 MB by way of 1.1, times ours", ratio, at_least=20))
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(attach_long_file() if "--long-file" in sys.argv else main())
