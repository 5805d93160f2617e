from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.imagetypes import by_name
from sqlalchemy_imageattach.imaging import VECTOR_TYPES, Rendition
from sqlalchemy_imageattach.imaging.filters import FILTERS
from sqlalchemy_imageattach.imaging.rendition import SAME_AS_ORIGINAL

JPEG = "image/jpeg"
sides = st.integers(1, 5000)


def size(rendition: Rendition, width: int, height: int) -> tuple[int, int]:
    target = rendition.target(width, height, JPEG)
    return target.width, target.height


@pytest.mark.parametrize(
    ("rendition", "source", "expected"),
    [
        (Rendition(ratio=0.5), (640, 480), (320, 240)),
        (Rendition(ratio=0.5), (225, 151), (113, 76)),  # 112.5 and 75.5: half up
        (Rendition(ratio=2), (10, 20), (20, 40)),
        (Rendition(ratio=0.0001), (640, 480), (1, 1)),
        (Rendition(width=150), (640, 480), (150, 113)),
        (Rendition(height=150), (640, 480), (200, 150)),
        (Rendition(width=1280), (640, 480), (1280, 960)),
        (Rendition(width=1), (1, 5000), (1, 5000)),
        (Rendition(width=1), (5000, 1), (1, 1)),
        (Rendition(width=100, height=100), (640, 480), (100, 75)),
        (Rendition(width=100, height=100), (480, 640), (75, 100)),
        (Rendition(width=1000, height=1000), (640, 480), (1000, 750)),
        (Rendition(width=100, height=100, fit="cover"), (640, 480), (133, 100)),
        (Rendition(width=100, height=100, fit="cover"), (480, 640), (100, 133)),
        (Rendition(width=100, height=100, fit="fill"), (640, 480), (100, 100)),
        (Rendition(width=1000, height=500, fit="fill"), (640, 480), (1000, 500)),
        (Rendition(ratio=2, upscale=False), (10, 20), (10, 20)),
        (Rendition(width=1280, upscale=False), (640, 480), (640, 480)),
        (Rendition(height=300, upscale=False), (640, 480), (400, 300)),
        (Rendition(width=1000, height=1000, upscale=False), (640, 480), (640, 480)),
        (Rendition(width=600, height=600, fit="cover", upscale=False), (640, 480), (640, 480)),
        (Rendition(width=1000, height=1000, fit="fill", upscale=False), (640, 480), (480, 480)),
        (Rendition(width=1600, height=900, fit="fill", upscale=False), (640, 480), (640, 360)),
        (Rendition(width=300, height=300, fit="fill", upscale=False), (640, 480), (300, 300)),
    ],
)
def test_the_size_of_a_target_is_that_of_the_rule(
    rendition: Rendition, source: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size(rendition, *source) == expected


@given(sides, sides, sides, sides)
def test_contain_fits_the_box_and_touches_it(width: int, height: int, wide: int, high: int) -> None:
    across, down = size(Rendition(width=wide, height=high), width, height)
    assert across <= wide
    assert down <= high
    assert across == wide or down == high


@given(sides, sides, sides, sides)
def test_cover_covers_the_box_and_touches_it(width: int, height: int, wide: int, high: int) -> None:
    assume(max(wide / width * height, high / height * width) < 65_000)
    across, down = size(Rendition(width=wide, height=high, fit="cover"), width, height)
    assert across >= wide
    assert down >= high
    assert across == wide or down == high


@given(sides, sides, sides, sides, st.sampled_from(["contain", "cover", "fill"]))
def test_nothing_is_enlarged_without_leave(width: int, height: int, wide: int, high: int, fit: str) -> None:
    across, down = size(Rendition(width=wide, height=high, fit=fit, upscale=False), width, height)  # type: ignore[arg-type]
    assert 1 <= across <= width
    assert 1 <= down <= height


@given(sides, sides, sides, sides, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_fill_shows_a_part_of_the_source_that_has_its_shape_and_is_nearest_to_the_focal_point(
    width: int, height: int, wide: int, high: int, x: float, y: float, upscale: bool
) -> None:
    rendition = Rendition(width=wide, height=high, fit="fill", focal_point=(x, y), upscale=upscale)
    target = rendition.target(width, height, JPEG)
    left, top, right, bottom = target.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert math.isclose(left, 0, abs_tol=1e-6) and math.isclose(right, width) or math.isclose(top, 0, abs_tol=1e-6)
    assert math.isclose((right - left) / (bottom - top), target.width / target.height, rel_tol=1e-6)
    # moving the part towards the focal point is possible only where it would leave the picture
    for start, end, whole, focus in ((left, right, width, x * width), (top, bottom, height, y * height)):
        middle = (start + end) / 2
        assert (
            math.isclose(middle, focus, abs_tol=1e-6 * whole)
            or (middle > focus and start == 0)
            or (middle < focus and math.isclose(end, whole))
        )


@given(sides, sides, st.floats(1e-6, 10))
def test_a_ratio_is_rounded_exactly(width: int, height: int, ratio: float) -> None:
    expected = tuple(max(1, math.floor(Fraction(side) * Fraction(ratio) + Fraction(1, 2))) for side in (width, height))
    assert size(Rendition(ratio=ratio), width, height) == expected


@pytest.mark.parametrize(
    ("source", "still", "moving"),
    [
        ("image/jpeg", "image/jpeg", "image/jpeg"),
        ("image/png", "image/png", "image/png"),
        ("image/webp", "image/webp", "image/webp"),
        ("image/avif", "image/avif", "image/avif"),
        ("image/gif", "image/png", "image/gif"),
        ("image/bmp", "image/png", "image/png"),
        ("image/tiff", "image/png", "image/png"),
        ("image/vnd.microsoft.icon", "image/png", "image/png"),
        ("image/heic", "image/webp", "image/webp"),
        ("image/heif", "image/webp", "image/webp"),
        ("image/svg+xml", "image/png", "image/png"),
        ("application/pdf", "image/png", "image/png"),
        ("image/x-portable-pixmap", "image/png", "image/png"),
    ],
)
def test_the_type_made_depends_on_the_type_of_the_source_alone(source: str, still: str, moving: str) -> None:
    assert Rendition(width=10).target(20, 20, source).mimetype == still
    assert Rendition(width=10, animated=True).target(20, 20, source).mimetype == moving


@pytest.mark.parametrize(
    ("form", "mimetype"),
    [
        *((name, f"image/{name}") for name in ("jpeg", "png", "webp", "avif", "gif")),
        ("jpg", "image/jpeg"),
        ("image/webp", "image/webp"),
    ],
)
def test_a_format_is_asked_for_by_name_or_by_type(form: str, mimetype: str) -> None:
    assert Rendition(width=1, format=form).target(9, 9, "image/gif").mimetype == mimetype


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, InvalidValueError, "ratio, width or height"),
        ({"ratio": 0.5, "width": 10}, InvalidValueError, "got both"),
        ({"ratio": 0.5, "height": 10}, InvalidValueError, "got both"),
        ({"ratio": 0}, InvalidValueError, "above 0"),
        ({"ratio": -0.5}, InvalidValueError, "above 0"),
        ({"ratio": math.nan}, InvalidValueError, "finite"),
        ({"ratio": math.inf}, InvalidValueError, "finite"),
        ({"ratio": True}, InvalidTypeError, "bool"),
        ({"ratio": "0.5"}, InvalidTypeError, "str"),
        ({"width": 0}, InvalidValueError, "1 or more"),
        ({"width": -1}, InvalidValueError, "1 or more"),
        ({"height": 0}, InvalidValueError, "1 or more"),
        ({"width": 10.0}, InvalidTypeError, "float"),
        ({"width": True}, InvalidTypeError, "bool"),
        ({"height": "10"}, InvalidTypeError, "str"),
        ({"width": 1, "fit": "cover"}, InvalidValueError, "both width and height"),
        ({"height": 1, "fit": "fill"}, InvalidValueError, "both width and height"),
        ({"ratio": 0.5, "fit": "fill"}, InvalidValueError, "both width and height"),
        ({"width": 1, "fit": "crop"}, InvalidValueError, "'contain', 'cover', 'fill'"),
        ({"width": 1, "fit": None}, InvalidTypeError, "NoneType"),
        ({"width": 1, "quality": 0}, InvalidValueError, "1 to 100"),
        ({"width": 1, "quality": 101}, InvalidValueError, "1 to 100"),
        ({"width": 1, "quality": 80.0}, InvalidTypeError, "float"),
        ({"width": 1, "quality": True}, InvalidTypeError, "bool"),
        ({"width": 1, "filter": "blurry"}, InvalidValueError, "'lanczos'"),
        ({"width": 1, "filter": 3}, InvalidTypeError, "int"),
        ({"width": 1, "format": "tiff"}, InvalidValueError, "'webp'"),
        ({"width": 1, "format": b"png"}, InvalidTypeError, "bytes"),
        ({"width": 1, "format": "jpeg", "animated": True}, InvalidValueError, "one frame"),
        ({"width": 1, "format": "image/jpeg", "animated": True}, InvalidValueError, "one frame"),
        ({"width": 1, "animated": 1}, InvalidTypeError, "int"),
        ({"width": 1, "upscale": "no"}, InvalidTypeError, "str"),
        ({"width": 1, "focal_point": (0.5, 1.1)}, InvalidValueError, "0 to 1"),
        ({"width": 1, "focal_point": (-0.1, 0)}, InvalidValueError, "0 to 1"),
        ({"width": 1, "focal_point": (math.nan, 0)}, InvalidValueError, "nan"),
        ({"width": 1, "focal_point": (0.5,)}, InvalidTypeError, "two fractions"),
        ({"width": 1, "focal_point": "center"}, InvalidTypeError, "two fractions"),
        ({"width": 1, "focal_point": (True, 0.5)}, InvalidTypeError, "bool"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_with_what_was_expected(
    arguments: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Rendition(**arguments)


def test_every_filter_has_a_name_that_wand_knows(wand: str) -> None:
    from wand.image import FILTER_TYPES

    assert set(FILTER_TYPES) - {"sentinel"} <= FILTERS


@pytest.mark.parametrize(("form", "side"), [("webp", 16_384), ("jpeg", 65_501), ("gif", 65_536), ("avif", 32_769)])
def test_a_picture_larger_than_its_format_holds_is_refused(form: str, side: int) -> None:
    with pytest.raises(InvalidValueError, match="pixels a side"):
        Rendition(width=side, format=form).target(100, 1, JPEG)
    assert Rendition(width=side - 1, format=form).target(100, 1, JPEG).width == side - 1


def test_an_absurd_size_is_refused_before_it_is_reckoned_with() -> None:
    for absurd in (
        {"ratio": 1e300},
        {"ratio": 10**400},
        {"ratio": 10**5000},
        {"width": 10**5000},
        {"height": 2**31},
        {"width": -(10**5000)},
    ):
        with pytest.raises(InvalidValueError, match="up to"):
            Rendition(**absurd)
    with pytest.raises(InvalidValueError, match="16,610 bits"):
        Rendition(width=1, quality=10**5000)
    with pytest.raises(InvalidValueError, match="pixels a side"):
        Rendition(ratio=65_535.0).target(100, 100, JPEG)


@pytest.mark.parametrize(
    ("source", "error"),
    [((0, 1, JPEG), InvalidValueError), ((1, 2.0, JPEG), InvalidTypeError), ((1, 1, None), InvalidTypeError)],
)
def test_a_source_that_cannot_be_has_no_target(source: tuple, error: type[Exception]) -> None:
    with pytest.raises(error):
        Rendition(width=1).target(*source)


def test_vector_types_are_the_documented_ones() -> None:
    assert frozenset({"application/pdf", "image/svg+xml"}) == VECTOR_TYPES


def test_renditions_are_values() -> None:
    assert Rendition(width=1) == Rendition(width=1)
    assert len({Rendition(width=1), Rendition(width=1), Rendition(width=2)}) == 2
    assert Rendition(width=3, height=4).target(6, 8, JPEG).pixels == 12


# --- what tells renditions of one size and type apart ----------------------------------------------------------------


def variant(mimetype: str = JPEG, *, moves: bool = True, **options: Any) -> str:
    """That of a rendition of a picture of 900×600."""
    return Rendition(**options).variant(900, 600, mimetype, moves=moves)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 300},
        {"height": 200},
        {"ratio": 0.5},
        {"width": 300, "height": 300},
        {"width": 300, "height": 300, "fit": "cover"},
        {"width": 300, "height": 200, "fit": "fill"},
        {"width": 300, "height": 200, "fit": "fill", "focal_point": (1.0, 0.0)},
        {"width": 300, "focal_point": (0.0, 1.0)},
        {"width": 300, "quality": 80},
        {"width": 600, "quality": 85},
        {"width": 300, "format": "png", "quality": 3},
        {"width": 300, "filter": "lanczos"},
        {"width": 300, "filter": "kaiser"},
        {"width": 300, "animated": True},  # a JPEG does not move
        {"width": 1800, "upscale": True},
    ],
)
def test_where_size_and_type_say_all_there_is_nothing_else_to_tell(options: dict) -> None:
    assert variant(**options) == ""


