"""The worst files of each kind that we know of: what costs the most to look at, and the most memory to decode.

Each is made when it is asked for, as some of them are as large as a file may be.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from PIL import Image

from tests.pictures import encode

MEBI: Final = 2**20
SMALL: Final = 4 * MEBI
#: The most that the policy takes by default, and that an SVG may have.
LARGE, LARGEST_SVG = 64 * MEBI, 8 * MEBI
FAMILY = struct.pack(">I", 20) + b"ftypavif\0\0\0\0avif"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1">'
PDF, END = b"%PDF-1.4\n", b"/Root 9 0 R %%EOF"
GIF = b"GIF89a\1\0\1\0\0\0\0"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\0\0\0\0"


def many(part: bytes, before: bytes = b"", after: bytes = b"", size: int = SMALL) -> bytes:
    """The part as often as there is room."""
    return before + part * ((size - len(before) - len(after)) // len(part)) + after


# --- JPEG -----------------------------------------------------------------------------------------------------------


def scans(number: int, before: bytes = b"", size: int = 0) -> bytes:
    """A progressive JPEG with so many last scans, and as much before them as fills the size."""
    content = encode(Image.new("L", (16, 16)), "JPEG", progressive=True).getvalue()
    last = content.rindex(b"\xff\xda")
    return (
        many(before, content[:last], content[last:-2] * number + b"\xff\xd9", size)
        if size
        else (content[:last] + content[last:-2] * number + b"\xff\xd9")
    )


# --- TIFF -----------------------------------------------------------------------------------------------------------


def sharing_tiff(pages: int, offsets: int, byte_order: str = "<", kind: int = 1, *, padded: bool = True) -> bytes:
    """Pages whose strips are said in one array, twice, and a file that is large enough for two of them."""
    size, array = 102, offsets * (4 if kind == 4 else 1)
    content = bytearray(16 + array + pages * size + array * padded)
    content[:8] = struct.pack(byte_order + "2sHI", b"II" if byte_order == "<" else b"MM", 42, 16 + array)
    if kind == 4:
        content[16 : 16 + array] = struct.pack(f"{byte_order}{offsets}I", *range(offsets))
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, kind, offsets, 16)]
    for page in range(pages):
        place = 16 + array + page * size
        struct.pack_into(byte_order + "H", content, place, 8)
        for number, tag in enumerate([*tags, (278, 4, 1, 1), (279, kind, offsets, 16)]):
            struct.pack_into(byte_order + "HHII", content, place + 2 + 12 * number, *tag)
        struct.pack_into(byte_order + "I", content, place + 98, place + size if page < pages - 1 else 0)
    return bytes(content)


def big_tiff(pages: int) -> bytes:
    """BigTIFF of pages that overlap in their entries."""
    entries = struct.pack("<HHQQ", 1000, 4, 1, 1) * 2000
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16)
    return head + b"".join(
        struct.pack("<Q", 2000) + entries + struct.pack("<Q", 16 + (page + 1) * (16 + len(entries)))
        for page in range(pages)
    )


def far_tiff(pages: int) -> bytes:
    """Small pages, spread over a large file."""
    content = bytearray(LARGE)
    places = [16 + number * (LARGE // pages) // 2 * 2 for number in range(pages)]
    struct.pack_into("<2sHI", content, 0, b"II", 42, places[0])
    for place, following in zip(places, [*places[1:], 0], strict=True):
        struct.pack_into("<H", content, place, 4)
        for number, tag in enumerate([(256, 4, 1, 1), (257, 4, 1, 1), (273, 4, 1, 8), (279, 4, 1, 1)]):
            struct.pack_into("<HHII", content, place + 2 + 12 * number, *tag)
        struct.pack_into("<I", content, place + 50, following)
    return bytes(content)


# --- WebP, AVIF and HEIF --------------------------------------------------------------------------------------------


def riff(chunk: bytes) -> bytes:
    body = many(chunk, b"WEBP")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def boxes(*kinds: tuple[bytes, bytes]) -> bytes:
    return b"".join(struct.pack(">I", 8 + len(content)) + kind + content for kind, content in kinds)


def meta(*children: tuple[bytes, bytes]) -> bytes:
    return FAMILY + boxes((b"mdat", b"x"), (b"meta", b"\0\0\0\0" + boxes(*children)))


def heif_of(entries: int) -> bytes:
    """An AVIF whose tables have very many entries."""
    size = boxes((b"ispe", struct.pack(">III", 0, 10, 10)))
    associations = b"\0\0\0\0" + struct.pack(">I", entries) + b"\0\1\1\1" * entries
    places = b"\0\0\0\0\x44\0" + struct.pack(">H", 65_535) + (b"\0\1\0\0\0\1" + b"\0" * 8) * 65_535
    return meta(
        (b"pitm", b"\0\0\0\0\0\1"),
        (b"iprp", boxes((b"ipco", size)) + boxes((b"ipma", associations))),
        (b"iinf", b"\0\0\0\0" + b"\xff\xff" + boxes((b"infe", b"\2\0\0\0\0\1\0\0av01\0")) * 60_000),
        (b"iloc", places),
    )


def sequence_headers(bits: str) -> bytes:
    """An AVIF of one picture whose data are 200 sequence headers of these bits, and are named 100 times."""
    bits += "0" * (-len(bits) % 8)
    header = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))[:250]
    data = (b"\x0a" + bytes([len(header) & 0x7F | 0x80, len(header) >> 7]) + header) * 200
    size = boxes((b"ispe", struct.pack(">III", 0, 10, 10)))

    def before(offset: int) -> bytes:
        places = b"\0\0\0\0\x44\0" + struct.pack(">HHHH", 1, 1, 0, 100) + struct.pack(">II", offset, len(data)) * 100
        parts = (
            (b"pitm", b"\0\0\0\0\0\1"),
            (b"iprp", boxes((b"ipco", size), (b"ipma", b"\0\0\0\0\0\0\0\1\0\1\1\1"))),
            (b"iinf", b"\0\0\0\0\0\1" + boxes((b"infe", b"\2\0\0\0\0\1\0\0av01\0"))),
            (b"iloc", places),
        )
        return FAMILY + boxes((b"meta", b"\0\0\0\0" + boxes(*parts)))

    return before(len(before(0)) + 8) + boxes((b"mdat", data))


TIMING = "000" + "0" + "0" + "1" + "0" * 64
POINT = "0" * 12 + "11111" + "1" + "1" + "0" * 4


def film_of(samples: int) -> bytes:
    """An animated AVIF whose tables have very many entries."""
    tables = (
        (b"stsz", bytes(8) + struct.pack(">I", 10**6) + b"\0\0\0\4" * samples),
        (b"co64", bytes(4) + struct.pack(">I", 10**6) + bytes(4 * samples)),
        (b"stsc", bytes(4) + struct.pack(">I", 1) + struct.pack(">III", 1, 1, 1) + bytes(4 * samples)),
    )
    media = boxes((b"minf", boxes((b"stbl", boxes(*tables)))))
    head = bytes(76) + struct.pack(">II", 10 << 16, 10 << 16)
    track = boxes((b"trak", boxes((b"tkhd", head), (b"mdia", media))))
    return FAMILY.replace(b"avif", b"avis") + boxes((b"mdat", bytes(20)), (b"moov", track))


# --- SVG ------------------------------------------------------------------------------------------------------------


def svg(part: bytes, before: bytes = b"", after: bytes = b"", size: int = LARGEST_SVG) -> bytes:
    return many(part, SVG + before, after + b"</svg>", size)


def attributes(number: int, name: bytes = b"a%d", rest: bytes = b"") -> bytes:
    """One element that has so many, of different names."""
    return SVG + b"<b " + b" ".join(name % index + b'=""' for index in range(number)) + b"/>" + rest + b"</svg>"


def prefixes(number: int) -> bytes:
    """Two elements: one that declares so many, and one whose attributes have them."""
    declared = b" ".join(b'xmlns:a%d="%d"' % (index, index) for index in range(number))
    used = b" ".join(b'a%d:c=""' % index for index in range(number))
    return SVG + b"<b " + declared + b"><b " + used + b"/></b></svg>"


def long_values(character: bytes) -> bytes:
    return (b'<a b="' + character * (1_900_000 // len(character)) + b'"/>') * 3


# --- PDF ------------------------------------------------------------------------------------------------------------


def streams_named_often() -> bytes:
    stream = b"1 0 obj<</First 8000000/FlateDecode>>stream\n" + zlib.compress(b"1 " * 4_000_000)
    return PDF + stream + b"/Type/ObjStm " * 50_000 + END


def objects_in_a_stream(number: int) -> bytes:
    """A stream that says of so many objects that they all are its end."""
    pairs = b" ".join(b"%d 0" % index for index in range(1000, 1000 + number))
    head = b"5 0 obj<</Type/ObjStm/First %d/FlateDecode>>stream\n" % len(pairs)
    return PDF + head + zlib.compress(pairs + b"x" * 70_000, 9) + b"\nendstream endobj\n" + END


def tables(number: int, ranges: int, size: int) -> bytes:
    """Tables that say of each object that it is none, in a file of this size."""
    content, previous = bytearray(PDF), 0
    for _ in range(number):
        place = len(content)
        content += b"xref\n" + b"".join(b"%d 0\n" % (index + 5) for index in range(ranges))
        content += b"0 9\n" + b"0000000000 65535 f \n" * 9
        content += b"trailer<</Root 7 0 R" + (b"/Prev %d" % previous if previous else b"") + b">>\n"
        previous = place
    return bytes(content.ljust(size - 100, b"\0")) + b"\nstartxref\n%d\n%%%%EOF" % previous


def summed_tables(number: int) -> bytes:
    """Tables in streams whose rows are what they differ by from the last."""
    content, previous = bytearray(PDF), 0
    rows = zlib.compress(b"\2\0\0\0" * (2 * MEBI // 4 - 1), 9)
    for _ in range(number):
        place = len(content)
        content += b"3 0 obj<</Type/XRef/W[1 1 1]/Size 500000/Predictor 12/Root 499999 0 R/FlateDecode"
        content += (b"/Prev %d" % previous if previous else b"") + b">>stream\n" + rows + b"\nendstream endobj\n"
        previous = place
    return bytes(content) + b"startxref\n%d\n%%%%EOF" % previous


def keys_that_are_others() -> bytes:
    names = b"/MediaBoxx" * 1600 + b"/CropBoxx" * 1600 + b"/UserUnitx" * 1600 + b"/Rotatex" * 1500
    page = b"2 0 obj <</Kids [2 0 R] " + names + b">> endobj "
    return PDF + b"1 0 obj <</Pages 2 0 R>> endobj " + page + b"/Root 1 0 R %%EOF"


def pdf(part: bytes, size: int = SMALL) -> bytes:
    return many(part, PDF, END, size)


DAMAGED = b"1 0 obj/ObjStm/First 9/FlateDecode stream\n\x78\x9c" + bytes(99)

#: What it is, and how it is made; a name begins with that of its format.
WORST: Final[dict[str, Callable[[], bytes]]] = {
    "tiff, one array for all pages": lambda: sharing_tiff(600, 1_000_000),
    "tiff, one array for all pages, big endian": lambda: sharing_tiff(600, 1_000_000, ">"),
    "tiff, an array just small enough": lambda: sharing_tiff(1, 440_000, kind=4),
    "tiff, an array just small enough, big endian": lambda: sharing_tiff(10, 46_000, ">"),
    "tiff, entries": lambda: (
        b"II*\0\x08\0\0\0" + (struct.pack("<H", 60_000) + b"\xe8\3\4\0\1\0\0\0\1\0\0\0" * 60_000) * 6
    ),
    "tiff, big, pages": lambda: big_tiff(90),
    "tiff, pages far apart": lambda: far_tiff(3000),
    "gif, empty extensions": lambda: many(b"\x21\xfe\0", GIF, b";"),
    "gif, short blocks": lambda: many(b"\1\1", GIF + b"\x21\xfe", b"\0;"),
    "gif, blocks of middle length": lambda: many(b"\x80" + b"\1" * 128, GIF + b"\x21\xfe", b"\0;", LARGE),
    "gif, frames": lambda: many(b",\0\0\0\0\1\0\1\0\0\2\0", GIF, b";"),
    "jpeg, empty segments": lambda: many(b"\xff\xe2\0\2", b"\xff\xd8"),
    "jpeg, fill bytes": lambda: many(b"\xff", b"\xff\xd8"),
    "jpeg, segments without content": lambda: many(b"\xff\1", b"\xff\xd8"),
    "jpeg, fill bytes before each segment": lambda: many(b"\xff" * 4000 + b"\xff\xe2\0\2", b"\xff\xd8"),
    "jpeg, scans": lambda: scans(10_000),
    "jpeg, restarts": lambda: scans(200)[:-2] + b"\xff\xd0" * 10**6 + b"\xff\xd9",
    "jpeg, no end": lambda: many(b"\xff", scans(1)[:-2], size=LARGE),
    "jpeg, nothing but fill bytes in its data": lambda: scans(1, b"\xff", LARGE),
    "jpeg, scans behind much data": lambda: scans(300, b"\xff\0", LARGE),
    "png, empty chunks": lambda: many(b"\0\0\0\0abCd\0\0\0\0", PNG),
    "webp, empty chunks": lambda: riff(b"abcd\0\0\0\0"),
    "avif, empty boxes": lambda: many(b"\0\0\0\x08free", FAMILY),
    "avif, empty boxes within": lambda: meta((b"iprp", boxes((b"ipco", b"\0\0\0\x08free" * 100_000)))),
    "avif, entries": lambda: heif_of(200_000),
    "avif, sequence headers of zeros": lambda: sequence_headers(TIMING + "1" + "0" * 1860 + "1" + "0" * 70),
    "avif, operating points": lambda: sequence_headers("0" * 6 + "1" + "11111" + POINT * 32 + "0" * 48),
    "avif, a film of many samples": lambda: film_of(14_000),
    "avif, a film of too many samples": lambda: film_of(1_000_000),
    "ico, entries": lambda: b"\0\0\1\0\xff\xff" + (b"\1\1\0\0\0\0\0\0\x28\0\0\0\0\0\0\0") * 65_535,
    "svg, elements": lambda: svg(b"<a/>"),
    "svg, usual elements": lambda: svg(b'<path d="M1 12.5 L30 40 C1 2 3 4 5 6" fill="#f00" stroke="none" class="a"/>'),
    "svg, text": lambda: svg(b"a"),
    "svg, text of another alphabet": lambda: svg("€".encode()),
    "svg, lines": lambda: svg(b"\n"),
    "svg, references to characters": lambda: svg(b"&lt;"),
    "svg, processing instructions": lambda: svg(b"<?a?>"),
    "svg, comments": lambda: svg(b"<!---->"),
    "svg, one attribute": lambda: many(b"a", SVG[:-1] + b' a="', b'"/>'),
    "svg, attributes": lambda: attributes(200_000),
    "svg, attributes just few enough": lambda: attributes(15_000),
    "svg, attributes and spaces": lambda: attributes(12_000, rest=long_values(b" ")),
    "svg, name spaces of attributes": lambda: prefixes(35_000),
    "svg, long name space of elements": lambda: svg(b"<b/>", b'<g xmlns="' + b"u" * MEBI + b'">', b"</g>", 2 * MEBI),
    "svg, long name space of attributes": lambda: (
        SVG + b'<g xmlns:a="' + b"u" * 1_900_000 + b'">' + attributes(30_000, b"a:a%d")[len(SVG) : -6] + b"</g></svg>"
    ),
    "svg, spaces in values": lambda: svg(long_values(b" ")),
    "svg, values": lambda: svg(long_values("€".encode())),
    "svg, names": lambda: svg(b"<" + b"a" * 100_000 + b"/>"),
    "svg, long names": lambda: svg(b"<" + b"a" * 1_900_000 + b"/>"),
    "svg, white space in a number": lambda: SVG.replace(b'"1"', b'"1' + b" " * 40_000 + b'!"', 1) + b"</svg>",
    "svg, references": lambda: svg(b"url(#a)", b"<style>", b"</style>", MEBI),
    "svg, parentheses in values": lambda: svg(b'<a d="' + b"(" * 1000 + b'"/>'),
    "svg, parentheses of style": lambda: svg(b"(", b"<style>", b"</style>", MEBI),
    "svg, lines of style": lambda: svg(b"\n", b"<style>", b"</style>", MEBI),
    "svg, style of another alphabet": lambda: svg("İ".encode(), b"<style>", b"</style>", 2 * MEBI),
    "svg, too much style": lambda: svg("😀".encode(), b"<style>", b"</style>"),
    "svg, another encoding": lambda: b'<?xml version="1.0" encoding="windows-1252"?>' + svg(b"\x80", size=7 * MEBI),
    "pdf, digits": lambda: pdf(b"1"),
    "pdf, numbers": lambda: pdf(b"1 ", LARGE),
    "pdf, spaces": lambda: pdf(b" ", LARGE),
    "pdf, objects": lambda: many(b"1 0 obj ", PDF, b"/Root 2 0 R %%EOF"),
    "pdf, catalogues": lambda: many(b"/Root 1 0 R ", PDF, b"%%EOF"),
    "pdf, streams named often": streams_named_often,
    "pdf, streams without an end": lambda: pdf(b"1 0 obj/ObjStm/FlateDecode ", LARGE),
    "pdf, streams that are damaged": lambda: pdf(DAMAGED),
    "pdf, streams that are no objects": lambda: pdf(b"/ObjStm bj", LARGE),
    "pdf, many objects in a stream": lambda: objects_in_a_stream(25_000),
    "pdf, words that are no streams": lambda: pdf(b"1 0 obj/ObjStm" + b"xstream" * 9000),
    "pdf, long dictionaries": lambda: pdf(b"1 0 obj/ObjStm/First 9" + b"s" * 65_000),
    "pdf, keys that are others": keys_that_are_others,
    "pdf, tables that know nothing": lambda: tables(100, 1, LARGE),
    "pdf, tables of many ranges": lambda: tables(100, 900, SMALL),
    "pdf, tables that are summed": lambda: summed_tables(12),
}

#: Bytes that decoding takes for each pixel of the source, at the most.
BOUNDS = {"jpeg": 8, "png": 16, "gif": 16, "webp": 16, "avif": 16, "bmp": 8, "tiff": 16}


def pictures(width: int, height: int) -> dict[str, bytes]:
    """A picture of each kind, of this size, that takes the most memory to decode."""

    def saved(mode: str, form: str, *, colour: Any = None, **options: Any) -> bytes:
        file = io.BytesIO()
        Image.new(mode, (width, height), colour or 0).save(file, form, **options)
        return file.getvalue()

    def film(form: str, **options: Any) -> bytes:
        # as many pixels as the others, over nine frames
        frames = [Image.new("RGBA", (width // 3, height // 3), (shade, 0, 0, 128)) for shade in range(9)]
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:], duration=40, **options)
        return file.getvalue()

    fast = {"compress_level": 1}
    return {
        "jpeg": saved("RGB", "JPEG"),
        "jpeg, progressive": saved("RGB", "JPEG", progressive=True),
        "jpeg, CMYK": saved("CMYK", "JPEG"),
        "png, RGB": saved("RGB", "PNG", **fast),
        "png, RGBA": saved("RGBA", "PNG", **fast),
        "png, palette with alpha": saved("P", "PNG", transparency=b"\x80", **fast),
        "png, grey of 16 bits": saved("I;16", "PNG", **fast),
        "png, animated": film("PNG", **fast),
        "gif": saved("P", "GIF"),
        "gif, animated": film("GIF"),
        "webp, lossless": saved("RGBA", "WEBP", lossless=True, method=0, quality=0),
        "webp, lossy": saved("RGB", "WEBP", method=0),
        "webp, animated": film("WEBP", method=0),
        "avif": saved("RGB", "AVIF", speed=10),
        "avif, alpha": saved("RGBA", "AVIF", speed=10),
        "bmp, 24 bits": saved("RGB", "BMP"),
        "bmp, 1 bit": saved("1", "BMP"),
        "tiff, RGB": saved("RGB", "TIFF", compression="tiff_lzw"),
        "tiff, RGBA": saved("RGBA", "TIFF", compression="tiff_deflate"),
        "tiff, floats": saved("F", "TIFF"),
        "tiff, fax": saved("1", "TIFF", compression="group4"),
    }
