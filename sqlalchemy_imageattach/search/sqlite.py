"""The function that SQLite is taught when it is first needed, for each connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from .vectors import STORED

__all__ = ["FUNCTION", "HAMMING", "prepare"]

FUNCTION: Final = "imageattach_cosine_distance"
HAMMING: Final = "imageattach_hamming_distance"
_OF_SQLITE_VEC: Final = "vec_distance_cosine"
_KEY: Final = "imageattach_cosine_distance"


def prepare(connection: Connection, statement: str) -> str:
    """``statement`` as this connection can execute it; afterwards it knows the function.

    Vectors are of unit length, so that it is one product for each row.
    """
    info = connection.info
    if _KEY not in info:
        info[_KEY] = _teach(connection)
    return statement.replace(f"{FUNCTION}(", f"{info[_KEY]}(")


def _teach(connection: Connection) -> str:
    driver: Any = connection.connection.dbapi_connection
    driver.create_function(FUNCTION, 2, _comparison(), deterministic=True)
    driver.create_function(HAMMING, 2, _hamming, deterministic=True)
    if _has_sqlite_vec(connection):
        return _OF_SQLITE_VEC
    return FUNCTION


def _has_sqlite_vec(connection: Connection) -> bool:
    """Whether it can be called, since the application has loaded it, or it is installed and the driver lets us."""
    driver: Any = connection.connection.dbapi_connection
    if hasattr(driver, "enable_load_extension"):
        with suppress(ImportError, connection.dialect.loaded_dbapi.Error):
            import sqlite_vec

            driver.enable_load_extension(True)
            try:
                sqlite_vec.load(driver)
            finally:
                driver.enable_load_extension(False)
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT {_OF_SQLITE_VEC}(x'0000803f', x'0000803f')")
        cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error:
        return False
    finally:
        cursor.close()
    return True


def _comparison() -> Callable[[bytes | None, bytes], float | None]:
    """The function of one connection: each call of a statement has the same vector to compare with, read once."""
    last, product = b"", np.empty(0, STORED).dot
    read, kind = np.frombuffer, STORED
    # one place for all of them, as a connection compares one row after another
    found = np.empty((), np.float32)
    value = found.item

    def compare(stored: bytes | None, wanted: bytes) -> float | None:
        nonlocal last, product
        if stored is None:
            return None
        if wanted != last:
            last, product = wanted, read(wanted, kind).dot
        product(read(stored, kind), found)
        distance = 1.0 - value()
        return 0.0 if distance < 0.0 else distance  # by rounding; what is no number is left to be none

    return compare


def _hamming(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else ((first ^ second) & 0xFFFFFFFFFFFFFFFF).bit_count()
