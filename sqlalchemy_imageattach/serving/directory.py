"""The files of a directory: from a URL to a path, and what is said of the file.

Every file of the store is public: who knows the URL gets the picture.  Nothing else is: no directories, no temporary
files, nothing outside.
"""

from __future__ import annotations

import os
import re
import stat

from ..arguments import check_type
from ..paths import is_inside
from .answer import Answer, Body, message
from .conditions import Resource, evaluate, not_modified, refused, validators_of
from .headers import headers_of
from .lookup import Lookup
from .request import Request

__all__ = ["Directory", "directory_path", "mount_path"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:\ufffd]")


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

    def look(self, request: Request) -> Answer | Lookup:
        """What the request comes to, by its method and its path alone."""
        if request.method not in {"GET", "HEAD"}:
            return message(405, [("Allow", "GET, HEAD")])
        if request.path is None:
            return message(404)
        segments = request.path.split("/")
        # a leading dot: the directory itself, the one above, temporary files, and what nobody meant to publish
        if any(not segment or segment.startswith(".") or _UNSAFE.search(segment) for segment in segments):
            return message(404)
        return Lookup(lambda: self._serve(segments, request))

    def _serve(self, segments: list[str], request: Request) -> Answer:
        # the only way from a URL to a path
        path = os.path.join(self.path, *segments)
        if not self.follow_symlinks and not is_inside(self.path, path):
            return message(404)
        try:
            # asked before opening, which would wait for the other end of a named pipe
            if not stat.S_ISREG(os.stat(path).st_mode):
                return message(404)
            file = open(path, "rb")  # noqa: SIM115 - the answer closes it
        except (OSError, ValueError):
            return message(404)
        body = Body(file, None)
        try:
            return self._answer(body, segments[-1], request)
        except BaseException:
            body.close()
            raise

    def _answer(self, body: Body, name: str, request: Request) -> Answer:
        status = os.fstat(body.file.fileno())
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
        body.file.seek(selection.start)
        body.length, body.is_whole = selection.length, selection.status == 200
        return Answer(selection.status, headers, body)


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
