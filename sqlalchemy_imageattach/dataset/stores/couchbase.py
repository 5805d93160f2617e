"""A dataset in a collection of Couchbase, by operations on single keys alone.

No query and no index is needed: what must be unique is the key of an ``insert()``, and the server decides who is first.

========================  ==========================================================================================
document                  what it has
========================  ==========================================================================================
``img:<key>``             a picture's record; the key is the SHA-256 of its label and URI
``pic:<key>:<checksum>``  its bytes, as a binary document
``slot:<label>:<n>``      the key of the picture with the number *n* of its label
``next:<label>``          how many numbers were given: a counter
``count:<label>``         how many pictures there are: a counter
``sum:<label>:<sum>``     the key of a picture of the label with these bytes
``fail:<key>``            why a picture could not be had
``list:<name>:<n>``       what was put on a list: ``labels``, ``failures``
========================  ==========================================================================================

A label is the first 32 digits of its SHA-256 there, since keys may have 250 bytes at most.

**Several documents are no transaction.**  They are written in such an order that a process that is killed in between
leaves no record without its bytes, and no picture that cannot be reached; what it may leave are numbers without a
picture, which :meth:`~CouchbaseDataset.random` draws again, bytes without a record, and a count that is short by one.
:meth:`CouchbaseDataset.repair` finds them all.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from ...errors import BlobNotFoundError, DatasetError, StoreError
from ...extras import needs_extra
from ..sample import Failure, Picture, Provenance, Sample, source_key
from .protocol import Item

if TYPE_CHECKING:
    from couchbase.collection import Collection as CouchbaseCollection

__all__ = ["CouchbaseDataset"]

_DRAWS = 50

#: Of the records that are written here.
_VERSION = 1

#: What a document of Couchbase can have, in bytes.
LONGEST = 20 * 2**20


class CouchbaseDataset:
    """Keeps a dataset in a collection of Couchbase: ``pip install 'SQLAlchemy-ImageAttach[couchbase]'``.

    ::

        cluster = Cluster.connect("couchbase://localhost", ClusterOptions(PasswordAuthenticator(name, password)))
        collection = cluster.bucket("images").scope("image").collection("labelled_image")
        collect(CouchbaseDataset(collection), from_urls(urls), "Apple")

    Threads and processes can work on one dataset at once.  It cannot look for near duplicates.

    :param collection: of Couchbase's SDK
    :param prefix: what the keys of all documents begin with, so that a collection can have several datasets
    :raises MissingExtraError: Couchbase's SDK is not installed
    """

    def __init__(self, collection: CouchbaseCollection, *, prefix: str = "") -> None:
        with needs_extra("couchbase", "CouchbaseDataset needs Couchbase's SDK"):
            from couchbase.transcoder import RawBinaryTranscoder
        self._collection = collection
        self._prefix = prefix
        self._binary = RawBinaryTranscoder()

    # --- the protocol ------------------------------------------------------------------------------------------------

    def add(self, label: str, uri: str, picture: Picture, provenance: Provenance) -> bool:
        if picture.content.byte_size > LONGEST:
            msg = f"expected a picture of at most {LONGEST} bytes, which is what Couchbase takes; {uri!r} has more"
            raise StoreError(msg)
        key, checksum = source_key(label, uri), picture.content.checksum
        with _errors("add", uri):
            if self._find(f"img:{key}") is not None:
                return False
            self._enlist("labels", label)
            bytes_at = f"pic:{key}:{checksum}"
            with picture.content.open() as file:
                self._collection.upsert(self._name(bytes_at), file.read(), transcoder=self._binary)
            slot = self._next(_of(label))
            self._collection.insert(self._name(f"slot:{_of(label)}:{slot}"), key)
            if not self._insert(f"img:{key}", _record(label, uri, picture, provenance, slot)):
                return self._lose(label, slot, key, checksum)
            self._collection.upsert(self._name(f"sum:{_of(label)}:{checksum}"), key)
            self._change(f"count:{_of(label)}", 1)
            self._forget(f"fail:{key}")
        return True

    def add_many(self, items: Sequence[Item]) -> list[bool]:
        return [self.add(*item) for item in items]

    def look_up(self, pictures: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure | None]:
        there = {pair for pair in pictures if self.has(*pair)}
        failed = {pair: found for pair in pictures if pair not in there and (found := self.failure(*pair))}
        return dict.fromkeys(there) | failed

    def get(self, label: str, uri: str) -> Sample | None:
        with _errors("get", uri):
            found = self._find(f"img:{source_key(label, uri)}")
        return None if found is None else self._sample(found)

    def has(self, label: str, uri: str) -> bool:
        with _errors("get", uri):
            return bool(self._collection.exists(self._name(f"img:{source_key(label, uri)}")).exists)

    def remove(self, label: str, uri: str) -> bool:
        key = source_key(label, uri)
        with _errors("remove", uri):
            found = self._find(f"img:{key}")
            if found is None or not self._forget(f"img:{key}"):
                return False
            checksum = found["checksum"]
            self._forget(f"slot:{_of(label)}:{found['slot']}")
            self._forget(f"pic:{key}:{checksum}")
            if self._find(f"sum:{_of(label)}:{checksum}") == key:
                self._forget(f"sum:{_of(label)}:{checksum}")
            self._change(f"count:{_of(label)}", -1)
        return True

    def count(self, label: str) -> int:
        with _errors("count", label):
            return int(self._find(f"count:{_of(label)}") or 0)

    def labels(self) -> Mapping[str, int]:
        counted = {label: self.count(label) for label in sorted(set(self._listed("labels")))}
        return {label: total for label, total in counted.items() if total}

    def random(self, label: str, source: random.Random | None = None) -> Sample | None:
        draw = source or random
        with _errors("get", label):
            slots = int(self._find(f"next:{_of(label)}") or 0)
            for _ in range(min(_DRAWS, 4 * slots)):
                found = self._at(label, draw.randrange(slots))
                if found is not None:
                    return self._sample(found)
        # nearly all were removed
        left = list(self._numbers(label))
        found = self._at(label, draw.choice(left)) if left else None
        return None if found is None else self._sample(found)

    def iterate(self, label: str | None = None) -> Iterator[Sample]:
        for each in [label] if label is not None else sorted(set(self._listed("labels"))):
            for number in self._numbers(each):
                with _errors("get", each):
                    found = self._at(each, number)
                if found is not None:
                    yield self._sample(found)

    def has_content(self, label: str, checksums: Collection[str]) -> set[str]:
        with _errors("get", label):
            keys = {checksum: self._find(f"sum:{_of(label)}:{checksum}") for checksum in checksums}
            return {checksum for checksum, key in keys.items() if key and self._find(f"img:{key}") is not None}

    def has_alike(self, label: str, likeness: int, distance: int) -> bool:
        msg = "a dataset in Couchbase cannot look for near duplicates: collect with near_duplicates='keep'"
        raise DatasetError(msg)

    def failure(self, label: str, uri: str) -> Failure | None:
        with _errors("get", uri):
            found = self._find(f"fail:{source_key(label, uri)}")
        return None if found is None else Failure(**found)

    def note(self, failure: Failure) -> None:
        key = source_key(failure.label, failure.uri)
        with _errors("note", failure.uri):
            if not self._insert(f"fail:{key}", asdict(failure)):
                self._collection.upsert(self._name(f"fail:{key}"), asdict(failure))
            else:
                self._append("failures", key)

    def note_many(self, failures: Sequence[Failure]) -> None:
        for failure in failures:
            self.note(failure)

    def failures(self, label: str | None = None) -> Iterator[Failure]:
        told = set()
        for key in self._listed("failures"):
            with _errors("get", key):
                found = self._find(f"fail:{key}")
            if found is not None and key not in told and label in {None, found["label"]}:
                told.add(key)
                yield Failure(**found)

    # --- after a crash -----------------------------------------------------------------------------------------------

    def repair(self) -> int:
        """Afterwards counts are right, and no number of a label stands for a picture that is not there.

        Run it while nobody adds or removes, such as after a collector was killed.

        :return: how many documents were wrong
        """
        return sum(map(self._repair, sorted(set(self._listed("labels")))))

    def _repair(self, label: str) -> int:
        mended = total = 0
        with _errors("repair", label):
            for slot in range(int(self._find(f"next:{_of(label)}") or 0)):
                if (key := self._find(f"slot:{_of(label)}:{slot}")) is None:
                    continue
                found = self._find(f"img:{key}")
                if found is None or found["slot"] != slot:
                    mended += self._forget(f"slot:{_of(label)}:{slot}")
                    continue
                total += 1
                if self._insert(f"sum:{_of(label)}:{found['checksum']}", key):
                    mended += 1
            if int(self._find(f"count:{_of(label)}") or 0) != total:
                self._collection.upsert(self._name(f"count:{_of(label)}"), total)
                mended += 1
        return mended

    # --- single documents --------------------------------------------------------------------------------------------

    def _name(self, name: str) -> str:
        return self._prefix + name

    def _find(self, name: str) -> Any:
        from couchbase.exceptions import DocumentNotFoundException

        with suppress(DocumentNotFoundException):
            return self._collection.get(self._name(name)).value
        return None

    def _insert(self, name: str, value: Any) -> bool:
        from couchbase.exceptions import DocumentExistsException

        try:
            self._collection.insert(self._name(name), value)
        except DocumentExistsException:
            return False
        return True

    def _forget(self, name: str) -> bool:
        from couchbase.exceptions import DocumentNotFoundException

        try:
            self._collection.remove(self._name(name))
        except DocumentNotFoundException:
            return False
        return True

    def _lose(self, label: str, slot: int, key: str, checksum: str) -> bool:
        """Somebody else was first: take back what was written for it."""
        self._forget(f"slot:{_of(label)}:{slot}")
        winner = self._find(f"img:{key}")
        if winner is not None and winner["checksum"] != checksum:
            self._forget(f"pic:{key}:{checksum}")
        return False

    def _change(self, name: str, by: int) -> int:
        """Count, and give the number after it."""
        from couchbase.options import DecrementOptions, DeltaValue, IncrementOptions, SignedInt64

        counters = self._collection.binary()
        if by > 0:
            options = IncrementOptions(initial=SignedInt64(by), delta=DeltaValue(by))
            return int(counters.increment(self._name(name), options).content)
        down = DecrementOptions(initial=SignedInt64(0), delta=DeltaValue(-by))
        return int(counters.decrement(self._name(name), down).content)

    def _next(self, name: str) -> int:
        return self._change(f"next:{name}", 1) - 1

    def _enlist(self, name: str, value: str) -> None:
        """Put ``value`` on a list, once."""
        if self._find(f"listed:{name}:{_of(value)}") is None:
            self._append(name, value)
            self._insert(f"listed:{name}:{_of(value)}", True)

    def _append(self, name: str, value: str) -> None:
        self._collection.insert(self._name(f"list:{name}:{self._next(f'list:{name}')}"), value)

    def _listed(self, name: str) -> Iterator[str]:
        with _errors("get", name):
            end = int(self._find(f"next:list:{name}") or 0)
        for number in range(end):
            with _errors("get", name):
                found = self._find(f"list:{name}:{number}")
            if found is not None:
                yield found

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _numbers(self, label: str) -> Iterator[int]:
        """The numbers of a label that stand for pictures."""
        with _errors("get", label):
            end = int(self._find(f"next:{_of(label)}") or 0)
        for slot in range(end):
            with _errors("get", label):
                if self._at(label, slot) is not None:
                    yield slot

    def _at(self, label: str, slot: int) -> Any:
        key = self._find(f"slot:{_of(label)}:{slot}")
        found = None if key is None else self._find(f"img:{key}")
        return found if found is not None and found["slot"] == slot else None

    def _sample(self, found: Any) -> Sample:
        if found.get("version") != _VERSION:
            raise DatasetError(
                f"expected a record of version {_VERSION}, got version {found.get('version')!r}: this dataset was made"
                " by another version of SQLAlchemy-ImageAttach; read it by that one, or collect into another prefix"
            )
        provenance = dict(found["provenance"])
        if provenance["fetched_at"] is not None:
            provenance["fetched_at"] = datetime.fromisoformat(provenance["fetched_at"])
        key = source_key(found["label"], found["uri"])
        return Sample(
            found["label"],
            found["uri"],
            found["mimetype"],
            (found["width"], found["height"]),
            found["checksum"],
            Provenance(**provenance),
            partial(self._open, f"pic:{key}:{found['checksum']}"),
        )

    def _open(self, name: str) -> IO[bytes]:
        from couchbase.exceptions import DocumentNotFoundException

        with _errors("get", name):
            try:
                found = self._collection.get(self._name(name), transcoder=self._binary)
            except DocumentNotFoundException as error:
                raise BlobNotFoundError(f"no such picture: {name}") from error
        return io.BytesIO(found.value)


def _record(label: str, uri: str, picture: Picture, provenance: Provenance, slot: int) -> dict[str, Any]:
    known = asdict(provenance)
    if provenance.fetched_at is not None:
        known["fetched_at"] = provenance.fetched_at.isoformat()
    width, height = picture.size
    return {
        "type": "image",
        "version": _VERSION,
        "label": label,
        "uri": uri,
        "mimetype": picture.mimetype,
        "width": width,
        "height": height,
        "checksum": picture.content.checksum,
        "likeness": picture.likeness,
        "provenance": known,
        "slot": slot,
    }


def _of(label: str) -> str:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@contextmanager
def _errors(doing: str, what: str) -> Iterator[None]:
    from couchbase.exceptions import CouchbaseException

    try:
        yield
    except CouchbaseException as error:
        raise StoreError(f"Couchbase could not {doing} {what!r} ({type(error).__name__})") from error
