"""Thumbnails of JPEGs: one, six widths, six widths in three formats; of 12, 24 and 99 megapixels and of photographs.

Compared with the floor, which is the cheapest scaled decode and the encoding of the same files and nothing between, so
of a quality that nobody wants; with the way of SQLAlchemy-ImageAttach 1.1 (Wand: decode and resize the whole picture,
anew for each size); with what other programs do, by Pillow, by libvips, by the engines of sorl-thumbnail and
easy-thumbnails.  Also the peak memory that it adds to a process.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import harness
from PIL import Image

from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.raster import encode, resize

ONE = (300,)
SIX = (1920, 1280, 960, 640, 320, 150)
FORMATS = ("avif", "webp", "jpeg")
LANCZOS, NEAREST = Image.Resampling.LANCZOS, Image.Resampling.NEAREST

Way = Callable[[bytes, Sequence[int], Sequence[str]], None]


def save(image: Image.Image, form: str) -> None:
    """By the settings of this library, so that all encode the same."""
    mimetype = f"image/{form}"
    encode.encoded(encode.Job([image], mimetype, Rendition(width=1), [0.0], None))


def height_of(image: Image.Image, width: int) -> int:
    """That keeps the shape."""
    return max(1, round(image.height * width / image.width))


def ours(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """One decode for all sizes and formats."""
    render(io.BytesIO(photo), [Rendition(width=width, format=form) for form in forms for width in widths])


def ours_by_vips(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """With the libvips engine, in this process."""
    wanted = [Rendition(width=width, format=form) for form in forms for width in widths]
    render(io.BytesIO(photo), wanted, ImagePolicy(engines=("vips",), isolate=False))


@contextmanager
def without(module: Any, name: str, value: object) -> Iterator[None]:
    """Within the block, a private function of ours gives this: to tell what it is worth."""
    former = getattr(module, name)
    setattr(module, name, lambda: value)
    try:
        yield
    finally:
        setattr(module, name, former)


def ours_by_pillow(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """Without ``cykooz.resizer``."""
    with without(resize, "_fast", None):
        ours(photo, widths, forms)


def ours_serially(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """Without threads."""
    with without(encode, "_processors", 1):
        ours(photo, widths, forms)


def each_by_itself(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """A call for each file: without sharing the decoding."""
    for form in forms:
        for width in widths:
            render(io.BytesIO(photo), [Rendition(width=width, format=form)])


def as_upstream(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """What 1.1 did for each size."""
    from wand.image import Image as WandImage

    for width in widths:
        with WandImage(blob=photo) as picture:
            picture.resize(width, picture.height * width // picture.width)
            picture.make_blob()


def pillow_for_each(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """What most programs do."""
    for form in forms:
        for width in widths:
            with Image.open(io.BytesIO(photo)) as picture:
                picture.thumbnail((width, 100_000), LANCZOS)
                save(picture, form)


def pillow_exactly(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """One full decode, and an exact resample of it for each size: what quality is measured against."""
    with Image.open(io.BytesIO(photo)) as picture:
        for width in widths:
            small = picture.resize((width, height_of(picture, width)), LANCZOS)
            for form in forms:
                save(small, form)


def vips_for_each(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """What libvips recommends."""
    import pyvips

    for form in forms:
        suffix = {"jpeg": ".jpg[Q=85,optimize_coding]", "webp": ".webp[Q=88,effort=2]", "avif": ".avif[Q=71,effort=1]"}
        for width in widths:
            pyvips.Image.thumbnail_buffer(photo, width, height=100_000).write_to_buffer(suffix[form])


def sorl(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """The calls that sorl-thumbnail's backend makes for each size."""
    from sorl.thumbnail.engines.pil_engine import Engine

    engine = Engine()
    for width in widths:
        image = engine.get_image(io.BytesIO(photo))
        options = {"orientation": True, "colorspace": "RGB", "upscale": False, "crop": False, "padding": False}
        options |= {"format": "JPEG", "rounded": None, "blur": 0, "cropbox": None}
        image = engine.create(image, (width, height_of(image, width)), options)
        engine._get_raw_data(image, "JPEG", 85, image_info={}, progressive=False)


