"""Looks for files that are neither accepted nor refused, by a fuzzer that is guided by what they reach.

Each scanner and each engine is tried in a process of its own.  A file that raises an error without a type, that takes
more steps than it may, or longer than any file may, is kept beside the tests, which replay it; and so are a few of
those that led where none of the files that it began with does.
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
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from sqlalchemy_imageattach.errors import EngineUnavailableError, RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.formats import SCANNERS
from sqlalchemy_imageattach.imaging.reader import STEPS, Reader

FOUND = Path(__file__).parent / "found"
IMAGES = Path(__file__).parent.parent / "images"
#: What guides it: the lines of these.
ROOMS = ("sqlalchemy_imageattach.imaging.", "PIL.")
#: Of what is tried by one name, so many files of at most so many bytes together are kept.
KEPT, KEPT_BYTES = 16, 24 * 1024
ENGINES = ("pillow", "resvg", "heif", "pdfium", "vips", "wand")
ALL = ("application/pdf", "image/heic", "image/heif", "image/svg+xml", "image/vnd.microsoft.icon")


def found() -> list[Path]:
    """What earlier hunts found."""
    return sorted(path for path in FOUND.rglob("*") if path.is_file())


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

    if name in ENGINES:
        Image.init()  # loads its formats
    # what reads files; all that is loaded would take minutes
    for module in [value for key, value in sys.modules.items() if key.startswith(ROOMS)]:
        for owner in (module, *filter(inspect.isclass, vars(module).values())):
            for function in list(filter(inspect.isfunction, vars(owner).values())):
                if function.__module__ == module.__name__:
                    atheris.instrument_func(function)
    atheris.Setup(
        [
            sys.argv[0],
            corpus,
            f"-max_total_time={seconds}",
            "-max_len=65536",
            "-rss_limit_mb=3000",
            "-timeout=20",
            "-verbosity=1",
        ]
        + [f"-artifact_prefix={corpus}/../"],
        lambda content: attempt(name, content),
    )
    atheris.Fuzz()


def reached(name: str, content: bytes) -> set[tuple[str, int, int]]:
    """The steps from line to line that an attempt takes within :data:`ROOMS`."""
    steps = set()

    def follow(frame: types.FrameType, event: str, _: object) -> Any:
        if not frame.f_globals.get("__name__", "").startswith(ROOMS):
            return None
        last = 0

        def line(frame: types.FrameType, event: str, _: object) -> Any:
            nonlocal last
            if event == "line":
                steps.add((frame.f_code.co_filename, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        attempt(name, content)
    finally:
        sys.settrace(before)
    return steps


def _beginnings() -> Iterator[bytes]:
    """The files that it begins with."""
    from .test_fuzz import seeds

    for file in [*IMAGES.glob("quadrants*"), *IMAGES.glob("*animated*")]:
        yield file.read_bytes()
    yield from seeds().values()


def _keep(name: str, corpus: Path) -> None:
    """Keep the small files that lead where no other one does, at the most :data:`KEPT` of them."""
    known = set().union(*(reached(name, content) for content in _beginnings()))
    directory = FOUND / name.replace("/", "-")
    shutil.rmtree(directory, ignore_errors=True)
    kept = size = 0
    for content in sorted({file.read_bytes() for file in corpus.glob("*")}, key=len):
        new = reached(name, content) - known
        if new and kept < KEPT and size + len(content) <= KEPT_BYTES:
            known |= new
            kept, size = kept + 1, size + len(content)
            directory.mkdir(parents=True, exist_ok=True)
            (directory / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def _hunted(name: str, seconds: int) -> bool:
    """Hunt in a process of its own; what it found is kept."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        corpus.mkdir()
        for number, content in enumerate([*_beginnings(), *(file.read_bytes() for file in found())]):
            (corpus / str(number)).write_bytes(content)
        command = [sys.executable, "-m", __spec__.name, "--hunt", str(corpus), "--seconds", str(seconds), name]
        done = subprocess.run(command, check=False)
        FOUND.mkdir(exist_ok=True)
        for file in [path for kind in ("crash", "timeout", "oom") for path in Path(directory).glob(f"{kind}-*")]:
            shutil.copy(file, FOUND / f"{file.name[: file.name.index('-') + 13]}")
        if done.returncode == 0:
            _keep(name, corpus)
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
