"""One download from its URL to its last byte, redirects included, without any I/O: what both doors have in common."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import IO
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from ..arguments import wrong_type
from ..errors import (
    RemoteAddressError,
    RemoteAnswerError,
    RemoteStatusError,
    RemoteTooLongError,
)
from ..spool import SPOOL_IN_MEMORY, Spool, temporary_errors
from .policy import FetchPolicy

__all__ = ["Body", "Journey"]

_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}

# RFC 3986; "%" stays, as what is quoted already is not quoted again
_SAFE = "%/:=&?~#+!$,;'@()*[]"

#: How much is taken from a compressed answer at a time.
_PIECE = 64 * 1024


class Journey:
    """Where a download is: which URL is to be asked next, and how the answer is to be read.

    :raises InvalidTypeError: ``url`` is no string
    :raises RemoteAddressError: it is none that may be asked
    """

    def __init__(self, url: object, policy: FetchPolicy) -> None:
        self._policy = policy
        self._redirects = 0
        self.url = _checked(url, policy)

    def request(self) -> tuple[httpcore.URL, list[tuple[bytes, bytes]]]:
        """What to ask: the URL and the headers."""
        parts = urlsplit(self.url)
        host = str(parts.hostname)
        target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
        url = httpcore.URL(scheme=parts.scheme, host=host, port=parts.port, target=target)
        name = f"[{host}]" if ":" in host else host
        if parts.port not in {None, _PORTS[parts.scheme]}:
            name = f"{name}:{parts.port}"
        headers = [
            ("Host", name),
            ("User-Agent", self._policy.user_agent),
            ("Accept", "image/*,*/*;q=0.5"),
            ("Accept-Encoding", "identity"),
            *self._policy.headers,
        ]
        return url, [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers]

    def follow(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether the answer leads to another URL, which is the one to ask then.

        :raises RemoteAnswerError: it leads there too often, or nowhere
        :raises RemoteAddressError: it leads to where nothing may be asked
        :raises RemoteStatusError: it is neither a redirect nor a success
        """
        if status in _REDIRECTS and "location" in headers:
            self._redirects += 1
            if self._redirects > self._policy.max_redirects:
                raise RemoteAnswerError(reason="too-many-redirects", limit=self._policy.max_redirects)
            self.url = _checked(_joined(self.url, headers["location"]), self._policy)
            return True
        if status != 200:
            raise RemoteStatusError(status=status, retry_after=headers.get("retry-after"))
        return False


class Body:
    """Takes the bytes of an answer, decompressed, up to a limit; then they are a :class:`Spool`.

    :raises RemoteTooLongError: the answer says itself that it is longer
    :raises RemoteAnswerError: it is compressed in a way that nobody asked for
    """

    def __init__(self, headers: Mapping[str, str], policy: FetchPolicy) -> None:
        self._limit = policy.max_bytes
        self._length = 0
        length = headers.get("content-length", "")
        if length.isdecimal() and len(length) < 20 and int(length) > self._limit:
            raise RemoteTooLongError(limit=self._limit)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise RemoteAnswerError(reason="unknown-encoding")
        self._inflate = None if encoding in {"", "identity"} else _inflate()
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY)  # noqa: SIM115  # close() closes it

    def feed(self, chunk: bytes) -> None:
        if self._inflate is None:
            self._write(chunk)
            return
        try:
            while chunk:
                if self._inflate.eof and not chunk.startswith(b"\x1f"):
                    return  # padding, which nobody reads
                if self._inflate.eof:
                    self._inflate = _inflate()  # of several parts, each compressed by itself
                self._write(self._inflate.decompress(chunk, _PIECE))
                chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as error:
            raise RemoteAnswerError(reason="broken-encoding") from error

    def end(self) -> Spool:
        """What came.

        :raises TemporaryFileError: the temporary directory has no room for it; :meth:`feed` raises it as well
        :raises RemoteAnswerError: it ends in the middle
        """
        if self._inflate is not None:
            self._write(self._inflate.flush())
            if not self._inflate.eof:
                raise RemoteAnswerError(reason="broken-encoding")
        with temporary_errors():
            self._file.seek(0)  # writes what is still in a buffer
            if self._length <= SPOOL_IN_MEMORY:
                return Spool.of(self._file.read())  # which shares its memory
        return Spool.read_from(self._file)

    def close(self) -> None:
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._limit:
            raise RemoteTooLongError(limit=self._limit)
        with temporary_errors():
            self._file.write(data)


def _inflate() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: of gzip or zlib, as the header says


def _joined(base: str, location: str) -> str:
    with suppress(UnicodeDecodeError):
        # what it has beyond ASCII, and its spaces, should be quoted; browsers take it as this too
        location = location.encode("latin-1").decode()
    try:
        return urljoin(base, location.replace(" ", "%20"))
    except ValueError as error:
        raise RemoteAddressError from error


def _checked(url: object, policy: FetchPolicy) -> str:
    """``url`` as it is to be asked, with its name in ASCII and without what is not sent."""
    if not isinstance(url, str):
        raise wrong_type("", url, "a URL (str)")
    # what parsers pass over in silence, one this way and the next one another
    if any(char <= " " or char in "\\\x7f" for char in url) or len(url) > 8000:
        raise RemoteAddressError
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except (ValueError, UnicodeError) as error:
        raise RemoteAddressError from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
        raise RemoteAddressError
    if any(char in "%/?#@:<>[]^|" for char in host.replace(":", "" if ":" in host else ":")):
        raise RemoteAddressError
    if port == 0 or (policy.ports is not None and (port or _PORTS[parts.scheme]) not in policy.ports):
        raise RemoteAddressError
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=name if port is None else f"{name}:{port}", fragment="").geturl()
