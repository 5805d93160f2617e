"""Files made to do harm, and what becomes of each."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageFile

from sqlalchemy_imageattach.errors import PolicyViolationError, RejectedImageError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render, sniff
from tests.pictures import encode, png, quadrants, texture

from .formats.test_isobmff import box, full, heif


def gif_of(frames: int, width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + frame * frames + b";"


def tiff_of(width: int, height: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 4)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 12) + b"\0" * 4 + struct.pack("<H", len(entries)) + directory + b"\0" * 4


def bmp_of(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 4, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 62, 0, 0, 54) + header + b"\0\1\0\1"


def webp_of(width: int, height: int) -> bytes:
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + (width - 1).to_bytes(3, "little")
    body = extended + (height - 1).to_bytes(3, "little") + b"ANMF" + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(encode(quadrants(16, 16), "JPEG").getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


BOMBS = {
    "png": png(60_000, 60_000, (b"IDAT", zlib.compress(b"\0" * 10_000))),
    "png grey": png(60_000, 60_000, (b"IDAT", zlib.compress(b"\0" * 10_000)), depth=1, colour=0),
    "gif": gif_of(1, 65_535, 65_535),
    "gif of many frames": gif_of(50_000, 2_000, 2_000),
    "jpeg": jpeg_of(65_500, 65_500),
    "webp": webp_of(16_383 * 1000, 16_383),
    "tiff": tiff_of(1_000_000, 1_000_000),
    "bmp": bmp_of(100_000, 100_000),
    "avif": heif(full(b"ispe", struct.pack(">II", 60_000, 60_000)), brand=b"avif").getvalue(),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1000000" height="1000000"/>',
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("work", [probe, lambda file, policy: render(file, [Rendition(width=10)], policy)])
def test_a_bomb_is_refused_before_it_is_decoded(name: str, work: Callable[..., object]) -> None:
    policy = ImagePolicy().allowing("image/svg+xml")
    tracemalloc.start()
    with pytest.raises(PolicyViolationError, match="pixels"):
        work(io.BytesIO(BOMBS[name]), policy)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**20


def test_frames_are_counted_where_the_header_keeps_silent_about_them() -> None:
    control = struct.pack(">II", 2, 0)
    frames = [(b"fcTL", struct.pack(">IIIIIHHBB", number, 1000, 1000, 0, 0, 1, 10, 0, 0)) for number in range(500)]
    content = png(1000, 1000, (b"acTL", control), (b"IDAT", zlib.compress(b"\0" * 100)), *frames)
    with pytest.raises(PolicyViolationError, match="frames"):
        probe(io.BytesIO(content))


def test_a_compressed_text_that_explodes_is_not_inflated() -> None:
    bomb = b"Comment\0\0" + zlib.compress(b"\0" * 120_000_000, 1)
    image = encode(quadrants(), "PNG").getvalue()
    data = image[image.index(b"IDAT") - 4 : image.index(b"IEND") - 4]
    content = png(64, 48, (b"zTXt", bomb))
    end = content.index(b"IEND") - 4
    file = io.BytesIO(content[:end] + data + content[end:])
    assert probe(file).width == 64
    tracemalloc.start()
    (made,) = render(file, [Rendition(width=10)], ImagePolicy(engines=("pillow",)))
    assert made.width == 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20


def test_pictures_with_something_else_in_them_are_just_pictures() -> None:
    jpeg = encode(quadrants(), "JPEG", comment=b"<?php system($_GET['c']); ?>").getvalue()
    gif = encode(quadrants(), "GIF", comment=b"<script>alert(1)</script>").getvalue()
    archive = encode(quadrants(), "PNG").getvalue() + b"PK\x03\x04 and so on"
    for content, mimetype in ((jpeg, "image/jpeg"), (gif, "image/gif"), (archive, "image/png")):
        info = probe(io.BytesIO(content))
        assert info.mimetype == mimetype
        (made,) = render(io.BytesIO(content), [Rendition(ratio=1)], ImagePolicy(engines=("pillow",)))
        for word in (b"php", b"script", b"PK\x03\x04"):
            assert word not in made.blob


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a=1;alert(document.domain)//",
        b"GIF89a<html><script>alert(1)</script></html>",
        b"\xff\xd8\xff<?php system('id'); ?>",
        b"\xff\xd8\xff\xe0" + b"<html>" * 100,
        b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
        b"BM<html>",
        b"RIFF<svg>WEBP<script>",
        b"II*\0<html>",
        b"%PDF-1.4 <script>",
        b"\0\0\1\0\1\0<html>",
        b"<html xmlns='http://www.w3.org/1999/xhtml'><svg/></html>",
        b"#!/bin/sh\nrm -rf /",
        b"MZ\x90\0",
        b"push graphic-context\nviewbox 0 0 640 480\nfill 'url(https://127.0.0.1/x.jpg\"|ls \"-la)'\n",
        b"%!PS\n(/etc/passwd) (r) file",
    ],
)
def test_what_only_begins_like_a_picture_is_refused(content: bytes) -> None:
    policy = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/vnd.microsoft.icon")
    with pytest.raises(RejectedImageError):
        probe(io.BytesIO(content), policy)
    with pytest.raises(RejectedImageError):
        render(io.BytesIO(content), [Rendition(width=10)], policy)


def test_a_header_that_its_data_contradict_is_refused() -> None:
    extended = encode(texture(40, 30), "WEBP", icc_profile=b"x" * 200).getvalue()
    content = bytearray(extended)
    place = content.index(b"VP8X") + 12
    content[place : place + 3] = (99).to_bytes(3, "little")
    with pytest.raises(UnreadableImageError):
        render(io.BytesIO(content), [Rendition(width=10)], ImagePolicy(engines=("pillow",)))
    # of two frame headers Pillow believes the last: a picture must not be recorded with another size than it has
    jpeg = encode(texture(40, 24), "JPEG").getvalue()
    start = jpeg.index(b"\xff\xc0")
    frame = bytearray(jpeg[start : start + 2 + int.from_bytes(jpeg[start + 2 : start + 4])])
    frame[5:9] = struct.pack(">HH", 30, 50)
    with pytest.raises(UnreadableImageError, match=r"its header says \(50, 30\), its decoder \(40, 24\)"):
        render(io.BytesIO(jpeg[:start] + frame + jpeg[start:]), [Rendition(width=10)], ImagePolicy(engines=("pillow",)))


def test_process_wide_switches_and_filters_stay_as_they_are() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for content in (*BOMBS.values(), encode(texture(100, 80), "JPEG").getvalue()):
        with contextlib.suppress(RejectedImageError):
            render(io.BytesIO(content), [Rendition(width=10)])
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_a_limit_above_pillows_own_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # what Pillow would warn of, or refuse, is up to the policy: here 12,288 pixels against a limit of 1,000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    policy = ImagePolicy(engines=("pillow",))
    for form in ("JPEG", "PNG", "GIF", "BMP", "AVIF"):
        renditions = [Rendition(width=64), Rendition(width=100, height=50, fit="fill"), Rendition(ratio=1)]
        assert len(render(encode(texture(128, 96), form), renditions, policy)) == 3
    # of TIFF, as of WebP, there is no way around it, but the error says so
    with pytest.raises(PolicyViolationError, match="Pillow itself"):
        render(encode(texture(128, 96), "TIFF"), [Rendition(width=64)], policy)


def test_box_lists_without_end_come_to_one() -> None:
    circle = bytearray(tiff_of(10, 10))
    circle[-4:] = struct.pack("<I", 12)
    with pytest.raises(UnreadableImageError, match="circle"):
        probe(io.BytesIO(circle))
    boxes = box(b"ftyp", b"avif\0\0\0\0avif") + full(b"meta", *[box(b"free")] * 30_000)
    assert sniff(boxes) == "image/avif"
    with pytest.raises(UnreadableImageError):
        probe(io.BytesIO(boxes))
