"""Work after the outermost commit."""

from __future__ import annotations

from .after_commit import on_commit

__all__ = ["on_commit"]
