"""One suite for all engines: ``policy`` is a policy that allows one engine only, and each test runs on each."""

from __future__ import annotations

import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    PolicyViolationError,
    UnreadableImageError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render, sniff
from tests.pictures import (
    BLUE,
    GREEN,
    RASTER_FORMATS,
    RED,
    WHITE,
    corners,
    encode,
    exif,
    lanczos,
    near,
    pixels,
    psnr,
    quadrants,
    stored,
    texture,
)

from ..images.make import DISPLAY_P3, matrix_profile
from .test_engine import python

QUADRANTS = [RED, GREEN, BLUE, WHITE]


def one(file: io.BytesIO, policy: ImagePolicy, rendition: Rendition) -> bytes:
    (made,) = render(file, [rendition], policy)
    return made.blob


# --- sizes and types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif", "gif"])
@pytest.mark.parametrize(("mimetype", "source"), RASTER_FORMATS.items())
def test_each_type_becomes_each_format(mimetype: str, source: str, form: str, policy: ImagePolicy) -> None:
    file = encode(quadrants(64, 48), source)
    (made,) = render(file, [Rendition(width=32, format=form)], policy)
    assert made.mimetype == sniff(made.blob) == f"image/{form}"
    assert (made.width, made.height) == Image.open(io.BytesIO(made.blob)).size == (32, 24)
    assert near(corners(made.blob), QUADRANTS, 16)


@pytest.mark.parametrize(
    "rendition",
    [
        Rendition(width=17),
        Rendition(height=113),
        Rendition(ratio=0.333),
        Rendition(ratio=2.5),
        Rendition(width=1, height=500),
        Rendition(width=77, height=77),
        Rendition(width=77, height=77, fit="cover"),
        Rendition(width=77, height=31, fit="fill"),
        Rendition(width=500, height=500, fit="fill", upscale=False),
        Rendition(width=500, upscale=False),
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (61, 47), (225, 1), (1, 1), (333, 222)])
def test_what_is_made_has_exactly_the_size_and_type_that_its_target_says(
    size: tuple[int, int], rendition: Rendition, policy: ImagePolicy
) -> None:
    for form in ("JPEG", "PNG"):
        file = encode(texture(*size), form)
        target = rendition.target(*size, f"image/{form.lower()}")
        (made,) = render(file, [rendition], policy)
        assert (made.width, made.height, made.mimetype) == (target.width, target.height, target.mimetype)
        assert Image.open(io.BytesIO(made.blob)).size == (target.width, target.height)
        assert made.rendition is rendition


@pytest.mark.parametrize(("form", "longest"), [("webp", 16_383), ("jpeg", 65_500), ("gif", 65_535), ("avif", 32_768)])
def test_the_longest_picture_that_can_be_made_can_be_read(form: str, longest: int, policy: ImagePolicy) -> None:
    file = encode(Image.new("RGB", (2, 1000), RED), "PNG")
    made = one(file, policy, Rendition(width=2, height=longest, fit="fill", format=form))
    with Image.open(io.BytesIO(made)) as image:
        image.load()
        assert image.size == (2, longest)


def test_many_renditions_come_in_their_order_and_do_not_disturb_one_another(policy: ImagePolicy) -> None:
    file = encode(texture(400, 300), "JPEG")
    renditions = [
        Rendition(width=20),
        Rendition(width=390, format="png"),
        Rendition(width=50, height=50, fit="fill", format="webp"),
        Rendition(ratio=1, format="png"),
        Rendition(width=100, format="png", filter="point"),
        Rendition(width=100, format="png"),
        Rendition(width=20),
    ]
    together = render(file, renditions, policy)
    assert [made.rendition for made in together] == renditions
    for made, alone in zip(together, [render(file, [each], policy)[0] for each in renditions], strict=True):
        assert (made.width, made.height, made.mimetype) == (alone.width, alone.height, alone.mimetype)
        assert psnr(pixels(made.blob), pixels(alone.blob)) > 32
    assert together[0].blob == together[6].blob


def test_nothing_wanted_gives_nothing(policy: ImagePolicy) -> None:
    assert render(encode(quadrants(), "PNG"), [], policy) == []


