"""The stores that keep blobs as files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from ...arguments import wrong_type, wrong_value
from ...errors import (
    BlobExistsError,
    InvalidTypeError,
    InvalidValueError,
    StoreAccessDeniedError,
    StoreError,
    UnknownHostError,
)
from ...file import copy_chunks
from ...key import ImageKey, extension_of
from ...paths import is_inside, open_file
from ...serving.host import checked_base_url, request_url
from ...serving.wsgi import RequestUrlMiddleware, StaticServerMiddleware
from ...store import Store, StoredBlob
from ..keyed import KeyedStore
from .draft import Draft
from .errors import store_errors
from .walk import list_files, temporary_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from ...serving import asgi

__all__ = [
    "BaseFileSystemStore",
    "FileSystemStore",
    "HttpExposedFileSystemStore",
    "guess_extension",
]

_log = logging.getLogger("sqlalchemy_imageattach.stores.fs")


def guess_extension(mimetype: str) -> str:
    """The file name extension, with its dot, of blobs of the type ``mimetype``.

    >>> guess_extension("image/png")
    '.png'

    :raises InvalidValueError: ``mimetype`` is not of the form ``type/subtype``
    """
    return extension_of(mimetype)


class BaseFileSystemStore(KeyedStore):
    """Files in a directory, without an opinion on their URLs: to be inherited, with a ``base_url``.

    :param path: the directory, made when the first blob is stored; it may be a symbolic link
    :param fsync: whether a blob must be on the disk, and not only in the system's buffers, when it counts as stored.
        Without, storing is several times faster, and a power failure can take blobs of committed rows with it
    :param file_mode: the permissions of new files, from which the umask is taken away
    :param directory_mode: the permissions of new directories, from which the umask is taken away
    :param follow_symlinks: whether symbolic links *within* the directory may lead out of it, e.g. to another disk.
        Without, such blobs are refused.  This guards against stray links, not against somebody who can make new ones
        at any time
    :raises InvalidTypeError: ``path`` is no path
    :raises InvalidValueError: ``path`` is empty, or is there but is no directory
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        file_mode: int = 0o666,
        directory_mode: int = 0o777,
        follow_symlinks: bool = False,
    ) -> None:
        #: The absolute path of the directory.
        self.path = _directory(path)
        self.fsync = fsync
        self.file_mode = file_mode
        self.directory_mode = directory_mode
        self.follow_symlinks = follow_symlinks

    @property
    def base_url(self) -> str:
        """What the URLs of all blobs start with, ending with a slash."""
        cls = type(self)
        raise NotImplementedError(f"{cls.__module__}.{cls.__qualname__} has to implement base_url")

    def path_of(self, key: ImageKey) -> str:
        """The path of the file of ``key``, whether or not it is there.

        :raises StoreAccessDeniedError: a symbolic link leads out of the store there
        """
        return self._path(key.file_path())

    def find_path(self, key: ImageKey) -> str:
        """The path at which the file of ``key`` is, by whatever name; that of today if it is not there.

        :raises StoreAccessDeniedError: a symbolic link leads out of the store there
        """
        return self._path(self._name_of(key))

    def _path(self, name: str) -> str:
        """The path of a name that a key gave.  **The only way from a key to a path.**"""
        path = os.path.join(self.path, *name.split("/"))
        if not (self.follow_symlinks or is_inside(self.path, path)):
            raise StoreAccessDeniedError(
                f"{name} is refused: a symbolic link leads out of the store's directory there; remove it, or create the"
                " store with follow_symlinks=True"
            )
        return path

    def _name_of(self, key: ImageKey) -> str:
        """The name under which the blob is there; that of today if it is not, or is one that 2.0 wrote."""
        if not key.has_old_names:
            return key.file_path()
        names = key.file_paths()
        return next((name for name in names if os.path.lexists(self._path(name))), names[0])

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards the blob is there, whole; if this raises, neither it nor a temporary file is.

        Without a revision it replaces the former one at once: readers see either of them, never a mixture.

        :raises BlobExistsError: there is a blob with this revision already; it stays as it is
        :raises StoreError: the disk is full, or fails, or refuses; errors of ``file`` itself pass as they are
        """
        self._store(key, file, replace=key.revision is None)
        self._remove_old_names(key)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        """Afterwards the blob is there, whole; of several who try at once, in whichever process, one can.

        :raises BlobExistsError: there is one already; it stays as it is
        :raises StoreError: the disk is full, or fails, or refuses; errors of ``file`` itself pass as they are
        """
        if key.has_old_names and self.has_key(key):
            msg = f"{key.file_path()} is stored already"
            raise BlobExistsError(errno.EEXIST, msg)
        self._store(key, file, replace=False)

    def _store(self, key: ImageKey, file: IO[bytes], *, replace: bool) -> None:
        draft = Draft(self.path_of(key), key, self.file_mode, self.directory_mode, self.fsync)
        try:
            copy_chunks(file, draft)
            draft.publish(replace=replace)
        except BaseException:
            draft.discard()
            raise

    def _get(self, key: ImageKey) -> IO[bytes]:
        """The file itself, opened for reading.

        :raises BlobNotFoundError: there is no such blob
        :raises StoreError: it cannot be read, or something else is there: a directory, a named pipe, a device
        """
        with store_errors("read", key):
            return open_file(self._path(self._name_of(key)))

    def _url(self, key: ImageKey) -> str:
        """The blob's URL below :attr:`base_url`, whether or not it is there.

        The disk is looked at only if 1.x may have called it otherwise: a TIFF or WebP without revision, say.
        """
        return self.base_url + quote(self._name_of(key))

    def _delete(self, key: ImageKey) -> bool:
        """Afterwards the blob is not there; its directory stays, since somebody may be about to write to it.

        :return: whether there was one
        :raises StoreError: it cannot be deleted
        """
        with store_errors("delete", key):
            # all of them, and that of today last: were an old one left, it would come to light
            told = [_unlinked(self._path(name)) for name in reversed(key.file_paths())]
        return any(told)

    def _remove_old_names(self, key: ImageKey) -> None:
        """Afterwards what 1.x called the blob is not there, as far as it can be removed; it is hidden in any case."""
        for name in key.file_paths()[1:] if key.has_old_names else ():
            try:
                _unlinked(self._path(name))
            except OSError as error:
                _log.warning("cannot delete %s, which has been replaced: %s", name, error)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """All files in the directory, with their paths in it as names; those that are no blobs have no key.

        A symbolic link to a file is none.  A directory that has never been written to need not be there.

        :raises StoreError: a directory cannot be read, or a symbolic link leads to one that is listed already
        """
        return list_files(self.path, prefix, follow_symlinks=self.follow_symlinks)

    def discard_temporary(self, blob: StoredBlob) -> bool:
        """Afterwards the temporary file is not there.

        :raises InvalidValueError: ``blob`` is none of this store's temporary files
        :raises StoreError: it cannot be deleted
        """
        key = temporary_of(blob.name) if blob.is_temporary else None
        if key is None:
            raise wrong_value("", blob, "a temporary file, as list_blobs() gives them")
        with store_errors("delete", key):
            return _unlinked(os.path.join(os.path.dirname(self.path_of(key)), os.path.basename(blob.name)))

    def is_same_place(self, other: Store) -> bool:
        """Whether both have the same directory, by whatever path."""
        if not isinstance(other, BaseFileSystemStore):
            return super().is_same_place(other)
        return os.path.realpath(self.path) == os.path.realpath(other.path)

    def require_presence(self) -> None:
        """The directory is there.

        :raises StoreError: it is not
        """
        if not os.path.isdir(self.path):
            raise StoreError(errno.ENOENT, f"no such directory: {self.path!r}; is its volume mounted?")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


class FileSystemStore(BaseFileSystemStore):
    """Files in a directory that a web server exposes under a fixed URL.

    :param path: the directory, made when the first blob is stored
    :param base_url: the URL under which the web server serves the directory
    :param options: the same as of :class:`BaseFileSystemStore`
    :raises InvalidTypeError: ``path`` is no path, or ``base_url`` no string
    :raises InvalidValueError: ``path`` is no directory, or ``base_url`` has characters that no URL can have
    """

    def __init__(self, path: str | os.PathLike[str], base_url: str, **options: Any) -> None:
        super().__init__(path, **options)
        self._base_url = checked_base_url("base_url", base_url)

    @property
    def base_url(self) -> str:
        """What the URLs of all blobs start with, ending with a slash."""
        return self._base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, {self.base_url!r})"


class HttpExposedFileSystemStore(BaseFileSystemStore):
    """Files in a directory that :meth:`wsgi_middleware` or :meth:`asgi_middleware` serves beside the application.

    ::

        store = HttpExposedFileSystemStore("userimages", "images/")
        app.wsgi_app = store.wsgi_middleware(app.wsgi_app)

    URLs have the host of the request that is being handled, and of no other.  It is the client's word: where pages
    are cached or URLs are mailed, and wherever no request is handled, as in a job queue, give ``host_url_getter``.

    :param path: the directory, made when the first blob is stored
    :param prefix: the path of the URLs, below that of the application
    :param host_url_getter: a function that takes nothing and returns the URL of the application, such as
        ``"https://example.com/"``; it takes precedence over the request
    :param cors: whether scripts of all other sites may read what is served
    :param options: the same as of :class:`BaseFileSystemStore`
    :raises InvalidTypeError: ``path`` is no path, ``prefix`` no string, or ``host_url_getter`` cannot be called
    :raises InvalidValueError: ``path`` is no directory, or ``prefix`` is empty or has ``..`` within
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        prefix: str = "__images__",
        host_url_getter: Callable[[], str] | None = None,
        cors: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(path, **options)
        self.prefix = _prefix(prefix)
        if host_url_getter is not None and not callable(host_url_getter):
            raise wrong_type("host_url_getter", host_url_getter, "a function that returns a URL")
        self.host_url_getter = host_url_getter
        self.cors = cors

    @property
    def base_url(self) -> str:
        """What the URLs of all blobs start with at this moment, ending with a slash.

        :raises UnknownHostError: there is neither a ``host_url_getter`` nor a request to take the host from
        """
        return f"{self._host_url()}{quote(self.prefix)}/"

    def wsgi_middleware(self, app: WSGIApplication, cors: bool = False) -> StaticServerMiddleware:
        """A WSGI application that serves the blobs and hands all other requests on to ``app``.

        :param app: the application to wrap
        :param cors: the same as of the store; one of the two is enough
        :raises InvalidTypeError: ``app`` cannot be called
        """
        return StaticServerMiddleware(
            RequestUrlMiddleware(app),
            self.prefix,
            self.path,
            cors=cors or self.cors,
            follow_symlinks=self.follow_symlinks,
        )

    def asgi_middleware(self, app: asgi.ASGIApplication, cors: bool = False) -> asgi.StaticServerMiddleware:
        """An ASGI application that does the same.

        :param app: the application to wrap
        :param cors: the same as of the store; one of the two is enough
        :raises InvalidTypeError: ``app`` cannot be called
        """
        from ...serving import asgi  # with which comes SQLAlchemy, as stores do without

        return asgi.StaticServerMiddleware(
            asgi.RequestUrlMiddleware(app),
            self.prefix,
            self.path,
            cors=cors or self.cors,
            follow_symlinks=self.follow_symlinks,
        )

    def _host_url(self) -> str:
        if self.host_url_getter is not None:
            return checked_base_url("host_url_getter", self.host_url_getter())
        url = request_url.get()
        if url is None:
            raise UnknownHostError(
                "the host of image URLs is not known: no request is being handled, or its Host header is none; either"
                " give HttpExposedFileSystemStore a host_url_getter, or wrap the application by its wsgi_middleware()"
                " or asgi_middleware() and ask within a request"
            )
        return url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, {self.prefix!r})"


def _unlinked(path: str) -> bool:
    """Whether there was such a file; there is none afterwards."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _directory(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise wrong_type("path", path, "the path of a directory")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidTypeError(f"path: expected the path of a directory as str, got {text!r}")
    if not text or "\0" in text:
        raise wrong_value("path", text, "the path of a directory")
    absolute = os.path.abspath(text)  # a later chdir() must not move the store
    if os.path.exists(absolute) and not os.path.isdir(absolute):
        raise InvalidValueError(f"path: expected a directory, but {absolute!r} is a file")
    return absolute


def _prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise wrong_type("prefix", prefix, "the path of the URLs (str)")
    stripped = prefix.strip("/")
    if any(segment in {"", ".", ".."} for segment in stripped.split("/")):
        raise wrong_value("prefix", prefix, "a path of one or more plain segments, such as 'images'")
    return stripped
