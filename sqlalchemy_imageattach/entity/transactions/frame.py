"""What one transaction, or one savepoint, did to stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import ref as weakref

from sqlalchemy.engine import Connection, Transaction
from sqlalchemy.orm.attributes import instance_state

from ...errors import BlobExistsError, ImageIdentityError, StoreError
from ...key import ImageKey
from ...spool import Spool
from ...store import Store, are_same_place, targets_of
from ...uploads.quarantine import QuarantinedFile, UploadedContent, used
from .locations import Locations
from .pending import Content, blob_state

__all__ = ["BlobRef", "Claim", "Frame", "Write", "innermost", "require_a_blob_for_each"]


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
    def places(self) -> list[BlobRef]:
        """The same in each single store that is written for it."""
        targets = targets_of(self.store)
        return [self] if targets[0] is self.store else [BlobRef.of(target, self.key) for target in targets]

    @property
    def shared_places(self) -> list[BlobRef]:
        """Those of its places that other pictures have had, and may get."""
        return [place for place in self.places if place.key.revision is None]

    @property
    def is_immutable(self) -> bool:
        """Whether no other picture ever has one of its places."""
        return not self.shared_places

    def __eq__(self, other: object) -> bool:
        # two store objects may be one and the same place
        return isinstance(other, BlobRef) and self.key == other.key and are_same_place(self.store, other.store)

    def __hash__(self) -> int:
        return hash(self.key)


class Write:
    """A blob that a flush has to write, or has written."""

    def __init__(self, image: Any, store: Store, key: ImageKey, content: Content) -> None:
        # weak: a transaction that attaches a thousand pictures must not keep them all in memory to its end
        self._image = weakref(image)
        self._content: Content | None = content
        self._reproducible = not image.original
        self._former_store: Store | None = None
        self._forget: Callable[[], object] = lambda: None
        #: Of places that are written more than once: what they held before, once that is known.
        self._former: dict[BlobRef, Spool | None] = {}
        self._is_of_another = False
        self._key = key
        self.blob = BlobRef.of(store, key)

    @property
    def image(self) -> Any:
        """The image, or ``None`` when it has been garbage-collected."""
        return self._image()

    def continue_from(self, earlier: Write, place: BlobRef) -> None:
        """Undoing this, and not ``earlier``, is to bring back what ``place`` held before."""
        if place in earlier._former:
            self._former[place] = earlier._former.pop(place)

    def perform(self) -> None:
        assert self._content is not None
        for place in self.blob.shared_places:
            if place not in self._former:
                self._former[place] = _read_if_there(place)
        try:
            self._put(self._content)
        except BlobExistsError:
            self._is_of_another = True
            raise

    def _put(self, content: Content) -> None:
        store, key, reproducible = self.blob.store, self.blob.key, self._reproducible
        if isinstance(content, UploadedContent) and content.copy_into(store, key, reproducible=reproducible):
            return
        with content.open() as file:
            store.put(key, file, reproducible=reproducible)

    def undo(self) -> None:
        """Delete the blob, or bring back what its places held before, where they are written more than once."""
        places = [self.blob] if self.blob.is_immutable else self.blob.places
        if self._is_of_another and len(places) == 1:
            return  # then nothing was written over it either
        with ExitStack() as others:  # which have their turn whether or not one fails
            for place in places:
                others.callback(self._undo_in, place)

    def _undo_in(self, place: BlobRef) -> None:
        if not place.is_immutable and place not in self._former:
            return  # then nothing was written over, or a later write is to bring it back
        if (former := self._former.get(place)) is not None:
            with former.open() as file:
                place.store.put(place.key, file, reproducible=self._reproducible)
        elif not (self._is_of_another and place.is_immutable):
            place.store.delete_key(place.key)

    def was_performed(self, locations: Locations) -> None:
        self._content = None
        if (image := self.image) is not None:
            state = blob_state(image)
            self._former_store, state.stored_in = state.stored_in, self.blob.store
            former = locations.remember(self._key, self.blob.store)
            locations.accompany(instance_state(image))
            self._forget = partial(locations.remember, self._key, former)

    def was_rolled_back(self) -> None:
        self._forget()
        if (image := self.image) is not None:
            blob_state(image).stored_in = self._former_store

    def was_committed(self) -> None:
        if (image := self.image) is not None:
            state = blob_state(image)
            state.pending = state.made_from = None


class Claim(Write):
    """The mark that an upload was used, which a flush has to make, or has made."""

    def __init__(self, image: Any, upload: QuarantinedFile) -> None:
        super().__init__(image, upload.store, upload.mark, Spool.of(b""))
        self._upload = upload

    def perform(self) -> None:
        try:
            self._upload.claim()
        except BlobExistsError as error:
            self._is_of_another = True
            raise used() from error

    def undo(self) -> None:
        if not self._is_of_another:
            self.blob.store.delete_key(self.blob.key)

    def was_performed(self, locations: Locations) -> None:
        """No image has it as its blob."""

    def was_rolled_back(self) -> None:
        """No image has it as its blob."""

    def was_committed(self) -> None:
        """No image has it as its blob."""


def require_a_blob_for_each(writes: Sequence[Write]) -> None:
    """No two images of one flush would be written over each other, as in a store that takes no revision.

    :raises ImageIdentityError: two would
    """
    by_blob: dict[BlobRef, Write] = {}
    for write in writes:
        if by_blob.setdefault(write.blob, write) is not write:
            raise ImageIdentityError(
                f"expected a blob for each image, got {write.blob.key} twice in one flush: {write.blob.store!r} takes"
                " no revision, so it has one blob for each size and type of a picture"
            )


@dataclass(slots=True)
class Frame:
    """What one transaction, or one savepoint, did to stores, and what is to follow it."""

    created: dict[BlobRef, Write] = field(default_factory=dict)
    #: The last of them in each place that is written more than once.
    latest: dict[BlobRef, Write] = field(default_factory=dict)
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
        for place in write.blob.shared_places:
            if earlier := self.latest.get(place):
                write.continue_from(earlier, place)
            self.latest[place] = write
        self.created[write.blob] = write

    def forget(self, write: Write) -> None:
        """It is undone, and with it what it continued from."""
        for place in write.blob.shared_places:
            if self.latest.get(place) is write:
                del self.latest[place]

    def places_in_use(self, blob: BlobRef) -> list[BlobRef]:
        """The places of ``blob`` that have a picture by now that is to stay."""
        return [
            place
            for place in blob.shared_places
            if (write := self.latest.get(place)) is not None and write.blob not in self.superseded
        ]

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
        raise StoreError(
            f"get_file() of {blob.store!r} raised {type(error).__name__} ({error}) for a blob that may be missing; a"
            " store says so by an OSError, best by BlobNotFoundError: change it there"
        ) from error
    with file:
        return Spool.read_from(file)
