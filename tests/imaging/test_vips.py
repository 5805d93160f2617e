"""What is libvips' own; all else is in the one suite of all engines."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import UnreadableImageError, UnsupportedLayoutError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.engines import vips
from sqlalchemy_imageattach.imaging.engines.choice import choose
from tests.pictures import animation, encode, lanczos, pixels, psnr, quadrants, texture

from .test_engine import python

HERE = ImagePolicy(engines=("vips",), isolate=False)


def test_it_is_off_unless_it_is_named() -> None:
    assert "vips" not in ImagePolicy().engines
    for mimetype in ("image/jpeg", "image/png", "image/tiff", "image/webp"):
        assert choose(ImagePolicy(), mimetype).name == "pillow"
        assert choose(ImagePolicy(engines=("vips", "pillow")), mimetype).name == "vips"


def test_what_it_does_not_read_goes_to_the_next_engine() -> None:
    policy = ImagePolicy(engines=("vips", "pillow"), isolate=False)
    for source, format in ((animation(), "png"), (encode(quadrants(), "BMP").getvalue(), "png")):
        (made,) = render(io.BytesIO(source), [Rendition(width=20, format=format)], policy)
        assert made.width == 20
    moving = io.BytesIO()
    quadrants().save(moving, "WEBP", save_all=True, append_images=[texture(64, 48)])
    with pytest.raises(UnsupportedLayoutError, match="that moves"):
        render(moving, [Rendition(width=20)], HERE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_what_is_huge_is_made_smaller_while_it_is_decoded(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "_SMALL", 100_000)
    image = texture(901, 601)
    source = image.convert(mode)
    if mode.endswith("A"):
        source.putalpha(Image.linear_gradient("L").resize(image.size))
    widths = [200, 97]
    made = render(encode(source, "PNG"), [Rendition(width=width, format="png") for width in widths], HERE)
    expected = np.asarray(image.convert("L").convert("RGB") if mode[0] == "L" else image, float)
    for each in made:
        found = Image.open(io.BytesIO(each.blob))
        assert found.mode == mode
        if not mode.endswith("A"):
            assert psnr(pixels(each.blob), lanczos(expected, each.width, each.height)) > 38
        else:
            alone = render(encode(source, "PNG"), [Rendition(width=each.width, format="png")])[0]
            assert np.abs(pixels(each.blob, "RGBA") - pixels(alone.blob, "RGBA"))[5:].mean() < 1


def test_points_are_those_of_the_picture_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "_SMALL", 1)
    source = encode(texture(300, 200), "PNG")
    (made,), (expected,) = (
        render(source, [Rendition(width=60, filter="point")], policy) for policy in (HERE, ImagePolicy())
    )
    assert made.blob == expected.blob


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_is_cut_off_is_refused(form: str) -> None:
    whole = encode(texture(300, 200), form).getvalue()
    policy = ImagePolicy(engines=("vips",), isolate=False, verify="decode")
    probe(io.BytesIO(whole), policy)
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 400] = bytes(400)
    if form in {"PNG", "WEBP"}:
        with pytest.raises(UnreadableImageError):
            probe(io.BytesIO(bytes(broken)), policy)
    for cut in (0.5, 0.9):
        with pytest.raises(UnreadableImageError):
            probe(io.BytesIO(whole[: int(len(whole) * cut)]), policy)


def test_in_a_child_process_it_may_take_no_more_memory_than_it_is_given() -> None:
    huge = io.BytesIO()
    Image.new("RGB", (6000, 4000), "teal").save(huge, "PNG", compress_level=1)
    policy = ImagePolicy(engines=("vips",))
    (made,) = render(huge, [Rendition(width=300)], policy)
    assert (made.width, made.height) == (300, 200)
    # decoded whole it would take 69 MiB, and Pillow's image 92
    code = """
import io, sys
sys.path.insert(0, ".")
from PIL import Image
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
def peak():
    with open("/proc/self/status") as file:
        return int(file.read().split("VmHWM:")[1].split()[0]) / 1024
policy = ImagePolicy(engines=("vips",), isolate=False)
small, huge = io.BytesIO(), io.BytesIO(sys.stdin.buffer.read())
Image.new("RGB", (60, 40)).save(small, "PNG")
render(small, [Rendition(width=30)], policy)
before = peak()
render(huge, [Rendition(width=300)], policy)
print(peak() - before)
"""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], input=huge.getvalue(), capture_output=True, check=True)
    assert float(done.stdout) < 60


def test_without_it_the_error_says_what_to_install() -> None:
    said = python("""
import io, sys
sys.modules["pyvips"] = None
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from tests.pictures import picture
try:
    render(io.BytesIO(picture()), [Rendition(width=3)], ImagePolicy(engines=("vips",)))
except EngineUnavailableError as error:
    print(error)
""")
    assert "pip install 'SQLAlchemy-ImageAttach[vips]'" in said
