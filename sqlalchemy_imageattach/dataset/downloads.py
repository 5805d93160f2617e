"""One candidate on its way: fetched, looked at, or given up for a reason.  It runs in threads, and asks no database."""

from __future__ import annotations

import errno
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import (
    RejectedImageError,
    RemoteAddressError,
    RemoteAnswerError,
    RemoteError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from ..imaging import ImagePolicy, probe
from ..remote import Fetcher
from ..search.fingerprint import dhash64
from ..search.pixels import read_pixels
from ..spool import Spool
from .sample import Candidate, Picture, Provenance

__all__ = ["LONGEST_PAUSE", "Download", "Gone", "Looker", "Outcome", "may_train", "pause_before"]

#: What makes sense to ask again: the server is busy, or in trouble.
_AGAIN = {408, 425, 429, 500, 502, 503, 504}

#: The longest pause that a server can ask for, in seconds; for longer ones there is the next run.
LONGEST_PAUSE = 60.0

_NOT_FOR_TRAINING = {"noai", "noimageai"}
#: Directives with a value: what stands before the colon is no name of a program.
_WITH_VALUE = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
_AGENT = re.compile(r"\s*([\w.*-]+)\s*:")


@dataclass(frozen=True, slots=True)
class Download:
    """A candidate that is to be fetched.

    :param label: of which it is to be one
    :param candidate: what the source says of it
    :param attempts: how often that was tried before, in former runs too
    :param tries: how often it was tried in this run
    """

    label: str
    candidate: Candidate
    attempts: int = 0
    tries: int = 0

    def once_more(self) -> Download:
        return replace(self, attempts=self.attempts + 1, tries=self.tries + 1)


@dataclass(frozen=True, slots=True)
class Gone:
    """It could not be had.

    :param reason: a word that stays the same
    :param detail: the same as a sentence
    :param is_final: whether it makes no sense to try again
    :param pause: for how many seconds the server wants to be left alone, if it says so
    """

    reason: str
    detail: str
    is_final: bool
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a download: a picture with where it comes from, or why there is none."""

    download: Download
    picture: Picture | None = None
    provenance: Provenance = Provenance()
    gone: Gone | None = None

    @property
    def checksum(self) -> str:
        """The SHA-256 of its bytes; empty if there are none."""
        return "" if self.picture is None else self.picture.content.checksum


class Looker:
    """Fetches candidates and looks at what came.  Threads can share it.

    :param fetcher: what asks
    :param policy: what is accepted as a picture
    :param hashes: whether to reckon perceptual hashes, for which each picture is decoded
    :param honour_robots: whether servers are heeded that do not want their pictures used for training
    """

    def __init__(self, fetcher: Fetcher, policy: ImagePolicy, *, hashes: bool, honour_robots: bool) -> None:
        self._fetcher = fetcher
        self._policy = policy
        self._hashes = hashes
        self._honour_robots = honour_robots

    def take(self, download: Download) -> Outcome:
        """Fetch the first of the URLs that has a picture.  A full disk is raised, as it is nobody's picture's fault."""
        candidate = download.candidate
        gone = Gone("empty", "there is nothing", is_final=True)
        first: Gone | None = None
        for uri in (candidate.uri, *candidate.alternatives):
            try:
                return self._look(download, uri)
            except _Refused as refused:
                gone = refused.gone
            except RemoteError as error:
                gone = _gone(error)
            except RejectedImageError as error:
                gone = Gone("not-an-image", str(error), is_final=True)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}:
                    raise
                gone = Gone("unreadable", type(error).__name__, is_final=False)
            first = first or gone
        return Outcome(download, gone=first or gone)

    def _look(self, download: Download, uri: str) -> Outcome:
        candidate = download.candidate
        if candidate.open is not None:
            with candidate.open() as file:
                content = Spool.read_from(file, limit=self._policy.max_bytes)
            provenance = candidate.provenance
        else:
            fetched = self._fetcher.fetch(uri)
            if self._honour_robots and not may_train(fetched.headers, self._fetcher.policy.user_agent):
                raise _Refused(Gone("opted-out", "its server does not want it used for training", is_final=True))
            content, provenance = fetched.content, _provenance(candidate)
        return Outcome(download, self._picture(content), provenance)

    def _picture(self, content: Spool) -> Picture:
        with content.open() as file:
            info = probe(file, self._policy)
        likeness = None
        if self._hashes:
            with content.open() as file:
                likeness = dhash64(read_pixels(file, self._policy))
        content.checksum  # noqa: B018  # reckoned here, rather than in the one thread that speaks to the database
        return Picture(content, info.mimetype, (info.width, info.height), likeness)


class _Refused(Exception):
    def __init__(self, gone: Gone) -> None:
        super().__init__(gone.reason)
        self.gone = gone


def may_train(headers: Mapping[str, str], user_agent: str) -> bool:
    """Whether ``X-Robots-Tag`` lets a picture be used for training.

    >>> may_train({"x-robots-tag": "noai, noimageai"}, "collector/1"), may_train({}, "collector/1")
    (False, True)

    :param headers: by their names in lower case
    :param user_agent: directives for other programs by name, such as ``otherbot: noai``, do not count
    """
    own = user_agent.partition("/")[0].lower()
    for line in headers.get("x-robots-tag", "").lower().split("\n"):
        applies = True
        for directive in line.split(","):
            named = _AGENT.match(directive)
            if named is not None and named[1] not in _WITH_VALUE:
                applies = named[1] in {"*", own}
                directive = directive[named.end() :]
            if applies and not _NOT_FOR_TRAINING.isdisjoint(directive.replace(";", " ").split()):
                return False
    return True


def pause_before(tries: int, gone: Gone, draw: random.Random) -> float:
    """For how many seconds to wait: what the server asks for, else half a second, doubled each time, with jitter."""
    if gone.pause is not None:
        return gone.pause
    return draw.uniform(0.25, 0.5) * float(2**tries)


def _gone(error: RemoteError) -> Gone:
    if isinstance(error, RemoteStatusError):
        status = int(str(error.params["status"]))
        pause = _seconds(error.params.get("retry_after"))
        is_final = status not in _AGAIN
        return Gone(f"status-{status}", str(error), is_final, None if is_final else pause)
    if isinstance(error, RemoteTimeoutError):
        return Gone("timeout", str(error), is_final=False)
    if isinstance(error, RemoteAnswerError):
        reason = str(error.params["reason"])
        return Gone(reason, str(error), is_final=reason != "broken-answer")
    if isinstance(error, RemoteAddressError):
        return Gone("address", str(error), is_final=not error.may_be_tried_again)
    return Gone(error.code, str(error), is_final=True)


def _seconds(retry_after: object) -> float | None:
    text = str(retry_after or "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except Exception:  # of a year with ten digits it is an OverflowError
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _provenance(candidate: Candidate) -> Provenance:
    return replace(candidate.provenance, fetched_at=datetime.now(UTC).replace(microsecond=0), status=200)
