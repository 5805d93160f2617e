"""A hundred thousand broken headers, and what the fuzzer of ``scripts/fuzz`` found: typed errors, within bounds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sqlalchemy_imageattach.imaging.formats import SCANNERS
from tests.imaging import hunt
from tests.imaging.test_fuzz import MUTATIONS, SEED, seeds

#: For each scanner: more than a hundred thousand together.
FILES = 9_000


def originals(mimetype: str, photos: Path) -> list[bytes]:
    """Small files that the scanner reads."""
    ending = mimetype.partition("/")[2]
    names = {"application/pdf": "quadrants.pdf", "image/heic": "quadrants.heic", "image/heif": "quadrants.heic"}
    name = names.get(mimetype) or {"svg+xml": "quadrants.svg"}.get(ending)
    if name:
        return [(photos / name).read_bytes()]
    word = "ico" if ending.endswith("icon") else ending
    return [content for key, content in seeds().items() if key.startswith(word)]


@pytest.mark.parametrize("mimetype", SCANNERS)
def test_thousands_of_broken_headers_are_read_or_refused_within_the_steps(mimetype: str, photos: Path) -> None:
    draw = random.Random(f"{SEED} {mimetype}")
    files = originals(mimetype, photos)
    for _ in range(FILES):
        content = bytearray(draw.choice(files))
        for _ in range(draw.choice((1, 1, 2, 3))):
            content = draw.choice(MUTATIONS)(content, draw) or bytearray(b"\0")
        hunt.scan(mimetype, bytes(content))


def test_something_was_found_by_each_name() -> None:
    assert {path.parent.name for path in hunt.found()} >= {
        name.replace("/", "-") for name in (*SCANNERS, *hunt.ENGINES)
    }


@pytest.mark.parametrize("mimetype", SCANNERS)
def test_what_the_fuzzer_found_is_read_or_refused_by_each_scanner(mimetype: str) -> None:
    for path in hunt.found():
        hunt.scan(mimetype, path.read_bytes())


@pytest.mark.parametrize("engine", hunt.ENGINES)
def test_what_the_fuzzer_found_is_drawn_or_refused_by_each_engine(engine: str) -> None:
    for path in hunt.found():
        hunt.draw(engine, path.read_bytes())
