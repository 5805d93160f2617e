from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import UnreadableImageError
from sqlalchemy_imageattach.imaging import probe
from sqlalchemy_imageattach.imaging.formats import isobmff
from sqlalchemy_imageattach.imaging.reader import Reader
from tests.pictures import encode, quadrants

from ...images.make import DISPLAY_P3, matrix_profile
from ..conftest import all_types

POLICY = all_types("pillow")


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def full(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, bytes([version]) + flags.to_bytes(3), *content)


ISPE = full(b"ispe", struct.pack(">II", 64, 48))


def heif(
    *properties: bytes, brand: bytes = b"heic", primary: int = 1, associated: int = 1, data: bytes = b"x"
) -> io.BytesIO:
    """A file with one picture, which has these properties, and no pixels worth the name."""
    numbers = bytes(range(1, len(properties) + 1))
    ipma = full(b"ipma", struct.pack(">IHB", 1, associated, len(numbers)), numbers)
    meta = full(
        b"meta",
        full(b"pitm", struct.pack(">H", primary)),
        box(b"iprp", box(b"ipco", *properties), ipma),
    )
    return io.BytesIO(box(b"ftyp", brand, b"\0\0\0\0", b"mif1", brand) + meta + box(b"mdat", data))


@pytest.mark.parametrize(
    ("turn", "mirror", "orientation"),
    [
        (None, None, 1),
        (0, None, 1),
        (1, None, 8),
        (2, None, 3),
        (3, None, 6),
        (None, 1, 2),
        (None, 0, 4),
        (1, 0, 5),
        (3, 0, 7),
        (1, 1, 7),
        (2, 0, 2),
    ],
)
def test_turning_and_mirroring_are_told_as_an_orientation(turn: int, mirror: int, orientation: int) -> None:
    properties = [ISPE]
    if turn is not None:
        properties.append(box(b"irot", bytes([turn])))
    if mirror is not None:
        properties.append(box(b"imir", bytes([mirror])))
    info = probe(heif(*properties), POLICY)
    assert info.orientation == orientation
    assert (info.width, info.height) == ((48, 64) if orientation >= 5 else (64, 48))


@pytest.mark.parametrize("kind", [1, 2, 5, 6, 15])
def test_data_whose_units_do_not_say_their_length_are_refused(kind: int) -> None:
    content = encode(quadrants(), "AVIF").getvalue()
    place = content.index(b"mdat") + 4
    without = bytes([kind << 3]) + content[place + 1 :]
    with pytest.raises(UnreadableImageError, match="do not say how long"):
        probe(io.BytesIO(content[:place] + without))


def test_a_cropped_picture_has_the_size_of_what_is_left() -> None:
    clap = box(b"clap", struct.pack(">8I", 60, 1, 40, 1, 0, 1, 0, 1))
    assert probe(heif(ISPE, clap), POLICY).stored_size == (60, 40)
    assert probe(heif(ISPE, clap, brand=b"avif"), POLICY).stored_size == (64, 48)


@pytest.mark.parametrize(
    ("brand", "mimetype"), [(b"heic", "image/heic"), (b"avif", "image/avif"), (b"mif1", "image/heif")]
)
def test_the_brand_says_the_type(brand: bytes, mimetype: str) -> None:
    assert probe(heif(ISPE, brand=brand), POLICY).mimetype == mimetype


@pytest.mark.parametrize(
    "file",
    [
        heif(),
        heif(ISPE, primary=2),
        heif(ISPE, associated=2),
        heif(full(b"ispe", struct.pack(">II", 0, 48))),
        heif(full(b"ispe")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + box(b"mdat", b"x")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + full(b"meta") + box(b"mdat", b"x")),
        io.BytesIO(box(b"ftyp", b"avis\0\0\0\0avif") + box(b"moov") + box(b"mdat", b"x")),
        io.BytesIO(box(b"ftyp", b"avis\0\0\0\0avif") + box(b"moov", box(b"trak")) + box(b"mdat", b"x")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + struct.pack(">I4s", 4, b"meta")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + struct.pack(">I4sQ", 1, b"meta", 2**63)),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + full(b"meta", struct.pack(">I4s", 999, b"pitm")) + box(b"mdat")),
        io.BytesIO(box(b"ftyp", b"heic\0\0\0\0mif1") + box(b"free") * 20_000 + full(b"meta", box(b"free") * 20_000)),
    ],
)
def test_boxes_that_do_not_hold_together_are_refused(file: io.BytesIO) -> None:
    with pytest.raises(UnreadableImageError):
        probe(file, POLICY)


def test_the_last_box_may_reach_to_the_end_and_junk_may_follow_a_whole_picture() -> None:
    content = heif(ISPE).getvalue()
    start = content.index(b"mdat") - 4
    assert probe(io.BytesIO(content[:start] + b"\0\0\0\0mdat" + b"x" * 100), POLICY).width == 64
    assert probe(io.BytesIO(content + b"\xff" * 50), POLICY).width == 64
    large = struct.pack(">I4sQ", 1, b"mdat", 20) + b"x" * 4
    assert probe(io.BytesIO(content[:start] + large), POLICY).width == 64


def test_the_profile_is_found() -> None:
    profile = matrix_profile("P3", DISPLAY_P3)
    assert isobmff.colours(Reader(encode(quadrants(), "AVIF", icc_profile=profile))).profile == profile
    assert isobmff.colours(Reader(encode(quadrants(), "AVIF"))) == (None, (1, 13))


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (333, 7), (5000, 33)])
def test_sizes_are_those_that_pillow_tells(size: tuple[int, int]) -> None:
    file = encode(Image.new("RGB", size), "AVIF")
    assert probe(file, POLICY).stored_size == Image.open(file).size