def test_what_has_the_size_and_the_type_of_its_original_is_told_from_it() -> None:
    assert variant(width=900) == variant(ratio=1.0) == variant(width=2000, upscale=False) == SAME_AS_ORIGINAL != ""
    assert variant(width=900, format="webp") == ""
    assert variant(width=900, quality=50) not in {"", SAME_AS_ORIGINAL}
    # no pixel is resampled, so it does not matter how
    assert variant(width=900, filter="point") == SAME_AS_ORIGINAL


SQUARE: dict[str, Any] = {"width": 300, "height": 300, "fit": "fill"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({**SQUARE, "focal_point": (0.5, 0.0)}, {**SQUARE, "focal_point": (0.5, 1.0)}),  # nothing to choose from
        ({**SQUARE, "focal_point": (0.0, 0.5)}, {**SQUARE, "focal_point": (0.3, 0.5)}),  # at the edge already
        ({**SQUARE, "focal_point": (0.1 + 0.2 + 0.1, 0.5)}, {**SQUARE, "focal_point": (0.4, 0.5)}),
        ({**SQUARE, "quality": 80}, SQUARE),
        ({"width": 300, "filter": "catrom"}, {"width": 300, "filter": "mitchell"}),
        ({"width": 300, "quality": 50}, {"ratio": 1 / 3, "quality": 50, "format": "jpg"}),
    ],
)
def test_renditions_that_come_to_the_same_picture_have_one_variant(one: dict, other: dict) -> None:
    assert variant(**one) == variant(**other)


