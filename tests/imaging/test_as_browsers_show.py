"""Pictures as browsers show them: Chromium is the referee.  Each line is a file, and what is looked at in it."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import PolicyViolationError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.browser import Browser, browser, missing_programs
from tests.images.make import DISPLAY_P3, matrix_profile
from tests.pictures import encode

from .conftest import CI

PILLOW = ImagePolicy(engines=("pillow",))
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
GREY = Image.new("RGB", (16, 16), (128,) * 3)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(extra: bytes, image: Image.Image = GREY) -> bytes:
    content = encode(image, "PNG").getvalue()
    return content[:33] + extra + content[33:]


def gif(box: tuple[int, int, int, int], level: int, *, greys: bool = False, clear: int | None = None) -> bytes:
    """A GIF of 16×16 with one frame, of one level."""
    palette = bytes(v for i in range(256) for v in ((i, i, i) if greys else (i, 255 - i, i // 2)))
    left, top, width, height = box
    bits, count, packed = 0, 0, bytearray()
    for code in [256, *(code for _ in range(width * height) for code in (level, 256)), 257]:
        bits |= code << count
        count += 9
        while count >= 8:
            packed.append(bits & 255)
            bits >>= 8
            count -= 8
    packed.append(bits & 255)
    blocks = b"".join(bytes([len(packed[i : i + 255])]) + packed[i : i + 255] for i in range(0, len(packed), 255))
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", clear is not None, 0, clear or 0, 0)
    image = b"," + struct.pack("<HHHHB", left, top, width, height, 0x87) + palette + b"\x08" + blocks + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + control + image + b";"


def avif_of(primaries: int, transfer: int, colour: tuple[int, int, int]) -> bytes:
    content = bytearray(encode(Image.new("RGB", (16, 16), colour), "AVIF").getvalue())
    place = content.index(b"colrnclx") + 8
    content[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(content)


WIDE = matrix_profile("Display P3", DISPLAY_P3)
NAMED_SRGB = matrix_profile("sRGB, says its name", DISPLAY_P3)
KEYED = struct.pack(">6H", 1000, 2000, 3000, 60_000, 60_000, 60_000)
#: What it is, and the pixel that is looked at.
FILES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "gif, palette of greys": (gif((0, 0, 16, 16), 100, greys=True), (8, 8)),
    "gif, palette of greys, one of them clear": (gif((0, 0, 16, 16), 100, greys=True, clear=3), (8, 8)),
    "gif, clear": (gif((0, 0, 16, 16), 100, clear=100), (8, 8)),
    "gif, uncovered corner": (gif((4, 4, 8, 8), 200), (0, 0)),
    "gif, covered middle": (gif((4, 4, 8, 8), 200), (8, 8)),
    "gif, without its trailer": (gif((0, 0, 16, 16), 30)[:-1], (8, 8)),
    "png, without the checksum of its end": (encode(GREY, "PNG").getvalue()[:-4], (8, 8)),
    "png, text of two megabytes": (png_with(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2 << 20)))), (8, 8)),
    "png, wrong checksum of a text": (png_with(chunk(b"tEXt", b"Comment\0x")[:-4] + bytes(4)), (8, 8)),
    "png, gamma": (png_with(chunk(b"gAMA", struct.pack(">I", 100_000))), (8, 8)),
    "png, gamma beside sRGB": (png_with(chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"sRGB", b"\0")), (8, 8)),
    "png, Display P3": (encode(Image.new("RGB", (16, 16), (200, 100, 50)), "PNG", icc_profile=WIDE).getvalue(), (8, 8)),
    "png, a profile that calls itself sRGB": (
        encode(Image.new("RGB", (16, 16), (200, 100, 50)), "PNG", icc_profile=NAMED_SRGB).getvalue(),
        (8, 8),
    ),
    "png, clear colour of 16 bits": (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
        + chunk(b"IDAT", zlib.compress((b"\0" + KEYED) * 2))
        + chunk(b"IEND", b""),
        (0, 0),
    ),
    "jpeg, Display P3": (
        encode(Image.new("RGB", (16, 16), (200, 100, 50)), "JPEG", icc_profile=WIDE).getvalue(),
        (8, 8),
    ),
    "webp, Display P3": (
        encode(Image.new("RGB", (16, 16), (200, 100, 50)), "WEBP", icc_profile=WIDE).getvalue(),
        (8, 8),
    ),
    "avif, Display P3 by its code points": (avif_of(12, 13, (200, 100, 50)), (8, 8)),
    "avif, BT.2020 with PQ": (avif_of(9, 16, (148, 148, 148)), (8, 8)),
    "avif, sRGB": (avif_of(1, 13, (200, 100, 50)), (8, 8)),
}

SCRIPT = """
return Promise.all(arguments[0].map(async ([type, data, x, y]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type}));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', {colorSpace: 'srgb'});
  context.drawImage(bitmap, 0, 0);
  return [...context.getImageData(x, y, 1, 1).data];
}))
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if missing := missing_programs():
        (pytest.fail if CI else pytest.skip)(f"not installed: {missing}")
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def shown(content: bytes, place: tuple[int, int]) -> tuple[int, ...]:
    """The pixel that our picture of the same size has."""
    width = probe(io.BytesIO(content)).width
    (made,) = render(io.BytesIO(content), [Rendition(width=width, format="png", filter="point")], PILLOW)
    return Image.open(io.BytesIO(made.blob)).convert("RGBA").getpixel(place)  # type: ignore[return-value]


