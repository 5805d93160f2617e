from __future__ import annotations

import pytest

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from sqlalchemy_imageattach.imaging import ImagePolicy


def test_the_defaults_are_those_documented() -> None:
    policy = ImagePolicy()
    assert policy.max_bytes == 64 * 2**20
    assert policy.max_pixels == 100_000_000
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
    with pytest.raises(PolicyViolationError, match=r"allowing\('image/svg\+xml'\)"):
        ImagePolicy().check_type("image/svg+xml")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_bytes": 0}, InvalidValueError, "max_bytes"),
        ({"max_bytes": -1}, InvalidValueError, "max_bytes"),
        ({"max_bytes": 1.5}, InvalidTypeError, "float"),
        ({"max_bytes": True}, InvalidTypeError, "bool"),
        ({"max_pixels": "1"}, InvalidTypeError, "str"),
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
