"""Files out of pixels: each size once, each file by itself, several at a time."""

from __future__ import annotations

import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.raster import encode, resample, resize
from sqlalchemy_imageattach.imaging.raster.encode import Job, encode_all, encoded
from tests.pictures import animation, texture
from tests.pictures import encode as file_of

from .test_engine import python


def job(image: Image.Image, mimetype: str, quality: int) -> Job:
    return Job([image], mimetype, Rendition(width=1, quality=quality), [0.0], None)


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_processors", lambda: 4)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that encode."""
    threads: set[int] = set()

    def noted(job: Job) -> bytes:
        threads.add(threading.get_ident())
        return encoded(job)

    monkeypatch.setattr(encode, "encoded", noted)
    return threads


def test_files_made_side_by_side_of_one_picture_are_those_made_one_by_one(four_processors: None) -> None:
    image = texture(320, 240)
    jobs = [
        job(image, mimetype, quality)
        for mimetype in ("image/jpeg", "image/webp", "image/avif")
        for quality in (20, 50, 95)
    ]
    alone = [encoded(each) for each in jobs]
    assert len(set(alone)) == len(jobs)
    # threads that swapped the options of a picture that they share did so every time
    for _ in range(3):
        assert encode_all(jobs) == alone


def test_frames_that_files_share_are_as_safe(four_processors: None) -> None:
    frames = [texture(120, 90, seed) for seed in range(3)]
    jobs = [
        Job(frames, mimetype, Rendition(width=1, quality=quality, animated=True), [100.0] * 3, 0)
        # not AVIF, which says when it was made if it moves
        for mimetype in ("image/webp", "image/gif")
        for quality in (20, 90)
    ]
    assert encode_all(jobs) == [encoded(each) for each in jobs]


def test_files_are_made_side_by_side_where_that_pays(four_processors: None, used: set[int]) -> None:
    image = texture(400, 300)
    encode_all([job(image, "image/webp", 80), job(image, "image/jpeg", 80), job(image, "image/avif", 60)])
    assert threading.get_ident() not in used


@pytest.mark.parametrize(
    "jobs",
    [
        [job(texture(400, 300), "image/jpeg", quality) for quality in range(40, 80)],
        [job(texture(400, 300), "image/avif", 60)],
        [job(texture(400, 300), "image/webp", 60), job(texture(32, 24), "image/avif", 60)],
    ],
    ids=["JPEG alone", "one file", "one file and a tiny one"],
)
def test_and_in_this_thread_where_not(jobs: list[Job], four_processors: None, used: set[int]) -> None:
    encode_all(jobs)
    assert used == {threading.get_ident()}


def test_one_processor_has_one_thread(used: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_processors", lambda: 1)
    encode_all([job(texture(400, 300), "image/webp", quality) for quality in (50, 60)])
    assert used == {threading.get_ident()}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_where_the_address_space_is_limited_nothing_is_given_to_threads() -> None:
    code = """
import resource
from sqlalchemy_imageattach.imaging.raster.encode import _processors
before = _processors()
resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.RLIM_INFINITY))
print(before, _processors())
"""
    before, after = python(code).split()
    assert (int(before) >= 1, after) == (True, "1")


def test_an_error_of_one_file_is_raised_and_no_thread_is_left(
    four_processors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    image = texture(400, 300)
    broken = job(Image.new("HSV", (400, 300)), "image/webp", 80)
    with pytest.raises((OSError, ValueError, KeyError)):
        encode_all([job(image, "image/avif", 60), broken._replace(mimetype="image/png"), job(image, "image/webp", 80)])
    assert threading.active_count() == before


def test_each_size_is_made_once_for_all_of_its_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    resized = resize.resized

    def noted(image: Image.Image, size: tuple[int, int], *how: Any) -> Image.Image:
        made.append(size)
        return resized(image, size, *how)

    monkeypatch.setattr(resample, "resized", noted)
    wanted = [Rendition(width=width, format=form) for form in ("avif", "webp", "jpeg", "png") for width in (200, 90)]
    pictures = render(file_of(texture(400, 300), "JPEG"), wanted)
    assert [(each.width, each.mimetype.partition("/")[2]) for each in pictures] == [
        (each.width, each.format) for each in wanted
    ]
    assert made == [(200, 150), (90, 68)]


def test_still_and_moving_pictures_of_one_size_share_it(four_processors: None) -> None:
    wanted = [
        Rendition(width=30, format="webp", animated=True),
        Rendition(width=30, format="webp"),
        Rendition(width=30, format="gif", animated=True),
    ]
    made = render(io.BytesIO(animation()), wanted)
    assert [Image.open(io.BytesIO(each.blob)).n_frames for each in made] == [3, 1, 3]  # type: ignore[attr-defined]


def test_many_threads_may_render_at_once_each_with_threads_of_its_own(four_processors: None) -> None:
    source = file_of(texture(400, 300), "JPEG").getvalue()
    wanted = [Rendition(width=width, format=form) for form in ("avif", "webp", "jpeg") for width in (300, 200)]

    def blobs(_: int) -> list[bytes]:
        return [each.blob for each in render(io.BytesIO(source), wanted)]

    expected = blobs(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(blobs, range(8)))


def test_in_a_child_process_too(four_processors: None) -> None:
    source = file_of(texture(400, 300), "JPEG").getvalue()
    wanted = [Rendition(width=width, format=form) for form in ("avif", "webp", "jpeg") for width in (300, 200)]
    apart = render(io.BytesIO(source), wanted, ImagePolicy(isolate=True))
    assert [each.blob for each in apart] == [each.blob for each in render(io.BytesIO(source), wanted)]


@pytest.mark.parametrize(("width", "halved"), [(480, False), (481, True)])
def test_small_pictures_keep_their_colours_at_full_resolution(width: int, halved: bool) -> None:
    # columns of one pixel of two colours that are equally light: what is halved has one colour
    image = Image.new("RGB", (width, 20), (200, 60, 60))
    for x in range(0, width, 2):
        image.paste((30, 125, 60), (x, 0, x + 1, 20))
    for form in ("jpeg", "avif"):
        (made,) = render(file_of(image, "PNG"), [Rendition(ratio=1, format=form, quality=95)])
        found = Image.open(io.BytesIO(made.blob)).convert("RGB").crop((100, 0, 300, 20))
        low, high = found.getchannel("R").getextrema()
        assert (high - low < 60) == halved, form  # type: ignore[operator]


def test_the_quality_is_that_of_the_size() -> None:
    source = file_of(texture(700, 500), "PNG")
    for width, usual in ((480, 80), (481, 85)):
        default, same, other = render(
            source, [Rendition(width=width, format="jpeg", quality=quality) for quality in (None, usual, 82)]
        )
        assert default.blob == same.blob != other.blob
