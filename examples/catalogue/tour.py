"""A walk through what the library does, on real photographs, told on the terminal.

Every step looks at the directory of the store and not only at the database, since keeping the two in step is the point.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine, event, func, select
from sqlalchemy.orm import Session, selectinload, sessionmaker

from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.jobs import ThreadQueue
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore

from .models import Entry, EntryPhoto

__all__ = ["PHOTOGRAPHS", "REPLACEMENT", "Photograph", "Tour", "TourError", "say"]


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file, and what to say of it.

    :param focus: how far from the top the most important part is, from 0 to 1
    :param note: what is special about the file, for the terminal
    """

    file: str
    title: str
    description: str
    focus: float = 0.5
    note: str = ""


PHOTOGRAPHS = (
    Photograph(
        "rocket-display-p3.jpg",
        "Falcon 9",
        "A rocket on its launch pad at dusk, between tall lattice masts, with floodlights below",
        note="its Display P3 colours become sRGB",
    ),
    Photograph("coffee.avif", "Espresso", "A cup of espresso on a saucer with a spoon, on a wooden table"),
    Photograph(
        "chelsea-orientation6-gps.jpg",
        "Chelsea",
        "The face of a tabby cat who looks past the camera",
        note="lies on its side, and says where it was taken: made upright, the place left out",
    ),
    Photograph("astronaut.jpg", "Eileen Collins", "An astronaut in an orange suit, smiling, before a flag", focus=0.15),
    Photograph("coffee-cmyk.jpg", "Espresso, for print", "The same cup of espresso", note="CMYK becomes sRGB"),
)

#: What takes the place of the picture of the second one.
REPLACEMENT = "coffee.jpg"


class TourError(Exception):
    """What the tour says is not what it found."""


def say(text: str = "") -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)  # noqa: T201 - it is what a tour is for


class Tour:
    """The walk.

    :param sessions: makes sessions that know the store
    :param store: where the pictures are to be kept
    :param queue: does what follows a commit
    :param photographs: the directory with the files of :data:`PHOTOGRAPHS`
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        store: HttpExposedFileSystemStore,
        queue: ThreadQueue,
        photographs: Path,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._queue = queue
        self._photographs = photographs

    def run(self) -> None:
        """All steps, one after the other.

        :raises TourError: a file is there that should not be, or the other way round
        """
        self.attach()
        self.list()
        self.replace()
        self.roll_back()
        self.refuse()
        self.delete()
        self.compare()

    def attach(self) -> None:
        """Attach the photographs, all in one transaction."""
        say(f"\n1. Attach {len(PHOTOGRAPHS)} photographs; cut each to its sizes, decoding it once")
        with self._sessions.begin() as session:
            for photograph in PHOTOGRAPHS:
                entry = Entry(title=photograph.title, description=photograph.description, focus=photograph.focus)
                session.add(entry)
                with self._open(photograph.file) as file:
                    entry.set_photo(file)
                widths = ", ".join(str(card.width) for card in entry.photo.variant("card"))
                say(f"   {photograph.file:29} {entry.photo.width} × {entry.photo.height} → {widths} pixels wide")
                if photograph.note:
                    say(f"      ({photograph.note})")
        self._queue.join()
        with self._sessions() as session:
            rows = session.scalar(select(func.count()).select_from(EntryPhoto))
        say(f"   Committed, and threads have made what a click shows: {rows} rows, {len(self._files())} files.")

    def list(self) -> None:
        """List all entries with all sizes of their pictures."""
        say("\n2. List them all, with all sizes of their pictures")
        with self._sessions() as session, _statements(session.get_bind()) as statements:
            entries = session.scalars(select(Entry).options(selectinload(Entry.photo))).all()
            images = sum(len(entry.photo) for entry in entries)
        say(f"   {len(entries)} entries, {images} images: {len(statements)} statements.")

    def replace(self) -> None:
        """Give an entry another picture."""
        former = PHOTOGRAPHS[1]
        say(f"\n3. Replace {former.file}, the picture of {former.title!r}, by {REPLACEMENT}")
        before = self._files()
        with self._sessions.begin() as session:
            with self._open(REPLACEMENT) as file:
                _entry(session, former.title).set_photo(file)
            session.flush()
            self._expect(before <= self._files(), "the former files stay until the commit")
            say(f"   Flushed: {len(self._files() - before)} new files, beside the former ones.")
        self._queue.join()
        gone = before - self._files()
        self._expect(bool(gone), "the former files go with the commit")
        say(f"   Committed, and these are gone:{_listing(gone)}")

    def roll_back(self) -> None:
        """Attach a picture, and think better of it."""
        photograph = PHOTOGRAPHS[0]
        say(f"\n4. Attach {photograph.file} once more, and roll back")
        before = self._files()
        with self._sessions() as session:
            entry = Entry(title="Not to be", description="", focus=0.5)
            session.add(entry)
            with self._open(photograph.file) as file:
                entry.set_photo(file)
            session.flush()
            written = self._files() - before
            say(f"   Flushed: {len(written)} new files.")
            session.rollback()
        self._expect(self._files() == before, "a rollback removes what it had written, and nothing else")
        say(f"   Rolled back, and these are gone:{_listing(written)}")

    def refuse(self) -> None:
        """Offer what is no picture, whatever it says of itself."""
        say("\n5. Offer a page of HTML that calls itself holiday.jpg")
        before = self._files()
        with self._sessions() as session:
            entry = Entry(title="Holiday", description="", focus=0.5)
            session.add(entry)
            try:
                entry.photo.from_blob(b"<!doctype html><script>alert('holiday.jpg')</script>")
            except RejectedImageError as error:
                say(f"   {type(error).__name__}: {error}")
            else:
                msg = "HTML was accepted as a picture"
                raise TourError(msg)
        self._expect(self._files() == before, "what is refused leaves nothing behind")

    def delete(self) -> None:
        """Delete an entry, and with it its picture."""
        photograph = PHOTOGRAPHS[-1]
        say(f"\n6. Delete {photograph.title!r}")
        before = self._files()
        with self._sessions.begin() as session:
            session.delete(_entry(session, photograph.title))
        gone = before - self._files()
        self._expect(bool(gone), "the files go with their rows")
        say(f"   Committed, and these are gone:{_listing(gone)}")

    def compare(self) -> None:
        """Compare what committed rows name with what is in the directory."""
        say("\n7. Compare the database with the directory")
        with self._sessions() as session:
            paths = {self._store.path_of(key_of(image)) for image in session.scalars(select(EntryPhoto))}
        named = {str(Path(path).relative_to(self._store.path)) for path in paths}
        files = self._files()
        self._expect(named == files, f"rows and files agree; they differ in {sorted(named ^ files)}")
        say(f"   {len(named)} rows, {len(files)} files: each row has its file, and no file is without a row.")

    def _open(self, name: str) -> BinaryIO:
        return (self._photographs / name).open("rb")

    def _files(self) -> set[str]:
        root = Path(self._store.path)
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    @staticmethod
    def _expect(truth: bool, promise: str) -> None:
        if not truth:
            msg = f"The promise was broken that {promise}."
            raise TourError(msg)


def _entry(session: Session, title: str) -> Entry:
    return session.scalars(select(Entry).where(Entry.title == title)).one()


def _listing(files: set[str]) -> str:
    return "".join(f"\n      {name}" for name in sorted(files))


@contextmanager
def _statements(bind: Engine | Connection) -> Iterator[list[str]]:
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        found.append(statement)

    event.listen(bind, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(bind, "before_cursor_execute", note)
