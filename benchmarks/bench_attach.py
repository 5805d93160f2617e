"""Attaching a 12-megapixel JPEG and committing: SQLite in a file, blobs in a directory of the same disk.

Compared with depot (which writes the file and looks at nothing) and with the way of SQLAlchemy-ImageAttach 1.1,
whose cost is decoding the whole picture by Wand to learn its size: that, and a plain write and commit, is done here.
Also counts the statements of an attach, and the peak memory of attaching a very long file.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
from sqlalchemy import Engine, ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
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


def ours(directory: Path, photo: bytes, *, fsync: bool) -> Callable[[], None]:
    """Attach and commit with this library."""
    name = f"ours-{fsync}"
    engine, store = database(directory, name, Base), FileSystemStore(str(directory / name), "/", fsync=fsync)

    def attach() -> None:
        with store_context(store), Session(engine) as session:
            user = User()
            user.picture.from_file(io.BytesIO(photo))
            session.add(user)
            session.commit()

    return attach


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
        content = mapped_column(UploadedFileField)

    DepotManager.configure("default", {"depot.storage_path": str(directory / "depot")})
    engine = database(directory, "depot", DepotBase)

    def attach() -> None:
        with Session(engine) as session:
            session.add(Document(content=io.BytesIO(photo)))
            session.commit()

    return attach


def as_upstream(directory: Path, photo: bytes) -> Callable[[], None]:
    """What 1.1 did: decode the whole picture by Wand for its size, write the file, insert the row, commit."""
    from wand.image import Image as WandImage

    engine = database(directory, "upstream", Base)
    (directory / "upstream").mkdir()

    def attach() -> None:
        with WandImage(blob=photo) as picture:
            width, height = picture.size
            mimetype = picture.mimetype
        with Session(engine) as session:
            user = User()
            session.add(user)
            session.flush()
            path = directory / "upstream" / f"{user.id}.{width}x{height}.jpe"
            with open(path, "wb") as target:
                shutil.copyfileobj(io.BytesIO(photo), target)
            values = {"user_id": user.id, "width": width, "height": height, "mimetype": mimetype, "original": True}
            session.execute(UserPicture.__table__.insert(), values)
            session.commit()

    return attach


def bare(directory: Path, photo: bytes) -> Callable[[], None]:
    """The limit: hash, write, insert, commit, without any ORM."""
    engine = database(directory, "bare", Base)
    (directory / "bare").mkdir()

    def attach() -> None:
        digest = hashlib.sha256(photo).hexdigest()
        with engine.begin() as connection:
            (ident,) = connection.execute(User.__table__.insert()).inserted_primary_key or (0,)
            with open(directory / "bare" / f"{ident}.jpe", "wb", buffering=0) as target:
                for start in range(0, len(photo), 1 << 18):
                    target.write(memoryview(photo)[start : start + (1 << 18)])
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


def main() -> int:
    """Run all of it."""
    harness.require(depot="filedepot>=0.12,<0.13", wand="Wand>=0.6.13,<0.8")
    photo = harness.photograph(4000, 3000)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        candidates = {
            "ours, fsync=False": ours(directory, photo, fsync=False),
            "ours, fsync=True (the default)": ours(directory, photo, fsync=True),
            "depot 0.12": depot(directory, photo),
            "as 1.1: decoded by Wand": as_upstream(directory, photo),
            "limit: hash, write, insert": bare(directory, photo),
        }
        figures = harness.race(candidates)
        statements = count_statements(directory, photo)
    harness.report(f"attach {len(photo) / 1e6:.1f} MB (12 megapixels) and commit", figures, "depot 0.12")
    wall = {name: figure[0] for name, figure in figures.items()}
    print()
    verdicts = [
        harness.verdict(
            "wall time, times that of depot (neither syncs)",
            wall["ours, fsync=False"] / wall["depot 0.12"],
            at_most=1.5,
        ),
        harness.verdict(
            "wall time of decoding by Wand, times ours",
            wall["as 1.1: decoded by Wand"] / wall["ours, fsync=False"],
            at_least=20,
        ),
        harness.verdict("statements of an attach (two INSERTs)", len(statements), at_most=2),
        harness.verdict("MiB added by attaching 500 MB", peak_of_long_file(), at_most=64),
    ]
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(attach_long_file() if "--long-file" in sys.argv else main())
