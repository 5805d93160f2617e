"""Libraries that only some programs need, and what is said where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import MissingExtraError

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(extra: str, why: str) -> Iterator[None]:
    """Imports in the block are of libraries that an extra brings.

    :param extra: its name
    :param why: what needs which library
    :raises MissingExtraError: one is not installed; it says what to install
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(f"{why}: pip install 'SQLAlchemy-ImageAttach[{extra}]'", name=error.name) from error
