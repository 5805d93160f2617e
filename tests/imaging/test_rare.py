"""Files of kinds that a decoder does not know may be intact: nobody is told to give an intact one."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import pytest

from sqlalchemy_imageattach.errors import UnreadableImageError, UnsupportedLayoutError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.pictures import corners, encode, near, texture

SIDE = 16
WANTED = [Rendition(width=8, format="png")]
PILLOW = ImagePolicy(engines=("pillow",))


def tiff(
    compression: int = 1,
    photometric: int = 2,
    bits: Sequence[int] = (8, 8, 8),
    sample: int = 1,
    pixel: bytes = bytes(range(256)),
) -> bytes:
    """A TIFF of one strip."""
    data = pixel * (SIDE * SIDE * sum(bits) // 8 // len(pixel) + 1)
    values = {256: [SIDE], 257: [SIDE], 258: bits, 259: [compression], 262: [photometric], 273: [8]}
    values |= {277: [len(bits)], 278: [SIDE], 279: [len(data)], 339: [sample] * len(bits)}
    directory, behind = struct.pack("<H", len(values)), b""
    place = 8 + len(data) + 2 + 12 * len(values) + 4
    for tag, numbers in values.items():
        packed = struct.pack(f"<{len(numbers)}H", *numbers)
        if len(packed) > 4:
            packed, behind = struct.pack("<I", place + len(behind)), behind + packed
        directory += struct.pack("<HHI", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4) + behind


def jpeg(marker: int, bits: int = 8) -> bytes:
    """A JPEG that says that it is coded in another way."""
    content = bytearray(encode(texture(SIDE, SIDE), "JPEG").getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 1], content[frame + 4] = marker, bits
    return bytes(content)


RARE = {
    **{f"tiff, compression {number}": tiff(number) for number in (6, 9, 32809, 34661, 34712, 34887, 50000, 50002)},
    "tiff, floats": tiff(bits=(32, 32, 32), sample=3),
    "tiff, floats of 64 bits": tiff(photometric=1, bits=(64,), sample=3),
    "tiff, ICC Lab": tiff(photometric=9),
    "tiff, a mask": tiff(photometric=4, bits=(1,)),
    "tiff, mosaic of a sensor": tiff(photometric=32803, bits=(16,)),
    "tiff, 4 bits each": tiff(bits=(4, 4, 4)),
    "tiff, palette of 16 bits": tiff(photometric=3, bits=(16,)),
    "tiff, 8 samples": tiff(bits=(8,) * 8),
    **{f"jpeg, frame {marker:X}": jpeg(marker) for marker in (0xC3, 0xC5, 0xC7, 0xCA, 0xCB, 0xCF)},
    "jpeg, 12 bits": jpeg(0xC1, 12),
}


@pytest.mark.parametrize("name", RARE)
def test_a_file_of_a_rare_kind_is_not_called_damaged(name: str) -> None:
    assert probe(io.BytesIO(RARE[name])).width == SIDE
    with pytest.raises(UnsupportedLayoutError, match="convert it first") as caught:
        render(io.BytesIO(RARE[name]), WANTED, PILLOW)
    assert caught.value.code == "unsupported"
    assert "intact" not in str(caught.value)


#: Those that ImageMagick reads, whichever libraries it was built with.
READ = {"tiff, floats", "tiff, 4 bits each", "tiff, 8 samples", "tiff, palette of 16 bits"}


def refusal(content: bytes, policy: ImagePolicy) -> str:
    try:
        render(io.BytesIO(content), WANTED, policy)
    except UnreadableImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", RARE)
def test_another_engine_reads_it_or_nobody_calls_it_damaged(name: str, wand: str) -> None:
    said = refusal(RARE[name], ImagePolicy(engines=("pillow", wand), isolate=False))
    assert "intact" not in said
    assert not said or name not in READ


#: The red of sRGB.
LIGHTNESS, A, B = 53.24, 80.09, 67.2
LABS = {
    "8 bits": tiff(photometric=8, pixel=struct.pack("<Bbb", 136, 80, 67)),
    "16 bits": tiff(photometric=8, bits=(16,) * 3, pixel=struct.pack("<Hhh", 34_891, 20_503, 17_203)),
    "floats": tiff(photometric=8, bits=(32,) * 3, sample=3, pixel=struct.pack("<3f", LIGHTNESS, A, B)),
    "of the ICC": tiff(photometric=9, pixel=bytes((136, 208, 195))),
    "of the ICC, 16 bits": tiff(photometric=9, bits=(16,) * 3, pixel=struct.pack("<3H", 34_891, 53_477, 50_166)),
    "of the ITU": tiff(photometric=10, pixel=bytes((136, 208, 195))),
}


@pytest.mark.parametrize("name", LABS)
def test_lab_is_shown_in_its_colours_or_not_at_all(name: str, wand: str) -> None:
    for engine in ("pillow", wand):
        try:
            (made,) = render(io.BytesIO(LABS[name]), WANTED, ImagePolicy(engines=(engine,), isolate=False))
        except UnsupportedLayoutError:
            assert (name, engine) not in {("8 bits", "pillow"), ("8 bits", wand), ("16 bits", wand)}
        else:
            assert near(corners(made.blob, "RGB"), [(255, 0, 0)] * 4, 12)


def test_what_is_coded_as_usual_and_cannot_be_decoded_is_damaged() -> None:
    for content in (tiff(5), encode(texture(SIDE, SIDE), "JPEG").getvalue().replace(b"\xff\xda", b"\xff\xe9")):
        with pytest.raises(UnreadableImageError, match="intact file") as caught:
            render(io.BytesIO(content), WANTED, PILLOW)
        assert not isinstance(caught.value, UnsupportedLayoutError)
