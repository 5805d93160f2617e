"""What follows a commit."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...concurrency import call_or_await

__all__ = ["make_calls"]

_log = logging.getLogger(__name__)


def make_calls(calls: list[Callable[[], object]]) -> None:
    """Make all ``calls``, one after the other, and those too that they add to the list meanwhile.

    The database has committed already, so an error is logged, and hinders no other call.  An interruption, such as
    Ctrl+C or that of an asyncio task, goes on its way after the last of them.
    """
    interruption: BaseException | None = None
    for call in calls:
        try:
            call_or_await(call)
        except Exception:
            _log.exception("%r, called after the commit, failed; what is committed stays so", call)
        except BaseException as error:
            _log.warning("%r, called after the commit, was interrupted", call)
            interruption = interruption or error
    if interruption is not None:
        raise interruption
