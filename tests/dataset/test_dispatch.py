"""Threads that take what may be asked for: hosts in turn, and not far ahead of who takes the results."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from sqlalchemy_imageattach.dataset.dispatch import Dispatcher
from sqlalchemy_imageattach.dataset.downloads import Download, Gone, Outcome
from sqlalchemy_imageattach.dataset.sample import Candidate, host_of

GONE = Gone("empty", "there is nothing", is_final=True)


def download(uri: str) -> Download:
    return Download("Apple", Candidate(uri))


def all_of(dispatcher: Dispatcher) -> list[str]:
    taken: list[str] = []
    while not dispatcher.is_idle:
        taken += [outcome.download.candidate.uri for outcome in dispatcher.take(None)]
    return taken


class Looking:
    """Counts how many of each host are looked at at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.at_once = 0
        self.seen: list[str] = []

    def __call__(self, download: Download) -> Outcome:
        host = host_of(download.candidate.uri)
        with self._lock:
            self.seen.append(download.candidate.uri)
            self._now[host] += 1
            self.most[host] = max(self.most[host], self._now[host])
            self.at_once = max(self.at_once, sum(self._now.values()))
        time.sleep(0.001)
        with self._lock:
            self._now[host] -= 1
        return Outcome(download, gone=GONE)


def test_each_is_looked_at_once_and_hosts_are_asked_by_so_many_and_no_more() -> None:
    looking = Looking()
    uris = [f"https://{host}.example/{number}" for host in "abc" for number in range(40)]
    with Dispatcher(looking, 12, 2) as dispatcher:
        for uri in uris:
            dispatcher.put(download(uri))
        assert sorted(all_of(dispatcher)) == sorted(uris)
    assert set(looking.most.values()) == {2}
    assert looking.at_once == 6


def test_a_host_with_much_does_not_keep_the_others_waiting() -> None:
    looking = Looking()
    dispatcher = Dispatcher(looking, 1, 1)
    for number in range(50):
        dispatcher.put(download(f"https://large.example/{number}"))
    dispatcher.put(download("https://small.example/1"))
    with dispatcher:
        all_of(dispatcher)
    assert looking.seen.index("https://small.example/1") == 1


def test_files_have_no_host_and_no_limit() -> None:
    meeting = threading.Barrier(5, timeout=60)

    def look(download: Download) -> Outcome:
        meeting.wait()
        return Outcome(download, gone=GONE)

    with Dispatcher(look, 5, 1) as dispatcher:
        for number in range(10):
            dispatcher.put(download(f"/pictures/{number}.png"))
        assert len(all_of(dispatcher)) == 10


def test_nothing_is_looked_at_far_ahead_of_who_takes_it() -> None:
    looking = Looking()
    with Dispatcher(looking, 2, 2) as dispatcher:
        for number in range(100):
            dispatcher.put(download(f"https://a.example/{number}"))
        seen = -1
        while seen != len(looking.seen):
            seen = len(looking.seen)
            time.sleep(0.2)
        assert 8 <= seen <= 10
        assert len(all_of(dispatcher)) == 100


def test_an_error_of_a_thread_is_raised_to_who_takes_and_the_threads_end() -> None:
    def look(download: Download) -> Outcome:
        raise OSError(28, "No space left on device")

    with Dispatcher(look, 2, 2) as dispatcher:
        for number in range(9):
            dispatcher.put(download(f"https://a.example/{number}"))
        with pytest.raises(OSError, match="No space left"):
            all_of(dispatcher)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imageattach-collect")]


def test_what_was_dropped_is_not_looked_at_and_what_is_put_later_is() -> None:
    looking = Looking()
    dispatcher = Dispatcher(looking, 2, 1)
    for number in range(9):
        dispatcher.put(download(f"https://a.example/{number}"))
    dispatcher.drop()
    with dispatcher:
        assert dispatcher.is_idle
        assert dispatcher.take(None) == []
        dispatcher.put(download("https://a.example/later"))
        assert all_of(dispatcher) == ["https://a.example/later"]
    assert looking.seen == ["https://a.example/later"]


def test_waiting_for_results_ends_in_time() -> None:
    release = threading.Event()

    def look(download: Download) -> Outcome:
        assert release.wait(60)
        return Outcome(download, gone=GONE)

    with Dispatcher(look, 1, 1) as dispatcher:
        dispatcher.put(download("https://a.example/1"))
        assert dispatcher.take(0.01) == []
        release.set()
        assert len(all_of(dispatcher)) == 1
