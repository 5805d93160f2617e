"""One thumbnail, and six at once, of a 12-megapixel JPEG: time, and peak memory of a process that does it.

Compared with the way of SQLAlchemy-ImageAttach 1.1 (Wand: decode and resize the whole picture, anew for each size),
with Pillow's ``thumbnail()`` for each size, and with the limit: a scaled decode and the encoding of the results.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import harness
from PIL import Image

from sqlalchemy_imageattach.imaging import Rendition, render

ONE = (300,)
SIX = (1920, 1280, 960, 640, 320, 150)


def ours(photo: bytes, widths: Sequence[int]) -> None:
    """One decode for all sizes."""
    render(io.BytesIO(photo), [Rendition(width=width) for width in widths])


def as_upstream(photo: bytes, widths: Sequence[int]) -> None:
    """What 1.1 did for each size."""
    from wand.image import Image as WandImage

    for width in widths:
        with WandImage(blob=photo) as picture:
            picture.resize(width, picture.height * width // picture.width)
            picture.make_blob()


def pillow_for_each(photo: bytes, widths: Sequence[int]) -> None:
    """What most programs do."""
    for width in widths:
        with Image.open(io.BytesIO(photo)) as picture:
            picture.thumbnail((width, 100_000), Image.Resampling.LANCZOS)
            picture.save(io.BytesIO(), "JPEG", quality=85)


def limit(photo: bytes, widths: Sequence[int]) -> None:
    """A scaled decode and nothing but cheap reductions and encoding after it: not a quality anybody wants."""
    with Image.open(io.BytesIO(photo)) as picture:
        picture.draft("RGB", (widths[0], widths[0]))
        for width in widths:
            small = picture.resize((width, picture.height * width // picture.width), Image.Resampling.NEAREST)
            small.save(io.BytesIO(), "JPEG", quality=85)


WAYS: dict[str, Callable[[bytes, Sequence[int]], None]] = {
    "ours": ours,
    "as 1.1: Wand for each": as_upstream,
    "Pillow thumbnail() for each": pillow_for_each,
    "limit: scaled decode, encode": limit,
}


def grown(way: str, widths: str, photo: Path) -> float:
    """MiB by which the peak grows in a fresh process that makes these sizes."""
    command = [sys.executable, __file__, way, widths, str(photo)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def in_child(way: str, widths: str, path: str) -> None:
    """Make the sizes, after a small picture that loads all libraries, and print by how much the peak grew."""
    WAYS[way](harness.photograph(320, 240), (100,))
    photo = Path(path).read_bytes()
    before = harness.peak_memory()
    WAYS[way](photo, [int(width) for width in widths.split(",")])
    print(harness.peak_memory() - before)


def main() -> int:
    """Run all of it."""
    harness.require(wand="Wand>=0.6.13,<0.8")
    photo = harness.photograph(4000, 3000)
    for widths, turns in (ONE, 7), (SIX, 3):
        figures = harness.race({name: partial(way, photo, widths) for name, way in WAYS.items()}, turns)
        harness.report(f"thumbnails of 12 megapixels, widths {widths}", figures, "ours")
    path = Path(__file__).with_name(".photo.jpg")
    path.write_bytes(photo)
    try:
        print("\npeak memory added, MiB")
        for widths in ONE, SIX:
            for name in WAYS:
                print(f"{name:44}{len(widths)} sizes{grown(name, ','.join(map(str, widths)), path):9.1f}")
    finally:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(in_child(*sys.argv[1:]) if len(sys.argv) > 1 else main())  # type: ignore[func-returns-value]
