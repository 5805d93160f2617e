from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from sqlalchemy_imageattach.imaging import ImageInfo, ImagePolicy


def test_the_defaults_are_those_documented() -> None:
    policy = ImagePolicy()
    assert policy.max_bytes == 64 * 2**20
    assert policy.max_pixels == 120_000_000
    assert policy.verify == "structure"
    for mimetype in ("jpeg", "png", "gif", "webp", "avif", "bmp", "tiff"):
        assert policy.allows(f"image/{mimetype}")
    for mimetype in ("image/svg+xml", "application/pdf", "image/heic", "text/html", "image/jpeg ", "IMAGE/JPEG", ""):
        assert not policy.allows(mimetype)


def test_allowing_more_makes_another_policy() -> None:
    policy = ImagePolicy(max_bytes=5)
    wider = policy.allowing("image/svg+xml", "application/pdf")
    assert wider.allows("image/svg+xml")
    assert wider.allows("image/png")
    assert wider.max_bytes == 5
    assert not policy.allows("image/svg+xml")


def test_allowed_types_come_from_any_iterable() -> None:
    assert ImagePolicy(allowed_types=["image/png"]).allowed_types == frozenset({"image/png"})  # type: ignore[arg-type]
    assert ImagePolicy(allowed_types=iter(())).allowed_types == frozenset()  # type: ignore[arg-type]
    assert ImagePolicy(engines=["wand"]).engines == ("wand",)  # type: ignore[arg-type]


def test_limits_are_inclusive_and_can_be_left_out() -> None:
    policy = ImagePolicy(max_bytes=10, max_pixels=100)
    policy.check_bytes(10)
    policy.check_pixels(10, 10)
    policy.check_pixels(5, 10, 2)
    with pytest.raises(PolicyViolationError, match="at most 10 bytes, got 11"):
        policy.check_bytes(11)
    with pytest.raises(PolicyViolationError, match="got 110"):
        policy.check_pixels(10, 11)
    with pytest.raises(PolicyViolationError, match="3 frames"):
        policy.check_pixels(5, 10, 3)
    unlimited = ImagePolicy(max_bytes=None, max_pixels=None)
    unlimited.check_bytes(10**12)
    unlimited.check_pixels(10**6, 10**6, 10**6)


def test_a_type_refused_says_how_to_allow_it() -> None:
    with pytest.raises(PolicyViolationError, match="AVIF, BMP, GIF, JPEG, PNG, TIFF and WebP, got") as caught:
        ImagePolicy().check_type("image/svg+xml")
    assert caught.value.code == "type_not_allowed"
    assert caught.value.params["found"] == "image/svg+xml"
    assert "image/png" in caught.value.params["allowed"]
    # what the programmer could do is no news to the visitor
    assert "allowing('image/svg+xml')" in caught.value.__notes__[0]
    assert "ImagePolicy" not in str(caught.value)


def test_what_is_refused_says_so_in_values_too() -> None:
    info = ImageInfo("image/gif", 1000, 2, frames=9)
    cases: list[tuple[Callable[[], None], str, dict[str, object]]] = [
        (lambda: ImagePolicy(max_bytes=5).check_bytes(6), "too_many_bytes", {"limit": 5, "found": 6}),
        (lambda: ImagePolicy(max_frames=8).check_cost(info), "too_many_frames", {"limit": 8, "found": 9}),
        (lambda: ImagePolicy().check_sides(1000, 2), "too_thin", {"limit": 200, "found": 500}),
        (lambda: ImagePolicy(min_height=3).check_sides(9, 2), "too_small", {"limit": 3, "found": 2, "side": "height"}),
        (lambda: ImagePolicy(max_pixels=9).check_cost(info), "too_many_pixels", {"limit": 9, "found": 18_000}),
    ]
    for check, code, values in cases:
        with pytest.raises(PolicyViolationError) as caught:
            check()
        assert caught.value.code == code
        assert values.items() <= caught.value.params.items()
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.code, again.params, str(again)) == (code, caught.value.params, str(caught.value))


def test_limits_of_frames_and_sides_can_be_left_out() -> None:
    policy = ImagePolicy(max_frames=None, max_aspect=None, max_pixels=None)
    policy.check_cost(ImageInfo("image/gif", 10**6, 1, frames=10**6))
    policy.check_sides(10**6, 1)


def test_the_largest_page_counts() -> None:
    info = ImageInfo("image/tiff", 1, 1, pages=20, largest=(100, 100))
    ImagePolicy(max_pixels=10_000).check_cost(info)
    with pytest.raises(PolicyViolationError, match="pixels"):
        ImagePolicy(max_pixels=9_999).check_cost(info)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_bytes": 0}, InvalidValueError, "max_bytes"),
        ({"max_bytes": -1}, InvalidValueError, "max_bytes"),
        ({"max_bytes": 1.5}, InvalidTypeError, "float"),
        ({"max_bytes": True}, InvalidTypeError, "bool"),
        ({"max_pixels": "1"}, InvalidTypeError, "str"),
        ({"max_frames": 0}, InvalidValueError, "max_frames"),
        ({"max_aspect": 0.5}, InvalidValueError, "max_aspect"),
        ({"max_aspect": float("nan")}, InvalidValueError, "max_aspect"),
        ({"max_aspect": "2"}, InvalidTypeError, "max_aspect"),
        ({"min_width": None}, InvalidTypeError, "min_width"),
        ({"min_height": 0}, InvalidValueError, "min_height"),
        ({"max_pixels": 0}, InvalidValueError, "max_pixels"),
        ({"allowed_types": "image/png"}, InvalidTypeError, "tuple"),
        ({"allowed_types": None}, InvalidTypeError, "NoneType"),
        ({"allowed_types": [b"image/png"]}, InvalidTypeError, "bytes"),
        ({"allowed_types": ["image/*"]}, InvalidValueError, r"image/\*"),
        ({"allowed_types": ["png"]}, InvalidValueError, "png"),
        ({"allowed_types": ["image/PNG"]}, InvalidValueError, "PNG"),
        ({"engines": "pillow"}, InvalidTypeError, "tuple"),
        ({"engines": ()}, InvalidValueError, "'pillow', 'resvg', 'heif', 'pdfium', 'wand'"),
        ({"engines": ("gimp",)}, InvalidValueError, "gimp"),
        ({"verify": "maybe"}, InvalidValueError, "'decode'"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ImagePolicy(**arguments)


def test_allowing_refuses_what_is_no_type() -> None:
    with pytest.raises(InvalidTypeError):
        ImagePolicy().allowing(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        ImagePolicy().allowing("svg")