# --- pixels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(300, 225), (150, 113), (97, 73), (40, 30), (640, 480)])
def test_pixels_are_those_of_an_exact_lanczos_resample(form: str, size: tuple[int, int], policy: ImagePolicy) -> None:
    image = texture(400, 300)
    expected = lanczos(np.asarray(image, float), *size)
    made = one(encode(image, form), policy, Rendition(width=size[0], format="png"))
    # a JPEG differs from its source by itself, and is decoded smaller where that does not show
    assert psnr(pixels(made), expected) > (45 if form == "PNG" else 36)


def test_a_cascade_is_as_good_as_one_step(policy: ImagePolicy) -> None:
    image = texture(800, 600)
    widths = [600, 400, 250, 165, 100, 60, 37]
    made = render(encode(image, "PNG"), [Rendition(width=width) for width in widths], policy)
    for each in made:
        expected = lanczos(np.asarray(image, float), each.width, each.height)
        assert psnr(pixels(each.blob), expected) > 40


@pytest.mark.parametrize("focus", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.3, 0.8)])
def test_a_filled_box_shows_just_the_part_that_its_target_says(focus: tuple[float, float], policy: ImagePolicy) -> None:
    image = texture(301, 200)
    for width, height in ((60, 60), (100, 20), (31, 99)):
        rendition = Rendition(width=width, height=height, fit="fill", focal_point=focus, format="png")
        expected = lanczos(np.asarray(image, float), width, height, rendition.target(301, 200, "image/png").box)
        assert psnr(pixels(one(encode(image, "PNG"), policy, rendition)), expected) > 40
        assert psnr(pixels(one(encode(image, "JPEG"), policy, rendition)), expected) > 33


def test_a_scaled_decode_does_not_shift_a_picture_whose_sides_are_odd(policy: ImagePolicy) -> None:
    image = texture(1003, 757)
    expected = lanczos(np.asarray(image, float), 60, 45)
    made = pixels(one(encode(image, "JPEG"), policy, Rendition(width=60, format="png")))
    best = psnr(made, expected)
    assert best > 38
    for axis in (0, 1):
        for step in (-1, 1):
            assert psnr(np.roll(made, step, axis=axis), expected) < best - 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_is_made_to_stand_upright(form: str, orientation: int, policy: ImagePolicy) -> None:
    file = encode(stored(quadrants(64, 48), orientation), form, exif=exif(orientation))
    whole, part, top = render(
        file,
        [
            Rendition(width=32, format="png"),
            Rendition(width=10, height=20, fit="fill", focal_point=(0.0, 0.9), format="png"),
            Rendition(width=32, height=8, fit="fill", focal_point=(0.5, 0.0), format="png"),
        ],
        policy,
    )
    assert (whole.width, whole.height) == (32, 24)
    assert near(corners(whole.blob), QUADRANTS)
    # the left 24 of 64 columns: nothing but red above blue
    assert near(corners(part.blob), [RED, RED, BLUE, BLUE])
    # the upper 16 of 48 rows
    assert near(corners(top.blob), [RED, GREEN, RED, GREEN])
    assert probe(io.BytesIO(whole.blob)).orientation == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_converted_not_dropped(form: str, policy: ImagePolicy) -> None:
    # The green of Display P3 (0, 255, 0) lies outside of sRGB; these lie within, and were reckoned by hand from the
    # matrices of IEC 61966-2-1 and SMPTE EG 432-1.
    for wide, expected in (((234, 51, 35), (255, 0, 0)), ((117, 251, 76), (0, 255, 0)), ((128, 128, 128),) * 2):
        image = Image.new("RGB", (32, 32), wide)
        file = encode(image, form, icc_profile=matrix_profile("P3", DISPLAY_P3))
        made = one(file, policy, Rendition(width=16, format="png"))
        assert near(corners(made), [expected] * 4, 8)
        assert "icc_profile" not in Image.open(io.BytesIO(made)).info
        plain = one(encode(image, form), policy, Rendition(width=16, format="png"))
        assert near(corners(plain), [wide] * 4, 4)


