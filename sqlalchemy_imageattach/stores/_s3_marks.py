"""How a store on S3 says that a blob of another store is deleted: by the type of an object, as in 1.x.

So the head of an object tells, and nothing has to be read.
"""

from __future__ import annotations

import errno
import io
from typing import IO, TYPE_CHECKING, ClassVar

from ..errors import BlobNotFoundError
from ..key import ImageKey
from ._s3_transfer import content_type_of
from .overlay import MARK, OverlayStore, State

if TYPE_CHECKING:
    from .s3 import S3Store

__all__ = ["TypedMarks"]


class TypedMarks(OverlayStore):
    """An overlay of two stores on S3."""

    #: The type of the objects that say that a blob is deleted.
    DELETED_MARK_MIMETYPE: ClassVar[str]

    overriding: S3Store
    underlying: S3Store

    def _state(self, key: ImageKey) -> State:
        # by the head alone.  The type is what 1.x went by; its marks were empty
        head = self.overriding._head(key)
        if head is None:
            return State.ABSENT
        if head["ContentType"] == self.DELETED_MARK_MIMETYPE:
            return State.DELETED
        # services of years ago forget the type
        return super()._state(key) if head["ContentLength"] == len(MARK) else State.PRESENT

    def _unless_mark(self, key: ImageKey, file: IO[bytes]) -> IO[bytes]:
        if content_type_of(file) == self.DELETED_MARK_MIMETYPE:
            file.close()
            msg = f"no such blob: {key.file_path()} is deleted in this sandbox"
            raise BlobNotFoundError(errno.ENOENT, msg)
        return super()._unless_mark(key, file)

    def _put_mark(self, key: ImageKey) -> None:
        self.overriding._upload(key, io.BytesIO(MARK), self.DELETED_MARK_MIMETYPE, reproducible=False)
