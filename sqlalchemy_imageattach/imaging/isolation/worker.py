"""The child process: one engine, one picture at a time, until nobody asks any more.

Started by :mod:`.pool`, never imported by it.
"""

from __future__ import annotations

import fcntl
import io
import json
import mmap
import os
import signal
import socket
import sys
import warnings
from typing import Any, Final

from ...errors import ImageAttachError, TooCostlyError, UnreadableImageError
from ..engines.choice import Engine, engine_named
from ..reader import Guarded
from . import walls
from .messages import Task, receive_task, send_failure, send_result

__all__ = ["main"]

#: Seconds without a task after which it is not worth its memory.
_IDLE: Final = 60.0
#: A GIF of one pixel: decoding it makes a library read what it reads once.
_PIXEL: Final = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


def main(channel_descriptor: int, lifeline: int, name: str, readable: str) -> None:
    """Serve until the parent closes the channel, or is gone.

    :param channel_descriptor: a socket to the parent
    :param lifeline: a pipe of which the parent holds the other end: the kernel ends this process with the parent
    :param name: of the engine
    :param readable: files and directories that may be read beside libraries, as JSON
    """
    # at its end the kernel sends a signal for which Python has no handler: no decoder can keep it from arriving
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    channel = socket.socket(fileno=channel_descriptor)
    built = walls.detach()
    warnings.simplefilter("ignore")
    try:
        engine = engine_named(name)
        _warm_up(engine)
    except Exception as error:  # whatever it is, the parent has to hear of it
        channel.sendall(json.dumps(f"{type(error).__name__}: {error}").encode() + b"\n")
        return
    built += walls.confine(json.loads(readable))
    channel.sendall(json.dumps(built).encode() + b"\n")
    while True:
        # the timer of the task before must not go on while this process waits
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.settimeout(_IDLE)
        try:
            received = receive_task(channel)
        except TimeoutError:
            # from here on the parent finds the channel closed; what it had said before is still heard
            channel.shutdown(socket.SHUT_RD)
            received = receive_task(channel)
        if received is None:
            return
        channel.settimeout(None)
        if not _work(channel, engine, *received):
            return


def _warm_up(engine: Engine) -> None:
    """Have imported and read all that will be, before nothing can be opened any more."""
    from PIL import Image

    from ..raster import encode, frames  # noqa: F401
    from ..raster.resize import resized

    # the first that is made smaller loads what does it, which no picture is to pay for
    resized(Image.new("RGB", (9, 9)), (3, 3), Image.Resampling.LANCZOS, (0, 0, 9, 9))
    if engine.name == "wand":
        from ..info import ImageInfo
        from ..policy import ImagePolicy

        engine.verify(Guarded(io.BytesIO(_PIXEL)), ImageInfo("image/gif", 1, 1), ImagePolicy())


def _work(channel: socket.socket, engine: Engine, task: Task, descriptor: int) -> bool:
    """Do it, and tell whether this process may do another one."""
    with open(descriptor, "rb") as file:
        source = Guarded(file)
        try:
            walls.limit(task.seconds, task.memory)
            if task.orders is None:
                engine.verify(source, task.info, task.policy)
                blobs: list[bytes] = []
            else:
                blobs = engine.render(source, task.info, task.orders, task.policy)
        except BaseException as error:  # the parent has to hear of each of them
            send_failure(channel, _told(error, task))
            return not _lacks_memory(error)
    send_result(channel, blobs)
    return True


def _told(error: BaseException, task: Task) -> Exception:
    told: Exception
    is_typed = isinstance(error, ImageAttachError) and not isinstance(error, UnreadableImageError)
    if _lacks_memory(error) or not is_typed and not _has_room(task):
        msg = f"the {task.info.mimetype} takes more memory than it may; give a smaller picture"
        told = TooCostlyError(msg, code="too_much_memory", limit=task.memory)
    elif isinstance(error, ImageAttachError):
        return error
    else:
        msg = f"the {task.info.mimetype} cannot be decoded ({type(error).__name__}); give an intact file"
        told = UnreadableImageError(msg, code="undecodable")
    told.__cause__ = error
    return told


def _has_room(task: Task) -> bool:
    """Whether there was memory for the pixels at all: some libraries say no more than that they failed."""
    try:
        mmap.mmap(-1, task.info.width * task.info.height * 8).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def _lacks_memory(error: BaseException | None) -> bool:
    errors = [error] if error is None or error.__cause__ is None else [error, error.__cause__]
    return any(isinstance(each, MemoryError) or "memory" in str(each).lower() for each in errors)


def run_from_command_line(arguments: list[str]) -> Any:
    """What :mod:`.pool` starts."""
    main(int(arguments[0]), int(arguments[1]), *arguments[2:])


if __name__ == "__main__":
    run_from_command_line(sys.argv[1:])
