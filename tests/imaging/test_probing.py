from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    PolicyViolationError,
    RejectedImageError,
    UnreadableImageError,
)
from sqlalchemy_imageattach.imaging import ImageInfo, ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.probing import identify
from tests.pictures import RASTER_FORMATS, encode, exif, quadrants, stored, texture

from .conftest import all_types

EVERYTHING = all_types("pillow")


@pytest.mark.parametrize(("mimetype", "form"), RASTER_FORMATS.items())
def test_size_and_type_are_told(mimetype: str, form: str) -> None:
    file = encode(quadrants(61, 47), form)
    assert probe(file) == ImageInfo(mimetype, 61, 47, byte_size=len(file.getvalue()))


def test_what_is_stored_already_is_identified_whatever_the_policy_says() -> None:
    svg = io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg" width="12" height="8"/>')
    svg.seek(5)
    with pytest.raises(PolicyViolationError):
        probe(svg)
    assert identify(svg) == ImageInfo("image/svg+xml", 12, 8, byte_size=len(svg.getvalue()))
    assert svg.tell() == 5


MODES = ("1", "L", "LA", "P", "PA", "I;16", "RGB", "RGBA", "CMYK", "LAB", "F", "I")


@pytest.mark.parametrize(
    ("form", "number"),
    [("AVIF", 12), ("BMP", 5), ("GIF", 9), ("JPEG", 4), ("PNG", 7), ("TIFF", 12), ("WEBP", 12)],
)
def test_what_is_told_is_what_pillow_would_say_in_every_mode_that_it_writes(form: str, number: int) -> None:
    written = []
    for mode in MODES:
        image = quadrants(33, 21).quantize(4) if mode == "P" else Image.new(mode, (33, 21))
        try:
            file = encode(image, form)
        except (OSError, ValueError, DeprecationWarning):
            continue
        written.append(mode)
        assert probe(file).stored_size == Image.open(file).size == (33, 21)
        assert render(file, [Rendition(width=11)])[0].height == 7
    assert len(written) >= number, written


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_size_is_that_of_the_upright_picture(form: str, orientation: int) -> None:
    file = encode(stored(quadrants(64, 48), orientation), form, exif=exif(orientation))
    info = probe(file)
    assert (info.width, info.height, info.orientation) == (64, 48, orientation)
    assert info.stored_size == ((48, 64) if orientation >= 5 else (64, 48))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("nonsense", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(form: str, nonsense: int) -> None:
    assert probe(encode(quadrants(64, 48), form, exif=exif(nonsense))).orientation == 1


@pytest.mark.parametrize(
    "block", [b"", b"I", b"II*\0", b"II*\0\xff\xff\xff\xff", b"XX*\0\0\0\0\x08", b"MM\0*\0\0\0\x08\0\x01"]
)
def test_broken_exif_in_a_good_picture_is_no_error(block: bytes) -> None:
    file = encode(quadrants(64, 48), "JPEG", exif=b"Exif\0\0" + block)
    assert probe(file).orientation == 1
    (made,) = render(file, [Rendition(width=16)])
    assert (made.width, made.height) == (16, 12)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("frames", [2, 5])
def test_frames_are_counted(form: str, frames: int) -> None:
    images = [texture(32, 24, seed) for seed in range(frames)]
    file = encode(images[0], form, save_all=True, append_images=images[1:])
    assert probe(file).frames == frames
    assert probe(file).width == 32


def test_pages_are_no_film() -> None:
    pages = [texture(32, 24, 1), texture(20, 10, 2), texture(40, 30, 3)]
    info = probe(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert (info.frames, info.pages, info.width, info.height, info.largest) == (1, 3, 32, 24, (40, 30))


def test_a_default_picture_before_the_animation_counts_too() -> None:
    images = [texture(32, 24, seed) for seed in range(3)]
    file = encode(images[0], "PNG", save_all=True, append_images=images[1:], default_image=True)
    assert probe(file).frames == Image.open(file).n_frames == 3  # type: ignore[attr-defined]


def test_of_an_mpo_the_first_picture_counts_and_it_is_a_jpeg() -> None:
    file = io.BytesIO()
    quadrants(64, 48).save(file, "MPO", save_all=True, append_images=[quadrants(32, 24)], quality=95)
    info = probe(file)
    assert (info.mimetype, info.width, info.height, info.frames) == ("image/jpeg", 64, 48, 1)


def test_of_an_icon_the_largest_picture_counts() -> None:
    file = io.BytesIO()
    quadrants(256, 256).save(file, "ICO", sizes=[(16, 16), (256, 256), (48, 48)])
    info = probe(file, EVERYTHING)
    assert (info.mimetype, info.width, info.height) == ("image/vnd.microsoft.icon", 256, 256)


def test_a_progressive_jpeg_and_one_with_thumbnail_and_comments_are_read() -> None:
    file = encode(texture(640, 480), "JPEG", progressive=True, comment=b"\xff\xd9 is not the end" * 100)
    assert probe(file).width == 640


# --- what is cut off or broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", RASTER_FORMATS.values())
def test_a_file_cut_off_anywhere_is_refused(form: str) -> None:
    whole = encode(texture(40, 30), form).getvalue()
    probe(io.BytesIO(whole))
    # the end of a PNG has a checksum, of nothing
    for length in range(len(whole) - (5 if form == "PNG" else 1)):
        with pytest.raises(UnreadableImageError):
            probe(io.BytesIO(whole[:length]))


def test_a_file_without_its_last_mark_is_whole_where_browsers_show_it_whole() -> None:
    for form, missing in (("GIF", 1), ("PNG", 4)):
        whole = encode(texture(40, 30), form).getvalue()
        file = io.BytesIO(whole[:-missing])
        assert probe(file).width == 40
        assert render(file, [Rendition(width=20)])[0].width == 20


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_an_animation_cut_off_anywhere_is_refused(form: str) -> None:
    images = [texture(20, 10, seed) for seed in range(3)]
    options = {"save_all": True, "append_images": images[1:]}
    whole = encode(images[0], form, **(options | ({"quality": 1} if form == "AVIF" else {}))).getvalue()
    # a TIFF may end in padding, which nobody misses
    for length in range(0, len(whole.rstrip(b"\0")) - (5 if form == "PNG" else 1), 3):
        with pytest.raises(UnreadableImageError):
            probe(io.BytesIO(whole[:length]))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("length", [1, 100, 200_000])
def test_what_is_behind_the_picture_does_not_matter(form: str, length: int) -> None:
    whole = encode(texture(40, 30), form).getvalue()
    junk = os.urandom(length).replace(b"\xff\xd9", b"\0\0")
    assert probe(io.BytesIO(whole + junk)).width == 40


@pytest.mark.parametrize("content", [b"", b"x", b"hello", b"\0" * 100_000, b"%!PS", b"<html>"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        probe(io.BytesIO(content))


@pytest.mark.parametrize(
    ("form", "offset"),
    [("PNG", 16), ("PNG", 20), ("GIF", 6), ("BMP", 18), ("BMP", 22)],
)
def test_a_picture_without_extent_is_refused(form: str, offset: int) -> None:
    content = bytearray(encode(texture(40, 30), form).getvalue())
    if form == "GIF":
        content[6:10] = b"\0" * 4
        # its frame would widen it
        frame = content.index(b",\0\0\0\0\x28\0\x1e\0")
        content[frame + 5 : frame + 9] = b"\0" * 4
    else:
        content[offset : offset + 4] = b"\0" * 4
    with pytest.raises(UnreadableImageError):
        probe(io.BytesIO(content))


def test_decoding_finds_the_damage_that_the_structure_does_not_show() -> None:
    for form in ("JPEG", "PNG", "WEBP", "GIF"):
        content = bytearray(encode(texture(200, 150), form).getvalue())
        middle = len(content) // 2
        if form == "JPEG":  # a table of codes that cannot be
            table = content.index(b"\xff\xc4")
            content[table + 5 : table + 21] = b"\xff" * 16
        elif form == "GIF":
            content[middle : middle + 3000] = b"\xff" * 3000
        else:
            content[middle : middle + 200] = bytes(255 - byte for byte in content[middle : middle + 200])
        file = io.BytesIO(content)
        if form != "GIF":
            probe(file)
        with pytest.raises(UnreadableImageError):
            probe(file, ImagePolicy(verify="decode"))


@pytest.mark.parametrize("form", RASTER_FORMATS.values())
def test_decoding_accepts_whole_pictures(form: str, policy: ImagePolicy) -> None:
    from dataclasses import replace

    assert probe(encode(texture(50, 40), form), replace(policy, verify="decode")).width == 50


# --- the policy -----------------------------------------------------------------------------------------------------


def test_a_file_of_too_many_bytes_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(PolicyViolationError, match="bytes"):
        probe(io.BytesIO(b"x" * 11), ImagePolicy(max_bytes=10))


def test_a_picture_of_too_many_pixels_is_refused() -> None:
    file = encode(quadrants(100, 100), "PNG")
    assert probe(file, ImagePolicy(max_pixels=10_000)).width == 100
    with pytest.raises(PolicyViolationError, match="pixels"):
        probe(file, ImagePolicy(max_pixels=9_999))


def test_the_pixels_of_all_frames_count() -> None:
    images = [texture(20, 10, seed) for seed in range(4)]
    file = encode(images[0], "GIF", save_all=True, append_images=images[1:])
    probe(file, ImagePolicy(max_pixels=800))
    with pytest.raises(PolicyViolationError, match="4 frames"):
        probe(file, ImagePolicy(max_pixels=799))


def test_a_type_that_is_not_allowed_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "innocent.png"
    path.write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
    with path.open("rb") as file, pytest.raises(PolicyViolationError, match=r"image/svg\+xml"):
        probe(file)
    with path.open("rb") as file:
        assert probe(file, ImagePolicy().allowing("image/svg+xml")).mimetype == "image/svg+xml"
    with pytest.raises(PolicyViolationError, match="image/jpeg"):
        probe(encode(quadrants(), "JPEG"), ImagePolicy(allowed_types=frozenset({"image/png"})))


# --- the source -----------------------------------------------------------------------------------------------------


def test_the_source_is_read_from_its_start_and_left_where_it_stood() -> None:
    file = encode(quadrants(64, 48), "PNG")
    file.seek(17)
    assert probe(file).width == 64
    assert file.tell() == 17
    render(file, [Rendition(width=10)])
    assert file.tell() == 17
    broken = io.BytesIO(b"nothing")
    broken.seek(3)
    with pytest.raises(RejectedImageError):
        probe(broken)
    assert broken.tell() == 3


class Failing(io.BytesIO):
    """A file on a disk that dies after some bytes."""

    def __init__(self, content: bytes, good: int) -> None:
        super().__init__(content)
        self.good = good

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.good -= len(data)
        if self.good < 0:
            raise OSError(5, "Input/output error")
        return data


@pytest.mark.parametrize("form", RASTER_FORMATS.values())
def test_an_error_of_the_disk_is_not_the_pictures_fault(form: str, policy: ImagePolicy) -> None:
    content = encode(texture(200, 150), form).getvalue()
    outcomes: set[object] = set()
    for good in (0, 10, 100, 3000, 5000, 20_000, 50_000, len(content)):
        try:
            render(Failing(content, good), [Rendition(width=20)], policy)
            outcomes.add("rendered")
        except OSError as error:
            outcomes.add(error.errno)
    assert outcomes <= {5, "rendered"}
    assert 5 in outcomes


class OneByte(io.BytesIO):
    """A file that gives one byte at a time, as raw files may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 if size is None or size != 0 else 0)


def test_short_reads_are_continued() -> None:
    for form in RASTER_FORMATS.values():
        assert probe(OneByte(encode(texture(40, 30), form).getvalue())).width == 40


def test_a_source_that_is_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(encode(quadrants(), "PNG").getvalue())
    with path.open(encoding="latin-1") as text, pytest.raises(InvalidTypeError, match="mode 'rb'"):
        probe(text)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="StringIO"):
        probe(io.StringIO("x"))  # type: ignore[arg-type]
    for nothing in (None, b"bytes", "path", path):
        with pytest.raises(InvalidTypeError, match="binary"):
            probe(nothing)  # type: ignore[arg-type]
    closed = path.open("rb")
    closed.close()
    with pytest.raises(InvalidValueError, match="closed"):
        probe(closed)
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe, pytest.raises(InvalidTypeError, match="seek"):
        probe(pipe)
    with pytest.raises(InvalidTypeError, match="ImagePolicy"):
        probe(closed, None)  # type: ignore[arg-type]


class TextInDisguise(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).decode("latin-1")  # type: ignore[return-value]


def test_a_source_that_gives_text_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="str"):
        probe(TextInDisguise(b"x" * 100))


def sparse(path: Path, head: bytes, tail: bytes, size: int) -> BinaryIO:
    file = path.open("w+b")
    file.write(head)
    file.seek(size - len(tail))
    file.write(tail)
    return file


def test_a_file_of_half_a_gigabyte_is_looked_through_in_constant_memory(tmp_path: Path) -> None:
    policy = ImagePolicy(max_bytes=None)
    size = 500 * 2**20
    jpeg = encode(texture(64, 48), "JPEG").getvalue()
    gif = encode(texture(64, 48), "GIF").getvalue()
    png = encode(texture(64, 48), "PNG").getvalue()
    filler = size - len(png) - 12
    files = [
        sparse(tmp_path / "a.jpg", jpeg[:-2], b"\xff\xd9", size),
        sparse(tmp_path / "b.gif", gif, b"", size),
        sparse(tmp_path / "c.png", png[:-12] + filler.to_bytes(4) + b"juNk", b"\0\0\0\0" + png[-12:], size),
        sparse(tmp_path / "d.jpg", jpeg[:-2], b"", size),
    ]
    files[3].truncate(size)
    tracemalloc.start()
    for file in files[:3]:
        assert probe(file, policy).width == 64
    with pytest.raises(UnreadableImageError, match="end marker"):
        probe(files[3], policy)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for file in files:
        file.close()
    assert peak < 2 * 2**20
