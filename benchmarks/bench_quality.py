"""What the qualities, speeds and short cuts cost, on real photographs: SSIMULACRA2, PSNR, bytes and CPU time.

SSIMULACRA2 is a metric that was fitted to what people see: 90 cannot be told from the original, 80 hardly side by side,
and 70 is what is called high quality.  Three questions are answered:

* do the defaults of all formats look alike, at each size?
* what do AVIF's speeds and the colours at full resolution cost, and what do they give?
* how much is lost against a full decode and one exact Lanczos, by decoding smaller and by chaining sizes?
"""

from __future__ import annotations

import io
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
from PIL import Image

from sqlalchemy_imageattach.imagetypes import SMALL_SIDE, by_name
from sqlalchemy_imageattach.imaging import Rendition, render
from sqlalchemy_imageattach.imaging.engines import pillow
from sqlalchemy_imageattach.imaging.raster.resample import ENOUGH, HEADROOM

#: Photographs of people, animals, landscapes and things, and the widths that they are looked at in.
NAMES = ("Bridge", "Dragonfly", "Wine", "picosdeeuropa", "life", "Kleiber")
WIDTHS = (320, 640, 1280)
#: How much larger than the thumbnail a JPEG is decoded at the least; by so much, it is decoded whole.
WHOLE = 1000.0
HEADROOMS = (HEADROOM, 2.0, 2.5, WHOLE)
LANCZOS = Image.Resampling.LANCZOS

#: What is compared, beside the defaults.
OTHERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "JPEG 85, colours halved": ("JPEG", {"quality": 85, "optimize": True}),
    "JPEG 80, colours at full resolution": ("JPEG", {"quality": 80, "optimize": True, "subsampling": "4:4:4"}),
    "WebP 85, method 2": ("WEBP", {"quality": 85, "method": 2}),
    "AVIF 71, speed 6": ("AVIF", {"quality": 71, "speed": 6}),
    "AVIF 71, speed 9": ("AVIF", {"quality": 71, "speed": 9}),
    "AVIF 75, speed 9": ("AVIF", {"quality": 75, "speed": 9}),
}


def score(reference: Image.Image, other: Image.Image) -> float:
    """SSIMULACRA2 of two pictures."""
    from ssimulacra2 import compute_ssimulacra2

    with TemporaryDirectory() as name:
        paths = [Path(name) / "one.png", Path(name) / "other.png"]
        for path, image in zip(paths, (reference, other), strict=True):
            image.convert("RGB").save(path, compress_level=1)
        return float(compute_ssimulacra2(*map(str, paths)))


def psnr(one: Image.Image, other: Any) -> float:
    """In dB; of a picture, and another one or its pixels as floats."""
    import numpy as np

    pixels = other.convert("RGB") if isinstance(other, Image.Image) else other
    difference = np.asarray(one.convert("RGB"), float) - np.asarray(pixels, float)
    return 10 * math.log10(255**2 / max(float((difference**2).mean()), 1e-9))


def opened(blob: bytes) -> Image.Image:
    """Decoded."""
    image = Image.open(io.BytesIO(blob))
    image.load()
    return image


def qualities(photographs: Mapping[str, bytes]) -> dict[tuple[str, int], float]:
    """Print what each setting comes to, at each width; the scores of the defaults."""
    scores: dict[tuple[str, int], float] = {}
    for width in WIDTHS:
        print(f"\n{width} px: {'':32}{'score':>8}{'worst':>8}{'dB':>7}{'KB':>8}{'CPU ms':>9}")
        found: dict[str, list[tuple[float, float, int, float]]] = {}
        for photo in photographs.values():
            (exact,) = render(io.BytesIO(photo), [Rendition(width=width, format="png")])
            picture = opened(exact.blob)
            for label, encode in settings(max(exact.width, exact.height)).items():
                started = time.process_time()
                blob = encode(picture)
                spent = time.process_time() - started
                made = opened(blob)
                found.setdefault(label, []).append((score(picture, made), psnr(picture, made), len(blob), spent))
        for label, rows in found.items():
            mean, decibels, size, spent = (statistics.mean(column) for column in zip(*rows, strict=True))
            worst = min(row[0] for row in rows)
            print(f"{label:40}{mean:8.1f}{worst:8.1f}{decibels:7.2f}{size / 1000:8.1f}{spent * 1e3:9.1f}")
            scores[label, width] = mean
    return scores


def settings(side: int) -> dict[str, Any]:
    """What encodes, by labels."""

    def by_default(form: str) -> Any:
        return lambda picture: render(_as_png(picture), [Rendition(ratio=1, format=form)])[0].blob

    def by_pillow(form: str, options: dict[str, Any]) -> Any:
        def encode(picture: Image.Image) -> bytes:
            target = io.BytesIO()
            picture.save(target, form, **options)
            return target.getvalue()

        return encode

    made = {f"default {form.upper()}": by_default(form) for form in ("jpeg", "webp", "avif")}
    assert all(by_name[form].writing for form in ("jpeg", "webp", "avif"))
    return made | {label: by_pillow(form, options) for label, (form, options) in OTHERS.items()}


def _as_png(picture: Image.Image) -> io.BytesIO:
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=0)
    target.seek(0)
    return target


