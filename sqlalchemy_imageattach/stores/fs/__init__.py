"""Stores that keep blobs as files in a directory.

:class:`FileSystemStore` leaves serving them to a web server:

>>> store = FileSystemStore("/var/local/app/images", "https://images.example.com/")
>>> store.get_url("user-picture", 1234, 640, 480, "image/jpeg", revision="Xk3v9QpLm2w")
'https://images.example.com/user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe'

:class:`HttpExposedFileSystemStore` serves them itself, which is convenient on one's own machine.

What they promise: a blob is there whole or not at all, whatever happens while it is written; once it is there, it is
on the disk too (``fsync``); a blob with a revision is never overwritten; nothing is written or read outside of the
store's directory.  A process that is killed can leave a temporary file behind, whose name starts with a dot and ends
with ``.tmp``; it is never served.
"""

from __future__ import annotations

from ...serving.wsgi import StaticServerMiddleware
from .store import BaseFileSystemStore, FileSystemStore, HttpExposedFileSystemStore, guess_extension

__all__ = [
    "BaseFileSystemStore",
    "FileSystemStore",
    "HttpExposedFileSystemStore",
    "StaticServerMiddleware",
    "guess_extension",
]

for _cls in (BaseFileSystemStore, FileSystemStore, HttpExposedFileSystemStore):
    _cls.__module__ = __name__  # where they are to be imported from, as reprs and pickles say
