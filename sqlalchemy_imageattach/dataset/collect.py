"""From sources into a dataset, each picture once: what :func:`collect` does.

Threads fetch and look (:mod:`.dispatch`); the calling thread alone speaks to the database, and commits a few pictures
at a time.  So a collector that is killed has lost nothing but what was on its way, and the next one goes on where it
was: what the dataset has is not asked for again, nor is what was found to be no picture.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import inspect
from sqlalchemy.orm import Session, sessionmaker

from ..arguments import check_choice, check_range, check_type, wrong_type, wrong_value
from ..bulk.rows import sync_session
from ..errors import DatasetError, InvalidTypeError, InvalidValueError
from ..imaging import ImagePolicy
from ..remote import Fetcher, FetchPolicy
from ..search.fingerprint import hamming_distance
from ..store import Store
from .dispatch import Dispatcher
from .downloads import LONGEST_PAUSE, Download, Gone, Looker, Outcome, pause_before
from .labels import LabelledImage
from .sample import Candidate, Failure, Picture, check_uri, composed
from .sources import check_source
from .stores.database import SQLAlchemyDataset
from .stores.protocol import DatasetStore, Item

__all__ = ["Collection", "NearDuplicates", "collect"]

#: What becomes of a picture that looks like one of its label: it is taken, left out, or taken and counted.
NearDuplicates = Literal["keep", "skip", "flag"]

#: How many pictures are added in one transaction, and looked up in one statement.
_BATCH: Final = 100

#: For how many seconds a picture that has arrived may wait for others.
_PATIENCE: Final = 0.5

#: How many failures a :class:`Collection` tells one by one; the dataset remembers all.
_TOLD: Final = 1000


@dataclass(slots=True)
class Collection:
    """What :func:`collect` has done.

    :ivar added: pictures that are in the dataset now
    :ivar present: those that were there before, by label and URI
    :ivar duplicates: those whose bytes their label has already, under another URI
    :ivar alike: those that look like another one of their label: left out with ``"skip"``, counted with ``"flag"``
    :ivar known_failures: those that were found to be of no use in an earlier run, and were not asked for
    :ivar failed: those that could not be had in this run
    :ivar added_bytes: the length of what was added
    :ivar reasons: how many failed for which reason
    :ivar failures: the first 1,000 of them
    :ivar source_error: why the source ended before its end, if it did; what it had given until then was collected
    """

    added: int = 0
    present: int = 0
    duplicates: int = 0
    alike: int = 0
    known_failures: int = 0
    failed: int = 0
    added_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    source_error: Exception | None = None

    @property
    def seen(self) -> int:
        """How many candidates are done with."""
        return self.added + self.present + self.duplicates + self.known_failures + self.failed + self._left_out

    _left_out: int = field(default=0, repr=False)


def collect(
    session: Session | sessionmaker[Session] | DatasetStore,
    source: Iterable[Candidate],
    label: str | None = None,
    *,
    into: type[LabelledImage] | None = None,
    store: Store | None = None,
    fetching: FetchPolicy | None = None,
    policy: ImagePolicy | None = None,
    connections: int = 8,
    per_host: int = 2,
    attempts: int = 3,
    near_duplicates: NearDuplicates = "keep",
    distance: int = 4,
    honour_robots: bool = True,
    most: int | None = None,
    progress: Callable[[Collection], None] | None = None,
) -> Collection:
    """Afterwards the dataset has each picture of ``source`` that could be had, once for its label and URI.

    ::

        report = collect(session, from_urls(urls), "Apple", into=Fruit)
        print(report.added, "added;", report.reasons)

    A few pictures at a time are committed, in transactions of their own: commit the session before, if it has changes.
    Doing it again adds what is missing.  What may be had another time is asked for again then; what is no picture, or
    not there, is not.  ``Ctrl-C`` ends it between two transactions.

    :param session: a session, which says where the database is; or a sessionmaker; or another
       :class:`~sqlalchemy_imageattach.dataset.DatasetStore`
    :param source: candidates, as :func:`~sqlalchemy_imageattach.dataset.from_urls` and its kin give them
    :param label: of those to which the source gives none; all labels are brought into Unicode's composed form (NFC)
    :param into: the class of the rows; not for another store
    :param store: the image store of the bytes; by default the one that is found for the session
    :param fetching: what may be asked, and what an answer may cost; by default public addresses, and as many bytes as
       ``policy`` allows
    :param policy: what is accepted as a picture; by default the ``image_policy`` of the class
    :param connections: how many pictures are fetched at a time
    :param per_host: how many of them from one host
    :param attempts: how often a picture is tried in one run, with growing pauses, if it makes sense at all
    :param near_duplicates: what becomes of a picture that looks like one of its label; unless ``"keep"``, each picture
       is decoded
    :param distance: how many of 64 bits of their perceptual hashes may differ, for two pictures to look alike
    :param honour_robots: whether pictures are left out whose server sends ``X-Robots-Tag: noai`` or ``noimageai``
    :param most: how many pictures to add at most
    :param progress: is called with the report so far each time that a candidate is done with
    :raises InvalidTypeError: an argument has another type than it must have
    :raises InvalidValueError: one is out of range, or a candidate has no label; what cannot be one is a failure
    :raises StoreError: the store is full, or cannot be reached: that ends it
    """
    if label is not None:
        label = composed(label)
    for name, value, least in (("connections", connections, 1), ("per_host", per_host, 1), ("attempts", attempts, 1)):
        check_range(name, check_type(name, value, int), f"{least} or more", least)
    check_range("distance", check_type("distance", distance, int), "0 to 64 bits", 0, 64)
    check_choice("near_duplicates", near_duplicates, ("keep", "skip", "flag"))
    dataset = _dataset(session, into, store)
    accepted = policy or getattr(into, "image_policy", None) or ImagePolicy()
    asking = fetching or FetchPolicy(max_bytes=accepted.max_bytes or FetchPolicy().max_bytes)
    with Fetcher(asking, connections=connections) as fetcher:
        looker = Looker(fetcher, accepted, hashes=near_duplicates != "keep", honour_robots=honour_robots)
        with Dispatcher(looker.take, connections, per_host) as dispatcher:
            work = _Work(
                dataset, check_source(source), dispatcher, label, attempts, near_duplicates, distance, most, progress
            )
            work.run(connections)
    return work.report


class _Work:
    """A run of the collector: what waits, what is on its way, and what was done."""

    def __init__(
        self,
        dataset: DatasetStore,
        source: Iterator[Candidate],
        dispatcher: Dispatcher,
        label: str | None,
        attempts: int,
        near_duplicates: NearDuplicates,
        distance: int,
        most: int | None,
        progress: Callable[[Collection], None] | None,
    ) -> None:
        self.report = Collection()
        self._dataset = dataset
        self._source: Iterator[Candidate] | None = source
        self._dispatcher = dispatcher
        self._label = label
        self._attempts = attempts
        self._near_duplicates = near_duplicates
        self._distance = distance
        self._most = most
        self._progress = progress
        self._draw = random.Random()
        #: What has to wait, with the moment until which.
        self._resting: list[tuple[float, int, Download]] = []
        self._keys: set[tuple[str, str]] = set()
        self._number = 0
        #: What is looked at, and not in the dataset yet.
        self._arrived: list[tuple[Download, Outcome]] = []
        #: What could not be had, and is not noted yet.
        self._failed: list[Failure] = []
        self._next_commit = 0.0

    def run(self, connections: int) -> None:
        while True:
            if self._is_enough:
                self._source = None
                self._dispatcher.drop()
                self._resting.clear()
            self._wake()
            if self._dispatcher.waiting < 5 * connections:
                self._read(20 * connections)
            if self._dispatcher.is_idle:
                self._keep()
                if not self._resting:
                    return
                time.sleep(max(0.0, self._resting[0][0] - time.monotonic()))
                continue
            for outcome in self._dispatcher.take(self._pause):
                self._settle(outcome)
            if self._to_keep >= _BATCH or (self._to_keep and time.monotonic() >= self._next_commit):
                self._keep()

    @property
    def _to_keep(self) -> int:
        return len(self._arrived) + len(self._failed)

    @property
    def _pause(self) -> float | None:
        """For how many seconds there is nothing to do unless something arrives."""
        moments = [self._resting[0][0]] if self._resting else []
        if self._to_keep:
            moments.append(self._next_commit)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    @property
    def _is_enough(self) -> bool:
        return self._most is not None and self.report.added >= self._most

    def _read(self, ahead: int) -> None:
        """Take candidates from the source, until enough wait for their turn."""
        read: list[Candidate] = []
        while self._source is not None and self._has_room(len(read), ahead):
            try:
                candidate = next(self._source)
            except StopIteration:
                self._source = None
            except Exception as error:  # whatever a source may raise: what it gave before is collected
                self._source, self.report.source_error = None, error
            else:
                read.append(candidate)
                if len(read) == _BATCH:
                    self._consider(read)
                    read = []
        self._consider(read)

    def _has_room(self, read: int, ahead: int) -> bool:
        # a host that is out of order must not make all of a long list be read
        return self._dispatcher.waiting + read < ahead and len(self._resting) < 50 * ahead

    def _consider(self, candidates: Sequence[Candidate]) -> None:
        """Queue those of which nothing is known that settles them."""
        pairs: dict[tuple[str, str], Candidate] = {}
        for candidate in candidates:
            pair = self._pair_of(candidate)
            if pair is not None and (pair in pairs or pair in self._keys):
                self.report.present += 1
                self._tell()
            elif pair is not None:
                pairs[pair] = candidate
        known = self._dataset.look_up(list(pairs)) if pairs else {}
        for pair, candidate in pairs.items():
            failure = known.get(pair)
            if pair in known and (failure is None or failure.is_final):
                self.report.present += failure is None
                self.report.known_failures += failure is not None
                self._tell()
            else:
                self._keys.add(pair)
                self._dispatcher.put(Download(pair[0], candidate, failure.attempts if failure else 0))

    def _pair_of(self, candidate: Candidate) -> tuple[str, str] | None:
        """Its label and URI; ``None`` if it cannot have them, which is told, and not remembered."""
        label = candidate.label if candidate.label is not None else self._label
        if label is None:
            raise wrong_value("label", None, "the label of each candidate, or one for all", "give label=")
        reason = "bad-label"
        try:
            checked = composed(label)
            reason = "bad-uri"
            return checked, check_uri(candidate.uri)
        except (InvalidTypeError, InvalidValueError) as error:
            self._count_failure(Failure(str(label), str(candidate.uri), reason, str(error)))
            return None

    def _wake(self) -> None:
        while self._resting and self._resting[0][0] <= time.monotonic():
            self._dispatcher.put(heapq.heappop(self._resting)[2])

    def _settle(self, outcome: Outcome) -> None:
        download = outcome.download.once_more()
        if outcome.gone is not None and self._rest(download, outcome.gone):
            return
        if not self._arrived and not self._failed:
            self._next_commit = time.monotonic() + _PATIENCE
        if outcome.gone is None:
            self._arrived.append((download, outcome))
        else:
            self._fail(download, outcome.gone)

    def _rest(self, download: Download, gone: Gone) -> bool:
        """Whether it will be tried again in this run."""
        if gone.is_final or download.tries >= self._attempts:
            return False
        pause = pause_before(download.tries, gone, self._draw)
        if pause > LONGEST_PAUSE:
            return False
        self._number += 1  # downloads cannot be compared
        heapq.heappush(self._resting, (time.monotonic() + pause, self._number, download))
        return True

    def _fail(self, download: Download, gone: Gone) -> None:
        failure = Failure(
            download.label, download.candidate.uri, gone.reason, gone.detail, download.attempts, gone.is_final
        )
        self._failed.append(failure)
        self._count_failure(failure)

    def _count_failure(self, failure: Failure) -> None:
        self.report.failed += 1
        self.report.reasons[failure.reason] += 1
        if len(self.report.failures) < _TOLD:
            self.report.failures.append(failure)
        self._tell()

    def _keep(self) -> None:
        """Add what has arrived, all in one transaction, and note what could not be had."""
        arrived, self._arrived = self._arrived, []
        failed, self._failed = self._failed, []
        if failed:
            self._dataset.note_many(failed)
        if self._most is not None:
            arrived = arrived[: max(0, self._most - self.report.added)]
        items = self._wanted(arrived)
        for item, is_new in zip(items, self._dataset.add_many(items) if items else [], strict=True):
            self.report.added += is_new
            self.report.present += not is_new
            self.report.added_bytes += item.picture.content.byte_size if is_new else 0
            self._tell()
        self._keys.difference_update((download.label, download.candidate.uri) for download, _ in arrived)
        self._keys.difference_update((failure.label, failure.uri) for failure in failed)

    def _wanted(self, arrived: Sequence[tuple[Download, Outcome]]) -> list[Item]:
        """What is no duplicate, neither of what is there nor of what comes with it."""
        sums: dict[str, set[str]] = {}
        for download, outcome in arrived:
            sums.setdefault(download.label, set()).add(outcome.checksum)
        known = {label: self._dataset.has_content(label, found) for label, found in sums.items()}
        wanted: list[Item] = []
        for download, outcome in arrived:
            assert outcome.picture is not None, "an outcome is a picture or the reason why there is none"
            label = download.label
            if outcome.checksum in known[label]:
                self.report.duplicates += 1
                self._tell()
            elif self._is_welcome(label, outcome.picture, wanted):
                known[label].add(outcome.checksum)
                wanted.append(Item(label, download.candidate.uri, outcome.picture, outcome.provenance))
            else:
                self._tell()
        return wanted

    def _is_welcome(self, label: str, picture: Picture, wanted: Sequence[Item]) -> bool:
        """Whether it is taken even though it may look like another one."""
        if picture.likeness is None:
            return True
        alike = any(
            item.label == label
            and item.picture.likeness is not None
            and hamming_distance(item.picture.likeness, picture.likeness) <= self._distance
            for item in wanted
        )
        if not alike and not self._dataset.has_alike(label, picture.likeness, self._distance):
            return True
        self.report.alike += 1
        self.report._left_out += self._near_duplicates == "skip"
        return self._near_duplicates != "skip"

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.report)


def _dataset(session: Any, into: type[LabelledImage] | None, store: Store | None) -> DatasetStore:
    if isinstance(session, sessionmaker):
        return SQLAlchemyDataset(session, _required(into), store)
    if hasattr(session, "add") and hasattr(session, "note") and hasattr(session, "random"):
        if into is not None or store is not None:
            raise wrong_type("into", into, "no class and no image store, as the dataset has its own")
        return session  # type: ignore[no-any-return]
    found = sync_session(session)
    cls = _required(into)
    if found.new or found.dirty or found.deleted:
        raise DatasetError("the session has changes that are not committed: commit or roll back before collecting")
    maker = sessionmaker(found.get_bind(mapper=inspect(cls)), info=dict(found.info))
    return SQLAlchemyDataset(maker, cls, store)


def _required(into: type[LabelledImage] | None) -> type[LabelledImage]:
    if into is None:
        raise wrong_type("into", into, "the class of the rows", "into=Fruit")
    return into