def test_renditions_that_do_not_have_several() -> None:
    wanted: list[dict] = [
        {"width": 300},
        SQUARE,
        {**SQUARE, "focal_point": (0.0, 0.5)},
        {**SQUARE, "focal_point": (0.6, 0.5)},
        {**SQUARE, "quality": 50},
        {**SQUARE, "filter": "box"},
        {"width": 300, "quality": 50},
        {"width": 300, "quality": 51},
        {"width": 300, "filter": "box"},
        {"width": 300, "filter": "point"},
    ]
    assert len({variant(**options) for options in wanted}) == len(wanted)


def test_frames_count_where_there_are_several() -> None:
    for mimetype in ("image/gif", "image/png", "image/webp", "image/avif"):
        assert variant(mimetype, width=300, animated=True) != ""
        assert variant(mimetype, width=300, animated=True, moves=False) == ""
    assert variant("image/gif", width=300, animated=True, format="webp") != ""


def test_variants_are_the_same_in_every_release() -> None:
    # rows in databases refer to them
    assert SAME_AS_ORIGINAL == "remade"
    assert variant(**SQUARE) == "59fd8e01ae5fa7dbf421"
    assert variant(width=300, quality=50) == "0ebd49cec2468074c0c7"
    assert variant("image/gif", width=300, filter="box", animated=True) == "3731d7dd86d6c63d3ad7"