def test_a_profile_of_a_picture_with_alpha_leaves_the_alpha_alone(policy: ImagePolicy) -> None:
    image = Image.new("RGBA", (32, 32), (234, 51, 35, 100))
    made = one(encode(image, "PNG", icc_profile=matrix_profile("P3", DISPLAY_P3)), policy, Rendition(width=16))
    assert near(corners(made, "RGBA"), [(255, 0, 0, 100)] * 4, 6)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"not a profile",
        b"\0" * 128,
        matrix_profile("cut", DISPLAY_P3)[:200],
        matrix_profile("no white", DISPLAY_P3, (0.0, 0.0, 0.0)),
        matrix_profile("flat", ((0.0, 0.0, 0.0),) * 3),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
    ],
)
def test_a_broken_profile_is_never_an_error(profile: bytes, policy: ImagePolicy) -> None:
    for form in ("JPEG", "PNG"):
        made = one(encode(quadrants(), form, icc_profile=profile), policy, Rendition(width=20))
        assert Image.open(io.BytesIO(made)).size == (20, 15)


def test_srgb_pictures_keep_their_colours(policy: ImagePolicy) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = one(encode(texture(60, 40), "PNG", icc_profile=profile), policy, Rendition(ratio=1))
    assert np.abs(pixels(made) - np.asarray(texture(60, 40), float)).max() <= 1


def test_no_metadata_is_left(policy: ImagePolicy) -> None:
    block = exif(1)
    block[0x010F] = "SECRETMAKER"
    block.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 59.0)})
    options = {"exif": block, "xmp": b"<x:xmpmeta>SECRETXMP</x:xmpmeta>", "comment": b"SECRETCOMMENT"}
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        file = encode(texture(64, 48), form, **options)
        assert b"SECRET" in file.getvalue()
        for made in render(
            file, [Rendition(width=20, format=f) for f in ("jpeg", "png", "webp", "avif", "gif")], policy
        ):
            image = Image.open(io.BytesIO(made.blob))
            assert b"SECRET" not in made.blob
            assert not image.getexif()
            assert not {"exif", "xmp", "icc_profile", "dpi"} & set(image.info)
            assert image.info.get("comment", b"") in {b"", "", b"GIF"}


# --- kinds of pixels ------------------------------------------------------------------------------------------------


def alpha_picture() -> Image.Image:
    """Opaque red on the left; on the right, green that cannot be seen at all."""
    image = Image.new("RGBA", (64, 48), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 32, 48))
    return image


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_what_cannot_be_seen_does_not_run_into_what_can(form: str, policy: ImagePolicy) -> None:
    file = encode(alpha_picture(), form, **({"exact": True} if form == "WEBP" else {}))
    made = pixels(one(file, policy, Rendition(width=15, format="png")), "RGBA")
    seen = made[made[:, :, 3] > 8]
    assert len(seen)
    # green would show wherever alpha is not multiplied in before averaging
    assert seen[:, 1].max() <= 8
    assert seen[:, 0].min() >= 245
    assert {0.0, 255.0} <= set(made[:, :, 3].ravel())


def test_alpha_stays_where_the_type_has_it_and_is_white_where_not(policy: ImagePolicy) -> None:
    file = encode(alpha_picture(), "PNG")
    blobs = {
        form: one(file, policy, Rendition(width=32, format=form)) for form in ("png", "webp", "avif", "gif", "jpeg")
    }
    for form in ("png", "webp", "avif", "gif"):
        colours = corners(blobs[form], "RGBA")
        assert near([colours[0]], [(255, 0, 0, 255)])
        assert colours[1][3] == 0, form
    assert near(corners(blobs["jpeg"]), [RED, WHITE, RED, WHITE])


def test_half_seen_colours_are_flattened_by_their_share(policy: ImagePolicy) -> None:
    file = encode(Image.new("RGBA", (32, 32), (255, 0, 0, 128)), "PNG")
    assert near(corners(one(file, policy, Rendition(width=16, format="jpeg"))), [(255, 127, 127)] * 4, 4)


