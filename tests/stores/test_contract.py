"""The contract kit, run over every store here but those on S3, whose tests have the servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import werkzeug.serving

from sqlalchemy_imageattach.context import LocalProxyStore
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore, HttpExposedFileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import Capabilities, FaultyStore, StoreContract
from tests.onex import FourMethodStore

from .files_of_old import OldFileStore


def _files(path: Path, **options: bool) -> FileSystemStore:
    return FileSystemStore(path / "images", "https://images.example.com/", **options)


def _proxy(store: Store) -> LocalProxyStore:
    return LocalProxyStore(lambda: store)


class TestSingleStores(StoreContract):
    """All that can be promised, but to be pickled and to be served."""

    capabilities = Capabilities(
        copies=False, revisions=True, never_overwrites=True, tells_deletions=True, lists=True, exclusive=True
    )

    STORES: dict[str, Callable[[Path], Store]] = {
        "memory": lambda _: MemoryStore(),
        "files": _files,
        "files without fsync": lambda path: _files(path, fsync=False),
        "faulty without faults": lambda _: FaultyStore(MemoryStore()),
        "proxy of memory": lambda _: _proxy(MemoryStore()),
        "proxy of files": lambda path: _proxy(_files(path)),
    }

    @pytest.fixture(params=STORES)
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return self.STORES[request.param](tmp_path)


class TestServedFiles(StoreContract):
    """A directory that the application serves, by a real server."""

    capabilities = Capabilities(
        copies=False,
        revisions=True,
        never_overwrites=True,
        tells_deletions=True,
        lists=True,
        fetchable=True,
        exclusive=True,
    )

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        url: list[str] = []
        store = HttpExposedFileSystemStore(tmp_path, host_url_getter=lambda: url[0])
        app = store.wsgi_middleware(lambda environ, start_response: [])
        server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        url.append(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield store
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(werkzeug.serving.WSGIRequestHandler):
    def log(self, *args: object) -> None: ...


class TestPickledFiles(StoreContract):
    """A directory, which other processes can use too."""

    capabilities = Capabilities(copies=False, pickles=True)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return _files(tmp_path)


class TestOverlays(StoreContract):
    """Two stores as one: the underlying one refuses to be changed, so that it shows if it is."""

    capabilities = Capabilities(copies=False, revisions=True, never_overwrites=True, lists=True)

    @pytest.fixture(params=["memory", "files"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        underlying = FaultyStore(MemoryStore())
        for operation in ("put", "delete"):
            underlying.fail(operation, error=AssertionError("the underlying store was changed"))
        return OverlayStore(MemoryStore() if request.param == "memory" else _files(tmp_path), underlying)


class TestMirrors(StoreContract):
    """Two stores, kept alike.  It lists neither, and of many who delete a blob it can tell two that it was there."""

    capabilities = Capabilities(copies=False, revisions=True, never_overwrites=True, lists=False)

    @pytest.fixture(params=["memory first", "files first", "one of 1.x"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        if request.param == "one of 1.x":
            return MirrorStore(MemoryStore(), FourMethodStore())
        stores = MemoryStore(), _files(tmp_path)
        return MirrorStore(*stores if request.param == "memory first" else reversed(stores))


class TestFourMethodStores(StoreContract):
    """As a user wrote it for 1.x: four methods, no revisions."""

    capabilities = Capabilities(copies=False, revisions=False, never_overwrites=False, lists=False)

    @pytest.fixture(params=["itself", "in a proxy", "overlay of two"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        old = OldFileStore(tmp_path / "old")
        return {
            "itself": lambda: old,
            "in a proxy": lambda: _proxy(old),
            "overlay of two": lambda: OverlayStore(old, OldFileStore(tmp_path / "older")),
        }[request.param]()
