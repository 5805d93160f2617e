"""A store that fails when it is told to, to see what becomes of a program then.

>>> from sqlalchemy_imageattach.key import ImageKey
>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> store = FaultyStore(MemoryStore())
>>> store.fail("put", on=2, error=StoreError("no space left"))
>>> first, second = (ImageKey("user-picture", n, 640, 480, "image/jpeg") for n in (1, 2))
>>> store.put(first, io.BytesIO(b"a picture"), reproducible=False)
>>> store.put(second, io.BytesIO(b"another"), reproducible=False)
Traceback (most recent call last):
  ...
sqlalchemy_imageattach.errors.StoreError: no space left
>>> first in store.blobs, second in store.blobs, store.count("put")
(True, False, 2)
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeAlias, TypeVar, get_args

from ..arguments import check_choice, wrong_type
from ..blobpart import BlobPart, BlobStat
from ..errors import InvalidTypeError, InvalidValueError, StoreError
from ..file import is_seekable
from ..key import ImageKey
from ..store import ImageLike, Store, key_of
from ..storewrapper import StoreWrapper

__all__ = ["Call", "Fault", "FaultyStore"]

Operation = Literal["put", "get", "delete"]
When = Literal["before", "midway", "after"]
_T = TypeVar("_T")
MakeError: TypeAlias = "BaseException | Callable[[], BaseException]"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the store received, whether or not it failed.

    :param operation: ``"put"``, ``"get"`` or ``"delete"``
    :param key: the key of the blob concerned, as the store sees it
    """

    operation: Operation
    key: ImageKey


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to go wrong, and when.

    :param operation: ``"put"``, ``"get"`` or ``"delete"``
    :param on: which call of that operation is to fail, counted from when the fault is set: 1 for the next one;
        ``None`` for all of them
    :param when: ``"before"`` anything is done; ``"after"`` it was done, so that the caller hears of a failure which was
        none; ``"midway"``: of the file to put or the file got, reading half succeeds and then fails
    :param error: the exception to raise, or what makes it anew for each call, such as its class
    :raises InvalidValueError: a value is none of these
    :raises InvalidTypeError: ``on`` is no integer, or ``error`` neither an exception nor callable
    """

    operation: Operation
    on: int | None = None
    when: When = "before"
    error: MakeError = lambda: StoreError("this store was told to fail")

    def __post_init__(self) -> None:
        check_choice("operation", self.operation, get_args(Operation))
        check_choice("when", self.when, get_args(When))
        if self.on is not None and (not isinstance(self.on, int) or isinstance(self.on, bool)):
            raise wrong_type("on", self.on, "the number of a call or None")
        if self.on is not None and self.on < 1:
            raise InvalidValueError(f"on: expected the number of a call, 1 for the next one, got {self.on}")
        if (self.operation, self.when) == ("delete", "midway"):
            raise InvalidValueError("a deletion has no middle; use when='before' or when='after'")
        if not isinstance(self.error, BaseException) and not callable(self.error):
            raise InvalidTypeError(f"error: expected an exception or what makes one, got {self.error!r}")

    def make_error(self) -> BaseException:
        """The exception to raise."""
        return self.error if isinstance(self.error, BaseException) else self.error()


class FaultyStore(StoreWrapper):
    """Does what the wrapped store does, but for the faults that it was told to have.

    Whatever else the wrapped store has is found here too.  Threads can share it; if several faults are set for the same
    call, the one set first is raised.

    :param store: the store to wrap
    :param faults: the faults to begin with; more can be set by :meth:`fail`
    :raises InvalidTypeError: ``store`` is no store, or a fault no :class:`Fault`
    """

    def __init__(self, store: Store, *faults: Fault) -> None:
        super().__init__(store)
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._faults: list[_Armed] = []
        for fault in faults:
            self._arm(fault)

    # --- what tests tell it and ask it -------------------------------------------------------------------------------

    def fail(
        self,
        operation: Operation,
        *,
        on: int | None = None,
        when: When = "before",
        error: MakeError | None = None,
    ) -> None:
        """Set a :class:`Fault`; the parameters are its."""
        self._arm(Fault(operation, on, when) if error is None else Fault(operation, on, when, error))

    def heal(self) -> None:
        """Afterwards no fault is set.  What was called stays known."""
        with self._lock:
            self._faults.clear()

    @property
    def calls(self) -> list[Call]:
        """All calls up to now, in order: a copy."""
        with self._lock:
            return list(self._calls)

    def count(self, operation: Operation) -> int:
        """How many times ``operation`` was called."""
        check_choice("operation", operation, get_args(Operation))
        return sum(call.operation == operation for call in self.calls)

    # --- what can fail -----------------------------------------------------------------------------------------------

    def put_file(self, file: IO[bytes], *args: Any, **revision: Any) -> None:
        *identifiers, _ = args  # the last one is whether it is reproducible
        self._put(ImageKey(*identifiers, **revision), file, lambda file: self.wrapped.put_file(file, *args, **revision))

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return self._get(ImageKey(*args, **kwargs), lambda: self.wrapped.get_file(*args, **kwargs))

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        return self._delete(ImageKey(*args, **kwargs), lambda: self.wrapped.delete_file(*args, **kwargs))

    def store(self, image: ImageLike, file: IO[bytes]) -> None:
        self._put(key_of(image), file, lambda file: self.wrapped.store(image, file))

    def open(self, image: ImageLike, use_seek: bool = False) -> IO[bytes]:
        return self._get(key_of(image), lambda: self.wrapped.open(image, use_seek))

    def delete(self, image: ImageLike) -> None:
        self._delete(key_of(image), lambda: self.wrapped.delete(image))

    def put(self, key: ImageKey, file: IO[bytes], *, reproducible: bool) -> None:
        self._put(key, file, lambda file: self.wrapped.put(key, file, reproducible=reproducible))

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        self._put(key, file, lambda file: self.wrapped.put_once(key, file))

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        """Counts as a call of ``"put"``, of which it has no middle."""
        fault = self._begin("put", target)
        return _around(
            None if fault is None or fault.when == "midway" else fault,
            lambda: self.wrapped.copy_from(other, source, target, checksum=checksum, reproducible=reproducible),
        )

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        return self._get(key, lambda: self.wrapped.get(key, use_seek=use_seek))

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        stats: list[BlobStat] = []

        def get() -> IO[bytes]:
            part = self.wrapped.get_part(key, start, length)
            stats.append(part.stat)
            return part.file

        return BlobPart(self._get(key, get), stats[0])

    def stat_key(self, key: ImageKey) -> BlobStat:
        """Counts as a call of ``"get"``, of which it has no middle."""
        fault = self._begin("get", key)
        return _around(None if fault is None or fault.when == "midway" else fault, lambda: self.wrapped.stat_key(key))

    def delete_key(self, key: ImageKey) -> bool | None:
        return self._delete(key, lambda: self.wrapped.delete_key(key))

    def has_key(self, key: ImageKey) -> bool:
        """Counts as a call of ``"get"``, of which it has no middle."""
        fault = self._begin("get", key)
        return _around(None if fault is None or fault.when == "midway" else fault, lambda: self.wrapped.has_key(key))

    # --- how it fails ------------------------------------------------------------------------------------------------

    def _put(self, key: ImageKey, file: IO[bytes], put: Callable[[IO[bytes]], None]) -> None:
        fault = self._begin("put", key)
        if fault is not None and fault.when == "midway":
            put(_Breaking(file, fault, owned=False))  # type: ignore[arg-type]  # it reads like any other
        else:
            _around(fault, lambda: put(file))

    def _get(self, key: ImageKey, get: Callable[[], IO[bytes]]) -> IO[bytes]:
        fault = self._begin("get", key)
        if fault is not None and fault.when == "midway":
            return _Breaking(get(), fault, owned=True)  # type: ignore[return-value]  # as above
        return _around(fault, get)

    def _delete(self, key: ImageKey, delete: Callable[[], _T]) -> _T:
        return _around(self._begin("delete", key), delete)

    def _begin(self, operation: Operation, key: ImageKey) -> Fault | None:
        """Note the call, and give the fault that it is to have."""
        call = Call(operation, self.wrapped.own_key(key))
        with self._lock:
            self._calls.append(call)
            # all of them count it, also those that are not the first
            struck = [armed.fault for armed in self._faults if armed.strikes(operation)]
        return struck[0] if struck else None

    def _arm(self, fault: object) -> None:
        if not isinstance(fault, Fault):
            raise wrong_type("", fault, "a Fault")
        with self._lock:
            self._faults.append(_Armed(fault))


@dataclass(slots=True)
class _Armed:
    """A fault, and how many calls of its operation it has seen."""

    fault: Fault
    seen: int = 0

    def strikes(self, operation: Operation) -> bool:
        if operation != self.fault.operation:
            return False
        self.seen += 1
        return self.fault.on in {None, self.seen}


class _Breaking(io.RawIOBase):
    """Gives the first half of the first part that is read, and then the error."""

    def __init__(self, source: IO[bytes], fault: Fault, *, owned: bool) -> None:
        self._source = source
        self._fault = fault
        self._owned = owned
        self._broken = False

    def readinto(self, buffer: Any) -> int:
        part = b"" if self._broken else self._source.read(len(buffer))
        self._broken = True
        if not part:
            raise self._fault.make_error()
        half = part[: (len(part) + 1) // 2]
        buffer[: len(half)] = half
        return len(half)

    def close(self) -> None:
        if self._owned:
            self._source.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return is_seekable(self._source)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()


def _around(fault: Fault | None, work: Callable[[], _T]) -> _T:
    if fault is None:
        return work()
    if fault.when == "after":
        result = work()
        if callable(close := getattr(result, "close", None)):
            close()
    raise fault.make_error()
