"""What the worst file of each kind costs: looking at it, and making a thumbnail of it.

Each is tried in a process of its own, whose peak memory beyond that of a small picture of the same kind is told.  The
bounds are those of the page about security in the guide; what is beyond one says ``FAILS``, and so does the benchmark.
``IMAGEATTACH_BENCH_MEGAPIXELS`` sets another size of the pictures that are decoded; 12 is the default.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

ROOT = Path(__file__).parent.parent
MEGAPIXELS = float(os.environ.get("IMAGEATTACH_BENCH_MEGAPIXELS", "12"))
LOOKING_MS, LOOKING_MIB = 100, 16
#: Bytes for each pixel of the source, at the most.
BOUNDS = {"jpeg": 8, "png": 16, "gif": 16, "webp": 16, "avif": 16, "bmp": 8, "tiff": 16}


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


def pictures(width: int, height: int) -> dict[str, bytes]:
    """A picture of each kind, of this size, that takes the most memory to decode."""
    from PIL import Image

    def saved(mode: str, form: str, *, colour: Any = None, **options: Any) -> bytes:
        file = io.BytesIO()
        Image.new(mode, (width, height), colour or 0).save(file, form, **options)
        return file.getvalue()

    def film(form: str, **options: Any) -> bytes:
        # as many pixels as the others, over nine frames
        frames = [Image.new("RGBA", (width // 3, height // 3), (shade, 0, 0, 128)) for shade in range(9)]
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:], duration=40, **options)
        return file.getvalue()

    fast = {"compress_level": 1}
    return {
        "jpeg": saved("RGB", "JPEG"),
        "jpeg, progressive": saved("RGB", "JPEG", progressive=True),
        "jpeg, CMYK": saved("CMYK", "JPEG"),
        "png, RGB": saved("RGB", "PNG", **fast),
        "png, RGBA": saved("RGBA", "PNG", **fast),
        "png, palette with alpha": saved("P", "PNG", transparency=b"\x80", **fast),
        "png, grey of 16 bits": saved("I;16", "PNG", **fast),
        "png, animated": film("PNG", **fast),
        "gif": saved("P", "GIF"),
        "gif, animated": film("GIF"),
        "webp, lossless": saved("RGBA", "WEBP", lossless=True, method=0, quality=0),
        "webp, lossy": saved("RGB", "WEBP", method=0),
        "webp, animated": film("WEBP", method=0),
        "avif": saved("RGB", "AVIF", speed=10),
        "avif, alpha": saved("RGBA", "AVIF", speed=10),
        "bmp, 24 bits": saved("RGB", "BMP"),
        "bmp, 1 bit": saved("1", "BMP"),
        "tiff, RGB": saved("RGB", "TIFF", compression="tiff_lzw"),
        "tiff, RGBA": saved("RGBA", "TIFF", compression="tiff_deflate"),
        "tiff, floats": saved("F", "TIFF"),
        "tiff, fax": saved("1", "TIFF", compression="group4"),
    }


def main() -> int:
    """Print both tables."""
    harness.require(pytest="pytest>=8", numpy="numpy>=2")
    sys.path.insert(0, str(ROOT))
    from tests.imaging.worst import WORST

    holds = True
    print(f"looking: at most {LOOKING_MS} ms of CPU and {LOOKING_MIB} MiB; of a PDF, the file besides")
    for name, made in WORST.items():
        content = made()
        found = apart("look", content)
        most = LOOKING_MIB + (len(content) / 2**20 if name.startswith("pdf") else 0)
        fine = found["ms"] <= LOOKING_MS and found["mib"] <= most
        holds &= fine
        said = f"{len(content) / 2**20:8.1f} MiB{found['ms']:8.1f} ms{found['mib']:8.1f} MiB"
        print(f"{name:46}{said}{'' if fine else '  FAILS'}")
    side = int(math.sqrt(MEGAPIXELS * 1e6))
    print(f"decoding {MEGAPIXELS:g} megapixels for a small thumbnail: bytes a pixel, and their bound")
    small = pictures(30, 30)
    for name, content in pictures(side, side).items():
        found = apart("decode", content, small[name])
        each, most = found["mib"] * 2**20 / side**2, BOUNDS[name.partition(",")[0]]
        holds &= each <= most
        said = f"{len(content):12,} bytes{found['ms']:8.0f} ms{each:8.1f}{most:4}"
        print(f"{name:46}{said}{'' if each <= most else '  FAILS'}")
    return not holds


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"look": look, "decode": decode}[sys.argv[1]](sys.argv[2])))
    else:
        sys.exit(main())
