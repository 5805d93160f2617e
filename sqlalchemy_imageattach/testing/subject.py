"""What the rules of the contract use a store through: it says who is to blame, and cleans up."""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any, NoReturn, TypeVar, cast

from ..errors import BlobExistsError
from ..key import ImageKey, new_revision
from ..store import ListingNotSupportedError, Store, StoredBlob, is_missing
from ..stores.fs import BaseFileSystemStore
from ..storewrapper import StoreWrapper
from ..uploadtarget import UploadTarget
from .sources import Source, noise

__all__ = ["LARGE", "PICTURE", "Broken", "Capabilities", "NotApplicable", "Subject", "brief", "fail", "stores_within"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

#: The length in bytes of the largest blob that is stored, by default: more than what is usually sent in one piece.
LARGE = 9 * 2**20 + 3

#: What most of the blobs are.
PICTURE = noise(300_000)

_GIVES = "gives what was stored"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond what all must.

    With ``True`` it is a violation if it cannot; with ``None`` it is found out; with ``False`` it is not looked at.

    :param revisions: it takes revisions, so that several blobs can stand side by side; with ``False`` it must not
    :param never_overwrites: it looks whether there is a blob with the revision already, and refuses then
    :param tells_deletions: ``delete_file()`` returns whether there was a blob, and says so to one of many callers only
    :param lists: it has ``list_blobs()``
    :param pickles: it can be pickled, and the copy is a store for the same place
    :param fetchable: its URLs can be fetched from here, without credentials
    :param exclusive: of several who ``put_once()`` at the same time, one can
    :param copies: what was read from it can be copied within it, as ``copy_from()`` has it
    :param uploadable: it has ``presign_upload()``, and what that gives can be asked from here
    """

    revisions: bool | None = None
    never_overwrites: bool | None = None
    tells_deletions: bool | None = None
    lists: bool | None = None
    copies: bool | None = None
    pickles: bool = False
    fetchable: bool = False
    exclusive: bool = False
    uploadable: bool = False


class Broken(Exception):
    """A rule is broken.

    :param expected: what should have come
    :param came: what came instead
    :param method: which method is to blame, if it is not the one that the rule is about
    :param text: what rule that breaks, if it is another one
    """

    def __init__(self, expected: str, came: object, method: str | None = None, text: str | None = None) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = _text(came)
        self.method = method
        self.text = text


def fail(expected: str, came: object, method: str | None = None, text: str | None = None) -> NoReturn:
    """Raises :exc:`Broken`, whose parameters these are."""
    raise Broken(expected, came, method, text)


class NotApplicable(Exception):
    """A rule is about something that the store cannot do, and does not have to."""


class Subject:
    """A store, used under an object type of its own, from which nothing is left after :meth:`clean_up`.

    :param store: the store
    :param capabilities: what it is said to do
    :param large: the length of the largest blob, in bytes
    """

    def __init__(self, store: Store, capabilities: Capabilities, large: int = LARGE) -> None:
        self.store = store
        self.capabilities = capabilities
        self.large = large
        # random, so that nobody else has it: not the application, nor another check that is running
        self.object_type = f"imageattach-check-{new_revision()}"
        self._ids = itertools.count(1)
        self._used: dict[ImageKey, None] = {}
        self._lock = threading.Lock()

    # --- keys --------------------------------------------------------------------------------------------------------

    def key(self) -> ImageKey:
        """A key of an owner that no other has; with a revision if the store takes one."""
        revision = new_revision() if self.store.accepts_revision else None
        return ImageKey(self.object_type, next(self._ids), 640, 480, "image/jpeg", revision)

    def replaceable_key(self) -> ImageKey:
        """A key without a revision, as 1.x wrote them."""
        return replace(self.key(), revision=None)

    def needs_revisions(self) -> None:
        """Ends a rule that only holds for stores that take revisions."""
        if not self.store.accepts_revision:
            raise NotApplicable("the store takes no revisions")

    # --- operations: what they raise becomes the violation of the method that raised it -------------------------------

    def put(self, key: ImageKey, content: bytes | IO[bytes] | Source = PICTURE, *, reproducible: bool = False) -> None:
        """Store a blob."""
        file = io.BytesIO(content) if isinstance(content, bytes) else cast("IO[bytes]", content)
        with _Blaming("put_file", "stores a blob"):
            self.try_to_put(key, file, reproducible=reproducible)

    def try_to_put(self, key: ImageKey, file: Any, *, reproducible: bool = False) -> None:
        """The same where an error is expected."""
        with self._lock:
            self._used[key] = None
        self.store.put(key, file, reproducible=reproducible)

    def put_once(self, key: ImageKey, content: bytes) -> bool:
        """Store a blob if there is none, and tell whether it was stored."""
        with self._lock:
            self._used[key] = None
        with _Blaming("put_once", "stores a blob where none is, and leaves one that is there as it is"):
            try:
                self.store.put_once(key, io.BytesIO(content))
            except BlobExistsError:
                return False
        return True

    def copy_to(self, target: ImageKey, source: ImageKey, content: bytes) -> bool:
        """Have the store copy ``source`` if it has ``content``, and tell whether it did."""
        checksum = hashlib.sha256(content).hexdigest()
        with self._lock:
            self._used[target] = None
        with _Blaming("copy_from", "copies what was read, or says that it does not"):
            return self.store.copy_from(self.store, source, target, checksum=checksum, reproducible=False)

    def presign(self, key: ImageKey, **options: Any) -> UploadTarget:
        """A request by which the blob can be stored."""
        with self._lock:
            self._used[key] = None
        with _Blaming("presign_upload", "gives a request that stores a blob"):
            return self.store.presign_upload(key, **options)

    def open(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        """A file with the blob."""
        with _Blaming("get_file", _GIVES):
            return self.store.get(key, use_seek=use_seek)

    def read(self, key: ImageKey) -> bytes:
        """The whole blob."""
        with _Blaming("get_file", _GIVES), self.store.get(key) as file:
            return file.read()

    def has(self, key: ImageKey) -> bool:
        """Whether the blob can be opened."""
        try:
            self.store.get(key).close()
        except Exception as error:
            if isinstance(error, OSError) and is_missing(error):
                return False
            raise _missing_blob_raised(error) from error
        return True

    def delete(self, key: ImageKey) -> bool | None:
        """Delete the blob."""
        with _Blaming("delete_file", "deletes a blob"):
            return self.store.delete_key(key)

    def delete_surely(self, key: ImageKey) -> None:
        """The same where it matters afterwards that it is gone."""
        self.delete(key)
        if self.has(key):
            fail("the blob to be gone", "a file that can be opened", "delete_file", "deletes a blob")

    def url(self, key: ImageKey) -> str:
        """The blob's URL, without any query that :meth:`Store.locate` adds."""
        with _Blaming("get_url", "gives a URL"):
            return self.store.url_of(key)

    def listed(self, prefix: str = "") -> list[StoredBlob]:
        """What the store lists below the object type of this check; it ends a rule if the store cannot list."""
        with _Blaming("list_blobs", "lists what is in the store"):
            try:
                return list(self.store.list_blobs(f"{self.object_type}/{prefix}"))
            except ListingNotSupportedError as error:
                if not self.capabilities.lists:
                    raise NotApplicable("the store cannot list its blobs") from error
                raise

    # --- what is looked at in many rules ------------------------------------------------------------------------------

    def expect_content(self, key: ImageKey, content: bytes) -> None:
        """The blob is ``content``."""
        with _Blaming("get_file", _GIVES):
            came, again = (self._found(key) for _ in range(2))
        if came == again == content:
            return
        expected = f"to read back what was stored: {brief(content)}"
        text = "no such blob" if came is None else brief(again if came == content else came)
        # what was stored wrongly cannot be told from what is read wrongly, but by what else the store says of it
        cut = came is None or len(came) != len(content)
        if came != again or not isinstance(came, bytes | None) or (cut and self._listed_size(key) == len(content)):
            fail(expected, text, "get_file", _GIVES)
        fail(expected, text)

    def expect_missing(self, key: ImageKey, expected: str) -> None:
        """There is no such blob."""
        try:
            came = self._found(key)
        except Exception as error:
            raise _missing_blob_raised(error) from error
        if came is not None:
            fail(expected, brief(came))

    def at_once(self, works: list[Callable[[], _T]]) -> list[_T]:
        """What the works give, done by as many threads, which begin together."""
        meeting = threading.Barrier(len(works))

        def begin(work: Callable[[], _T]) -> _T:
            meeting.wait()
            return work()

        with ThreadPoolExecutor(len(works)) as pool:
            try:
                begun = [pool.submit(begin, work) for work in works]
            except BaseException:
                meeting.abort()  # they would wait for ever for one that got no thread
                raise
            return [each.result() for each in begun]

    # --- afterwards --------------------------------------------------------------------------------------------------

    def clean_up(self) -> None:
        """Afterwards the store has nothing of this check, or :exc:`Broken` tells what it still has."""
        kept: list[str] = []
        for key in self._used:
            try:
                self.store.delete_key(key)
            except Exception as error:
                if self._is_there(key):
                    _log.warning("cannot delete %s: %s", key.file_path(), error)
                    kept.append(f"{key.file_path()} ({_text(error)})")
        for actual in (self.store, *stores_within(self.store)):
            if isinstance(actual, BaseFileSystemStore):
                _remove_directories(os.path.join(actual.path, self.object_type))
        if kept:
            msg = "to be able to delete all that was stored for this check"
            raise Broken(msg, f"left behind: {', '.join(kept)}", "delete_file", "deletes a blob")

    def _is_there(self, key: ImageKey) -> bool:
        try:
            return self.has(key)
        except Broken:  # nobody knows
            return True

    def _found(self, key: ImageKey) -> bytes | None:
        try:
            with self.store.get(key) as file:
                return file.read()
        except OSError as error:
            if is_missing(error):
                return None
            raise

    def _listed_size(self, key: ImageKey) -> int | None:
        own = self.store.own_key(key)
        try:
            return next((blob.byte_size for blob in self.listed() if blob.key == own), None)
        except (Broken, NotApplicable):
            return None


@dataclass(frozen=True, slots=True)
class _Blaming:
    """Within, an error is the violation of a method that should have had none."""

    method: str
    text: str

    def __enter__(self) -> None: ...

    def __exit__(self, exc_type: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, Broken | NotApplicable):
            expected = "no error"
            raise Broken(expected, error, self.method, self.text) from error


def brief(content: object) -> str:
    """``content`` in a few words: for messages."""
    if not isinstance(content, bytes):
        return f"{type(content).__name__} ({content!r:.60})"
    return f"{len(content)} bytes ({content[:8]!r}…)" if len(content) > 12 else repr(content)


def _missing_blob_raised(error: Exception) -> Broken:
    expected = "a BlobNotFoundError (or another FileNotFoundError, or a bare OSError as in 1.x), or the blob"
    return Broken(expected, error, "get_file", "says by an OSError that there is no such blob")


def _text(came: object) -> str:
    return f"{type(came).__name__}: {came}" if isinstance(came, BaseException) else str(came)


def stores_within(store: Store) -> list[Store]:
    """All that the store stands for, by its attributes and theirs; not itself."""
    found: list[Store] = []
    waiting = _parts(store)
    while waiting:
        part = waiting.pop()
        if not any(part is each for each in (store, *found)):
            found.append(part)
            waiting += _parts(part)
    return found


def _parts(store: Store) -> list[Store]:
    if isinstance(store, StoreWrapper):
        return [store.wrapped]
    values: list[object] = []
    for value in vars(store).values() if hasattr(store, "__dict__") else ():
        values += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return [value for value in values if isinstance(value, Store)]


def _remove_directories(path: str) -> None:
    """Removes a directory and those below, as far as they are empty: a directory's store keeps them otherwise."""
    for directory, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(directory)
