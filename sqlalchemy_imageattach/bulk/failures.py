"""What went wrong in bulk work, kept small."""

from __future__ import annotations

__all__ = ["without_traceback"]


def without_traceback(error: Exception) -> Exception:
    """``error`` without the frames that it and its causes came from, which would keep whole blobs in memory."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
