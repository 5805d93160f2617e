"""HEIC: what only its engine does; the rest is in the suites that all engines share."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.imaging.test_engine import python
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, near, quadrants

POLICY = ImagePolicy().allowing("image/heic")


def heic(image: Image.Image, **options: object) -> io.BytesIO:
    from pillow_heif import from_pillow

    file = io.BytesIO()
    from_pillow(image).save(file, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("policy", [POLICY, ImagePolicy(isolate=False)], ids=["apart", "here"])
def test_a_heic_becomes_webp_and_keeps_its_alpha(policy: ImagePolicy) -> None:
    image = quadrants(128, 96).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 64, 48))
    (made,) = render(heic(image, quality=90), [Rendition(width=64)], policy)
    assert made.mimetype == "image/webp"
    shown = Image.open(io.BytesIO(made.blob)).convert("RGBA")
    alpha = shown.getchannel("A")
    assert [alpha.getpixel(spot) for spot in ((8, 8), (56, 8), (8, 40))] == [0, 255, 255]


def test_a_picture_of_48_megapixels_is_no_damaged_one_and_leaves_the_next_ones_alone(photos: Path) -> None:
    large = io.BytesIO((photos / "large.heic").read_bytes())
    assert (probe(large, POLICY).width, probe(large, POLICY).height) == (8064, 6048)
    small = (photos / "quadrants.heic").read_bytes()
    for _ in range(2):
        (made,) = render(large, [Rendition(width=30, format="png")], POLICY)
        assert near(corners(made.blob), [(200, 60, 30)] * 4, 6)
        (made,) = render(io.BytesIO(small), [Rendition(width=80, format="png")], POLICY)
        assert near(corners(made.blob), [RED, GREEN, BLUE, WHITE], 16)


def test_grey_and_more_than_8_bits_are_read() -> None:
    grey = render(heic(Image.new("L", (64, 48), 100), quality=95), [Rendition(width=32, format="png")], POLICY)
    assert near(corners(grey[0].blob), [(100, 100, 100)] * 4, 6)
    deep = Image.new("I;16", (64, 48), 100 * 257)
    (made,) = render(heic(deep, quality=95), [Rendition(width=32, format="png")], POLICY)
    assert near(corners(made.blob), [(100, 100, 100)] * 4, 6)


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (30, 22), (1000, 17)])
def test_the_size_that_the_data_say_may_be_larger_by_what_fills_a_block(size: tuple[int, int]) -> None:
    info = probe(heic(Image.new("RGB", size, RED), quality=50), POLICY)
    assert (info.width, info.height) == size


def test_data_that_are_larger_than_the_header_says_are_refused_before_they_are_decoded() -> None:
    content = bytearray(heic(Image.new("RGB", (400, 300), RED), quality=50).getvalue())
    place = -1
    while (place := content.find(b"ispe", place + 1)) >= 0:
        content[place + 8 : place + 16] = struct.pack(">II", 10, 10)
    with pytest.raises(UnreadableImageError, match="10×10 pixels, its data 400×30"):
        probe(io.BytesIO(content), POLICY)


def test_a_broken_one_is_refused_and_what_the_library_says_is_only_its_cause(photos: Path) -> None:
    content = (photos / "quadrants.heic").read_bytes().replace(b"hvcC", b"hvcX")
    assert probe(io.BytesIO(content), POLICY).width == 80
    with pytest.raises(UnreadableImageError) as caught:
        render(io.BytesIO(content), [Rendition(width=10)], POLICY)
    assert caught.value.__cause__ is not None
    assert "damaged" in str(caught.value) or "give an intact file" in str(caught.value)


def test_nothing_is_registered_with_pillow() -> None:
    code = """
from PIL import Image
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
with open("tests/images/quadrants.heic", "rb") as file:
    render(file, [Rendition(width=10)], ImagePolicy(isolate=False))
print("HEIF" in Image.OPEN)
"""
    assert python(code) == "False"


@pytest.mark.parametrize("engine", ["heif", "wand"])
def test_colours_that_are_said_by_code_points_are_those_of_the_profile(
    engine: str, request: pytest.FixtureRequest
) -> None:
    policy = ImagePolicy(engines=(engine if engine == "heif" else request.getfixturevalue("wand"),))
    flat = Image.new("RGB", (64, 48), (200, 100, 50))
    content = bytearray(heic(flat, quality=95, save_nclx_profile=True).getvalue())
    place = content.index(b"colrnclx") + 8
    content[place : place + 4] = struct.pack(">HH", 12, 13)
    (made,) = render(io.BytesIO(content), [Rendition(width=32, format="png")], policy)
    # as Chromium shows an AVIF of these
    assert near(corners(made.blob), [(215, 93, 31)] * 4, 6)
