"""Decoding where it can do no harm: engines in child processes, with the kernel's limits.

What renders a program (SVG, PDF), what was written in C for many formats (ImageMagick), and what a policy gives a limit
runs in a process of its own: it may take so much time and memory and no more, can read nothing but libraries and fonts,
write nothing, call no machine and start nothing.  One that takes too much is ended, and with it one picture: each child
works at one picture at a time, and another one is started for the next.

Nothing is left behind: the children of a process end when it ends, however it does.  They are started by the program
that runs Python, not by forking, so threads, gevent, asyncio, daemons of Celery and forks of the parent are all fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from ...errors import UnreadableImageError, UnsupportedLayoutError
from ..engines.choice import Engine, engines
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..reader import Guarded
from ..rendition import Order
from .messages import Task
from .pool import run

__all__ = ["render", "verify"]

_T = TypeVar("_T")

#: CPU seconds, and bytes, where a policy does not say.
_SECONDS: Final = 20.0
_MEMORY: Final = 2 * 2**30


def render(source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> list[bytes]:
    """One file for each order, by the first engine of the policy that reads the file.

    :raises EngineUnavailableError: none installed reads the type
    :raises UnreadableImageError: the picture is damaged, or of a layout that none of them reads
    :raises TooCostlyError: it takes more time or memory than the policy allows
    """
    animated = info.frames > 1 and any(order.rendition.animated for order in orders)

    def work(engine: Engine) -> list[bytes]:
        if _is_apart(engine, policy):
            return run(_task(engine, info, policy, orders), source)
        return engine.render(source, info, orders, policy)

    return _first(engines(policy, info.mimetype, animated=animated), source, work)


def verify(source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
    """Return if the first engine of the policy that reads the file decodes it to its end.

    :raises EngineUnavailableError: none installed reads the type
    :raises UnreadableImageError: the picture is damaged, or of a layout that none of them reads
    :raises TooCostlyError: it takes more time or memory than the policy allows
    """

    def work(engine: Engine) -> None:
        if _is_apart(engine, policy):
            run(_task(engine, info, policy, None), source)
        else:
            engine.verify(source, info, policy)

    _first(engines(policy, info.mimetype, animated=False), source, work)


def _is_apart(engine: Engine, policy: ImagePolicy) -> bool:
    if policy.isolate is not None:
        return policy.isolate
    return engine.name != "pillow" or policy.max_seconds is not None or policy.max_memory is not None


def _task(engine: Engine, info: ImageInfo, policy: ImagePolicy, orders: Sequence[Order] | None) -> Task:
    seconds, memory = policy.max_seconds or _SECONDS, policy.max_memory or _MEMORY
    return Task(engine.name, info, policy, None if orders is None else tuple(orders), seconds, memory)


def _first(candidates: Iterator[Engine], source: Guarded, work: Callable[[Engine], _T]) -> _T:
    """What the first of the engines makes that knows the layout of the file."""
    refused: UnsupportedLayoutError | None = None
    for engine in candidates:
        source.seek(0)
        try:
            return work(engine)
        except UnsupportedLayoutError as error:
            refused = refused or error
        except UnreadableImageError as error:
            # one that does not know the kind of a file either may call it damaged
            if refused is None or error.code != "undecodable":
                raise
    assert refused is not None  # there is an engine, else its absence has been raised
    raise refused