def losses(photographs: Mapping[str, bytes], widths: Sequence[int]) -> list[float]:
    """Print what is lost by chaining sizes on each photograph, after JPEG, in the eyes of a Lanczos in floats."""
    all_lost = []
    print(f"\ndB lost against a full decode and one exact Lanczos, after JPEG, of {widths}, all from one decode")
    for name, photo in photographs.items():
        exact = Exact(photo)
        wanted = [Rendition(width=width, format="jpeg") for width in widths if width < exact.picture.width]
        lost = []
        for each in render(io.BytesIO(photo), wanted):
            truth, _, best = exact.at((each.width, each.height))
            lost.append(psnr(best, truth) - psnr(opened(each.blob), truth))
        all_lost += lost
        print(f"{name:24}" + "".join(f"{value:8.3f}" for value in lost))
    return all_lost


class Exact:
    """What a picture is in other sizes, as far as can be."""

    def __init__(self, photo: bytes) -> None:
        self.picture = opened(photo).convert("RGB")
        self._bands = [band.convert("F") for band in self.picture.split()]

    def at(self, size: tuple[int, int]) -> tuple[Any, Image.Image, Image.Image]:
        """In floats, in bytes, and the JPEG of that."""
        import numpy as np

        bands = [np.asarray(band.resize(size, LANCZOS)) for band in self._bands]
        ideal = self.picture.resize(size, LANCZOS)
        (best,) = render(_as_png(ideal), [Rendition(ratio=1, format="jpeg")])
        return np.clip(np.stack(bands, 2), 0, 255), ideal, opened(best.blob)


@contextmanager
def decoded_with(headroom: float) -> Iterator[None]:
    """Within the block, JPEGs are decoded at the smallest eighths that are so many times as large as what is wanted."""
    former = pillow.ENOUGH
    pillow.ENOUGH = headroom - HEADROOM + ENOUGH  # type: ignore[misc]
    try:
        yield
    finally:
        pillow.ENOUGH = former  # type: ignore[misc]


def headrooms(photographs: Mapping[str, bytes], widths: Sequence[int]) -> dict[float, list[float]]:
    """Print what decoding a JPEG smaller costs and gives, by how much larger than the thumbnail it has to be.

    Each thumbnail by itself.  The points are those of widths for which the metric means something.
    """
    lost: dict[float, list[float]] = {}
    points: dict[float, list[float]] = {}
    spent = dict.fromkeys(HEADROOMS, 0.0)
    print(f"\ndB lost at the most against a full decode and one exact Lanczos, after JPEG, of {widths}, each by itself")
    print(f"{'decoded at so many times the size:':40}" + "".join(f"{_named(headroom):>9}" for headroom in HEADROOMS))
    for name, photo in photographs.items():
        exact = Exact(photo)
        worst = dict.fromkeys(HEADROOMS, -math.inf)
        for width in (width for width in widths if width < exact.picture.width):
            made = {}
            for headroom in HEADROOMS:
                with decoded_with(headroom):
                    started = time.process_time()
                    (made[headroom],) = render(io.BytesIO(photo), [Rendition(width=width, format="jpeg")])
                    spent[headroom] += time.process_time() - started
            truth, ideal, best = exact.at((made[HEADROOM].width, made[HEADROOM].height))
            whole = score(ideal, best) if width >= WIDTHS[0] else 0.0
            for headroom, each in made.items():
                loss = psnr(best, truth) - psnr(opened(each.blob), truth)
                lost.setdefault(headroom, []).append(loss)
                worst[headroom] = max(worst[headroom], loss)
                if width >= WIDTHS[0]:
                    points.setdefault(headroom, []).append(whole - score(ideal, opened(each.blob)))
        print(f"{name:40}" + "".join(f"{worst[headroom]:9.3f}" for headroom in HEADROOMS))
    for title, of in (
        ("all: dB, at the most", lambda headroom: max(lost[headroom])),
        ("all: dB, on the average", lambda headroom: statistics.mean(lost[headroom])),
        ("all: of a hundred, lose more than 0.05", lambda h: 100 * statistics.mean(one > 0.05 for one in lost[h])),
        ("all: points, at the most", lambda headroom: max(points[headroom])),
        ("all: points, on the average", lambda headroom: statistics.mean(points[headroom])),
        ("all: CPU time, in times of the first", lambda headroom: spent[headroom] / spent[HEADROOMS[0]]),
    ):
        print(f"{title:40}" + "".join(f"{of(headroom):9.2f}" for headroom in HEADROOMS))
    return lost


def _named(headroom: float) -> str:
    return "whole" if headroom == WHOLE else f"{headroom:g}"


def main() -> int:
    """Run all of it."""
    harness.require(ssimulacra2="ssimulacra2>=0.3,<0.4", numpy="numpy>=2.0,<3")
    photographs = harness.photographs()
    # those that are decoded whole for the widest
    twelve = {name: photo for name, photo in photographs.items() if Image.open(io.BytesIO(photo)).width < 5760}
    chained = losses(twelve, (1920, 1280, 960, 640, 320, 150))
    drafted = headrooms(photographs, (1280, 800, 400, 300, 150))[HEADROOM]
    verdicts = [
        harness.verdict("dB lost by chaining sizes, at the most", max(chained), at_most=0.05),
        harness.verdict("dB lost by decoding smaller, on the average", statistics.mean(drafted), at_most=0.1),
        harness.verdict("dB lost by decoding smaller, at the most", max(drafted), at_most=0.05),
    ]
    chosen = {name: photo for name, photo in photographs.items() if name in NAMES} or photographs
    scores = qualities(chosen)
    for width in WIDTHS:
        of_defaults = [scores[f"default {form}", width] for form in ("JPEG", "WEBP", "AVIF")]
        apart = max(of_defaults) - min(of_defaults)
        size = "small" if width <= SMALL_SIDE else "large"
        verdicts.append(harness.verdict(f"points between the defaults at {width} px ({size})", apart, at_most=3))
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
