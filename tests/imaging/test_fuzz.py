"""Broken files by the thousand: each is accepted or refused, and nothing else ever happens.

The mutations are drawn from a seed that is written below, so that each run tries the same files; to hunt for more, give
another one by ``IMAGEATTACH_FUZZ_SEED``, and more rounds by ``IMAGEATTACH_FUZZ_ROUNDS``.
"""

from __future__ import annotations

import io
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import EngineUnavailableError, RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.pictures import encode, exif, quadrants, texture

from ..images.make import DISPLAY_P3, matrix_profile
from .conftest import all_types

SEED = int(os.environ.get("IMAGEATTACH_FUZZ_SEED", "20261121"))
ROUNDS = int(os.environ.get("IMAGEATTACH_FUZZ_ROUNDS", "200"))

pytestmark = pytest.mark.filterwarnings("error")

RENDITIONS = [
    Rendition(width=9, height=9, fit="fill", format="jpeg"),
    Rendition(width=16, format="png"),
    Rendition(ratio=0.5, format="gif", animated=True),
]


def seeds() -> dict[str, bytes]:
    """Small files of all kinds that there are, rich in optional parts."""
    frames = [texture(24, 16, number) for number in range(3)]
    film = {"save_all": True, "append_images": frames[1:], "duration": 50, "loop": 0}
    profile = matrix_profile("P3", DISPLAY_P3)
    rich = {"exif": exif(6), "icc_profile": profile}
    image = texture(40, 24)
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize((40, 24)))
    icon = io.BytesIO()
    image.resize((32, 32)).save(icon, "ICO", sizes=[(16, 16), (32, 32)])
    files = {
        "jpeg": encode(image, "JPEG", quality=60, **rich),
        "jpeg progressive": encode(image, "JPEG", quality=60, progressive=True, restart_marker_blocks=2),
        "jpeg cmyk": encode(image.convert("CMYK"), "JPEG", quality=60),
        "png": encode(image, "PNG", **rich),
        "png palette": encode(image.quantize(16), "PNG", transparency=3),
        "png animated": encode(frames[0], "PNG", **film),
        "gif": encode(quadrants(24, 16), "GIF"),
        "gif animated": encode(frames[0], "GIF", **film),
        "webp": encode(image, "WEBP", lossless=False, **rich),
        "webp lossless": encode(alpha, "WEBP"),
        "webp animated": encode(frames[0], "WEBP", **film),
        "avif": encode(image, "AVIF", quality=50, **rich),
        "avif animated": encode(frames[0], "AVIF", quality=30, **film),
        "bmp": encode(image, "BMP"),
        "bmp palette": encode(image.quantize(16), "BMP"),
        "tiff": encode(image, "TIFF", **rich),
        "tiff deflate": encode(alpha, "TIFF", compression="tiff_deflate"),
        "tiff lzw pages": encode(frames[0], "TIFF", compression="tiff_lzw", save_all=True, append_images=frames[1:]),
        "ico": icon,
    }
    return {name: file.getvalue() for name, file in files.items()}


def flip_bits(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def cut_off(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data))]


def cut_out(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 2, 4, 16, 200))]
    return data


def splice(data: bytearray, draw: random.Random) -> bytearray:
    start, target = draw.randrange(len(data)), draw.randrange(len(data))
    data[target:target] = data[start : start + draw.choice((1, 4, 12, 100))]
    return data