def test_palettes_with_and_without_transparency(policy: ImagePolicy) -> None:
    plain = quadrants(64, 48).quantize(4)
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        assert near(corners(one(encode(plain, form), policy, Rendition(width=20, format="png"))), QUADRANTS)
    holed = plain.copy()
    hole = holed.getpixel((60, 40))
    for form in ("PNG", "GIF"):
        made = one(encode(holed, form, transparency=hole), policy, Rendition(width=20, format="png"))
        colours = corners(made, "RGBA")
        assert near(colours[:3], [(*colour, 255) for colour in (RED, GREEN, BLUE)])
        assert colours[3][3] == 0
    partly = encode(plain, "PNG", transparency=bytes([255, 128, 0, 64]))
    alphas = {colour[3] for colour in corners(one(partly, policy, Rendition(ratio=1)), "RGBA")}
    assert len(alphas) == 4


def test_a_transparent_colour_of_a_picture_without_palette(policy: ImagePolicy) -> None:
    file = encode(quadrants(64, 48), "PNG", transparency=GREEN)
    colours = corners(one(file, policy, Rendition(ratio=1)), "RGBA")
    assert [colour[3] for colour in colours] == [255, 0, 255, 255]
    grey = Image.new("L", (64, 48), 200)
    grey.paste(50, (0, 0, 32, 48))
    colours = corners(one(encode(grey, "PNG", transparency=50), policy, Rendition(ratio=1)), "RGBA")
    assert [colour[3] for colour in colours] == [0, 255, 0, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_one_bit_pictures_become_grey(form: str, policy: ImagePolicy) -> None:
    image = Image.new("1", (64, 48))
    image.paste(1, (32, 0, 64, 48))
    made = one(encode(image, form), policy, Rendition(width=20, format="png"))
    assert near(corners(made), [(0,) * 3, WHITE] * 2)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(form: str, policy: ImagePolicy) -> None:
    ramp = (np.arange(256) * 257 + np.where(np.arange(256) < 255, 200, 0)).astype("<u2")
    image = Image.fromarray(np.tile(ramp, (16, 1)))
    assert image.mode == "I;16"
    made = pixels(one(encode(image, form), policy, Rendition(ratio=1, format="png")), "L")
    assert np.abs(made - ramp / 257).max() <= 0.51


def test_sixteen_bits_of_colour_and_of_grey_with_alpha(policy: ImagePolicy) -> None:
    import struct
    import zlib

    from tests.pictures import png

    for colour, channels, values in (
        (2, 3, (65_535, 32_896, 0)),
        (4, 2, (32_896, 16_448)),
        (6, 4, (257, 514, 0, 65_535)),
    ):
        row = b"\0" + struct.pack(f">{channels}H", *values) * 16
        content = png(16, 16, (b"IDAT", zlib.compress(row * 16)), depth=16, colour=colour)
        mode = {2: "RGB", 4: "LA", 6: "RGBA"}[colour]
        found = pixels(one(io.BytesIO(content), policy, Rendition(ratio=1)), mode)
        assert np.abs(found - np.array(values) / 257).max() <= 1.5, mode


def test_grey_stays_grey(policy: ImagePolicy) -> None:
    grey = texture(64, 48).convert("L")
    for form in ("JPEG", "PNG", "TIFF"):
        for wanted, mode in (("jpeg", "L"), ("png", "L")):
            made = one(encode(grey, form), policy, Rendition(ratio=1, format=wanted))
            assert Image.open(io.BytesIO(made)).mode == mode
            assert psnr(pixels(made, "L"), np.asarray(grey, float)) > 35
    alpha = Image.merge("LA", (grey, Image.new("L", grey.size, 77)))
    made = one(encode(alpha, "PNG"), policy, Rendition(ratio=1))
    assert Image.open(io.BytesIO(made)).mode == "LA"
    assert near(corners(made, "LA"), [(corner[0], 77) for corner in corners(encode(grey, "PNG").getvalue(), "LA")], 3)


def test_cmyk_is_inverted_as_adobe_has_it_and_converted(policy: ImagePolicy) -> None:
    cyan_to_black = Image.new("CMYK", (64, 48), (0, 0, 0, 0))
    cyan_to_black.paste((255, 0, 0, 0), (0, 0, 32, 24))
    cyan_to_black.paste((0, 255, 0, 0), (32, 0, 64, 24))
    cyan_to_black.paste((0, 0, 0, 255), (0, 24, 32, 48))
    expected = [(0, 255, 255), (255, 0, 255), (0, 0, 0), WHITE]
    for form in ("JPEG", "TIFF"):
        made = one(encode(cyan_to_black, form), policy, Rendition(width=32, format="png"))
        assert near(corners(made), expected, 8), form


def test_lab_becomes_srgb(policy: ImagePolicy) -> None:
    colours = [(200, 70, 60), (80, 180, 90), (70, 80, 190), (220, 220, 220)]
    image = Image.new("RGB", (64, 48))
    for number, colour in enumerate(colours):
        image.paste(colour, (number % 2 * 32, number // 2 * 24, number % 2 * 32 + 32, number // 2 * 24 + 24))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(image, transform)
    assert lab is not None
    # ImageMagick's own conversion is a rough one
    tolerance = 6 if policy.engines == ("pillow",) else 35
    assert near(corners(one(encode(lab, "TIFF"), policy, Rendition(width=20))), colours, tolerance)


def test_an_mpo_gives_its_first_picture(policy: ImagePolicy) -> None:
    file = io.BytesIO()
    quadrants(64, 48).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))], quality=95)
    (made,) = render(file, [Rendition(width=20)], policy)
    assert made.mimetype == "image/jpeg"
    assert near(corners(made.blob), QUADRANTS)


