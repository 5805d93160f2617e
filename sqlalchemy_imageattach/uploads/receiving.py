"""A file on its way to us: the form that brings it, without any I/O but that of a temporary file.

Who has a request makes a :class:`Reception` of it, feeds the body, and sends the answer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from ..errors import UploadError
from ..imaging import sniff
from ..imaging.sniffing import SNIFF_BYTES
from ..spool import SPOOL_IN_MEMORY, temporary_errors
from .issuing import TOKEN, Ticket, Uploads, with_token

__all__ = ["Answer", "Reception"]

#: What a form may have besides the file, in bytes; and how much of it is looked at at a time.
_ROOM: Final = 64 * 1024
_PIECE: Final = 32 * 1024

_FILE: Final = "file"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a status, headers, and a sentence."""

    status: HTTPStatus
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The status as WSGI has it."""
        return f"{self.status.value} {self.status.phrase}"

    def all_headers(self, others: Mapping[str, str]) -> list[tuple[str, str]]:
        """Those of the answer, and ``others``."""
        own = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return list({**own, **self.headers, **others}.items())

    @property
    def body(self) -> bytes:
        return f"{self.text or self.status.phrase}\n".encode()


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str = "", **headers: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, text, headers)


class Reception:
    """One request that brings a file.

    :param uploads: knows the tokens
    :param method: of the request
    :param content_type: of the request
    :param content_length: of the request, if it tells
    """

    def __init__(self, uploads: Uploads, method: str, content_type: str, content_length: int | None) -> None:
        self._uploads = uploads
        self._ticket: Ticket | None = None
        self._token = ""
        self._file: IO[bytes] | None = None
        self._part = ""
        self._received = self._size = 0
        self._head = b""
        self._is_whole = False
        #: What is answered, once that is known: then nothing more need be fed.
        self.answer: Answer | None = None
        kind, options = parse_options_header(content_type)
        if method == "OPTIONS":  # a browser asks whether a script of another site may send a file
            self.answer = Answer(HTTPStatus.OK, headers={"Allow": "OPTIONS, POST"})
        elif method != "POST":
            self.answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "OPTIONS, POST"})
        elif kind != "multipart/form-data" or not options.get("boundary"):
            self.answer = Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a form with a file (multipart/form-data)")
        else:
            # which holds the head of a part, and a piece of its value
            self._decoder = MultipartDecoder(options["boundary"].encode(), _ROOM, max_parts=20)
        self._declared = content_length

    def feed(self, chunk: bytes) -> None:
        """Take a part of the body; the last one is empty."""
        for start in range(0, len(chunk), _PIECE) or [0]:
            if self.answer is None:
                self._feed(chunk[start : start + _PIECE])

    def _feed(self, piece: bytes) -> None:
        try:
            self._received += len(piece)
            self._decoder.receive_data(piece or None)
            for event in self._events():
                self._handle(event)
            if not piece and not self._is_whole:
                raise _Refused(HTTPStatus.BAD_REQUEST, "the form is not whole")
        except _Refused as refused:
            self.answer = refused.answer
        except UploadError as error:
            gone = error.code == "upload_expired"
            self.answer = Answer(HTTPStatus.GONE if gone else HTTPStatus.FORBIDDEN, str(error))
        except (RequestEntityTooLarge, ValueError):  # what the decoder says of a form that is none
            self.answer = Answer(HTTPStatus.BAD_REQUEST, "the form cannot be read")

    def store(self) -> None:
        """Put what has come into the store, if it may stay.

        :raises OSError: the store could not do it
        """
        if self.answer is not None:
            return
        if self._file is None or self._ticket is None or not self._size:
            self.answer = Answer(HTTPStatus.BAD_REQUEST, "expected a file, got none")
            return
        if (found := sniff(self._head)) not in self._ticket.mimetypes:
            msg = f"expected one of {', '.join(sorted(self._ticket.mimetypes))}, got {found or 'another file'}"
            self.answer = Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, msg)
            return
        self._file.seek(0)
        self._uploads.file_of(self._ticket).put(self._file)
        if self._ticket.redirect is None:
            self.answer = Answer(HTTPStatus.CREATED)
        else:
            location = with_token(self._ticket.redirect, self._token)
            self.answer = Answer(HTTPStatus.SEE_OTHER, headers={"Location": location})

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()

    def _events(self) -> Iterator[object]:
        while not isinstance(event := self._decoder.next_event(), NeedData | Epilogue):
            yield event
        self._is_whole = self._is_whole or isinstance(event, Epilogue)

    def _handle(self, event: object) -> None:
        match event:
            case File() if self._file is None and event.name == _FILE:
                self._begin()
            case File() | Field():
                # what comes after the file says nothing: neither of the token, which was looked at, nor of the file
                self._part = TOKEN if self._file is None and isinstance(event, Field) and event.name == TOKEN else ""
            case Data() if self._part == _FILE:
                self._write(event.data)
            case Data() if self._part == TOKEN and len(self._token) < _ROOM:
                self._token += event.data.decode("ascii", "replace")
        if self._part != _FILE and self._received - self._size > _ROOM:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "expected a form with a token and a file")

    def _begin(self) -> None:
        if not self._token:
            raise _Refused(HTTPStatus.FORBIDDEN, f"expected the field {TOKEN!r} before the file")
        self._ticket = self._uploads.check_sending(self._token)
        if self._declared is not None and self._declared > self._ticket.max_bytes + _ROOM:
            raise self._too_long()
        self._part = _FILE
        with temporary_errors():
            self._file = tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY)  # noqa: SIM115 - closed by close()

    def _write(self, data: bytes) -> None:
        assert self._ticket is not None
        assert self._file is not None
        self._size += len(data)
        if self._size > self._ticket.max_bytes:
            raise self._too_long()
        if len(self._head) < SNIFF_BYTES:
            self._head += data[:SNIFF_BYTES]
        with temporary_errors():
            self._file.write(data)

    def _too_long(self) -> _Refused:
        assert self._ticket is not None
        msg = f"expected a file of at most {self._ticket.max_bytes:,} bytes, got a longer one"
        return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)