def edit_header(data: bytearray, draw: random.Random) -> bytearray:
    """Numbers that parsers trip over, where the numbers are."""
    size = draw.choice((1, 2, 4, 8))
    place = draw.randrange(min(len(data), draw.choice((32, 128, 1024))))
    number = draw.choice((0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
    number &= 2 ** (8 * size) - 1
    data[place : place + size] = number.to_bytes(size, draw.choice(("big", "little")))
    return data


def fill(data: bytearray, draw: random.Random) -> bytearray:
    start, length = draw.randrange(len(data)), draw.choice((4, 64, 500))
    data[start : start + length] = bytes([draw.choice((0, 0xFF, 0x41))]) * len(data[start : start + length])
    return data


MUTATIONS: list[Callable[[bytearray, random.Random], bytearray]] = [
    flip_bits,
    flip_bits,
    cut_off,
    cut_out,
    splice,
    edit_header,
    edit_header,
    fill,
]


def mended(data: bytes) -> bytes:
    """A PNG whose checksums are right again: with wrong ones, no decoder looks any further."""
    made, offset = bytearray(data[:8]), 8
    while offset + 12 <= len(data):
        length = int.from_bytes(data[offset : offset + 4])
        body = data[offset + 4 : offset + 8 + length]
        made += data[offset : offset + 4] + body + zlib.crc32(body).to_bytes(4)
        offset += 12 + length
    return bytes(made) + data[offset:]


def mutants(content: bytes, name: str, rounds: int) -> list[bytes]:
    draw = random.Random(f"{SEED} {name}")
    made = []
    for _ in range(rounds):
        data = bytearray(content)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            data = draw.choice(MUTATIONS)(data, draw) or bytearray(b"\0")
        made.append(mended(bytes(data)) if name.startswith("png") and draw.random() < 0.7 else bytes(data))
    return made


def outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except RejectedImageError as error:
        return "refused" if str(error) else "refused without a word"
    except EngineUnavailableError:
        # a bit away from AVIF lies HEIF, which Pillow does not read
        return "not readable here"
    return "accepted"


def run(files: list[bytes], policy: ImagePolicy) -> set[tuple[str, str]]:
    outcomes = set()
    for number, content in enumerate(files):
        file = io.BytesIO(content)
        file.seek(number % 5)
        try:
            outcomes.add(
                (
                    outcome(lambda file=file: probe(file, policy)),  # type: ignore[misc]
                    outcome(lambda file=file: render(file, RENDITIONS, policy)),  # type: ignore[misc]
                )
            )
        except BaseException:
            Path(os.environ.get("IMAGEATTACH_FUZZ_KEEP", os.devnull)).write_bytes(content)
            raise
        assert file.tell() == number % 5
    assert "refused without a word" not in {word for pair in outcomes for word in pair}
    assert ("accepted", "not readable here") not in outcomes
    return outcomes


@pytest.mark.parametrize("name", seeds())
def test_a_mutated_file_is_accepted_or_refused_and_nothing_else(name: str) -> None:
    policy = ImagePolicy(max_pixels=2_000_000, engines=("pillow",)).allowing("image/vnd.microsoft.icon")
    content = seeds()[name]
    assert run([content], policy) == {("accepted", "accepted")}
    outcomes = run(mutants(content, name, ROUNDS), policy)
    # the mutations are neither all fatal nor all harmless
    assert len(outcomes) > 1


@pytest.mark.parametrize("name", ["jpeg", "png", "gif animated", "webp", "avif", "tiff", "bmp", "ico"])
def test_a_mutated_file_is_accepted_or_refused_by_wand_too(name: str, wand: str) -> None:
    from dataclasses import replace

    policy = replace(all_types(wand), max_pixels=2_000_000)
    content = seeds()[name]
    assert run([content], policy) == {("accepted", "accepted")}
    run(mutants(content, name, ROUNDS // 5), policy)


@pytest.mark.parametrize("name", ["quadrants.svg", "quadrants.heic", "quadrants.pdf"])
def test_a_mutated_vector_or_heic_is_accepted_or_refused(name: str, photos: Path, everything: ImagePolicy) -> None:
    from dataclasses import replace

    policy = replace(everything, max_pixels=2_000_000)
    content = (photos / name).read_bytes()
    rounds = ROUNDS // 2
    assert run([content], policy) == {("accepted", "accepted")}
    run(mutants(content, name, rounds), policy)


@pytest.mark.parametrize("name", ["quadrants.svg", "quadrants.heic", "quadrants.pdf", "chelsea-animated.gif"])
def test_looking_at_mutated_files_is_safe_without_any_engine(name: str, photos: Path) -> None:
    policy = all_types("pillow")
    for content in mutants((photos / name).read_bytes(), name, ROUNDS):
        outcome(lambda content=content: probe(io.BytesIO(content), policy))  # type: ignore[misc]


def test_two_files_in_one_are_accepted_or_refused() -> None:
    draw = random.Random(SEED)
    policy = ImagePolicy(max_pixels=2_000_000, engines=("pillow",)).allowing("image/vnd.microsoft.icon")
    contents = list(seeds().values())
    files = []
    for _ in range(ROUNDS):
        one, other = draw.sample(contents, 2)
        files.append(one[: draw.randrange(1, len(one))] + other[draw.randrange(len(other)) :])
    run(files, policy)