def test_an_icon_gives_its_largest_picture(policy: ImagePolicy) -> None:
    file = io.BytesIO()
    quadrants(128, 128).save(file, "ICO", sizes=[(16, 16), (128, 128), (48, 48)])
    (made,) = render(file, [Rendition(width=100)], policy)
    assert (made.mimetype, made.width, made.height) == ("image/png", 100, 100)
    assert near(corners(made.blob), QUADRANTS)


@pytest.mark.parametrize(
    "name",
    [
        "undefined",
        "point",
        "box",
        "triangle",
        "hermite",
        "hamming",
        "gaussian",
        "cubic",
        "catrom",
        "mitchell",
        "lanczos",
        "lanczos2sharp",
        "spline",
    ],
)
def test_every_kind_of_filter_keeps_flat_colours(name: str, policy: ImagePolicy) -> None:
    made = one(encode(quadrants(), "PNG"), policy, Rendition(width=33, filter=name))
    assert near(corners(made), QUADRANTS)


def test_point_sampling_makes_no_new_colours(policy: ImagePolicy) -> None:
    for form in ("PNG", "JPEG"):
        source = encode(quadrants(640, 480), form)
        made = pixels(one(source, policy, Rendition(width=50, filter="point", format="png")))
        assert len(np.unique(made.reshape(-1, 3).round(-1), axis=0)) <= 4


# --- animation ------------------------------------------------------------------------------------------------------


def film(form: str) -> io.BytesIO:
    frames = [Image.new("RGB", (40, 30), colour) for colour in (RED, GREEN, BLUE)]
    return encode(frames[0], form, save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0)


def test_the_first_frame_stands_for_an_animation(policy: ImagePolicy) -> None:
    for form in ("GIF", "PNG", "WEBP"):
        made = one(film(form), policy, Rendition(width=20, format="png"))
        assert probe(io.BytesIO(made)).frames == 1
        assert near(corners(made), [RED] * 4)


def test_frames_of_a_gif_are_kept_if_wanted(policy: ImagePolicy) -> None:
    wanted = ["gif", "webp", "png", "avif"]
    renditions = [Rendition(width=20, format=form, animated=True) for form in wanted]
    *moving, still, default = render(
        film("GIF"), [*renditions, Rendition(width=20), Rendition(width=8, animated=True)], policy
    )
    for made in moving:
        image = Image.open(io.BytesIO(made.blob))
        assert image.n_frames == probe(io.BytesIO(made.blob)).frames == 3  # type: ignore[attr-defined]
        for number, (colour, duration) in enumerate(zip((RED, GREEN, BLUE), (100, 200, 300), strict=True)):
            image.seek(number)
            image.load()
            assert near([image.convert("RGB").getpixel((10, 10))], [colour])  # type: ignore[list-item]
            assert image.info["duration"] == duration
        assert image.info.get("loop", 0) == 0
    assert probe(io.BytesIO(still.blob)).frames == 1
    assert default.mimetype == "image/gif"


