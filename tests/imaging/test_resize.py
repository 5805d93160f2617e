"""What makes one size of one picture: two libraries that must not be told apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sqlalchemy_imageattach.imaging import Rendition, render
from sqlalchemy_imageattach.imaging.raster import resize
from sqlalchemy_imageattach.imaging.raster.resize import resized
from tests.pictures import encode, lanczos, pixels, psnr, texture

from .test_engine import python

KERNELS = [kernel for kernel in Image.Resampling if kernel is not Image.Resampling.NEAREST]
LANCZOS = Image.Resampling.LANCZOS
WHOLE = (0.0, 0.0, 400.0, 300.0)


class PanicException(BaseException):  # named as that of Rust
    """What Rust raises that should never happen."""


@pytest.fixture
def fast() -> Iterator[Any]:
    """The library, which the extra brings along."""
    resize._fast.cache_clear()
    found = resize._fast()
    assert found is not None, "cykooz.resizer is among what the tests need"
    yield found
    resize._fast.cache_clear()


def picture(mode: str) -> Image.Image:
    image = texture(400, 300)
    if mode not in {"RGBa", "La"}:
        return image.convert(mode)
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image.convert({"RGBa": "RGBA", "La": "LA"}[mode]).convert(mode)


def furthest(one: Image.Image, other: Image.Image) -> int:
    assert (one.size, one.mode) == (other.size, other.mode)
    # with the bytes of all bands, as those with alpha multiplied in have no array
    pairs = zip(one.split(), other.split(), strict=True)
    return max(int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max()) for a, b in pairs)


@pytest.mark.parametrize("mode", ["L", "La", "RGB", "RGBa", "CMYK"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_both_make_the_same_pixels(mode: str, kernel: Image.Resampling, fast: Any) -> None:
    image = picture(mode)
    for size, box in (
        ((300, 225), WHOLE),
        ((37, 300), WHOLE),
        ((50, 31), (10.25, 0.0, 390.5, 299.75)),
        ((1, 1), WHOLE),
        ((100, 100), (200.0, 150.0, 300.0, 250.0)),
    ):
        assert furthest(resized(image, size, kernel, box), image.resize(size, kernel, box)) <= 2


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBa", "CMYK"])
def test_the_fast_one_is_the_one_that_makes_them(mode: str, fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(mode)
    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("Pillow is asked"))
    assert resized(image, (40, 30), LANCZOS, WHOLE).size == (40, 30)


@pytest.mark.parametrize("rows", [1, 7, 60, 74, 75, 150])
@pytest.mark.parametrize("box", [WHOLE, (10.25, 3.3, 390.5, 299.75)])
def test_bands_leave_no_trace(rows: int, box: resize.Box, fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("RGB")
    whole = resized(image, (200, 150), LANCZOS, box)
    step = (box[3] - box[1]) / 150
    monkeypatch.setattr(resize, "_BAND", int(rows * 200 * step * 4))
    assert furthest(resized(image, (200, 150), LANCZOS, box), whole) <= 1


@pytest.mark.parametrize("size", [(401, 300), (400, 301), (800, 10)])
def test_what_grows_is_pillows_alone(size: tuple[int, int], fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "resized", lambda *_: pytest.fail("it rounds in another place"))
    image = picture("RGB")
    assert furthest(resized(image, size, LANCZOS, WHOLE), image.resize(size, LANCZOS)) == 0


def test_the_size_that_is_there_is_a_copy(fast: Any) -> None:
    image = picture("RGB")
    made = resized(image, image.size, LANCZOS, WHOLE)
    assert made is not image
    assert furthest(made, image) == 0


@pytest.mark.parametrize("error", [RuntimeError("out of bounds"), PanicException("index 3 is out of range")])
def test_where_it_fails_pillow_makes_the_picture_and_the_log_says_so(
    error: BaseException, fast: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(fast._library.Resizer, "resize_pil", fail)
    image = picture("RGB")
    with caplog.at_level(logging.WARNING, "sqlalchemy_imageattach"):
        made = resized(image, (40, 30), LANCZOS, WHOLE)
    assert furthest(made, image.resize((40, 30), LANCZOS)) == 0
    assert str(error) in caplog.text


def test_an_interruption_is_not_swallowed(fast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fast._library.Resizer, "resize_pil", interrupt)
    with pytest.raises(KeyboardInterrupt):
        resized(picture("RGB"), (40, 30), LANCZOS, WHOLE)


def test_one_that_does_not_fit_this_pillow_is_left_alone(
    fast: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # a picture of another layout comes out shifted
    real = fast._library.Resizer.resize_pil
    monkeypatch.setattr(
        fast._library.Resizer,
        "resize_pil",
        lambda self, source, target, how: real(self, source.transpose(Image.Transpose.ROTATE_180), target, how),
    )
    resize._fast.cache_clear()
    with caplog.at_level(logging.WARNING, "sqlalchemy_imageattach"):
        assert resize._fast() is None
    assert "does not fit" in caplog.text


def test_memory_that_cannot_be_had_is_an_error_and_not_the_end_of_the_process() -> None:
    code = """
import resource
from PIL import Image
from sqlalchemy_imageattach.imaging.raster.resize import _fast, resized
assert _fast() is not None
image = Image.new("RGB", (4000, 3000))
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 14 * 2**20, resource.RLIM_INFINITY))
try:
    # the result takes 11 MiB, and what is made beside it 6 or 7
    resized(image, (2000, 1500), Image.Resampling.LANCZOS, (0, 0, 4000, 3000))
except MemoryError:
    print("MemoryError")
"""
    assert python(code) == "MemoryError"


def as_jpeg(image: Image.Image) -> np.ndarray:
    return pixels(encode(image, "JPEG", quality=85).getvalue())


@pytest.mark.parametrize("width", [500, 300, 100, 33])
@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket-display-p3", "chelsea-orientation6-gps"])
def test_on_photographs_both_are_as_near_to_an_exact_resample(name: str, width: int, photos: Path, fast: Any) -> None:
    with Image.open(photos / f"{name}.jpg") as opened:
        image = opened.convert("RGB")
    size = min(width, image.width), min(width, image.width) * image.height // image.width
    expected = lanczos(np.asarray(image, float), *size)
    ours = resized(image, size, LANCZOS, (0, 0, *image.size))
    pillows = image.resize(size, LANCZOS)
    assert psnr(as_jpeg(ours), expected) > psnr(as_jpeg(pillows), expected) - 0.05
    assert np.abs(np.asarray(ours, float) - np.asarray(pillows, float)).mean() < 0.3


def test_without_it_pillow_makes_it(photos: Path, fast: Any) -> None:
    code = """
import sys
sys.modules["cykooz_resizer"] = None
from sqlalchemy_imageattach.imaging import Rendition, render
with open("tests/images/coffee.jpg", "rb") as file:
    print(render(file, [Rendition(width=100, format="png")])[0].blob.hex())
"""
    with (photos / "coffee.jpg").open("rb") as file:
        (made,) = render(file, [Rendition(width=100, format="png")])
    alone = pixels(bytes.fromhex(python(code)))
    assert np.abs(pixels(made.blob) - alone).mean() < 0.3
