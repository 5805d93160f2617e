"""Where uploads are until a transaction takes them: blobs of a store, below a name that no image class can have.

Each upload has two of them: what was sent, and a mark that it was used.  Who sent it can send it again and again for as
long as the signed request is valid, so it is the mark that makes it one of one use; it stays until it is swept.  Their
names begin with a dot, so that no web server that keeps such files to itself gives them out.

For the same reason nothing is read twice.  What was sent is read once, into a spool, which is looked at and digested.
The picture becomes what the spool has: by storing the spool, or by a copy within the service if that tells the SHA-256
of what it has copied, and it is that of the spool.  So it does not matter what is sent before, while or after it is
read, and no copy of it has to be kept out of the sender's reach, and swept, in between.

``imageattach sweep`` and :func:`~sqlalchemy_imageattach.maintenance.sweep` delete both after the grace period.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from typing import IO, Any

from ..errors import UploadError
from ..key import ImageKey
from ..spool import Spool
from ..store import Store, is_missing

__all__ = ["QUARANTINE", "QuarantinedFile", "UploadedContent", "is_quarantined", "new_id"]

#: The object type of what is in quarantine.  That of a new blob never begins with a dot.
QUARANTINE = ".imageattach-uploads"

_SENT, _USED = 0, 1
_MARK = b"This upload was used\n"


def new_id() -> str:
    """Names an upload; nobody can guess it."""
    return f"{_half()}x{_half()}"


def _half() -> int:
    return secrets.randbits(62) + 1


def is_quarantined(key: ImageKey) -> bool:
    """Whether a blob is an upload that nobody has taken yet, or the mark of one."""
    return key.object_type == QUARANTINE


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """One upload.

    :param store: where it is
    :param id: of :func:`new_id`
    """

    store: Store
    id: str

    @property
    def key(self) -> ImageKey:
        """What is sent."""
        return self._key(_SENT)

    @property
    def mark(self) -> ImageKey:
        """That it was used."""
        return self._key(_USED)

    def _key(self, which: int) -> ImageKey:
        width, height = map(int, self.id.split("x"))
        return ImageKey(QUARANTINE, which, width, height, "image/png")  # whatever it is: a name without a page behind

    def put(self, file: IO[bytes]) -> None:
        """Store what was sent, in place of what was before."""
        self.store.put(self.key, file, reproducible=False)

    def read(self, max_bytes: int | None) -> UploadedContent:
        """What was sent.

        :raises UploadError: nothing was, or it was used already
        :raises PolicyViolationError: it has more bytes
        :raises OSError: the store cannot be reached
        """
        if self.store.has_key(self.mark):
            raise used()
        try:
            file = self.store.get(self.key)
        except OSError as error:
            if not is_missing(error):
                raise
            msg = "the picture has not arrived, or was kept too long: upload it again"
            raise UploadError(msg, code="not_uploaded") from error
        with file:
            return UploadedContent(Spool.read_from(file, limit=max_bytes), self)

    def claim(self) -> None:
        """Mark it as used: of several who try, one can.

        :raises BlobExistsError: somebody else was faster
        """
        self.store.put_once(self.mark, io.BytesIO(_MARK))


@dataclass(frozen=True, slots=True, eq=False)
class UploadedContent:
    """What was sent, as it was when it was looked at.

    :param spool: a copy of it
    :param file: where it is, or something else by now
    """

    spool: Spool
    file: QuarantinedFile

    @property
    def byte_size(self) -> int:
        return self.spool.byte_size

    @property
    def checksum(self) -> str:
        return self.spool.checksum

    def open(self) -> IO[bytes]:
        """The copy, from its start."""
        return self.spool.open()

    def copy_into(self, store: Store, key: ImageKey, *, reproducible: bool) -> bool:
        """Have the store copy what was looked at, and nothing else; tells whether it did."""
        source, checksum = self.file, self.spool.checksum
        return store.copy_from(source.store, source.key, key, checksum=checksum, reproducible=reproducible)


def used(**details: Any) -> UploadError:
    """The error that an upload was used already."""
    return UploadError("this upload was used already: upload the picture again", code="upload_used", **details)
