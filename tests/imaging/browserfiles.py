"""Files of all kinds that a browser shows, made on the spot: what each of them is, and its bytes."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.images.make import DISPLAY_P3, matrix_profile
from tests.pictures import encode, exif, texture

SIDE = 16
WIDE = matrix_profile("Display P3", DISPLAY_P3)
NAMED_SRGB = matrix_profile("sRGB, says its name", DISPLAY_P3)
GREY = Image.new("RGB", (SIDE, SIDE), (128,) * 3)
FLAT = Image.new("RGB", (SIDE, SIDE), (200, 100, 50))
RICH = texture(SIDE, SIDE)
Files = Iterator[tuple[str, bytes]]


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    return encode(image, form, **options).getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# --- PNG -------------------------------------------------------------------------------------------------------------

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CLEAR = {0: b"\0\1", 2: b"\0\1\0\1\0\1", 3: b"\x40\xff\0"}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _rows(samples: np.ndarray, depth: int) -> bytes:
    """Rows of samples, packed, each with no filter."""
    made = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            made += b"\0" + row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth)[::-1] & 1).astype(np.uint8).ravel()
            made += b"\0" + np.packbits(bits).tobytes()
    return made


def png(colour: int, depth: int, extra: bytes = b"", *, interlaced: bool = False) -> bytes:
    """A PNG of all levels that there are."""
    y, x, channel = np.mgrid[0:SIDE, 0:SIDE, 0 : _CHANNELS[colour]]
    samples = (x * 17 + y * 16 * (channel + 1)) * (257 if depth == 16 else 1) % 2**depth
    if interlaced:
        data = b"".join(_rows(samples[top::down, left::across], depth) for left, top, across, down in _PASSES)
    else:
        data = _rows(samples, depth)
    palette = b""
    if colour == 3:
        palette = chunk(b"PLTE", bytes(v for i in range(2**depth) for v in (i * 7 % 256, 255 - i * 3 % 256, i)))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, interlaced)
    before, after = (b"", extra) if extra[4:8] == b"tRNS" else (extra, b"")
    content = [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + before
        + palette
        + after
        + b"".join(itertools.starmap(chunk, content))
    )


def png_with(extra: bytes, image: Image.Image = GREY) -> bytes:
    content = saved(image, "PNG")
    return content[:33] + extra + content[33:]


def _chrm(*corners: float) -> bytes:
    return chunk(b"cHRM", b"".join(struct.pack(">I", round(value * 100_000)) for value in corners))


def pngs() -> Files:
    for colour, depths in _DEPTHS.items():
        for depth in depths:
            name = f"png, colour type {colour}, {depth} bits"
            yield name, png(colour, depth)
            yield f"{name}, interlaced", png(colour, depth, interlaced=True)
            if colour in _CLEAR:
                yield f"{name}, one clear", png(colour, depth, chunk(b"tRNS", _CLEAR[colour]))
    p3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
    gamma = {value: chunk(b"gAMA", struct.pack(">I", value)) for value in (100_000, 45_455, 55_556, 30_000)}
    iccp = chunk(b"iCCP", b"p3\0\0" + zlib.compress(WIDE))
    chunks = {
        **{f"gamma {value}": part for value, part in gamma.items()},
        "gamma and primaries of P3": gamma[45_455] + _chrm(*p3),
        "primaries of P3 without gamma": _chrm(*p3),
        "gamma beside sRGB": gamma[100_000] + chunk(b"sRGB", b"\0"),
        "Display P3": iccp,
        "Display P3 beside gamma": gamma[100_000] + iccp,
        "a profile that calls itself sRGB": chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(NAMED_SRGB)),
        "a profile that is none": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"profile" * 40)),
        "a profile that is not packed": chunk(b"iCCP", b"x\0\0profile"),
        **{
            f"code points {a}, {b}": chunk(b"cICP", bytes([a, b, 0, 1]))
            for a, b in [(1, 13), (12, 13), (9, 13), (1, 8), (9, 16), (9, 18), (12, 16)]
        },
        "code points of P3 beside sRGB": chunk(b"cICP", b"\x0c\x0d\0\1") + chunk(b"sRGB", b"\0"),
        "text of two megabytes": chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2 << 20))),
        "wrong checksum of a text": chunk(b"tEXt", b"Comment\0x")[:-4] + bytes(4),
        "background": chunk(b"bKGD", bytes(6)),
    }
    for name, part in chunks.items():
        yield f"png, {name}", png_with(part, FLAT)
    yield "png, without the checksum of its end", saved(RICH, "PNG")[:-4]
    yield "png, orientation 6", saved(RICH, "PNG", exif=exif(6))
    yield "png, animated", apng([(_ALL, _RED, 0, 0), (_MIDDLE, _HALF, 0, 1)])
    yield (
        "png, animated, with a still picture of its own",
        apng([(_ALL, _RED, 0, 0)] * 2, default=_GREEN),
    )


# --- APNG: the frames are looked at one by one ------------------------------------------------------------------------


def apng(
    frames: Sequence[tuple[tuple[int, int, int, int], tuple[int, ...], int, int]],
    said: int | None = None,
    default: tuple[int, ...] | None = None,
) -> bytes:
    """Boxes (left, top, width, height) of one colour, with how they are disposed of and blended.

    A picture for those that show no animation may come before them.
    """
    made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0))
    made += chunk(b"acTL", struct.pack(">II", len(frames) if said is None else said, 0))
    number, is_data = 0, default is None
    if default is not None:
        made += chunk(b"IDAT", zlib.compress((b"\0" + bytes(default) * SIDE) * SIDE))
    for (left, top, width, height), colour, disposal, blending in frames:
        control = (number, width, height, left, top, 1, 10, disposal, blending)
        made += chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control))
        data = zlib.compress((b"\0" + bytes(colour) * width) * height)
        made += chunk(b"IDAT", data) if is_data else chunk(b"fdAT", struct.pack(">I", number + 1) + data)
        number, is_data = number + 2 - is_data, False
    return made + chunk(b"IEND", b"")


_ALL, _MIDDLE, _CORNER = (0, 0, 16, 16), (4, 4, 8, 8), (0, 0, 6, 6)
_RED, _GREEN, _HALF, _NOTHING = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 128), (0, 0, 0, 0)


def films() -> Files:
    for disposal in (0, 1, 2):
        for blending in (0, 1):
            frames = [(_ALL, _RED, 0, 0), (_MIDDLE, _HALF, disposal, blending), (_CORNER, _GREEN, 0, 0)]
            yield f"apng, disposal {disposal}, blending {blending}", apng(frames)
    yield "apng, half over half", apng([(_ALL, _HALF, 0, 0), (_MIDDLE, (255, 0, 0, 128), 0, 1), (_CORNER, _HALF, 0, 1)])
    yield "apng, its first frame is disposed to what was before", apng([(_ALL, _RED, 2, 0), (_CORNER, _HALF, 0, 1)])
    yield "apng, nothing instead of red", apng([(_ALL, _RED, 0, 0), (_MIDDLE, _NOTHING, 0, 0), (_CORNER, _GREEN, 0, 1)])
    yield "apng, says more frames than there are", apng([(_ALL, _RED, 0, 0), (_MIDDLE, _GREEN, 0, 0)], 5)
    two = [(_ALL, _RED, 0, 0), (_MIDDLE, _HALF, 0, 1)]
    yield "apng, with a still picture of its own", apng(two, default=_GREEN)
    yield "apng, with a still picture of its own, a first frame in the middle", apng(two[::-1], default=_GREEN)
    for disposal in (0, 1, 2, 3):
        boxes = [(_ALL, 10, 1), (_MIDDLE, 200, disposal), (_CORNER, 90, 1)]
        yield f"gif, disposal {disposal}", gif_film(boxes)
    yield "webp, frames that cover a part", webp_film([(_CORNER, _RED, 0), (_MIDDLE, _HALF, 0)])
    yield "webp, frames that are cleared", webp_film([(_ALL, _RED, 1), (_MIDDLE, _HALF, 1), (_CORNER, _GREEN, 0)])


# --- GIF -------------------------------------------------------------------------------------------------------------


def _codes(width: int, height: int, level: int) -> bytes:
    bits, count, packed = 0, 0, bytearray()
    for code in [256, *(code for _ in range(width * height) for code in (level, 256)), 257]:
        bits |= code << count
        count += 9
        while count >= 8:
            packed.append(bits & 255)
            bits >>= 8
            count -= 8
    packed.append(bits & 255)
    blocks = (packed[i : i + 255] for i in range(0, len(packed), 255))
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _palette(greys: bool) -> bytes:
    return bytes(v for i in range(256) for v in ((i, i, i) if greys else (i, 255 - i, i // 2)))


def _gif_frame(
    box: tuple[int, int, int, int], level: int, disposal: int = 0, *, greys: bool = False, clear: int | None = None
) -> bytes:
    left, top, width, height = box
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", disposal << 2 | (clear is not None), 10, clear or 0, 0)
    head = b"," + struct.pack("<HHHHB", left, top, width, height, 0x87) + _palette(greys)
    return control + head + _codes(width, height, level)


def gif(box: tuple[int, int, int, int], level: int, *, greys: bool = False, clear: int | None = None) -> bytes:
    """A GIF of 16×16 with one frame, of one level."""
    screen = struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0)
    return b"GIF89a" + screen + _gif_frame(box, level, greys=greys, clear=clear) + b";"


def gif_film(frames: Sequence[tuple[tuple[int, int, int, int], int, int]]) -> bytes:
    return (
        b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b"".join(itertools.starmap(_gif_frame, frames)) + b";"
    )


def gifs() -> Files:
    yield "gif, palette of greys", gif(_ALL, 100, greys=True)
    yield "gif, palette of greys, one of them clear", gif(_ALL, 100, greys=True, clear=3)
    yield "gif, clear", gif(_ALL, 100, clear=100)
    yield "gif, covered in the middle", gif(_MIDDLE, 200)
    yield "gif, covered in the middle by what is clear", gif(_MIDDLE, 200, clear=200)
    yield "gif, without its trailer", gif(_ALL, 30)[:-1]
    yield "gif, junk behind it", gif(_ALL, 30) + b"junk"
    for colours in (2, 5, 16, 256):
        yield f"gif, {colours} colours", saved(RICH.quantize(colours), "GIF")
    yield "gif, interlaced", saved(RICH.quantize(64), "GIF", interlace=1)
    yield "gif, transparent", saved(RICH.quantize(64), "GIF", transparency=7)
    yield "gif, black and white", saved(RICH.convert("1"), "GIF")


# --- JPEG ------------------------------------------------------------------------------------------------------------


def jpegs() -> Files:
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        yield f"jpeg, {sampling}", saved(RICH, "JPEG", subsampling=sampling)
    for quality in (10, 50, 90):
        yield f"jpeg, quality {quality}", saved(RICH, "JPEG", quality=quality)
    yield "jpeg, progressive", saved(RICH, "JPEG", progressive=True)
    yield "jpeg, restarts", saved(RICH, "JPEG", restart_marker_blocks=1)
    yield "jpeg, grey", saved(RICH.convert("L"), "JPEG")
    yield "jpeg, grey, progressive", saved(RICH.convert("L"), "JPEG", progressive=True)
    yield "jpeg, RGB", saved(RICH, "JPEG", keep_rgb=True)
    cmyk = saved(RICH.convert("CMYK"), "JPEG")
    yield "jpeg, CMYK", cmyk
    transform = cmyk.index(b"Adobe") + 11
    yield "jpeg, YCCK", cmyk[:transform] + b"\2" + cmyk[transform + 1 :]
    yield "jpeg, CMYK, progressive", saved(RICH.convert("CMYK"), "JPEG", progressive=True)
    yield "jpeg, Display P3", saved(FLAT, "JPEG", icc_profile=WIDE)
    yield "jpeg, a profile that calls itself sRGB", saved(FLAT, "JPEG", icc_profile=NAMED_SRGB)
    yield "jpeg, a profile that is none", saved(FLAT, "JPEG", icc_profile=b"profile" * 40)
    yield "jpeg, grey with a profile of colours", saved(GREY.convert("L"), "JPEG", icc_profile=WIDE)
    for orientation in range(10):
        yield f"jpeg, orientation {orientation}", saved(RICH, "JPEG", exif=exif(orientation))
    yield "jpeg, junk behind it", saved(RICH, "JPEG") + b"junk" * 9


# --- WebP and AVIF ---------------------------------------------------------------------------------------------------


def webp_film(frames: Sequence[tuple[tuple[int, int, int, int], tuple[int, ...], int]]) -> bytes:
    body = b"VP8X" + struct.pack("<IB3x", 10, 0x12) + (SIDE - 1).to_bytes(3, "little") * 2
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    for (left, top, width, height), colour, disposal in frames:
        picture = saved(Image.new("RGBA", (width, height), colour), "WEBP", lossless=True, exact=True)
        picture = picture[picture.index(b"VP8L") :]
        numbers = (left // 2, top // 2, width - 1, height - 1, 100)
        head = b"".join(number.to_bytes(3, "little") for number in numbers) + bytes([disposal])
        body += b"ANMF" + struct.pack("<I", len(head) + len(picture)) + head + picture
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _translucent() -> Image.Image:
    image = RICH.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((SIDE, SIDE)))
    return image


def webps() -> Files:
    yield "webp, lossless", saved(RICH, "WEBP")
    yield "webp, lossless, alpha", saved(_translucent(), "WEBP", exact=True)
    yield "webp, lossy", saved(RICH, "WEBP", lossless=False, quality=80)
    yield "webp, lossy, alpha", saved(_translucent(), "WEBP", lossless=False, quality=80)
    yield "webp, Display P3", saved(FLAT, "WEBP", icc_profile=WIDE)
    yield "webp, orientation 6", saved(RICH, "WEBP", exif=exif(6))


def avif_of(primaries: int, transfer: int, colour: tuple[int, int, int] = (200, 100, 50), **options: Any) -> bytes:
    content = bytearray(saved(Image.new("RGB", (SIDE, SIDE), colour), "AVIF", **options))
    place = content.index(b"colrnclx") + 8
    content[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(content)


def avifs() -> Files:
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
        yield f"avif, {sampling}", saved(FLAT, "AVIF", subsampling=sampling)
    for extent in ("limited", "full"):
        yield f"avif, {extent} range", saved(RICH, "AVIF", range=extent)
    yield "avif, alpha", saved(_translucent(), "AVIF")
    yield "avif, Display P3 by a profile", saved(FLAT, "AVIF", icc_profile=WIDE)
    for primaries, transfer in [(1, 13), (1, 1), (1, 8), (1, 4), (2, 2), (9, 1), (9, 14), (12, 13), (12, 8), (5, 5)]:
        yield f"avif, code points {primaries}, {transfer}", avif_of(primaries, transfer)
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        yield f"avif, BT.2020 with {name}", avif_of(9, transfer, (148,) * 3)
    for orientation in (3, 6, 8):
        yield f"avif, orientation {orientation}", saved(RICH, "AVIF", exif=exif(orientation))


# --- BMP and ICO -----------------------------------------------------------------------------------------------------


def bmp(bits: int, compression: int = 0, *, masks: Sequence[int] = (), upright: bool = True, size: int = 40) -> bytes:
    """A BMP of some pattern."""
    palette = b"".join(struct.pack("<BBBx", i * 5 % 256, i, 255 - i) for i in range(2**bits)) if bits <= 8 else b""
    stride = (SIDE * bits + 31) // 32 * 4
    draw = np.random.default_rng(bits)
    rows = draw.integers(0, 256, stride * SIDE, dtype=np.uint8).tobytes()
    if compression in {1, 2}:
        rows = b"".join(bytes([SIDE, 17 * row]) + b"\0\0" for row in range(SIDE)) + b"\0\1"
    head = struct.pack(
        "<IiiHHIIiiII", size, SIDE, SIDE if upright else -SIDE, 1, bits, compression, len(rows), 0, 0, 0, 0
    )
    said = b"".join(struct.pack("<I", mask) for mask in masks)
    if size > 40:
        head, said = head + said.ljust(size - 40, b"\0"), b""
    start = 14 + len(head) + len(said) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(rows), 0, start) + head + said + palette + rows


def bmps() -> Files:
    for bits in (1, 4, 8, 16, 24, 32):
        yield f"bmp, {bits} bits", bmp(bits)
    yield "bmp, rows downwards", bmp(24, upright=False)
    yield "bmp, 16 bits, 5, 6 and 5", bmp(16, 3, masks=(0xF800, 0x7E0, 0x1F))
    yield "bmp, 16 bits, 5, 5 and 5", bmp(16, 3, masks=(0x7C00, 0x3E0, 0x1F))
    yield "bmp, 32 bits by masks", bmp(32, 3, masks=(0xFF0000, 0xFF00, 0xFF))
    yield "bmp, 32 bits with alpha", bmp(32, 3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), size=108)
    yield "bmp, run lengths of 8 bits", bmp(8, 1)
    yield "bmp, run lengths of 4 bits", bmp(4, 2)
    icon = io.BytesIO()
    RICH.save(icon, "ICO", sizes=[(SIDE, SIDE)])
    yield "ico, a PNG", icon.getvalue()
    icon = io.BytesIO()
    RICH.convert("RGBA").save(icon, "ICO", sizes=[(SIDE, SIDE)], bitmap_format="bmp")
    yield "ico, a bitmap", icon.getvalue()
    yield from icons()


def icons() -> Files:
    """Icons of several pictures, and of what their directories do not say."""
    deep, plain, few = bitmap(32), bitmap(24), bitmap(8)
    png = io.BytesIO()
    RICH.save(png, "PNG")
    yield "ico, 24 bits and a mask", ico((24, plain))
    yield "ico, 8 bits and a mask", ico((8, few))
    yield "ico, 1 bit and a mask", ico((1, bitmap(1)))
    yield "ico, 32 bits with alpha", ico((32, deep))
    yield "ico, 32 bits without any alpha", ico((32, bitmap(32, alpha=False)))
    yield "ico, 32 bits that the directory does not say", ico((0, deep))
    yield "ico, 24 bits where the directory says 32", ico((32, plain))
    yield "ico, of many colours behind few", ico((8, few), (32, deep))
    yield "ico, of many colours before few", ico((32, deep), (8, few))
    yield "ico, of as many as may be, by the directory, behind few", ico((4, bitmap(4)), (0, deep))
    masks = struct.pack("<IiiHHIIiiII4I", 108, SIDE, SIDE * 2, 1, 32, 3, 0, 0, 0, 0, 0, *MASKS).ljust(108, b"\0")
    yield "ico, with masks of another order", ico((32, masks + deep[40:]))
    yield "ico, a PNG behind few colours", ico((8, few), (32, png.getvalue()))


#: Of red, green, blue and alpha.
MASKS = 0xFF000000, 0xFF0000, 0xFF00, 0xFF


def ico(*pictures: tuple[int, bytes]) -> bytes:
    """An icon of pictures of one size, and how many bits the directory says that each has."""
    directory, content = struct.pack("<HHH", 0, 1, len(pictures)), b""
    for bits, picture in pictures:
        offset = 6 + 16 * len(pictures) + len(content)
        directory += struct.pack("<BBBBHHII", SIDE, SIDE, 0, 0, 1, bits, len(picture), offset)
        content += picture
    return directory + content


def bitmap(bits: int, *, alpha: bool = True) -> bytes:
    """A picture of an icon: some pattern, with a mask that hides the left half."""
    palette = b"".join(struct.pack("<BBBx", i * 5 % 256, i, 255 - i) for i in range(2**bits)) if bits <= 8 else b""
    rows = np.random.default_rng(bits).integers(0, 256, ((SIDE * bits + 31) // 32 * 4, SIDE), dtype=np.uint8)
    content = bytearray(rows.tobytes())
    if not alpha:
        content[3::4] = bytes(len(content) // 4)
    mask = (b"\xff" * (SIDE // 16)).ljust((SIDE + 31) // 32 * 4, b"\0") * SIDE
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE * 2, 1, bits, 0, 0, 0, 0, 0, 0)
    return head + palette + bytes(content) + mask


def stills() -> dict[str, bytes]:
    return dict(itertools.chain(pngs(), gifs(), jpegs(), webps(), avifs(), bmps()))
