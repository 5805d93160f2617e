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
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
from PIL import Image

from sqlalchemy_imageattach.imagetypes import SMALL_SIDE, by_name
from sqlalchemy_imageattach.imaging import Rendition, render

#: Photographs of people, animals, landscapes and things, and the widths that they are looked at in.
NAMES = ("Bridge", "Dragonfly", "Wine", "picosdeeuropa", "life", "Kleiber")
WIDTHS = (320, 640, 1280)
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


def losses(photographs: Mapping[str, bytes], widths: Sequence[int], *, together: bool) -> list[float]:
    """Print what is lost by short cuts on each photograph, after JPEG, in the eyes of a Lanczos in floats."""
    import numpy as np

    all_lost = []
    how = "all from one decode" if together else "each by itself, so from a smaller decode"
    print(f"\ndB lost against a full decode and one exact Lanczos, after JPEG, of {widths}, {how}")
    for name, photo in photographs.items():
        with Image.open(io.BytesIO(photo)) as image:
            exact = image.convert("RGB")
        bands = [band.convert("F") for band in exact.split()]
        there = [width for width in widths if width < exact.width]
        wanted = [Rendition(width=width, format="jpeg") for width in there]
        groups = [wanted] if together else [[each] for each in wanted]
        made = [each for group in groups for each in render(io.BytesIO(photo), group)]
        lost = []
        for each in made:
            size = each.width, each.height
            (best,) = render(_as_png(exact.resize(size, LANCZOS)), [Rendition(ratio=1, format="jpeg")])
            truth = np.clip(np.stack([np.asarray(band.resize(size, LANCZOS)) for band in bands], 2), 0, 255)
            lost.append(psnr(opened(best.blob), truth) - psnr(opened(each.blob), truth))
        all_lost += lost
        print(f"{name:24}" + "".join(f"{value:8.3f}" for value in lost))
    return all_lost


def main() -> int:
    """Run all of it."""
    harness.require(ssimulacra2="ssimulacra2>=0.3,<0.4", numpy="numpy>=2.0,<3")
    photographs = harness.photographs()
    # those that are decoded whole for the widest
    twelve = {name: photo for name, photo in photographs.items() if Image.open(io.BytesIO(photo)).width < 5760}
    chained = losses(twelve, (1920, 1280, 960, 640, 320, 150), together=True)
    drafted = losses(photographs, (1280, 800, 400, 300, 150), together=False)
    verdicts = [
        harness.verdict("dB lost by chaining sizes, at the most", max(chained), at_most=0.05),
        harness.verdict("dB lost by decoding smaller, on the average", statistics.mean(drafted), at_most=0.1),
        harness.verdict("dB lost by decoding smaller, at the most", max(drafted), at_most=0.4),
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