@given(sides, sides, sides, sides, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_two_cuts_of_one_size_are_one_variant_just_if_they_show_the_same_part(
    width: int, height: int, wide: int, high: int, x: float, y: float, other_x: float, other_y: float
) -> None:
    one = Rendition(width=wide, height=high, fit="fill", focal_point=(x, y))
    other = Rendition(width=wide, height=high, fit="fill", focal_point=(other_x, other_y))
    sides_of_both = zip(one.target(width, height, JPEG).box, other.target(width, height, JPEG).box, strict=True)
    furthest = max(abs(mine - theirs) for mine, theirs in sides_of_both)
    assume(furthest == 0 or furthest > 1e-5)
    assert (one.variant(width, height, JPEG) == other.variant(width, height, JPEG)) is (furthest == 0)


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ({"width": 150}, (150, 112), True),
        ({"width": 150}, (150, 113), True),
        ({"width": 150}, (150, 111), False),
        ({"width": 150}, (151, 112), False),
        ({"height": 100}, (133, 100), True),
        ({"height": 100}, (134, 100), False),
        ({"width": 320}, (320, 239), True),  # exactly 240 in theory, and 239.99… in floating point
        ({"ratio": 0.333}, (213, 159), True),
        ({"width": 150, "height": 150}, (150, 112), False),
        ({"width": 1280, "upscale": False}, (1280, 960), False),
    ],
)
def test_pictures_of_1x_are_known_by_the_side_that_was_given(
    options: dict, size: tuple[int, int], expected: bool
) -> None:
    assert Rendition(**options).is_size_of_1x(size, 640, 480) is expected


@pytest.mark.parametrize(
    ("form", "small", "large"), [("jpeg", 80, 85), ("webp", 90, 88), ("avif", 71, 71), ("png", None, None)]
)
def test_the_default_quality_is_that_of_the_type_and_of_the_size(form: str, small: object, large: object) -> None:
    writing = by_name[form].writing
    assert writing is not None
    for size, usual in (((480, 480), small), ((1, 480), small), ((481, 10), large), ((10, 481), large)):
        assert writing.quality_of(*size) == usual


def test_the_default_of_the_other_size_is_no_default() -> None:
    assert variant(width=300, quality=85) != "" != variant(width=600, quality=80)
