"""The files of a directory: from a URL to a path, and what is said of the file.

Every file of the store is public: who knows the URL gets the picture.  Nothing else is: no directories, no temporary
files, nothing outside.
"""

from __future__ import annotations

import os
import re

from ..arguments import check_type
from ..errors import StoreError
from ..paths import is_inside, open_descriptor, real_path_of
from .answer import CHUNK, Answer, Body, message
from .conditions import Resource, evaluate, not_modified, refused, validators_of
from .headers import headers_of
from .lookup import Lookup
from .request import Request

__all__ = ["Directory", "directory_path", "mount_path"]

# a leading dot: the directory itself, the one above, temporary files, and what nobody meant to publish
_NAME = re.compile(r"(?:[^./\x00-\x1f\x7f\\:\ufffd][^/\x00-\x1f\x7f\\:\ufffd]*(?:/(?!$)|$))+")

_EVERYBODY = ("Access-Control-Allow-Origin", "*")


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
        path = f"{self.path}/{name}"
        try:
            descriptor, status = open_descriptor(path)
        except (OSError, ValueError):
            return message(404)
        try:
            if not (self.follow_symlinks or self._has(path, descriptor)):
                return message(404)
            answer = self._answer(descriptor, status, name.rpartition("/")[2], request)
            if isinstance(answer.body, Body):
                descriptor = -1  # which is the body's now
            return answer
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _has(self, path: str, descriptor: int) -> bool:
        """Whether the file that was opened is within the directory, whatever links have led to it."""
        real = real_path_of(descriptor)
        if real is None:
            return is_inside(self.path, path)
        if not real.startswith(self._root):
            self._root = _with_slash(os.path.realpath(self.path))  # it may have been a link to another one until now
        return real.startswith(self._root)

    def _answer(self, descriptor: int, status: os.stat_result, name: str, request: Request) -> Answer:
        size = status.st_size
        resource = Resource(size, f'"{status.st_mtime_ns:x}-{size:x}"', status.st_mtime)
        selection = evaluate(request.method, request.header, resource)
        if (refusal := refused(selection, resource)) is not None:
            return refusal
        said = [*headers_of(name), _EVERYBODY] if self.cors else headers_of(name)
        if selection.status == 304:
            return not_modified(said, resource)
        headers = [*said, *validators_of(selection, resource)]
        if request.method == "HEAD":
            return Answer(200, headers)
        length = selection.length or 0
        if length <= CHUNK:
            return Answer(selection.status, headers, _read(descriptor, selection.start, length))
        file = open(descriptor, "rb", 0)  # noqa: SIM115 - the answer closes it
        file.seek(selection.start)
        return Answer(selection.status, headers, Body(file, length, is_whole=selection.status == 200))


def _read(descriptor: int, start: int, length: int) -> bytes:
    if start:
        os.lseek(descriptor, start, os.SEEK_SET)
    data = os.read(descriptor, length)
    if len(data) != length:
        msg = f"expected {length} bytes to send, got {len(data)}: the file has become shorter"
        raise StoreError(msg)
    return data


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
