"""One suite for the engines of every type: what a picture may be made of, as far as its type has it, is shown alike."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from tests.images.make import DISPLAY_P3, matrix_profile, pdf
from tests.imaging.conftest import all_types
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, encode, exif, near, quadrants, stored

QUADRANTS = [RED, GREEN, BLUE, WHITE]
SIZE = 64, 48
Maker = Callable[[], io.BytesIO]


def heic(image: Image.Image, **options: object) -> io.BytesIO:
    from pillow_heif import from_pillow

    file = io.BytesIO()
    from_pillow(image).save(file, quality=100, chroma=444, **options)
    file.seek(0)
    return file


def svg(content: str) -> io.BytesIO:
    return io.BytesIO(f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">{content}</svg>'.encode())


def page(content: bytes) -> io.BytesIO:
    return io.BytesIO(pdf(content, *SIZE))


def embedded(file: io.BytesIO) -> io.BytesIO:
    url = base64.b64encode(file.getvalue()).decode()
    return svg(f'<image width="64" height="48" href="data:image/png;base64,{url}"/>')


def squares(paint: str) -> bytes:
    """The quadrants, each in the colour that PDF's operator takes from the next of these."""
    spots = ((0, 24), (32, 24), (0, 0), (32, 0))
    return " ".join(f"{p} {x} {y} 32 24 re f" for p, (x, y) in zip(paint.split("|"), spots, strict=True)).encode()


def translucent() -> Image.Image:
    image = quadrants(*SIZE).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 24))
    image.paste((*BLUE, 128), (0, 24, 32, 48))
    return image


def grey() -> Image.Image:
    image = Image.new("L", SIZE, 200)
    image.paste(60, (0, 0, 32, 48))
    return image


