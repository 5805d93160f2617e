"""What went wrong in bulk work, and how much went well: one record for all of it, kept small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from ..key import ImageKey

__all__ = ["BulkResult", "Failure", "without_traceback"]

#: So many failures are kept in detail; all are counted.
FAILURES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A row or a blob with which something could not be done; the others were not stopped by it.

    :param error: why; without its traceback, which would keep whole blobs in memory
    :param mapped_class: the class of the row: of an image, or of an owner of pictures; ``None`` if there is no row
    :param identity: the primary key of the row
    :param key: the key of the blob; ``None`` if no single blob is concerned, or the row has none that could be one
    :param name: where the blob is in the store, where that was known
    """

    error: Exception
    mapped_class: type[Any] | None = None
    identity: tuple[Any, ...] | None = None
    key: ImageKey | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        without_traceback(self.error)

    def __str__(self) -> str:
        row = f"{self.mapped_class.__name__} {self.identity}" if self.mapped_class is not None else repr(self.name)
        return f"{row}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """How much has been done.

    :param failed: how often it failed
    :param failures: the first 1,000 failures
    """

    failed: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def counting(self, **more: int) -> Self:
        """This, with each of these counts raised by so much."""
        return replace(self, **{name: getattr(self, name) + number for name, number in more.items()})

    def with_failure(self, failure: Failure) -> Self:
        """This, and one more that failed."""
        return replace(self, failed=self.failed + 1, failures=(*self.failures, failure)[:FAILURES_KEPT])


def without_traceback(error: Exception) -> Exception:
    """``error`` without the frames that it and its causes came from, which would keep whole blobs in memory."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
