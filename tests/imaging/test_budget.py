"""One look has one budget: whatever a file of the default policy holds, it is looked at in so many steps and bytes."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import pkgutil
import re
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from PIL import Image

from sqlalchemy_imageattach import imaging
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, probe
from sqlalchemy_imageattach.imaging.formats import SCANNERS
from sqlalchemy_imageattach.imaging.reader import STEPS, Reader
from sqlalchemy_imageattach.imaging.sniffing import sniff
from tests.pictures import encode, texture

POLICY = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/vnd.microsoft.icon")
SIZE = 4 * 2**20
FAMILY = struct.pack(">I", 20) + b"ftypavif\0\0\0\0avif"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1">'


def many(part: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + part * (SIZE // len(part)) + after


def sharing_tiff(pages: int, offsets: int, byte_order: str = "<") -> bytes:
    """Pages whose strips are said in one array."""
    size = 102
    content = bytearray(16 + offsets + pages * size)
    content[:8] = struct.pack(byte_order + "2sHI", b"II" if byte_order == "<" else b"MM", 42, 16 + offsets)
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 1, offsets, 16)]
    for page in range(pages):
        place = 16 + offsets + page * size
        struct.pack_into(byte_order + "H", content, place, 8)
        for number, tag in enumerate([*tags, (278, 4, 1, 1), (279, 1, offsets, 16)]):
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


def scans(number: int) -> bytes:
    content = encode(Image.new("L", (16, 16)), "JPEG", progressive=True).getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * number + b"\xff\xd9"


def streams_named_often() -> bytes:
    stream = b"1 0 obj<</First 8000000/FlateDecode>>stream\n" + zlib.compress(b"1 " * 4_000_000)
    return b"%PDF-1.4\n" + stream + b"/Type/ObjStm " * 50_000 + b"/Root 9 0 R %%EOF"


WORST = {
    "tiff, one array for all pages": sharing_tiff(600, 1_000_000),
    "tiff, one array for all pages, big endian": sharing_tiff(600, 1_000_000, ">"),
    "tiff, entries": b"II*\0\x08\0\0\0" + (struct.pack("<H", 60_000) + b"\xe8\3\4\0\1\0\0\0\1\0\0\0" * 60_000) * 6,
    "tiff, big, pages": big_tiff(90),
    "gif, empty extensions": many(b"\x21\xfe\0", b"GIF89a\1\0\1\0\0\0\0", b";"),
    "gif, short blocks": many(b"\1\1", b"GIF89a\1\0\1\0\0\0\0\x21\xfe", b"\0;"),
    "gif, frames": many(b",\0\0\0\0\1\0\1\0\0\2\0", b"GIF89a\1\0\1\0\0\0\0", b";"),
    "jpeg, empty segments": many(b"\xff\xe2\0\2", b"\xff\xd8"),
    "jpeg, fill bytes": many(b"\xff", b"\xff\xd8"),
    "jpeg, segments without content": many(b"\xff\1", b"\xff\xd8"),
    "jpeg, fill bytes before each segment": many(b"\xff" * 4000 + b"\xff\xe2\0\2", b"\xff\xd8"),
    "jpeg, scans": scans(10_000),
    "jpeg, restarts": scans(200)[:-2] + b"\xff\xd0" * 10**6 + b"\xff\xd9",
    "png, empty chunks": many(
        b"\0\0\0\0abCd\0\0\0\0", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\0\0\0\0"
    ),
    "webp, empty chunks": riff(b"abcd\0\0\0\0"),
    "avif, empty boxes": many(b"\0\0\0\x08free", FAMILY),
    "avif, empty boxes within": meta((b"iprp", boxes((b"ipco", b"\0\0\0\x08free" * 100_000)))),
    "avif, entries": heif_of(200_000),
    "ico, entries": b"\0\0\1\0\xff\xff" + (b"\1\1\0\0\0\0\0\0\x28\0\0\0\0\0\0\0") * 65_535,
    "svg, elements": many(b"<a/>", SVG, b"</svg>"),
    "svg, text": many(b"a", SVG, b"</svg>"),
    "svg, attribute": many(b"a", SVG[:-1] + b' a="', b'"/>'),
    "svg, attributes": SVG[:-1] + b" ".join(b'a%d=""' % number for number in range(200_000)) + b"/>",
    "svg, white space in a number": b'<svg xmlns="http://www.w3.org/2000/svg" width="1' + b" " * 40_000 + b'!"/>',
    "svg, references": many(b"url(#a)", SVG + b"<style>", b"</style></svg>"),
    "svg, lines of style": many(b"\n", SVG + b"<style>", b"</style></svg>"),
    "pdf, digits": many(b"1", b"%PDF-1.4\n", b"%%EOF"),
    "pdf, objects": many(b"1 0 obj ", b"%PDF-1.4\n", b"/Root 2 0 R %%EOF"),
    "pdf, catalogues": many(b"/Root 1 0 R ", b"%PDF-1.4\n", b"%%EOF"),
    "pdf, streams named often": streams_named_often(),
    "pdf, streams without an end": many(b"1 0 obj/ObjStm/FlateDecode ", b"%PDF-1.4\n", b"/Root 9 0 R %%EOF"),
    "pdf, streams that are damaged": many(
        b"1 0 obj/ObjStm/First 9/FlateDecode stream\n\x78\x9c" + bytes(99), b"%PDF-1.4\n", b"/Root 9 0 R %%EOF"
    ),
}


class Counting(io.BytesIO):
    """A source that knows how much of it was read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


