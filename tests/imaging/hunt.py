"""Looks for files that are neither accepted nor refused, by a fuzzer that is guided by what they reach.

Each scanner and each engine is tried in a process of its own.  A file that raises an error without a type, or that
takes more steps than it may, is kept beside the tests, which replay it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import inspect
import io
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy_imageattach.errors import EngineUnavailableError, RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.formats import SCANNERS
from sqlalchemy_imageattach.imaging.reader import STEPS, Reader

FOUND = Path(__file__).parent / "found"
IMAGES = Path(__file__).parent.parent / "images"
SCANNERS_ROOM = "sqlalchemy_imageattach.imaging.formats"
ENGINES = ("pillow", "resvg", "heif", "pdfium", "wand")
ALL = ("application/pdf", "image/heic", "image/heif", "image/svg+xml", "image/vnd.microsoft.icon")


def scan(mimetype: str, content: bytes) -> None:
    """Have one scanner look at a file, whatever its first bytes say.

    :raises AssertionError: it took more steps than there are
    """
    reader = Reader(io.BytesIO(content))
    with contextlib.suppress(RejectedImageError):
        SCANNERS[mimetype](reader)
        assert 0 <= reader.steps <= STEPS


def draw(engine: str, content: bytes) -> None:
    """Have one engine make a picture of a file, in this process."""
    policy = ImagePolicy(engines=(engine,), isolate=False, max_pixels=1_000_000).allowing(*ALL)
    with contextlib.suppress(RejectedImageError, EngineUnavailableError):
        probe(io.BytesIO(content), policy)
        render(io.BytesIO(content), [Rendition(width=8)], policy)


def attempt(name: str, content: bytes) -> None:
    """Try a file on the scanner or the engine of this name."""
    (draw if name in ENGINES else scan)(name, content)


def _hunt(name: str, seconds: int, corpus: str) -> None:
    atheris: Any = import_module("atheris")

    # what reads headers; all that is loaded would take minutes
    for module in [value for key, value in sys.modules.items() if key.startswith(SCANNERS_ROOM)]:
        for owner in (module, *filter(inspect.isclass, vars(module).values())):
            for function in list(filter(inspect.isfunction, vars(owner).values())):
                if function.__module__ == module.__name__:
                    atheris.instrument_func(function)
    atheris.Setup(
        [sys.argv[0], corpus, f"-max_total_time={seconds}", "-max_len=65536", "-rss_limit_mb=3000", "-verbosity=1"]
        + [f"-artifact_prefix={corpus}/../"],
        lambda content: attempt(name, content),
    )
    atheris.Fuzz()


def _hunted(name: str, seconds: int) -> bool:
    """Hunt in a process of its own; what it found is kept."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        corpus.mkdir()
        for file in [*IMAGES.glob("quadrants*"), *IMAGES.glob("*animated*"), *FOUND.glob("*")]:
            shutil.copy(file, corpus)
        from .test_fuzz import seeds

        for number, content in enumerate(seeds().values()):
            (corpus / str(number)).write_bytes(content)
        command = [sys.executable, "-m", __spec__.name, "--hunt", str(corpus), "--seconds", str(seconds), name]
        done = subprocess.run(command, check=False)
        for file in [*Path(directory).glob("crash-*"), *Path(directory).glob("timeout-*")]:
            FOUND.mkdir(exist_ok=True)
            shutil.copy(file, FOUND / hashlib.sha256(file.read_bytes()).hexdigest()[:16])
    return done.returncode == 0


def main() -> int:
    """Hunt for each name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join((*SCANNERS, *ENGINES))}")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: %(default)s)")
    parser.add_argument("--hunt", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hunt:
        _hunt(given.names[0], given.seconds, given.hunt)
        return 0
    failed = [name for name in given.names or (*SCANNERS, *ENGINES) if not _hunted(name, given.seconds)]
    print(f"failed: {', '.join(failed)}" if failed else "nothing was found")  # noqa: T201
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
