"""PDF: what only its engine does; the scanner's tests have pages of all kinds."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import RejectedImageError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from tests.imaging.isolation.test_traced import PDF
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, near

HERE = ImagePolicy(isolate=False)


@pytest.mark.parametrize("policy", [ImagePolicy(), HERE], ids=["apart", "here"])
def test_text_that_brings_no_font_is_set_in_one_of_the_librarys_own(policy: ImagePolicy) -> None:
    (made,) = render(io.BytesIO(PDF), [Rendition(width=200)], policy)
    image = Image.open(io.BytesIO(made.blob)).convert("L")
    assert image.getpixel((195, 95)) == 255, "the page is white"
    dark = image.point([255 if level < 128 else 0 for level in range(256)])
    assert dark.crop((8, 25, 120, 50)).getbbox() is not None
    assert dark.crop((8, 55, 120, 90)).getbbox() is not None


def test_threads_that_render_at_once_do_not_disturb_one_another(photos: Path) -> None:
    content = (photos / "quadrants.pdf").read_bytes()

    def make(number: int) -> bool:
        (made,) = render(io.BytesIO(content), [Rendition(width=40 + number)], HERE)
        return near(corners(made.blob), [RED, GREEN, BLUE, WHITE], 8)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(make, range(16)))


def test_what_pdfium_does_not_open_is_refused(photos: Path) -> None:
    content = (photos / "quadrants.pdf").read_bytes()
    for broken in (content.replace(b"/Contents", b"/Nothings"), content.replace(b"/Catalog", b"/Analogue")):
        try:
            (made,) = render(io.BytesIO(broken), [Rendition(width=20)], ImagePolicy())
        except RejectedImageError:
            continue
        assert made.width == 20
    with pytest.raises(UnreadableImageError):
        render(io.BytesIO(content[:9] + b"%%EOF"), [Rendition(width=20)], ImagePolicy())