@pytest.mark.parametrize("name", WORST)
def test_the_worst_file_of_each_kind_is_looked_at_within_the_budget(name: str) -> None:
    file = Counting(WORST[name])
    tracemalloc.start()
    with contextlib.suppress(RejectedImageError):
        probe(file, POLICY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.total <= 2 * len(WORST[name]) + 4 * 2**20
    assert peak < 16 * 2**20 + (len(WORST[name]) if name.startswith("pdf") else 0)


@pytest.mark.parametrize("name", [name for name in WORST if name.startswith("pdf")])
def test_all_that_is_searched_in_a_pdf_is_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done for one step is bounded: no more bytes are looked at than the steps allow."""
    looked_at = 0

    class Data(bytes):
        def _counted(self, place: int, start: int, end: int, *, back: bool) -> int:
            nonlocal looked_at
            start, end = max(0, start), min(end, len(self))
            looked_at += end - start if place < 0 else end - place if back else place - start
            return place

        def find(self, word: bytes, start: int = 0, end: int = 2**62) -> int:  # type: ignore[override]
            return self._counted(super().find(word, start, end), start, end, back=False)

        def rfind(self, word: bytes, start: int = 0, end: int = 2**62) -> int:  # type: ignore[override]
            return self._counted(super().rfind(word, start, end), start, end, back=True)

    everything = Reader.everything
    monkeypatch.setattr(Reader, "everything", lambda reader: Data(everything(reader)))
    with contextlib.suppress(RejectedImageError):
        probe(io.BytesIO(WORST[name]), POLICY)
    assert looked_at <= STEPS * 4096 + 2 * len(WORST[name])


def test_scanners_stop_when_the_steps_are_used_up() -> None:
    for mimetype, form in (("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF"), ("image/tiff", "TIFF")):
        reader = Reader(encode(texture(8, 8), form))
        SCANNERS[mimetype](reader)
        assert STEPS - reader.steps < 200
        reader.steps = 2
        with pytest.raises(RejectedImageError, match="more parts"):
            SCANNERS[mimetype](reader)


def test_a_large_file_of_the_smallest_usual_parts_is_well_within_the_budget() -> None:
    chunk = b"\0\0\x10\0IDAT" + bytes(4096 + 4)
    start = WORST["png, empty chunks"][:33]
    file = io.BytesIO(start + chunk * (64 * 2**20 // len(chunk) - 1) + b"\0\0\0\0IEND\xae\x42\x60\x82")
    assert probe(file).width == 1
    block = b"\xff" + b"\1" * 255
    gif = b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2" + block * (64 * 2**20 // 256 - 1) + b"\0;"
    assert probe(io.BytesIO(gif)).width == 1


# --- regular expressions --------------------------------------------------------------------------------------------

#: Every one that meets a stranger's bytes: its module, its name, and how it is used there.
REVIEWED = {
    ("sniffing", "_BEFORE_SVG"): "match",
    ("formats.svg", "_LENGTH"): "fullmatch",
    ("formats.svg", "_INSIDE"): "match",
    ("formats.svg", "_URL"): "search",
    **{("formats.pdf", name): "match" for name in ("_ROOT", "_HEAD", "_FIRST_NUMBER", "_REFERENCE", "_BOX")},
    **{("formats.pdf", name): "search" for name in ("_BEFORE_OBJECT", "_KIDS", "_FIRST_KID", "_NUMBER")},
    **{("formats.pdfxref", name): "match" for name in ("_RANGE", "_NUMBER_OF_OBJECT")},
    **{("formats.pdfxref", name): "search" for name in ("_START", "_ROOT", "_PREVIOUS", "_HYBRID", "_WIDTHS")},
    **{("formats.pdfxref", name): "search" for name in ("_INDEX", "_SIZE", "_PREDICTOR", "_END_OF_TEXT")},
}


def patterns() -> Iterator[tuple[str, str, re.Pattern[Any]]]:
    for module in pkgutil.walk_packages(imaging.__path__, imaging.__name__ + "."):
        if ".engines." in module.name or module.name.endswith("isolation"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield module.name.removeprefix(imaging.__name__ + "."), name, value


def test_every_regular_expression_of_the_imaging_room_has_been_reviewed() -> None:
    assert {(module, name) for module, name, _ in patterns()} == set(REVIEWED)


def test_no_regular_expression_of_the_scanners_is_made_within_a_function() -> None:
    folder = Path(imaging.__file__).parent
    for path in [*folder.glob("*.py"), *folder.glob("formats/*.py")]:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    used = (
                        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re"
                    )
                    assert not used, f"{path.name}:{function.name}"


def alphabet(tree: Any) -> set[int]:
    """The characters that a pattern speaks of, and one that it does not."""
    found: set[int] = {ord("x"), ord("\n"), ord(" "), ord("7"), ord("-")}
    waiting: list[Any] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple) and len(item) == 2 and item[0] in {constants.LITERAL, constants.NOT_LITERAL}:
            found.add(item[1])
        elif isinstance(item, tuple) and len(item) == 2 and item[0] is constants.RANGE:
            found |= {item[1][0], item[1][1]}
        elif isinstance(item, (tuple, list, parser.SubPattern)):
            waiting += list(item)
    return found


def words(pattern: re.Pattern[Any]) -> Iterator[str]:
    """Its own characters, and pairs of them, repeated."""
    characters = sorted(chr(code) for code in alphabet(parser.parse(pattern.pattern, pattern.flags)) if code < 256)
    yield from characters
    yield from ("<!---->", "<??>", "<!DOCTYPE svg>", "1 ", "1 0 obj ", "/Root ", "url(", "[ ", "1.", ".1", "\xff")


@pytest.mark.parametrize(("module", "name"), REVIEWED)
def test_a_regular_expression_is_at_most_linear_on_its_own_alphabet(module: str, name: str) -> None:
    pattern = next(value for *place, value in patterns() if place == [module, name])
    encoded = isinstance(pattern.pattern, bytes)

    def spent(word: str, length: int) -> float:
        text: Any = (word * (length // len(word) + 1))[:length]
        text = text.encode("latin-1") if encoded else text
        start = time.process_time()
        getattr(pattern, REVIEWED[module, name])(text)
        return time.process_time() - start

    for word in words(pattern):
        # four times as much takes about four times as long, and sixteen times if it is quadratic
        whole = spent(word, 64 * 1024)
        if whole > 0.05:
            quarter = min(spent(word, 16 * 1024) for _ in range(3))
            assert min(whole, spent(word, 64 * 1024)) < 9 * quarter + 0.02, word


def test_what_looks_like_an_svg_is_sniffed_at_once() -> None:
    for word in (b" ", b"<!---->", b"<??>", b"<!DOCTYPE svg>"):
        assert sniff(word * 2000 + b"<x") is None
