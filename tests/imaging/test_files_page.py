"""The guide's table of what is accepted as a picture: each row is a file, made here, and what comes of it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, probe
from tests.pictures import encode, quadrants, texture

from .browserfiles import apng, bmp, chunk, gif, gif_film, png, png_with, webp_film
from .formats.test_pdf import pdf
from .test_rare import jpeg, tiff
from .worst import POINT, SVG, boxes, meta, scans, sequence_headers, sharing_tiff

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "files.rst"
IMAGES = Path(__file__).parents[1] / "images"
POLICY = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/heic", "image/vnd.microsoft.icon")
ALL, MIDDLE, RED = (0, 0, 16, 16), (4, 4, 8, 8), (255, 0, 0, 255)
PAGES = {1: b"<< /Pages 2 0 R >>", 2: b"<< /Kids [3 0 R] >>", 3: b"<< /MediaBox [0 0 200 100] >>"}
Rows = Iterator[tuple[str, bytes]]


def saved(form: str, **options: object) -> bytes:
    return encode(texture(24, 16), form, **options).getvalue()


def jpegs() -> Rows:
    whole = saved("JPEG")
    yield "with something behind its end: a second picture, a film", whole + whole
    yield "with stray bytes between its segments", whole[:20] + b"junk" + whole[20:]
    yield "with thousands of them", whole[:20] + b"junk" * 1100 + whole[20:]
    yield "whose EXIF is broken", whole[:2] + b"\xff\xe1\0\x10Exif\0\0brokenXX" + whole[2:]
    yield "lossless, arithmetic or of 12 bits", jpeg(0xC3)
    yield "of a hundred scans or more", scans(150)
    yield (
        "of more than a hundred blocks of EXIF",
        whole[:2] + b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\x08" * 101 + whole[2:],
    )
    yield "without an end marker", whole[:-2]
    yield "that does not say its size", b"\xff\xd8" + whole[whole.index(b"\xff\xda") :]


def pngs() -> Rows:
    whole = saved("PNG")
    yield (
        "with texts whose checksums are wrong, or that inflate without end",
        png_with(chunk(b"tEXt", b"a\0b")[:-4] + bytes(4)),
    )
    yield "without the checksum of its end", whole[:-4]
    yield "with something behind its end", whole + b"junk"
    yield "animated, that says more frames than there are", apng([(ALL, RED, 0, 0), (MIDDLE, RED, 0, 0)], 5)
    yield "without its end", whole[:-12]
    yield "cut off", whole[: len(whole) // 2]
    yield "without picture data", whole[: whole.index(b"IDAT") - 4] + whole[-12:]
    yield "with a frame that reaches beyond the picture", apng([(ALL, RED, 0, 0), ((9, 9, 8, 8), RED, 0, 0)])
    yield "of a depth that its kind of colours has not got", whole[:24] + b"\3" + whole[25:]


def gifs() -> Rows:
    whole = gif(ALL, 30)
    yield "without its last byte, or with something else in its place", whole[:-1] + b"junk"
    yield "whose first frame is larger than its screen", gif((0, 0, 30, 20), 30)
    yield "cut off within a frame", whole[:-40]
    yield "with something else than a block before its first frame", whole[:13] + b"junk" + whole[13:]
    yield "without a frame", whole[:13] + b";"


def webps() -> Rows:
    whole = saved("WEBP", icc_profile=b"none")
    yield "with something behind it", whole + b"junk"
    yield "cut off", whole[:-9]
    yield "without a picture", b"RIFF" + struct.pack("<I", 12) + b"WEBPabcd\0\0\0\0"
    yield "with a frame that reaches beyond the picture", webp_film([(ALL, RED, 0), ((10, 10, 8, 8), RED, 0)])


def families() -> Rows:
    whole = saved("AVIF")
    yield "with something behind it", whole + b"\xff" * 50
    yield "cut off", whole[:-9]
    yield "without picture data", boxes((b"ftyp", b"avif\0\0\0\0avif"), (b"meta", bytes(4)))
    yield "that does not say its size", whole.replace(b"ispe", b"free")
    place = whole.index(b"ispe") + 8
    yield "whose data are larger than it says", whole[:place] + struct.pack(">II", 8, 8) + whole[place + 8 :]
    place = whole.index(b"mdat") + 4
    yield "whose data do not say how long their parts are", whole[:place] + b"\x10" + whole[place + 1 :]
    yield "of boxes without number", meta(*[(b"free", b"")] * 40_000)
    yield "of sequence headers without number", sequence_headers("0" * 6 + "1" + "11111" + POINT * 32 + "0" * 48)


def heics() -> Rows:
    whole = bytearray((IMAGES / "quadrants.heic").read_bytes())
    yield "of several pictures, of which the first counts", bytes(whole)
    place = -1
    while (place := whole.find(b"ispe", place + 1)) >= 0:
        whole[place + 8 : place + 16] = struct.pack(">II", 8, 8)
    yield "whose data are larger than it says, by more than a block", bytes(whole)


def tiffs() -> Rows:
    pages = saved("TIFF", save_all=True, append_images=[texture(24, 16)])
    yield "of several pages, of which the first counts", pages
    yield "of floats, in Lab, with any compression", tiff(50_002)
    yield "of JPEG strips with more scans than a JPEG may have", of_jpeg(5000, 5000, 150)
    yield "with a circle of pages", circle()
    yield "whose tags have more bytes than the file", sharing_tiff(1, 900, padded=False)
    yield "whose strips are not all there", tiff()[:8] + tiff()[400:]
    yield "without strips and tiles", b"II*\0\x08\0\0\0\1\0\0\1\3\0\1\0\0\0\1\0\0\0\0\0\0\0"


def of_jpeg(width: int, height: int, number: int) -> bytes:
    """A TIFF of one strip, which is a progressive JPEG of so many scans, and says that it is larger."""
    strip = scans(number)
    tags = {256: width, 257: height, 258: 8, 259: 7, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + directory + bytes(4)


def circle() -> bytes:
    """A TIFF whose next page is its first one."""
    content = tiff()
    (place,) = struct.unpack("<I", content[4:8])
    (entries,) = struct.unpack("<H", content[place : place + 2])
    end = place + 2 + 12 * entries
    return content[:end] + content[4:8] + content[end + 4 :]


def bitmaps() -> Rows:
    whole = bmp(24)
    yield "that says a wrong size of itself", whole[:2] + b"\1\0\0\0" + whole[6:]
    yield "of run lengths", bmp(8, 1)
    yield "whose rows are not all there", whole[:-9]


def icons() -> Rows:
    icon = io.BytesIO()
    texture(16, 16).save(icon, "ICO", sizes=[(16, 16)])
    yield "of bitmaps and PNG, of which the largest counts", icon.getvalue()
    yield "with a picture that is not there", icon.getvalue()[:-9]
    yield "without a picture", b"\0\0\1\0\0\0" + bytes(30)


def drawings() -> Rows:
    end = b"</svg>"
    yield "with scripts and event handlers, which never run", SVG + b'<script>x()</script><g onclick="y()"/>' + end
    yield "with links, which nobody follows", SVG + b'<a href="https://example.com/"/>' + end
    yield "with a document type that declares nothing", b'<!DOCTYPE svg PUBLIC "a" "b">' + SVG + end
    yield "that refers to itself, or has pictures embedded in it", SVG + b'<use href="#a"/>' + end
    yield "that declares entities", b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG + end
    yield "that refers to what is outside", SVG + b'<image href="/etc/passwd"/>' + end
    yield "whose style does, or imports another one, or has escapes", SVG + b"<style>@import 'a'</style>" + end
    yield "with XInclude, xml:base or a style sheet named before it", SVG + b'<g xml:base="/etc"/>' + end
    yield "that is no well-formed XML", SVG + b"<g>" + end
    yield "that does not say how large it is", b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    yield "of more than 8 MiB", SVG + b" " * 2**23 + end
    yield "of style sheets of more than a million characters", SVG + b"<style>" + b" " * 2**21 + b"</style>" + end


def documents() -> Rows:
    whole = pdf(PAGES).getvalue()
    yield "whose table of objects is wrong", whole.replace(b"startxref\n", b"startxref\n9")
    yield "with something behind its end", whole + b"junk"
    yield "without its end", whole[:-6]
    lost = pdf(PAGES | {2: b"<< /Kids [7 0 R] >>"}).getvalue()
    yield "whose first page cannot be found", lost
    yield "whose first page cannot be found since it is encrypted", lost.replace(b"/Root", b"/Encrypt 9 0 R /Root")
    yield "with a circle of pages", pdf(PAGES | {2: b"<< /Kids [2 0 R] >>"}).getvalue()


def others() -> Rows:
    yield "nothing", b""
    yield "a page of HTML, a program, a text", b"<html><svg/></html>"
    yield "a picture of a type that is not allowed", gif_film([(ALL, 1, 0)])
    yield "a picture whose pixels are wrong, but not its structure", png(2, 8).replace(b"IDAT\x78", b"IDAT\x79")


KINDS = {
    "JPEG": jpegs,
    "PNG": pngs,
    "GIF": gifs,
    "WebP": webps,
    "AVIF": families,
    "HEIC": heics,
    "TIFF": tiffs,
    "BMP": bitmaps,
    "ICO": icons,
    "SVG": drawings,
    "PDF": documents,
    "any": others,
}


def outcome(kind: str, what: str, content: bytes) -> str:
    """``read``, or the code of the refusal."""
    not_allowed = kind == "any" and "allowed" in what
    policy = ImagePolicy(allowed_types=frozenset({"image/png"})) if not_allowed else POLICY
    try:
        probe(io.BytesIO(content), policy)
    except RejectedImageError as error:
        return f"``{error.code}``"
    return "read"


def table() -> list[tuple[str, str, str]]:
    """The rows as they are."""
    return [(kind, what, outcome(kind, what, content)) for kind, rows in KINDS.items() for what, content in rows()]


def test_the_page_says_what_comes_of_each_file() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (heading,) = (number for number, line in enumerate(lines) if line.startswith("of       "))
    said = []
    for line in lines[heading + 2 :]:
        if line.startswith("==="):
            break
        said.append((line[:6].strip(), line[9:88].strip(), line[88:].strip()))
    assert said == table()


def test_the_modules_of_the_threat_model_are_there() -> None:
    text = PAGE.with_name("threats.rst").read_text(encoding="utf-8")
    table = text.partition("the wall")[2].partition("The tests")[0]
    names = {*re.findall(r"``([a-z.]+)``", table)} - {"nosniff"}
    assert len(names) > 12
    for name in names:
        assert find_spec(f"sqlalchemy_imageattach.{name}") is not None, name
    for path in re.findall(r"``(?:tests/imaging/)?(\w+\.py|isolation/|tests/\w+)``", text):
        assert any((folder / path).exists() for folder in (PAGE.parents[2], Path(__file__).parent)), path


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_a_whole_file_is_read(form: str) -> None:
    assert probe(encode(Image.new("RGB", (24, 16)), form), POLICY).width == 24
    assert probe(encode(quadrants(), form), POLICY).height == 48
