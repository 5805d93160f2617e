"""What only the Wand engine does; the rest is in the suite that all engines share."""

from __future__ import annotations

import io
import os
import shutil
import stat
from pathlib import Path

import pytest

from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, encode, near, quadrants

from .test_engine import python

QUADRANTS = [RED, GREEN, BLUE, WHITE]


def test_heic_becomes_webp(photos: Path, wand_policy: ImagePolicy) -> None:
    with (photos / "quadrants.heic").open("rb") as file:
        info = probe(file, wand_policy)
        assert (info.mimetype, info.width, info.height) == ("image/heic", 80, 40)
        whole, part = render(file, [Rendition(width=40), Rendition(width=10, height=10, fit="fill")], wand_policy)
    assert (whole.mimetype, whole.width, whole.height) == ("image/webp", 40, 20)
    assert near(corners(whole.blob), QUADRANTS, 16)
    assert near(corners(part.blob), QUADRANTS, 40)


def test_the_frames_of_each_source_are_whole_even_where_the_file_stores_a_patch(wand_policy: ImagePolicy) -> None:
    from PIL import Image

    first = quadrants(64, 48)
    second = first.copy()
    second.paste((0, 0, 0), (30, 20, 40, 30))
    file = encode(first, "GIF", save_all=True, append_images=[second], duration=100, loop=0)
    (made,) = render(file, [Rendition(width=64, animated=True)], wand_policy)
    image = Image.open(io.BytesIO(made.blob))
    image.seek(1)
    frame = image.convert("RGB")
    assert near([frame.getpixel((35, 25)), frame.getpixel((5, 5))], [(0, 0, 0), RED])  # type: ignore[list-item]


@pytest.mark.parametrize("program", ["inkscape", "rsvg-convert", "rsvg", "uniconvertor"])
def test_no_other_program_is_started_for_an_svg(program: str, tmp_path: Path, wand: str) -> None:
    trace = tmp_path / "started"
    fake = tmp_path / program
    fake.write_text(f"#!/bin/sh\necho \"$0\" >> '{trace}'\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    code = """
from sqlalchemy_imageattach.imaging import Rendition, render
with open("tests/images/quadrants.svg", "rb") as file:
    print(render(file, [Rendition(width=30)])[0].width)
"""
    assert python(code, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}") == "30"
    assert not trace.exists()


def test_a_policy_of_imagemagick_that_forbids_pdf_is_named(tmp_path: Path, wand: str) -> None:
    (tmp_path / "ImageMagick").mkdir()
    (tmp_path / "ImageMagick" / "policy.xml").write_text(
        '<policymap><policy domain="coder" rights="none" pattern="PDF" /></policymap>\n'
    )
    code = """
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import Rendition, render
with open("tests/images/quadrants.pdf", "rb") as file:
    try:
        render(file, [Rendition(width=30)])
    except EngineUnavailableError as error:
        print(error)
"""
    said = python(code, XDG_CONFIG_HOME=str(tmp_path))
    assert "application/pdf" in said
    assert "policy.xml" in said


def test_without_ghostscript_there_is_no_engine_for_pdf(tmp_path: Path, wand: str) -> None:
    code = """
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import Rendition, render
with open("tests/images/quadrants.pdf", "rb") as file:
    try:
        render(file, [Rendition(width=30)])
    except EngineUnavailableError as error:
        print(error)
"""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "ldconfig", "gcc", "ld", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    said = python(code, PATH=str(tools))
    assert "wand does not read application/pdf" in said
    assert "Ghostscript" in said


def test_nothing_is_left_behind_in_the_temporary_directory(photos: Path, tmp_path: Path, wand: str) -> None:
    code = """
import io, os
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import Rendition, render
for name in ("quadrants.pdf", "quadrants.svg", "quadrants.heic"):
    with open(f"tests/images/{name}", "rb") as file:
        content = file.read()
    for part in (content, content.replace(b"re f", b"xx f"), content[:-40] + b"%%EOF"):
        try:
            render(io.BytesIO(part), [Rendition(width=30)])
        except RejectedImageError:
            pass
print(os.listdir(os.environ["TMPDIR"]))
"""
    assert python(code, TMPDIR=str(tmp_path), MAGICK_TEMPORARY_PATH=str(tmp_path)) == "[]"


def test_the_limits_of_imagemagick_stay_as_they_are(photos: Path, wand_policy: ImagePolicy) -> None:
    from wand.resource import limits

    before = {name: limits[name] for name in limits}
    for name in ("quadrants.pdf", "quadrants.svg", "quadrants.heic", "coffee.jpg"):
        with (photos / name).open("rb") as file:
            render(file, [Rendition(width=30)], wand_policy)
    assert {name: limits[name] for name in limits} == before


@pytest.mark.parametrize(
    "text",
    ["@/etc/passwd", "%[fx:1]", "<text>\" image over 0,0 80,40 '/etc/passwd'</text>".replace("<", "&lt;")],
)
def test_text_within_an_svg_is_only_text(text: str, wand_policy: ImagePolicy) -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40">'
    file = io.BytesIO(f'{head}<text x="5" y="20">{text}</text></svg>'.encode())
    assert render(file, [Rendition(width=80)], wand_policy)[0].height == 40
