"""What the tests of the imaging room share: the engines, and what they may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.imaging.engines.choice import engine_named
from sqlalchemy_imageattach.imaging.raster import resize
from tests.needs import unavailable


@pytest.fixture(scope="session")
def wand(magick_policy: None) -> str:
    """The Wand engine's name, if everything that its tests need is installed."""
    try:
        reason = "" if engine_named("wand").reads("image/heic", animated=False) else "this ImageMagick reads no HEIC"
    except EngineUnavailableError as error:
        reason = str(error)
    if reason:
        unavailable(reason)
    return "wand"


@pytest.fixture(params=["pillow", "pillow alone", "wand", "vips"])
def policy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ImagePolicy:
    """A policy that allows everything and uses one engine only: each test that asks for it runs on each engine."""
    if request.param == "vips":
        return all_types("vips", "pillow")
    if request.param == "pillow alone":
        monkeypatch.setattr(resize, "_fast", lambda: None)
    return all_types(request.getfixturevalue("wand") if request.param == "wand" else "pillow")


@pytest.fixture
def wand_policy(wand: str) -> ImagePolicy:
    """A policy that allows everything and uses Wand only."""
    return all_types(wand)


@pytest.fixture
def everything() -> ImagePolicy:
    """A policy that allows everything and uses what comes first for each type."""
    return all_types(*ImagePolicy().engines)


def all_types(*engines: str) -> ImagePolicy:
    return ImagePolicy(engines=engines).allowing(
        "application/pdf", "image/heic", "image/heif", "image/svg+xml", "image/vnd.microsoft.icon"
    )


@pytest.fixture(scope="session")
def photos() -> Path:
    """The directory of the photographs."""
    return Path(__file__).parent.parent / "images"