def test_a_picture_that_does_not_move_stays_still(policy: ImagePolicy) -> None:
    made = render(
        encode(quadrants(), "JPEG"),
        [Rendition(width=20, animated=True), Rendition(width=20, animated=True, format="gif")],
        policy,
    )
    assert [each.mimetype for each in made] == ["image/jpeg", "image/gif"]
    assert probe(io.BytesIO(made[1].blob)).frames == 1


# --- limits, arguments, threads -------------------------------------------------------------------------------------


def test_too_many_pixels_are_refused_in_the_source_and_in_each_picture(policy: ImagePolicy) -> None:
    file = encode(quadrants(100, 100), "PNG")
    render(file, [Rendition(width=100)], replace(policy, max_pixels=10_000))
    with pytest.raises(PolicyViolationError):
        render(file, [Rendition(width=10)], replace(policy, max_pixels=9_999))
    with pytest.raises(PolicyViolationError):
        render(file, [Rendition(width=10), Rendition(width=101)], replace(policy, max_pixels=10_000))
    with pytest.raises(PolicyViolationError):
        render(film("GIF"), [Rendition(width=80, animated=True)], replace(policy, max_pixels=3 * 80 * 60 - 1))


def test_bytes_and_types_are_not_checked_again(policy: ImagePolicy) -> None:
    older = replace(policy, max_bytes=1, allowed_types=frozenset())
    assert render(encode(quadrants(), "PNG"), [Rendition(width=10)], older)[0].width == 10


def test_arguments_that_make_no_sense_are_refused(policy: ImagePolicy) -> None:
    file = encode(quadrants(), "PNG")
    for wrong in (None, Rendition(width=1), 5):
        with pytest.raises(InvalidTypeError, match="list"):
            render(file, wrong, policy)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="int"):
        render(file, [Rendition(width=1), 5], policy)  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError, match="ImagePolicy"):
        render(file, [], "policy")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="16,383"):
        render(file, [Rendition(width=20_000, format="webp")], policy)


