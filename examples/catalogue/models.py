"""The tables of the catalogue: an entry, and its photograph in all its sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.jobs import SESSION_QUEUE_KEY, JobRunner, ThreadQueue
from sqlalchemy_imageattach.search import embeddings_of
from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore
from sqlalchemy_imageattach.variants import Variant

__all__ = ["DATABASE", "LOOKS", "Base", "Entry", "EntryPhoto", "open_catalogue"]

#: The name of the database file in the directory of a catalogue.
DATABASE = "catalogue.sqlite"


class Base(DeclarativeBase):
    """The base of the mapped classes."""


class Entry(Base):
    """One entry of the catalogue."""

    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(80))
    #: What the picture shows, for those who cannot see it.
    description: Mapped[str] = mapped_column(String(300))
    #: How far from the top the most important part of the picture is, from 0 to 1; cropping keeps it in view.
    focus: Mapped[float]

    photo: Mapped[SingleImageSet[EntryPhoto]] = image_attachment()

    def set_photo(self, file: Any) -> None:
        """Attach the picture in ``file``, in place of the one before, and cut it for the cards: one decode for all.

        The entry must be in a session, since that is what knows the store.

        :param file: a binary file, or the upload of a web framework
        :raises RejectedImageError: it is no picture that :attr:`EntryPhoto.image_policy` accepts
        """
        self.photo.from_file(file, extra_kwargs={"focal_x": 0.5, "focal_y": self.focus})


class EntryPhoto(Base, Image):
    """The photograph of an entry: a row for the picture as it was attached, and one for each size made from it."""

    __tablename__ = "entry_photo"

    #: The defaults, but smaller files: these are uploads from a browser.
    image_policy = ImagePolicy(max_bytes=16 * 2**20, max_pixels=50_000_000)

    #: What the cards need is made when a picture is attached, a small one gets fewer sizes; what a click shows is made
    #: by a thread after the commit, and does not say where the picture was taken.
    image_variants = {
        "card": Variant(widths=(300, 450, 600, 900), aspect=(3, 2), formats=("webp",)),
        "full": Variant(width=1600, formats=("webp",), make="later"),
    }

    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id"), primary_key=True)


#: What each photograph looks like, in a table of its own that every flush keeps true: for "more like this".
LOOKS = embeddings_of(EntryPhoto)


@contextmanager
def open_catalogue(directory: Path) -> Iterator[tuple[sessionmaker[Session], HttpExposedFileSystemStore, ThreadQueue]]:
    """A factory of sessions, the store and the queue that they know.  What is missing on the disk is made.

    Afterwards all jobs are done, and the database is closed.

    :param directory: where the database and the pictures are kept
    """
    directory.mkdir(parents=True, exist_ok=True)
    store = HttpExposedFileSystemStore(directory / "images", "images")
    engine = create_engine(f"sqlite:///{directory / DATABASE}")
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    with ThreadQueue(JobRunner(sessions, Base)) as queue:
        sessions.configure(info={SESSION_STORE_KEY: store, SESSION_QUEUE_KEY: queue})
        yield sessions, store, queue
    engine.dispose()
