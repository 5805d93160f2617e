"""Run the tour, then serve the gallery; ``scripts/demo --help`` tells the options."""

from __future__ import annotations

import argparse
import itertools
import logging
import shlex
import signal
import sys
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker
from werkzeug.serving import make_server

from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore
from sqlalchemy_imageattach.version import VERSION

from .gallery import Gallery
from .models import DATABASE, open_catalogue
from .tour import Tour, TourError, say

_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """What the process exits with: 0, or 1 when the tour found a promise broken, or 2 when it cannot start."""
    options = _options()
    directory: Path = options.directory or _fresh_directory(_ROOT / "var")
    known = (directory / DATABASE).exists()
    if not known and directory.exists() and any(directory.iterdir()):
        sys.stderr.write(f"{directory} has something in it that is no catalogue: name another directory, or none.\n")
        return 2
    say(f"SQLAlchemy-ImageAttach {VERSION}: a catalogue of photographs in {directory}")
    with open_catalogue(directory) as (sessions, store, queue):
        if known:
            say("It was there already, so the tour is left out.")
        else:
            try:
                Tour(sessions, store, queue, options.photographs).run()
            except TourError as error:
                sys.stderr.write(f"{error}\n")
                return 1
        say(f"\nThe database is  {directory / DATABASE}")
        say(f"The pictures are {store.path}")
        say(f"Remove both by   rm -r {shlex.quote(str(directory))}")
        if not options.once:
            _serve(sessions, store, options.port)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Shows the library at work on real photographs.")
    parser.add_argument("--once", action="store_true", help="do all but serve the gallery")
    parser.add_argument("--port", type=_port, default=0, help="where to serve the gallery; a free one by default")
    parser.add_argument(
        "--directory",
        type=lambda name: Path(name).absolute(),
        help="where to keep database and pictures; a new one in var/ by default; a catalogue found there is served",
    )
    parser.add_argument(
        "--photographs", type=Path, default=_ROOT / "tests" / "images", help="where the photographs to attach are"
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 2**16:
        return int(text)
    msg = f"expected a number below 65536, got {text!r}"
    raise argparse.ArgumentTypeError(msg)


def _fresh_directory(parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    for number in itertools.count(1):
        directory = parent / f"demo-{number}"
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise AssertionError


def _serve(sessions: sessionmaker[Session], store: HttpExposedFileSystemStore, port: int) -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = store.wsgi_middleware(Gallery(sessions))
    with make_server("127.0.0.1", port, application, threaded=True) as server:
        # being told to end is no failure, by whichever signal, and also where a shell has us ignore the first
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        say(f"\nThe gallery is   http://127.0.0.1:{server.port}/   (Ctrl-C ends it)")
        server.serve_forever()  # returns upon KeyboardInterrupt
    say("\nEnded.")


if __name__ == "__main__":
    sys.exit(main())
