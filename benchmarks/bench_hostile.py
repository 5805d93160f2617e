"""What the worst file of each kind costs: looking at it, and making a thumbnail of it.

Each is tried in a process of its own, whose peak memory beyond that of a small picture of the same kind is told.  The
bounds are those of the page about security in the guide; what is beyond one says ``FAILS``, and so does the benchmark.
``IMAGEATTACH_BENCH_MEGAPIXELS`` sets another size of the pictures that are decoded; 12 is the default.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness

ROOT = Path(__file__).parent.parent
MEGAPIXELS = float(os.environ.get("IMAGEATTACH_BENCH_MEGAPIXELS", "12"))
LOOKING_MS, LOOKING_MIB = 100, 16


def look(path: str) -> dict[str, float]:
    """The cost of looking at a file."""
    from sqlalchemy_imageattach.errors import RejectedImageError
    from sqlalchemy_imageattach.imaging import ImagePolicy, probe

    policy = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/vnd.microsoft.icon")

    def work(name: str) -> None:
        with open(name, "rb") as file, contextlib.suppress(RejectedImageError):
            probe(file, policy)

    for small in (ROOT / "tests" / "images").iterdir():
        work(str(small))
    return cost(lambda: work(path))


def decode(path: str) -> dict[str, float]:
    """The cost of a thumbnail of a file."""
    from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render

    policy = ImagePolicy(engines=("pillow",), max_aspect=None).allowing("image/vnd.microsoft.icon")

    def work(name: str) -> None:
        with open(name, "rb") as file:
            info = probe(file, policy)
            # point sampling has a JPEG decoded in its whole size
            render(file, [Rendition(width=200, filter="point", format="png", animated=info.frames > 1)], policy)

    work(path + ".small")
    return cost(lambda: work(path))


def cost(work: Callable[[], object]) -> dict[str, float]:
    """CPU milliseconds, and MiB of memory beyond what there was."""
    before, started = harness.peak_memory(), time.process_time()
    work()
    return {"ms": 1e3 * (time.process_time() - started), "mib": harness.peak_memory() - before}


def apart(kind: str, content: bytes, small: bytes = b"") -> dict[str, float]:
    """What a process of its own says."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        Path(path).write_bytes(content)
        Path(path + ".small").write_bytes(small)
        command = [sys.executable, __file__, kind, path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def main() -> int:
    """Print both tables."""
    harness.require(pytest="pytest>=8", numpy="numpy>=2")
    sys.path.insert(0, str(ROOT))
    from tests.imaging.worst import BOUNDS, WORST, pictures

    beyond = 0
    print(f"looking: at most {LOOKING_MS} ms of CPU and {LOOKING_MIB} MiB; of a PDF, the file besides")
    for name, made in WORST.items():
        content = made()
        found = apart("look", content)
        most = LOOKING_MIB + (len(content) / 2**20 if name.startswith("pdf") else 0)
        fine = found["ms"] <= LOOKING_MS and found["mib"] <= most
        beyond += not fine
        said = f"{len(content) / 2**20:8.1f} MiB{found['ms']:8.1f} ms{found['mib']:8.1f} MiB"
        print(f"{name:46}{said}{'' if fine else '  FAILS'}")
    verdicts = [harness.verdict("files that cost more to look at than they may", beyond, at_most=0)]
    beyond, side = 0, int(math.sqrt(MEGAPIXELS * 1e6))
    print(f"decoding {MEGAPIXELS:g} megapixels for a small thumbnail: bytes a pixel, and their bound")
    small = pictures(30, 30)
    for name, content in pictures(side, side).items():
        found = apart("decode", content, small[name])
        each, most = found["mib"] * 2**20 / side**2, BOUNDS[name.partition(",")[0]]
        beyond += each > most
        said = f"{len(content):12,} bytes{found['ms']:8.0f} ms{each:8.1f}{most:4}"
        print(f"{name:46}{said}{'' if each <= most else '  FAILS'}")
    verdicts.append(harness.verdict("kinds that take more memory to decode than is reckoned", beyond, at_most=0))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"look": look, "decode": decode}[sys.argv[1]](sys.argv[2])))
    else:
        sys.exit(main())
