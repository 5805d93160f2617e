"""What the tests of image sets share: pictures, databases that live as long as a test, and stores that watch."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.pool import StaticPool

from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.pictures import SVG, animation, color_of, picture, size_of

__all__ = [
    "SVG",
    "CountingStore",
    "SlowStore",
    "StreamingStore",
    "animation",
    "color_of",
    "database",
    "picture",
    "size_of",
]

# --- databases -------------------------------------------------------------------------------------------------------


@contextmanager
def database(*tables: MetaData) -> Iterator[Engine]:
    """An SQLite database in memory with the given tables; it has a schema of the name ``media`` too."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", lambda connection, _: connection.execute("ATTACH ':memory:' AS media"))
    try:
        for metadata in tables:
            metadata.create_all(engine)
        yield engine
    finally:
        engine.dispose()


# --- stores ----------------------------------------------------------------------------------------------------------


class CountingStore(MemoryStore):
    """Counts what it is asked to do; ``get_url`` is calculation, and not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.calls["put"] += 1
        super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        self.calls["get"] += 1
        return super().get_file(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        self.calls["delete"] += 1
        return super().delete_file(*args, **kwargs)


class SlowStore(MemoryStore):
    """Blocks its thread for a while, as a store on the other side of a network does."""

    delay: float = 0.15

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(self.delay)
        super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        time.sleep(self.delay)
        return super().get_file(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        time.sleep(self.delay)
        return super().delete_file(*args, **kwargs)


class _Stream:
    """What an HTTP response is at its worst: all it has is ``read()``."""

    def __init__(self, blob: bytes) -> None:
        self._file = io.BytesIO(blob)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class StreamingStore(MemoryStore):
    """Its files can neither seek nor tell."""

    def get_file(self, *args: Any, **kwargs: Any) -> Any:
        with super().get_file(*args, **kwargs) as file:
            return _Stream(file.read())
