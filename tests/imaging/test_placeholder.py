"""Colours and blurred previews of pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image as Pillow

from sqlalchemy_imageattach.imaging import Rendition, render
from sqlalchemy_imageattach.imaging.placeholder import PREVIEW, css_of, placeholder_of


def png(image: Pillow.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def gradient(width: int, height: int, alpha: bool) -> Pillow.Image:
    image = Pillow.new("RGBA", (width, height))
    for y in range(height):
        for x in range(width):
            opacity = (255 * x // width) if alpha else 255
            image.putpixel((x, y), (255 * x // width, 255 * y // height, (x * y) % 256, opacity))
    return image


@pytest.mark.parametrize(
    ("width", "height", "alpha", "expected"),
    [
        (32, 24, False, "3AgOHZpgdodwiIiGiGeIh/OkD/iH"),
        (24, 32, False, "3PgNHRpgdnCIaIhoiId3iPSjD/d4"),
        (32, 32, True, "4ViGFQw3s4egiIZoaPHQPvt0gIeIiIh4iA=="),
        (32, 8, True, "HWqKCYw3s4ewh3iWDjj7dICHh4iHiIg="),
        (7, 31, False, "F+oNEhqAgIiIh4iHhAII+Hc="),
        (1, 1, False, "AAgCBwAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ],
)
def test_previews_are_those_of_the_reference_implementation(
    width: int, height: int, alpha: bool, expected: str
) -> None:
    made, theirs = (
        base64.b64decode(each) for each in (placeholder_of(png(gradient(width, height, alpha))).thumbhash, expected)
    )
    assert (len(made), made[:5]) == (len(theirs), theirs[:5])
    # floating point decides on which side of the middle a zero is
    steps = [(each & 15, each >> 4) for each in made[5:]], [(each & 15, each >> 4) for each in theirs[5:]]
    assert all(abs(mine - other) <= 1 for a, b in zip(*steps, strict=True) for mine, other in zip(a, b, strict=True))


def shown(css: str) -> Pillow.Image:
    blob = base64.b64decode(css.partition("base64,")[2].partition(")")[0])
    with Pillow.open(io.BytesIO(blob)) as opened:
        return opened.convert("RGB")


def test_a_preview_looks_like_its_picture() -> None:
    image = Pillow.new("RGB", (32, 24), "red")
    image.paste("blue", (16, 0, 32, 24))
    placeholder = placeholder_of(png(image))
    preview = shown(css_of(placeholder.color, placeholder.thumbhash))
    left, right = preview.getpixel((0, 4)), preview.getpixel((7, 4))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 180 > 80 > left[2]
    assert right[2] > 180 > 80 > right[0]


def test_one_colour_is_shown_as_it_is() -> None:
    for color in ((200, 30, 60), (0, 0, 0), (255, 255, 255), (12, 200, 90)):
        placeholder = placeholder_of(png(Pillow.new("RGB", (32, 32), color)))
        assert placeholder.color == "#" + bytes(color).hex()
        pixel = shown(css_of(placeholder.color, placeholder.thumbhash)).getpixel((3, 3))
        assert isinstance(pixel, tuple)
        assert all(abs(mine - theirs) <= 8 for mine, theirs in zip(pixel, color, strict=True))


def test_the_dominant_colour_is_that_of_most_of_the_picture_and_not_its_mean() -> None:
    image = Pillow.new("RGB", (30, 30), (250, 250, 250))
    image.paste((10, 10, 10), (0, 0, 30, 10))
    assert placeholder_of(png(image)).color == "#fafafa"


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [((0, 255, 0, 128), "#00ff0080"), ((0, 255, 0, 0), "#ffffff00"), ((1, 2, 3, 254), "#010203fe")],
)
def test_what_is_transparent_says_so_and_is_not_shown_behind_its_picture(pixel: Any, expected: str) -> None:
    placeholder = placeholder_of(png(Pillow.new("RGBA", (8, 8), pixel)))
    assert placeholder.color == expected
    assert css_of(placeholder.color, placeholder.thumbhash) == ""


@pytest.mark.parametrize(("color", "thumbhash"), [(None, None), (None, "1QcSHQRnh493V4dIh4eXh1h4kJUI")])
def test_without_a_colour_nothing_is_shown(color: str | None, thumbhash: str | None) -> None:
    assert css_of(color, thumbhash) == ""


@pytest.mark.parametrize("thumbhash", ["", "AA==", "not Base64", "1QcS", "////////////////////////////"])
def test_a_damaged_preview_does_not_break_a_page(thumbhash: str) -> None:
    assert css_of("#102030", thumbhash).startswith("background:#102030")


def test_previews_are_small_and_made_in_the_shape_of_the_picture() -> None:
    image = Pillow.new("RGB", (640, 480), "teal")
    [result] = render(io.BytesIO(png(image)), [PREVIEW])
    assert (result.width, result.height) == (32, 24)
    assert Rendition(width=32, height=32, upscale=False, format="png") == PREVIEW
