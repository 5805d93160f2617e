"""What only the Wand engine does; the rest is in the suite that all engines share."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.engines.choice import choose, engine_named
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, encode, near, quadrants

from . import browserfiles
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
    first = quadrants(64, 48)
    second = first.copy()
    second.paste((0, 0, 0), (30, 20, 40, 30))
    file = encode(first, "GIF", save_all=True, append_images=[second], duration=100, loop=0)
    (made,) = render(file, [Rendition(width=64, animated=True)], wand_policy)
    image = Image.open(io.BytesIO(made.blob))
    image.seek(1)
    frame = image.convert("RGB")
    assert near([frame.getpixel((35, 25)), frame.getpixel((5, 5))], [(0, 0, 0), RED])  # type: ignore[list-item]


@pytest.mark.parametrize("mimetype", ["image/svg+xml", "application/pdf"])
def test_what_is_a_program_is_not_for_imagemagick(mimetype: str, wand: str) -> None:
    assert not engine_named("wand").reads(mimetype, animated=False)
    with pytest.raises(EngineUnavailableError, match="wand does not read"):
        choose(ImagePolicy(engines=("wand",)), mimetype)


def test_a_policy_of_imagemagick_that_forbids_a_type_is_named(tmp_path: Path, wand: str) -> None:
    (tmp_path / "ImageMagick").mkdir()
    (tmp_path / "ImageMagick" / "policy.xml").write_text(
        '<policymap><policy domain="coder" rights="none" pattern="HEIC" /></policymap>\n'
    )
    code = """
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
with open("tests/images/quadrants.heic", "rb") as file:
    try:
        render(file, [Rendition(width=30)], ImagePolicy(engines=("wand",)))
    except EngineUnavailableError as error:
        print(error)
"""
    said = python(code, XDG_CONFIG_HOME=str(tmp_path))
    assert "image/heic" in said
    assert "policy.xml" in said


def test_too_few_resources_are_neither_the_pictures_fault_nor_remembered(wand: str) -> None:
    # 4 megapixels need more than is allowed, whatever they show; afterwards all the rest still goes
    limits = {f"MAGICK_{kind}_LIMIT": "16MiB" for kind in ("MEMORY", "MAP", "DISK")}
    code = """
import io
from PIL import Image
from sqlalchemy_imageattach.errors import TooCostlyError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
for side in (200, 2000, 2000, 2000, 200, 400):
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    try:
        print(render(file, [Rendition(width=30)], ImagePolicy(engines=("wand",)))[0].width, end=" ")
    except TooCostlyError as error:
        print("costly", end=" ")
"""
    assert python(code, **limits) == "30 costly costly costly 30 30"


def test_grey_of_a_gamma_of_its_own_is_read(wand_policy: ImagePolicy) -> None:
    # ImageMagick has a colour space for it that Wand does not know
    png = encode(Image.linear_gradient("L"), "PNG").getvalue()
    gamma = b"gAMA" + (100_000).to_bytes(4)
    file = io.BytesIO(png[:33] + (4).to_bytes(4) + gamma + zlib.crc32(gamma).to_bytes(4) + png[33:])
    (made,) = render(file, [Rendition(width=64)], wand_policy)
    middle = Image.open(io.BytesIO(made.blob)).convert("L").getpixel((32, 32))
    assert isinstance(middle, (int, float))
    assert middle > 150, "light is linear in it: the middle is brighter than a half"


def test_nothing_is_left_behind_in_the_temporary_directory(photos: Path, tmp_path: Path, wand: str) -> None:
    code = """
import io, os
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
for name in ("quadrants.heic", "chelsea-animated.gif"):
    with open(f"tests/images/{name}", "rb") as file:
        content = file.read()
    for part in (content, content[:-40] + bytes(40)):
        try:
            render(io.BytesIO(part), [Rendition(width=30)], ImagePolicy(engines=("wand",)))
        except RejectedImageError:
            pass
print(os.listdir(os.environ["TMPDIR"]))
"""
    assert python(code, TMPDIR=str(tmp_path), MAGICK_TEMPORARY_PATH=str(tmp_path)) == "[]"


def test_the_limits_of_imagemagick_stay_as_they_are(photos: Path, wand_policy: ImagePolicy) -> None:
    from wand.resource import limits

    before = {name: limits[name] for name in limits}
    for name in ("quadrants.heic", "coffee.jpg"):
        with (photos / name).open("rb") as file:
            render(file, [Rendition(width=30)], wand_policy)
    assert {name: limits[name] for name in limits} == before


ICONS = ["ico, of many colours behind few", "ico, of many colours before few", "ico, a PNG behind few colours"]


@pytest.mark.parametrize("name", ICONS)
def test_of_an_icon_the_picture_of_most_colours_counts(name: str, wand_policy: ImagePolicy) -> None:
    content = browserfiles.stills()[name]
    wanted = [Rendition(width=browserfiles.SIDE, format="png", filter="point")]
    by_pillow, by_wand = (
        Image.open(io.BytesIO(render(io.BytesIO(content), wanted, policy)[0].blob)).convert("RGBA")
        for policy in (ImagePolicy(), wand_policy)
    )
    assert by_wand.tobytes() == by_pillow.tobytes()
