"""Exit codes, and which one an error means."""

from __future__ import annotations

import sys
import traceback

from ..errors import ContextError, ImageAttachError, InvalidTypeError, InvalidValueError

__all__ = ["FAILURES", "FINE", "INTERRUPTED", "PROBLEMS", "USAGE", "exit_code_of"]

FINE, PROBLEMS, USAGE, FAILURES, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code_of(error: Exception) -> int:
    """The exit code for an error, which is told on the standard error."""
    from sqlalchemy.exc import SQLAlchemyError  # late: SQLAlchemy takes longer than what a mere --help does

    if isinstance(error, ContextError):
        sys.stderr.write("imageattach: expected a store, since there are classes that have none of their own\n")
        return USAGE
    if isinstance(error, (ImageAttachError, OSError, SQLAlchemyError)):
        sys.stderr.write(f"imageattach: {type(error).__name__}: {error}\n")
        return USAGE if isinstance(error, (InvalidValueError, InvalidTypeError)) else FAILURES
    traceback.print_exception(error)  # Python's own exit code would be 1, which says something else here
    return FAILURES
