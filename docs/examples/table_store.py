"""A store that keeps its blobs in a table of another database: an example of how to write one."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO
from urllib.parse import quote

from sqlalchemy_imageattach.errors import BlobExistsError, BlobNotFoundError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store


class TableStore(Store):
    """Blobs in an SQLite table, by the names that :class:`ImageKey` gives them."""

    def __init__(self, path: str, base_url: str) -> None:
        self.path = path
        self.base_url = base_url
        with self._transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS blob (name TEXT PRIMARY KEY, content BLOB NOT NULL)")

    def put_file(
        self,
        file: IO[bytes],
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        reproducible: bool,
        *,
        revision: str | None = None,
    ) -> None:
        name = ImageKey(object_type, object_id, width, height, mimetype, revision).object_name()
        content = io.BytesIO()
        shutil.copyfileobj(file, content)
        # without a revision there may be a former blob to replace; with one there never is
        verb = "REPLACE" if revision is None else "INSERT"
        try:
            with self._transaction() as connection:
                connection.execute(f"{verb} INTO blob VALUES (?, ?)", (name, content.getvalue()))
        except sqlite3.IntegrityError as error:
            msg = f"{name} is stored already"
            raise BlobExistsError(msg) from error
        except sqlite3.Error as error:
            msg = f"cannot store {name}: {error}"
            raise StoreError(msg) from error

    def get_file(
        self, object_type: str, object_id: int, width: int, height: int, mimetype: str, *, revision: str | None = None
    ) -> IO[bytes]:
        name = ImageKey(object_type, object_id, width, height, mimetype, revision).object_name()
        with self._transaction() as connection:
            row = connection.execute("SELECT content FROM blob WHERE name = ?", (name,)).fetchone()
        if row is None:
            msg = f"no such blob: {name}"
            raise BlobNotFoundError(msg)
        return io.BytesIO(row[0])

    def get_url(
        self, object_type: str, object_id: int, width: int, height: int, mimetype: str, *, revision: str | None = None
    ) -> str:
        name = ImageKey(object_type, object_id, width, height, mimetype, revision).object_name()
        return f"{self.base_url}{quote(name)}"

    def delete_file(
        self, object_type: str, object_id: int, width: int, height: int, mimetype: str, *, revision: str | None = None
    ) -> bool:
        name = ImageKey(object_type, object_id, width, height, mimetype, revision).object_name()
        with self._transaction() as connection:
            return connection.execute("DELETE FROM blob WHERE name = ?", (name,)).rowcount > 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # a connection for each call, since several threads may write the blobs of one flush side by side
        with closing(sqlite3.connect(self.path)) as connection, connection:
            yield connection
