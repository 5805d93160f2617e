"""How a store on S3 says that a blob of another store is deleted: by the type of an object, as in 1.x.

So the head of an object tells, and nothing has to be read.
"""

from __future__ import annotations

import errno
import io
from typing import IO, Any, ClassVar

from ...errors import BlobNotFoundError, InvalidValueError
from ...key import ImageKey
from ..bucket import DEFAULT_MAX_AGE, DEFAULT_MAX_RETRY
from ..overlay import MARK, OverlayStore, State
from .store import S3Store
from .transfer import content_type_of

__all__ = ["S3SandboxStore"]


class S3SandboxStore(OverlayStore):
    """Production's pictures without a risk to them: two buckets that look like one store.

    What is in ``underlying`` can be seen; what is stored or deleted goes to ``overriding`` only.  Credentials that may
    only read the underlying bucket are enough, and the best guarantee.  It is an :class:`.overlay.OverlayStore`, whose
    documentation tells all the rest; make one of two stores if their credentials or services differ.

    ::

        S3SandboxStore("pictures", "pictures-preview", region="eu-west-1")

    :param underlying: the name of the bucket that is only read
    :param overriding: the name of the bucket that is written to
    :param access_key: as of :class:`S3Store`, for both, and so are the next two
    :param secret_key: …
    :param max_age: …
    :param underlying_prefix: the ``prefix`` of :class:`S3Store` in the underlying bucket
    :param overriding_prefix: the ``prefix`` of :class:`S3Store` in the overriding bucket
    :param underlying_region: the ``region`` of the underlying bucket, if it is not that of both
    :param overriding_region: the ``region`` of the overriding bucket, if it is not that of both
    :param max_retry: as of :class:`S3Store`, for both
    :param region: the region of both
    :param options: the keyword parameters of :class:`S3Store`
    :raises InvalidValueError: both are the same, or as of :class:`S3Store`
    """

    #: The type of the objects that say that a blob is deleted.
    DELETED_MARK_MIMETYPE: ClassVar[str] = "application/x-sqlalchemy-imageattach-sandbox-deleted"

    overriding: S3Store
    underlying: S3Store

    def __init__(
        self,
        underlying: str,
        overriding: str,
        access_key: str | None = None,
        secret_key: str | None = None,
        max_age: int = DEFAULT_MAX_AGE,
        underlying_prefix: str = "",
        overriding_prefix: str = "",
        underlying_region: str | None = None,
        overriding_region: str | None = None,
        max_retry: int = DEFAULT_MAX_RETRY,
        *,
        region: str | None = None,
        **options: Any,
    ) -> None:
        if (underlying, underlying_prefix.rstrip("/")) == (overriding, overriding_prefix.rstrip("/")):
            msg = f"expected two buckets, or two prefixes, got {underlying!r} with {underlying_prefix!r} twice"
            raise InvalidValueError(msg)
        over, under = (
            S3Store(bucket, access_key, secret_key, max_age, prefix, None, where or region, max_retry, **options)
            for bucket, prefix, where in (
                (overriding, overriding_prefix, overriding_region),
                (underlying, underlying_prefix, underlying_region),
            )
        )
        super().__init__(over, under)

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