def easy_thumbnails(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """The calls that easy-thumbnails' thumbnailer makes for each size."""
    from easy_thumbnails import engine, processors, source_generators

    for width in widths:
        image = source_generators.pil_image(io.BytesIO(photo))
        image = processors.colorspace(image)
        image = processors.scale_and_crop(image, (width, 0))
        engine.save_pil_image(image, filename="a.jpg", quality=85)


def floor(photo: bytes, widths: Sequence[int], forms: Sequence[str]) -> None:
    """A scaled decode, and nothing but picking pixels and encoding after it: not a quality anybody wants."""
    with Image.open(io.BytesIO(photo)) as picture:
        picture.draft("RGB", (widths[0], height_of(picture, widths[0])))
        for width in widths:
            small = picture.resize((width, height_of(picture, width)), NEAREST)
            for form in forms:
                save(small, form)


OURS = "ours"
WAYS: dict[str, Way] = {
    OURS: ours,
    "ours, by Pillow alone": ours_by_pillow,
    "Pillow: full decode, exact Lanczos": pillow_exactly,
    "Pillow: thumbnail() for each": pillow_for_each,
    "floor: scaled decode, encoding": floor,
}


def peers() -> dict[str, Way]:
    """Those that can be had here."""
    found: dict[str, Way] = {}
    # it resizes for ours from the first picture on
    harness.try_require(cykooz_resizer="SQLAlchemy-ImageAttach[fast]")
    if harness.try_require(wand="Wand>=0.6.13,<0.8"):
        try:
            import wand.image  # noqa: F401

            found["as 1.1: Wand for each"] = as_upstream
        except ImportError as error:
            print(f"not here: {error}")
    if harness.try_require(pyvips="pyvips[binary]>=3.0,<4"):
        found |= {"ours, by libvips": ours_by_vips, "pyvips: thumbnail for each": vips_for_each}
    if harness.try_require(django="Django>=5.2", sorl="sorl-thumbnail>=12.11", easy_thumbnails="easy-thumbnails>=2.10"):
        from django.conf import settings

        settings.configure(INSTALLED_APPS=[])
        found |= {"sorl-thumbnail's engine": sorl, "easy-thumbnails' engine": easy_thumbnails}
    return found


def grown(way: str, widths: Sequence[int], photo: Path) -> float:
    """MiB by which the peak grows in a fresh process that makes these sizes."""
    command = [sys.executable, __file__, way, ",".join(map(str, widths)), str(photo)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def in_child(way: str, widths: str, path: str) -> None:
    """Make the sizes, after a small picture that loads all libraries, and print by how much the peak grew."""
    WAYS[way](harness.photograph(320, 240), (100,), ("jpeg",))
    photo = Path(path).read_bytes()
    before = harness.peak_memory()
    WAYS[way](photo, [int(width) for width in widths.split(",")], ("jpeg",))
    print(harness.peak_memory() - before)


def job(
    title: str, photo: bytes, widths: Sequence[int], ways: dict[str, Way], turns: int, forms: Sequence[str] = ("jpeg",)
) -> dict[str, harness.Figure]:
    """Race the ways, and report."""
    figures = harness.race({name: partial(way, photo, widths, forms) for name, way in ways.items()}, turns)
    harness.report(title, figures, "floor: scaled decode, encoding")
    return figures


def times(figures: dict[str, harness.Figure], one: str, other: str = "floor: scaled decode, encoding") -> float:
    """The CPU time of one, in times of that of the other."""
    return figures[one].cpu / figures[other].cpu


def main() -> int:
    """Run all of it."""
    others = peers()
    upstream = "as 1.1: Wand for each"
    twelve, twenty_four = harness.photograph(4000, 3000), harness.photograph(6000, 4000)
    photographs = harness.photographs()
    real = max(photographs, key=lambda name: len(photographs[name]))
    verdicts = []

    def bound(claim: str, figures: dict[str, harness.Figure], at_most: float, name: str = OURS) -> None:
        verdicts.append(harness.verdict(f"CPU of {claim}, times the floor", times(figures, name), at_most=at_most))

    def beyond_upstream(claim: str, figures: dict[str, harness.Figure], at_least: float) -> None:
        if upstream in figures:
            value = times(figures, upstream, OURS)
            verdicts.append(harness.verdict(f"CPU of 1.1 for {claim}, times ours", value, at_least=at_least))

    one = job("one thumbnail of 300 px, of 12 megapixels", twelve, ONE, WAYS | others, 9)
    bound("one thumbnail", one, 1.15)
    six = job("six widths, of 12 megapixels", twelve, SIX, WAYS | others, 5)
    bound("six widths of 12 megapixels", six, 1.8)
    beyond_upstream("six widths of 12 megapixels", six, 20)
    six = job("six widths, of 24 megapixels", twenty_four, SIX, WAYS | others, 3)
    bound("six widths of 24 megapixels", six, 1.3)
    beyond_upstream("six widths of 24 megapixels", six, 45)
    job(f"six widths, of a photograph ({real}, {len(photographs[real]) / 1e6:.1f} MB)", photographs[real], SIX, WAYS, 5)

    in_formats = {name: way for name, way in (WAYS | others).items() if not name.startswith(("as 1.1", "sorl", "easy"))}
    in_formats |= {"ours, without threads": ours_serially, "ours, a call for each file": each_by_itself}
    figures = job("six widths in three formats, of 12 megapixels", twelve, SIX, in_formats, 3, FORMATS)
    bound("six widths in three formats", figures, 1.3)
    bound("the same by Pillow alone", figures, 1.3, "ours, by Pillow alone")
    wall = figures[OURS].wall / figures["floor: scaled decode, encoding"].wall
    verdicts.append(harness.verdict("wall time of six widths in three formats, times the floor", wall, at_most=0.9))

    path = Path(__file__).with_name(".photo.jpg")
    huge = harness.photograph(11_500, 8_600)
    job("six widths, of 99 megapixels", huge, SIX, {name: WAYS[name] for name in WAYS if "Pillow:" not in name}, 3)
    print("\npeak memory added, MiB")
    try:
        for name, photo in (("12 megapixels", twelve), ("99 megapixels", huge)):
            path.write_bytes(photo)
            for widths in ONE, SIX:
                for way in WAYS:
                    print(f"{way:44}{len(widths)} of {name}{grown(way, widths, path):9.1f}")
        verdicts.append(
            harness.verdict("MiB added by six widths of 99 megapixels", grown(OURS, SIX, path), at_most=200)
        )
    finally:
        path.unlink()
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(in_child(*sys.argv[1:]) if len(sys.argv) > 1 else main())  # type: ignore[func-returns-value]
