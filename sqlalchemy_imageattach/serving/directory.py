"""The files of a directory: from a URL to a path, and what is said of the file.

Every file of the store is public: who knows the URL gets the picture.  Nothing else is: no directories, no temporary
files, nothing outside.
"""

from __future__ import annotations

import os
import re
import stat
from typing import IO

from ..arguments import check_type
from ..paths import is_inside, real_path_of
from .answer import Answer, Body, message
from .conditions import Resource, evaluate, not_modified, refused, validators_of
from .headers import headers_of
from .lookup import Lookup
from .request import Request

__all__ = ["Directory", "directory_path", "mount_path"]

# a leading dot: the directory itself, the one above, temporary files, and what nobody meant to publish
_NAME = re.compile(r"(?:[^./\x00-\x1f\x7f\\:\ufffd][^/\x00-\x1f\x7f\\:\ufffd]*(?:/(?!$)|$))+")

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Directory:
    """What both doors serve of a directory.

    :param path: its absolute path
    :param cors: whether scripts of all other sites may read the files
    :param follow_symlinks: whether symbolic links within it may lead out of it
    """

    authorise = None

    def __init__(self, path: str, *, cors: bool, follow_symlinks: bool) -> None:
        self.path = path
        self.cors = cors
        self.follow_symlinks = follow_symlinks
        self._root = _with_slash(path)

    def look(self, request: Request) -> Answer | Lookup:
        """What the request comes to, by its method and its path alone."""
        if request.method not in {"GET", "HEAD"}:
            return message(405, [("Allow", "GET, HEAD")])
        if request.path is None:
            return message(404)
        name = request.path
        if not _NAME.fullmatch(name):
            return message(404)
        return Lookup(lambda: self._serve(name, request))

    def _serve(self, name: str, request: Request) -> Answer:
        # the only way from a URL to a path
        try:
            # at once: opening a named pipe would wait for its other end
            file = open(f"{self.path}/{name}", "rb", 0, opener=_open)  # noqa: SIM115 - the answer closes it
        except (OSError, ValueError):
            return message(404)
        body = Body(file, None)
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not (self.follow_symlinks or self._has(name, file)):
                body.close()
                return message(404)
            return self._answer(body, status, name.rpartition("/")[2], request)
        except BaseException:
            body.close()
            raise

    def _has(self, name: str, file: IO[bytes]) -> bool:
        """Whether the file that was opened is within the directory, whatever links have led to it."""
        real = real_path_of(file)
        if real is None:
            return is_inside(self.path, f"{self.path}/{name}")
        if not real.startswith(self._root):
            self._root = _with_slash(os.path.realpath(self.path))  # it may have been a link to another one until now
        return real.startswith(self._root)

    def _answer(self, body: Body, status: os.stat_result, name: str, request: Request) -> Answer:
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        resource = Resource(status.st_size, etag, status.st_mtime)
        selection = evaluate(request.method, request.header, resource)
        if (refusal := refused(selection, resource)) is not None:
            body.close()
            return refusal
        said = [*headers_of(name), *([("Access-Control-Allow-Origin", "*")] if self.cors else [])]
        if selection.status == 304:
            body.close()
            return not_modified(said, resource)
        headers = [*said, *validators_of(selection, resource)]
        if request.method == "HEAD":
            body.close()
            return Answer(selection.status, headers)
        if selection.start:
            body.file.seek(selection.start)
        body.length, body.is_whole = selection.length, selection.status == 200
        return Answer(selection.status, headers, body)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _with_slash(path: str) -> str:
    return path if path.endswith(os.sep) else path + os.sep


def mount_path(url_path: object) -> str:
    """The path of URLs with a slash at both ends.

    :raises InvalidTypeError: it is no string
    """
    return "/" + "".join(f"{segment}/" for segment in check_type("url_path", url_path, str).split("/") if segment)


def directory_path(path: str | os.PathLike[str]) -> str:
    """The absolute path of a directory: a later chdir() must not move what is served.

    :raises InvalidTypeError: it is no path
    """
    check_type("dir_path", path, (str, os.PathLike))
    return os.path.abspath(path)
