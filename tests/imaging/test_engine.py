from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.engines.choice import choose
from tests.pictures import RASTER_FORMATS


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter says."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("mimetype", RASTER_FORMATS)
def test_pillow_comes_first_for_the_types_of_the_web(mimetype: str) -> None:
    assert choose(ImagePolicy(), mimetype).name == "pillow"
    assert choose(ImagePolicy(), mimetype, animated=True).name == "pillow"


def test_the_order_is_that_of_the_policy(wand: str) -> None:
    assert choose(ImagePolicy(engines=("wand", "pillow")), "image/png").name == "wand"
    assert choose(ImagePolicy(engines=("wand", "pillow")), "image/webp", animated=True).name == "pillow"


@pytest.mark.parametrize(
    ("mimetype", "engine", "extra"),
    [
        ("image/svg+xml", "resvg", "svg"),
        ("application/pdf", "pdfium", "pdf"),
        ("image/heic", "heif", "heic"),
        ("image/heif", "heif", "heic"),
    ],
)
def test_each_other_type_has_an_engine_of_its_own_and_without_it_the_error_names_the_extra(
    mimetype: str, engine: str, extra: str
) -> None:
    assert choose(ImagePolicy(), mimetype).name == engine
    module = {"svg": "resvg_py", "pdf": "pypdfium2_raw", "heic": "pillow_heif"}[extra]
    code = f"""
import sys
sys.modules[{module!r}] = None
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.imaging.engines.choice import choose
try:
    choose(ImagePolicy(engines=("pillow", {engine!r})), {mimetype!r})
except EngineUnavailableError as error:
    print(error)
"""
    said = python(code)
    assert f"pip install 'SQLAlchemy-ImageAttach[{extra}]'" in said
    assert "pillow does not read" in said


def test_without_an_engine_the_error_says_why() -> None:
    with pytest.raises(EngineUnavailableError, match=r"pillow does not read image/heic"):
        choose(ImagePolicy(engines=("pillow",)), "image/heic")


def test_looking_needs_no_engine_and_imports_none() -> None:
    code = """
import io, sys
from sqlalchemy_imageattach.imaging import ImagePolicy, probe
svg = io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
probe(svg, ImagePolicy().allowing("image/svg+xml"))
with open("tests/images/coffee.jpg", "rb") as file:
    probe(file)
print([name for name in ("PIL", "wand") if name in sys.modules])
"""
    assert python(code) == "[]"


def test_the_usual_types_need_no_wand() -> None:
    code = """
import sys
sys.modules["wand"] = None
from sqlalchemy_imageattach.imaging import Rendition, probe, render
with open("tests/images/coffee.jpg", "rb") as file:
    print(render(file, [Rendition(width=30)])[0].height)
"""
    assert python(code) == "20"


def test_a_missing_wand_is_named_with_what_to_install() -> None:
    code = """
import sys
sys.modules["wand"] = None
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
with open("tests/images/quadrants.heic", "rb") as file:
    try:
        render(file, [Rendition(width=30)], ImagePolicy(engines=("pillow", "wand")))
    except EngineUnavailableError as error:
        print(error)
"""
    said = python(code)
    assert "pip install 'SQLAlchemy-ImageAttach[wand]'" in said
    assert "libmagickwand" in said


def test_a_missing_engine_does_not_harm_the_other_ones() -> None:
    code = """
import sys
sys.modules["wand"] = None
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
with open("tests/images/coffee.jpg", "rb") as file:
    print(render(file, [Rendition(width=30)], ImagePolicy(engines=("wand", "pillow")))[0].width)
"""
    assert python(code) == "30"


def test_wand_is_unavailable_where_its_library_is(wand: str) -> None:
    # wand raises ImportError too when it finds no MagickWand
    code = """
import ctypes, ctypes.util
ctypes.util.find_library = lambda name: None
ctypes.CDLL = lambda *args, **options: (_ for _ in ()).throw(OSError("no such library"))
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
with open("tests/images/quadrants.heic", "rb") as file:
    try:
        render(file, [Rendition(width=30)], ImagePolicy(engines=("wand",)))
    except EngineUnavailableError as error:
        print(error)
"""
    assert "[wand]" in python(code)


def test_an_engine_that_cannot_animate_leaves_it_to_one_that_can(photos: Path, wand: str) -> None:
    with (photos / "chelsea-animated.webp").open("rb") as file:
        policy = ImagePolicy(engines=("wand", "pillow"))
        (made,) = render(file, [Rendition(width=30, animated=True)], policy)
        assert made.mimetype == "image/webp"
        with pytest.raises(EngineUnavailableError, match="animated image/webp"):
            render(file, [Rendition(width=30, animated=True)], ImagePolicy(engines=("wand",)))
