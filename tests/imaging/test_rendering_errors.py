"""Whatever goes wrong after decoding has a type too, at each stage that follows."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import RejectedImageError, TooCostlyError, UnsupportedLayoutError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.raster import colours, frames
from tests.pictures import encode, texture

STAGES = ["resizable", "Colours", "resampled", "turned", "encode_all", "plan"]
ONE = [Rendition(width=8)]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("raised", [ValueError("/secret/path"), SystemError("tile"), OSError("encoder error -2")])
def test_an_error_of_any_stage_is_typed_and_tells_no_path(
    stage: str, raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise raised

    monkeypatch.setattr(frames, stage, fails)
    with pytest.raises(UnsupportedLayoutError, match=type(raised).__name__) as caught:
        render(encode(texture(16, 16), "PNG"), ONE, ImagePolicy(engines=("pillow",)))
    assert caught.value.code == "unsupported"
    assert caught.value.__cause__ is raised
    assert str(raised) not in str(caught.value)


@pytest.mark.parametrize("stage", STAGES)
def test_a_lack_of_memory_is_not_the_fault_of_the_file(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(frames, stage, fails)
    with pytest.raises(TooCostlyError, match="not enough memory"):
        render(encode(texture(16, 16), "PNG"), ONE, ImagePolicy(engines=("pillow",)))


def test_what_one_engine_can_make_nothing_of_is_given_to_the_next(wand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once = iter([True])
    resizable = colours.resizable

    def fails(image: Image.Image) -> Image.Image:
        if next(fail_once, False):
            raise ValueError("conversion not supported")
        return resizable(image)

    monkeypatch.setattr(frames, "resizable", fails)
    (made,) = render(encode(texture(16, 16), "PNG"), ONE, ImagePolicy(engines=("pillow", wand), isolate=False))
    assert made.width == 8


def test_a_source_that_fails_while_pictures_are_made_is_not_the_fault_of_the_file() -> None:
    film = encode(texture(16, 16), "WEBP", save_all=True, append_images=[texture(16, 16, seed) for seed in (1, 2)])

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if size == -1 or size is None:
                raise OSError("the store is down")
            return data

    with pytest.raises(OSError, match="the store is down") as caught:
        render(Failing(film.getvalue()), [Rendition(width=8, animated=True)], ImagePolicy(engines=("pillow",)))
    assert not isinstance(caught.value, RejectedImageError)
