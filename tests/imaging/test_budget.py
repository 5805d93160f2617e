"""One look has one budget: whatever a file of the default policy holds, it is looked at in so many steps and bytes."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from PIL import Image

from sqlalchemy_imageattach import imaging
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.formats import SCANNERS
from sqlalchemy_imageattach.imaging.reader import STEPS, Reader
from sqlalchemy_imageattach.imaging.sniffing import sniff
from tests.pictures import encode, texture

from .worst import PNG, WORST

POLICY = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/vnd.microsoft.icon")


class Counting(io.BytesIO):
    """A source that knows how much of it was read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


@pytest.mark.parametrize("name", WORST)
def test_the_worst_file_of_each_kind_is_looked_at_within_the_budget(name: str) -> None:
    file = Counting(WORST[name]())
    with contextlib.suppress(RejectedImageError):
        probe(file, POLICY)
    assert file.total <= 2 * len(file.getbuffer()) + 4 * 2**20


@pytest.mark.parametrize("before", range(2**16 - 3, 2**16 + 1))
def test_what_lies_across_two_pieces_is_counted_once(before: int) -> None:
    needle = b"\xff\xda\0"
    content = bytes(before) + needle + bytes(2**16) + needle
    reader = Reader(io.BytesIO(content))
    assert reader.occurrences(needle, 0, len(content), 10) == 2
    assert reader.occurrences(needle, 0, len(content) - 1, 10) == 1
    assert reader.occurrences(needle, before + 1, len(content), 10) == 1
    assert reader.occurrences(needle, 0, len(content), 0) == 1


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

    content = WORST[name]()
    everything = Reader.everything
    monkeypatch.setattr(Reader, "everything", lambda reader: Data(everything(reader)))
    with contextlib.suppress(RejectedImageError):
        probe(io.BytesIO(content), POLICY)
    assert looked_at <= STEPS * 3072 + 2 * len(content)


def test_scanners_stop_when_the_steps_are_used_up() -> None:
    for mimetype, form in (("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF"), ("image/tiff", "TIFF")):
        reader = Reader(encode(texture(8, 8), form))
        SCANNERS[mimetype](reader)
        assert STEPS - reader.steps < 200
        reader.steps = 2
        with pytest.raises(RejectedImageError, match="more parts"):
            SCANNERS[mimetype](reader)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_a_film_of_as_many_frames_as_there_may_be_is_attached_and_made_smaller(form: str) -> None:
    number = ImagePolicy().max_frames or 0
    frames = [Image.new("RGB", (4, 4), (index % 256, index // 256, 9)) for index in range(number)]
    film = encode(frames[0], form, save_all=True, append_images=frames[1:], duration=20, lossless=True)
    assert probe(film).frames == number
    (made,) = render(film, [Rendition(width=2, format="gif", animated=True)])
    # AVIF makes neighbours alike, and those are shown as one
    assert probe(io.BytesIO(made.blob)).frames > number / 2


def test_a_large_file_of_the_smallest_usual_parts_is_well_within_the_budget() -> None:
    chunk = b"\0\0\x10\0IDAT" + bytes(4096 + 4)
    start = PNG[:33]
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
    ("formats.svg", "_OPENED"): "search",
    ("formats.svg", "_IMPORT"): "search",
    **{("formats.pdf", name): "match" for name in ("_ROOT", "_HEAD", "_FIRST_NUMBER", "_REFERENCE", "_BOX")},
    **{("formats.pdf", name): "search" for name in ("_BEFORE_OBJECT", "_KIDS", "_FIRST_KID", "_NUMBER", "_PAIR")},
    **{("formats.pdfxref", name): "match" for name in ("_RANGE", "_NUMBER_OF_OBJECT")},
    **{("formats.pdfxref", name): "search" for name in ("_START", "_ROOT", "_PREVIOUS", "_HYBRID", "_WIDTHS")},
    **{("formats.pdfxref", name): "search" for name in ("_INDEX", "_SIZE", "_PREDICTOR")},
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
