"""What one transaction, or one savepoint, did to stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import ref as weakref

from sqlalchemy import inspect
from sqlalchemy.engine import Connection, Transaction

from ...errors import BlobExistsError, StoreError
from ...key import ImageKey
from ...spool import Spool
from ...store import Store, are_same_place, key_of
from .locations import Locations
from .pending import Content, blob_state

__all__ = ["BlobRef", "Frame", "Write", "innermost"]


@dataclass(frozen=True, slots=True, eq=False)
class BlobRef:
    """One blob in one store."""

    store: Store
    key: ImageKey

    @classmethod
    def of(cls, store: Store, key: ImageKey) -> BlobRef:
        """Normalised, so that two references that are the same to the store are equal."""
        return cls(store, store.own_key(key))

    @property
    def is_immutable(self) -> bool:
        return self.key.revision is not None

    def __eq__(self, other: object) -> bool:
        # two store objects may be one and the same place
        return isinstance(other, BlobRef) and self.key == other.key and are_same_place(self.store, other.store)

    def __hash__(self) -> int:
        return hash(self.key)


class Write:
    """A blob that a flush has to write, or has written."""

    def __init__(self, image: Any, blob: BlobRef, content: Content) -> None:
        # weak: a transaction that attaches a thousand pictures must not keep them all in memory to its end
        self._image = weakref(image)
        self._content: Content | None = content
        self._reproducible = not image.original
        self._former_store: Store | None = None
        self._forget: Callable[[], object] = lambda: None
        #: Of a place that is written more than once: what it held before, once that is known.
        self._former: Spool | None = None
        self._knows_former = blob.is_immutable
        self._is_of_another = False
        self.blob = blob

    @property
    def image(self) -> Any:
        """The image, or ``None`` when it has been garbage-collected."""
        return self._image()

    def continue_from(self, earlier: Write) -> None:
        """Undoing this is to bring back what was there before ``earlier``."""
        self._former, self._knows_former = earlier._former, earlier._knows_former

    def perform(self) -> None:
        assert self._content is not None
        if not self._knows_former:
            self._former, self._knows_former = _read_if_there(self.blob), True
        try:
            with self._content.open() as file:
                self.blob.store.put(self.blob.key, file, reproducible=self._reproducible)
        except BlobExistsError:
            self._is_of_another = True
            raise

    def undo(self) -> None:
        """Delete the blob, or bring back what its place held before, where places are written more than once."""
        if self._is_of_another or not self._knows_former:
            return  # then nothing was written over it either
        if self._former is None:
            self.blob.store.delete_key(self.blob.key)
            return
        with self._former.open() as file:
            self.blob.store.put(self.blob.key, file, reproducible=self._reproducible)

    def was_performed(self, locations: Locations) -> None:
        self._content = None
        if (image := self.image) is not None:
            state = blob_state(image)
            self._former_store, state.stored_in = state.stored_in, self.blob.store
            key = key_of(image)
            former = locations.remember(key, self.blob.store)
            locations.accompany(inspect(image))
            self._forget = partial(locations.remember, key, former)

    def was_rolled_back(self) -> None:
        self._forget()
        if (image := self.image) is not None:
            blob_state(image).stored_in = self._former_store

    def was_committed(self) -> None:
        if (image := self.image) is not None:
            state = blob_state(image)
            state.pending = state.made_from = None


@dataclass(slots=True)
class Frame:
    """What one transaction, or one savepoint, did to stores, and what is to follow it."""

    created: dict[BlobRef, Write] = field(default_factory=dict)
    #: With the stores besides that may have the blob, where it is not known for certain.
    superseded: dict[BlobRef, Sequence[Store]] = field(default_factory=dict)
    #: The pictures of which an original went away, by class and set identity.
    lost_originals: dict[tuple[Any, ...], Connection] = field(default_factory=dict)
    #: The rows that this transaction has locked and found as expected: ``(table, primary key)``.
    claimed: set[tuple[Any, ...]] = field(default_factory=set)
    #: The transactions or savepoints of connections that the rows belong to.
    scopes: dict[Connection, Transaction | None] = field(default_factory=dict)
    #: What is to be called once the root transaction has committed, in this order.
    calls: list[Callable[[], object]] = field(default_factory=list)
    committed: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the rows may be committed yet: their transaction was begun, and is to be ended, by somebody else."""
        return any(scope is not None and scope.is_active for scope in self.scopes.values())

    def create(self, write: Write) -> None:
        self.superseded.pop(write.blob, None)
        if earlier := self.created.get(write.blob):
            write.continue_from(earlier)
        self.created[write.blob] = write

    def supersede(self, blob: BlobRef, others: Sequence[Store] = ()) -> None:
        self.superseded[blob] = others

    def absorb(self, released: Frame) -> None:
        """Take over what a released savepoint did after all that stands here."""
        for write in released.created.values():
            self.create(write)
        self.superseded.update(released.superseded)
        self.lost_originals |= released.lost_originals
        self.claimed |= released.claimed
        self.calls += released.calls
        for connection in released.scopes:
            self.scopes.setdefault(connection, innermost(connection))


def innermost(connection: Connection) -> Transaction | None:
    return connection.get_nested_transaction() or connection.get_transaction()


def _read_if_there(blob: BlobRef) -> Spool | None:
    try:
        file = blob.store.get(blob.key)
    except FileNotFoundError:
        return None
    except OSError as error:
        # all that 1.x asked of stores was some IOError; but what merely cannot be read now must not be written over
        if error.errno is not None or isinstance(error, StoreError):
            raise
        return None
    except Exception as error:
        msg = (
            f"get_file() of {blob.store!r} raised {type(error).__name__} ({error}) for a blob that may be missing; a"
            " store says so by an OSError, best by BlobNotFoundError: change it there"
        )
        raise StoreError(msg) from error
    with file:
        return Spool.read_from(file)