def cmyk() -> Image.Image:
    image = Image.new("CMYK", SIZE, (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (0, 0, 32, 24))
    image.paste((0, 255, 0, 0), (32, 0, 64, 24))
    image.paste((0, 0, 0, 255), (0, 24, 32, 48))
    return image


def deep() -> Image.Image:
    return Image.fromarray(np.repeat(np.repeat(np.array([[60, 200]], "<u2") * 257, 32, 1), 48, 0))


_P3 = matrix_profile("P3", DISPLAY_P3)
#: (234, 51, 35) of Display P3 is the red of sRGB
_WIDE = Image.new("RGB", SIZE, (234, 51, 35))
_LAYERS = (
    '<rect x="32" width="32" height="24" fill="lime"/><rect y="24" width="32" height="24" fill="blue" opacity=".502"/>'
    '<rect x="32" y="24" width="32" height="24" fill="white"/>'
)
_GREYS = '<rect width="32" height="48" fill="#3c3c3c"/><rect x="32" width="32" height="48" fill="#c8c8c8"/>'
_INKS = "1 0 0 0 k|0 1 0 0 k|0 0 0 1 k|0 0 0 0 k"
_TURNED = stored(quadrants(*SIZE), 6)
_RGBA = [(0, 0, 0, 0), (*GREEN, 255), (*BLUE, 128), (*WHITE, 255)]
_INK = [(0, 255, 255), (255, 0, 255), (0, 0, 0), WHITE]
_TWO_GREYS = [(60,) * 3, (200,) * 3] * 2

RASTER = ("pillow", "wand")
#: What it is, the engines that read it, how it is made, what is to be seen, and how far that may be off.
CASES: dict[str, tuple[tuple[str, ...], Maker, Sequence[tuple[int, ...]], int]] = {
    "sRGB PNG": (RASTER, lambda: encode(quadrants(*SIZE), "PNG"), QUADRANTS, 4),
    "sRGB HEIC": (("heif", "wand"), lambda: heic(quadrants(*SIZE)), QUADRANTS, 12),
    "sRGB SVG": (("resvg",), lambda: embedded(encode(quadrants(*SIZE), "PNG")), QUADRANTS, 4),
    "sRGB PDF": (("pdfium",), lambda: page(squares("1 0 0 rg|0 1 0 rg|0 0 1 rg|1 1 1 rg")), QUADRANTS, 4),
    "Display P3 PNG": (RASTER, lambda: encode(_WIDE, "PNG", icc_profile=_P3), [RED] * 4, 8),
    "Display P3 HEIC": (("heif", "wand"), lambda: heic(_WIDE, icc_profile=_P3), [RED] * 4, 12),
    "alpha PNG": (RASTER, lambda: encode(translucent(), "PNG"), _RGBA, 6),
    "alpha WebP": (RASTER, lambda: encode(translucent(), "WEBP"), _RGBA, 6),
    "alpha HEIC": (("heif",), lambda: heic(translucent()), _RGBA, 12),
    "alpha SVG": (("resvg",), lambda: svg(_LAYERS), _RGBA, 6),
    "no alpha PDF": (("pdfium",), lambda: page(b""), [WHITE] * 4, 0),
    "CMYK JPEG": (RASTER, lambda: encode(cmyk(), "JPEG"), _INK, 8),
    "CMYK TIFF": (RASTER, lambda: encode(cmyk(), "TIFF"), _INK, 8),
    # PDFium converts inks as presses print them, and not by their complements
    "CMYK PDF": (("pdfium",), lambda: page(squares(_INKS)), [(0, 174, 239), (236, 0, 140), (35, 31, 32), WHITE], 8),
    "grey PNG": (RASTER, lambda: encode(grey(), "PNG"), _TWO_GREYS, 4),
    "grey JPEG": (RASTER, lambda: encode(grey(), "JPEG"), _TWO_GREYS, 6),
    "grey HEIC": (("heif", "wand"), lambda: heic(grey()), _TWO_GREYS, 8),
    "grey SVG": (("resvg",), lambda: svg(_GREYS), _TWO_GREYS, 2),
    "grey PDF": (("pdfium",), lambda: page(squares(".2353 g|.7843 g|.2353 g|.7843 g")), _TWO_GREYS, 2),
    "turned JPEG": (RASTER, lambda: encode(_TURNED, "JPEG", exif=exif(6)), QUADRANTS, 12),
    "turned HEIC": (("heif", "wand"), lambda: heic(_TURNED, exif=exif(6).tobytes()), QUADRANTS, 16),
    "16 bit PNG": (RASTER, lambda: encode(deep(), "PNG"), _TWO_GREYS, 3),
    "16 bit TIFF": (RASTER, lambda: encode(deep(), "TIFF"), _TWO_GREYS, 3),
    "10 bit HEIC": (("heif",), lambda: heic(deep()), _TWO_GREYS, 8),
}
EACH = [(name, engine) for name, (engines, *_) in CASES.items() for engine in engines]


@pytest.mark.parametrize(("name", "engine"), EACH, ids=[f"{name} by {engine}" for name, engine in EACH])
def test_what_a_picture_is_made_of_is_shown_by_each_engine(
    name: str, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "wand":
        request.getfixturevalue("wand")
    _, make, expected, tolerance = CASES[name]
    (made,) = render(make(), [Rendition(width=64, format="png")], all_types(engine))
    assert (made.width, made.height) == SIZE
    mode = {3: "RGB", 4: "RGBA"}[len(expected[0])]
    found = [(0, 0, 0, 0) if mode == "RGBA" and not c[3] else c for c in corners(made.blob, mode)]
    assert near(found, expected, tolerance), found


def test_every_engine_has_its_kinds() -> None:
    assert {engine for _, engine in EACH} == {*ImagePolicy().engines}


def test_an_icon_may_have_the_oldest_header_of_a_bitmap() -> None:
    # which Chromium does not decode
    core = struct.pack("<IHHHH", 12, 16, 32, 1, 24) + b"\0\0\xff" * 256 + bytes(64)
    content = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 24, len(core), 22) + core
    policy = ImagePolicy().allowing("image/vnd.microsoft.icon")
    (made,) = render(io.BytesIO(content), [Rendition(width=16, format="png")], policy)
    assert Image.open(io.BytesIO(made.blob)).convert("RGBA").getpixel((8, 8)) == (255, 0, 0, 255)