def test_pixels_are_those_that_chromium_shows(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!doctype html>")
    chromium.open((tmp_path / "page.html").as_uri())
    asked = [
        [probe(io.BytesIO(content)).mimetype, base64.b64encode(content).decode(), *place]
        for content, place in FILES.values()
    ]
    wrong = {}
    for (name, (content, place)), expected in zip(FILES.items(), chromium.run(SCRIPT, asked), strict=True):
        found = shown(content, place)
        # of what cannot be seen, the colour does not matter
        clear = expected[3] == found[3] == 0
        if not clear and max(abs(one - other) for one, other in zip(expected, found, strict=True)) > 3:
            wrong[name] = (expected, found)
    assert not wrong


@pytest.mark.parametrize(
    ("form", "plays", "made", "expected"),
    [("GIF", 1, "webp", 2), ("GIF", 0, "png", 0), ("WEBP", 2, "gif", 1), ("WEBP", 0, "gif", 0), ("PNG", 3, "webp", 3)],
)
def test_a_film_plays_as_often_as_before(form: str, plays: int, made: str, expected: int) -> None:
    film = encode(FRAMES[0], form, save_all=True, append_images=FRAMES[1:], duration=200, loop=plays)
    (moving,) = render(film, [Rendition(width=8, format=made, animated=True)], PILLOW)
    assert Image.open(io.BytesIO(moving.blob)).info["loop"] == expected


def test_a_scan_of_several_pages_gives_a_still_picture() -> None:
    pages = encode(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:])
    (made,) = render(pages, [Rendition(width=8, format="webp", animated=True)], PILLOW)
    assert getattr(Image.open(io.BytesIO(made.blob)), "n_frames", 1) == 1
    scan = Image.new("1", (2480, 3508))
    sheets = encode(scan, "TIFF", compression="group4", save_all=True, append_images=[scan] * 19)
    assert probe(sheets).pages == 20


def test_what_is_larger_than_the_header_says_is_refused_before_it_is_decoded() -> None:
    later = encode(Image.new("L", (1, 1)), "TIFF", save_all=True, append_images=[Image.new("RGBA", (900, 900))])
    with pytest.raises(PolicyViolationError, match="pixels"):
        probe(later, ImagePolicy(max_pixels=1000, verify="decode"))
    avif = bytearray(encode(Image.new("RGB", (400, 300)), "AVIF").getvalue())
    place = avif.index(b"ispe") + 8
    avif[place : place + 8] = struct.pack(">II", 10, 10)
    with pytest.raises(UnreadableImageError, match="10×10 pixels, its data 400×300"):
        probe(io.BytesIO(avif))


def test_a_profile_that_is_a_program_is_not_run() -> None:
    stages = 2000
    content = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, stages) + struct.pack(">II", 16, 12) * stages
    head = bytearray(128)
    head[8:24], head[36:40] = b"\x04\x40\0\0mntrRGB XYZ ", b"acsp"
    profile = bytes(head) + struct.pack(">I4sII", 1, b"D2B0", 144, len(content)) + content
    (made,) = render(encode(GREY, "PNG", icc_profile=profile), [Rendition(width=4)], PILLOW)
    assert Image.open(io.BytesIO(made.blob)).getpixel((1, 1)) == (128, 128, 128)
