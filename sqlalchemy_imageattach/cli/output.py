"""What the command line writes: lines to read or lines of JSON, and progress where somebody is watching."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ..migration import Failure

__all__ = ["Output", "values_of"]

#: Seconds between two updates of the progress line.
_PAUSE = 0.1


class Output:
    """Results to the standard output; progress to the standard error, if that is a terminal.

    :param as_json: whether to write lines of JSON
    :param summary: whether to leave out single items
    """

    def __init__(self, *, as_json: bool, summary: bool) -> None:
        self._as_json = as_json
        self.summary = summary
        self.is_watched = sys.stderr.isatty()
        self._next = 0.0
        self._width = 0
        self._is_concluded = False
        #: What has been done so far, for a command that is interrupted.
        self.so_far: Callable[[], dict[str, Any]] = dict

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._clear()
        # who reads lines of JSON waits for the last one
        if exc is not None and self._as_json and not self._is_concluded and not isinstance(exc, BrokenPipeError):
            ending = {"interrupted": True} if isinstance(exc, KeyboardInterrupt) else {"error": type(exc).__name__}
            self.result("", **(self.so_far() | ending | {"ok": False}))
            sys.stdout.flush()

    def item(self, what: str, text: object, /, **values: Any) -> None:
        """Write one problem or failure."""
        if not self.summary:
            self._write(str(text), {what: values})

    def failures(self, failures: Iterable[Failure]) -> None:
        """Write what could not be done."""
        for each in failures:
            self.item(
                "failure",
                each,
                **{"class": each.mapped_class and each.mapped_class.__name__},
                identity=each.identity,
                key=each.key,
                name=each.name,
                error=str(each.error),
            )

    def result(self, text: str, **values: Any) -> None:
        """Write what it all came to."""
        self._is_concluded = True
        self._write(text, {"result": values})

    def progress(self, text: str) -> None:
        """Say how it goes, in place of what was said before."""
        if self.is_watched and (now := time.monotonic()) >= self._next:
            self._next = now + _PAUSE
            sys.stderr.write(f"\r{text:<{self._width}}")
            sys.stderr.flush()
            self._width = len(text)

    def _write(self, text: str, values: dict[str, Any]) -> None:
        self._clear()
        # names of files may hold anything: nothing of it reaches the terminal as a control character
        lines = [json.dumps(values, default=_plain)] if self._as_json else map(_printable, text.split("\n"))
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.writelines(f"{_encodable(line, encoding)}\n" for line in lines)

    def _clear(self) -> None:
        if self._width:
            sys.stderr.write(f"\r{'':<{self._width}}\r")
            sys.stderr.flush()
            self._width = 0


def values_of(result: object, names: Iterable[str]) -> dict[str, Any]:
    """Some of the counts of a result."""
    return {name: getattr(result, name) for name in names}


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
