"""What a parent and its child say to each other.

The parent is believed: its task is pickled.  **The child is not**, since a stranger's picture may have taken it over:
what it says is JSON and bytes, of which there are no more than were ordered, and errors by names in a list.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

from ... import errors
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..rendition import Order

__all__ = ["Failure", "Task", "receive_result", "receive_task", "send_failure", "send_result", "send_task"]

_LENGTH: Final = struct.Struct("!Q")
_MOST_BYTES_OF_HEAD: Final = 2**20
#: What a file may have beyond its pixels.
_MOST_BYTES_BESIDE: Final = 2**20
#: The errors that a child may have raised.
_ERRORS: Final = {
    error.__name__: error
    for error in (
        errors.EngineUnavailableError,
        errors.InvalidValueError,
        errors.PolicyViolationError,
        errors.TooCostlyError,
        errors.UnreadableImageError,
        errors.UnsupportedLayoutError,
    )
}


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to decode.

    :param engine: by its name
    :param info: of the picture
    :param policy: for what is embedded in it, and for the fonts
    :param orders: what is made from it; ``None`` to verify it
    :param seconds: of CPU
    :param memory: in bytes, beyond what the child had when it began
    """

    engine: str
    info: ImageInfo
    policy: ImagePolicy
    orders: tuple[Order, ...] | None
    seconds: float
    memory: int


class Failure(Exception):  # the text of an error in another process, as a cause
    """What a library said, in the child."""


def send_task(channel: socket.socket, task: Task, descriptor: int) -> None:
    """Hand a task over, with a descriptor from which the picture is read."""
    data = pickle.dumps(task)
    socket.send_fds(channel, [_LENGTH.pack(len(data))], [descriptor])
    channel.sendall(data)


def receive_task(channel: socket.socket) -> tuple[Task, int] | None:
    """The next task and the descriptor of its picture; ``None`` when there are no more."""
    head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, 1)
    if not head or not descriptors:
        return None
    task: Task = pickle.loads(_exactly(channel, _LENGTH.unpack(head)[0], None))
    return task, descriptors[0]


def send_result(channel: socket.socket, blobs: list[bytes]) -> None:
    """Say that the work is done."""
    _send_head(channel, {"lengths": [len(blob) for blob in blobs]})
    for blob in blobs:
        channel.sendall(blob)


def send_failure(channel: socket.socket, error: BaseException) -> None:
    """Say that it cannot be done."""
    cause = error.__cause__
    _send_head(
        channel,
        {
            "error": type(error).__name__,
            "message": str(error),
            "cause": None if cause is None else f"{type(cause).__name__}: {cause}"[:2000],
            "notes": getattr(error, "__notes__", []),
            "code": getattr(error, "code", None),
            "params": getattr(error, "params", None),
        },
    )


def _send_head(channel: socket.socket, head: dict[str, Any]) -> None:
    data = json.dumps(head, default=str).encode()
    channel.sendall(_LENGTH.pack(len(data)) + data)


def receive_result(channel: socket.socket, task: Task, deadline: float) -> list[bytes]:
    """What the child made, one file for each order.

    :param channel: to the child
    :param task: what it was asked
    :param deadline: by :func:`time.monotonic`
    :raises TimeoutError: it has not answered
    :raises EOFError: it has ended, or does not say what a child says
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size, deadline))
    if length > _MOST_BYTES_OF_HEAD:
        raise EOFError
    try:
        head = json.loads(_exactly(channel, length, deadline))
        if "error" in head:
            raise _error(head)
        lengths = [int(length) for length in head["lengths"]]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, errors.ImageAttachError):
            raise
        raise EOFError from error
    expected = [_most_bytes(order, task.info) for order in task.orders or ()]
    if len(lengths) != len(expected) or any(not 0 <= n <= most for n, most in zip(lengths, expected, strict=True)):
        raise EOFError
    return [bytes(_exactly(channel, length, deadline)) for length in lengths]


def _most_bytes(order: Order, info: ImageInfo) -> int:
    frames = info.frames if order.rendition.animated else 1
    return (order.target.pixels * 8 + 4096) * frames + _MOST_BYTES_BESIDE


def _error(head: dict[str, Any]) -> Exception:
    kind = _ERRORS.get(head["error"])
    if kind is None:
        return EOFError()
    error = kind(str(head["message"]))
    for name, expected in (("code", str), ("params", dict)):
        if isinstance(head.get(name), expected):
            setattr(error, name, head[name])
    for note in head.get("notes") or ():
        error.add_note(str(note))
    error.__cause__ = None if head.get("cause") is None else Failure(str(head["cause"]))
    return error


def _exactly(channel: socket.socket, length: int, deadline: float | None) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        if deadline is not None:
            channel.settimeout(max(0.001, deadline - time.monotonic()))
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