@pytest.mark.parametrize("form", RASTER_FORMATS.values())
def test_pixels_that_cannot_be_decoded_are_refused(form: str, policy: ImagePolicy) -> None:
    whole = encode(texture(40, 30), form).getvalue()
    with pytest.raises(UnreadableImageError):
        render(io.BytesIO(whole[: len(whole) // 2]), [Rendition(width=10)], policy)


def test_threads_do_not_disturb_one_another(policy: ImagePolicy) -> None:
    files = {
        (form, seed): encode(texture(160, 120, seed), form).getvalue()
        for form in ("JPEG", "PNG", "WEBP")
        for seed in (1, 2)
    }
    renditions = [Rendition(width=80, format="png"), Rendition(width=30, height=30, fit="fill", format="png")]

    def work(key: tuple[str, int]) -> list[bytes]:
        return [made.blob for made in render(io.BytesIO(files[key]), renditions, policy)]

    alone = {key: work(key) for key in files}
    with ThreadPoolExecutor(8) as pool:
        keys = list(files) * 8
        for key, blobs in zip(keys, pool.map(work, keys), strict=True):
            assert blobs == alone[key]


def test_the_photographs_come_out_as_they_look(photos: Path, policy: ImagePolicy) -> None:
    for path in sorted(photos.glob("*.*g")) + sorted(photos.glob("*.webp")):
        if path.suffix not in {".jpg", ".png", ".webp"} or "animated" in path.name and policy.engines == ("wand",):
            continue
        with path.open("rb") as file:
            info = probe(file, policy)
            (made,) = render(file, [Rendition(width=100)], policy)
        assert made.height == round(100 * info.height / info.width)
        assert made.mimetype == info.mimetype
        reference = Image.open(io.BytesIO(path.read_bytes()))
        if info.orientation == 6:
            assert (info.width, info.height) == (451, 300)
            reference = reference.transpose(Image.Transpose.ROTATE_270)  # type: ignore[assignment]
        if "p3" in path.name:
            continue
        expected = np.asarray(reference.convert("RGB").resize((100, made.height), Image.Resampling.LANCZOS), float)
        visible = np.asarray(reference.convert("RGBA").resize((100, made.height)))[:, :, 3:] > 250
        difference = np.where(visible, pixels(made.blob) - expected, 0)
        assert psnr(difference, np.zeros_like(difference)) > 30, path.name


def test_durations_and_repetitions_beyond_all_formats_are_cut_short() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    film = {"save_all": True, "append_images": frames[1:]}
    endless = [
        encode(frames[0], "PNG", **film, duration=100, loop=2_000_000),
        encode(frames[0], "WEBP", **film, duration=16_000_000, loop=1),
    ]
    for file in endless:
        for form in ("gif", "png", "webp", "avif"):
            (made,) = render(file, [Rendition(width=4, format=form, animated=True)])
            assert probe(io.BytesIO(made.blob)).frames == 2


def test_a_tiff_is_turned_by_its_tag_alone(policy: ImagePolicy) -> None:
    # Pillow would obey XMP as well, which no header that we look at says anything of
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = encode(quadrants(64, 48), "TIFF", tiffinfo={700: xmp})
    assert b"Orientation" in file.getvalue()
    assert probe(file).orientation == 1
    assert near(corners(one(file, policy, Rendition(width=32))), QUADRANTS)


# what Pillow warns of is no picture of ours, whether warnings are errors or not
@pytest.mark.filterwarnings("ignore:Image was not the expected size")
def test_an_icon_that_lies_about_its_size_is_refused() -> None:
    file = io.BytesIO()
    quadrants(32, 32).save(file, "ICO", sizes=[(32, 32)])
    content = bytearray(file.getvalue())
    content[6:8] = b"\x10\x10"
    with pytest.raises(UnreadableImageError):
        render(io.BytesIO(content), [Rendition(width=8)])


def test_a_jpeg_of_a_hundred_megapixels_takes_less_than_200_mib_in_usual_sizes() -> None:
    code = """
import io
import tempfile
from PIL import Image
from sqlalchemy_imageattach.imaging import Rendition, render
def peak():
    with open("/proc/self/status") as file:
        return int(file.read().split("VmHWM:")[1].split()[0]) / 1024
widths = 1920, 1280, 960, 640, 320, 150
wanted = [Rendition(width=width, format=form) for width in widths for form in ("jpeg", "webp", "avif")]
small = io.BytesIO()
Image.new("RGB", (300, 200), "teal").save(small, "JPEG")
render(small, [Rendition(width=30, format=form) for form in ("jpeg", "webp", "avif")])
with open("{path}", "rb") as file:
    before = peak()
    render(file, wanted)
print(peak() - before)
"""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "huge.jpg"
        Image.radial_gradient("L").resize((11_547, 8_660)).convert("RGB").save(path, "JPEG", quality=80)
        assert float(python(code.replace("{path}", str(path)))) < 200


def lost(source: io.BytesIO, renditions: list[Rendition], policy: ImagePolicy) -> list[float]:
    """What short cuts cost each rendition: dB less than a full decode and one exact Lanczos, after JPEG."""
    image = np.asarray(Image.open(source).convert("RGB"), float)
    losses = []
    for made in render(source, renditions, policy):
        truth = lanczos(image, made.width, made.height)
        exact = Image.fromarray(truth.round().astype("uint8"))
        (best,) = render(encode(exact, "PNG"), [Rendition(ratio=1, format="jpeg")])
        losses.append(psnr(pixels(best.blob), truth) - psnr(pixels(made.blob), truth))
    return losses


@pytest.mark.parametrize("name", ["astronaut.jpg", "coffee.jpg", "rocket-display-p3.jpg"])
def test_short_cuts_lose_next_to_nothing_on_photographs(name: str, photos: Path, policy: ImagePolicy) -> None:
    photo = Image.fromarray(np.asarray(Image.open(photos / name).convert("RGB")))
    widths = [480, 320, 213, 160, 100]
    chained = [Rendition(width=width, format="jpeg") for width in widths]
    assert max(lost(encode(photo, "PNG"), chained, policy)) < 0.05
    # decoded at a half, a quarter or an eighth
    for width in (300, 150):
        (loss,) = lost(encode(photo, "JPEG", quality=95), [Rendition(width=width)], policy)
        assert loss < 0.4
