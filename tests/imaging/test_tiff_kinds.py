"""TIFFs keep their pixels in more ways than decoders know: each is shown as it is meant, or refused, by each engine."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import UnsupportedLayoutError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render

WIDTH, HEIGHT = 24, 16
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
GREY = (COLUMNS * 255 // (WIDTH - 1)).astype("uint8")
ALPHA = (ROWS * 255 // (HEIGHT - 1)).astype("uint8")
COLOURS = np.stack([GREY, ALPHA, 255 - GREY], 2)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
DEFLATE = 8


def tiff(planes: Sequence[Any], colours: int, *, order: str = "<", pack: bool = False) -> bytes:
    """A TIFF with a strip for each of these arrays, in one byte order."""
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if pack else strips
    samples = len(planes) if len(planes) > 1 else planes[0].shape[2] if planes[0].ndim > 2 else 1
    kind = {"u": 1, "i": 2, "f": 3}[planes[0].dtype.kind]
    starts = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    values: Mapping[int, Sequence[int]] = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [planes[0].dtype.itemsize * 8] * samples,
        259: [DEFLATE if pack else 1],
        262: [colours],
        273: starts,
        277: [samples],
        278: [HEIGHT],
        279: [len(strip) for strip in strips],
        284: [2 if len(planes) > 1 else 1],
        **({338: [2]} if samples == 2 else {}),
        339: [kind] * samples,
        **({530: [1, 1]} if colours == YCBCR else {}),
    }
    data = b"".join(strips)
    directory, behind = struct.pack(f"{order}H", len(values)), b""
    place = 8 + len(data) + 2 + 12 * len(values) + 4
    for tag, numbers in values.items():
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(packed) > 4:
            packed, behind = struct.pack(f"{order}I", place + len(behind)), behind + packed
        directory += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + packed
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}I", 8 + len(data)) + data + directory + bytes(4) + behind


def kinds() -> dict[str, tuple[bytes, Any]]:
    """Files, and the RGBA that they mean."""
    found: dict[str, tuple[bytes, Any]] = {}
    opaque = np.full_like(GREY, 255)
    for order in "<>":
        for pack in (False, True):
            how = f"{'little' if order == '<' else 'big'} end first{', packed' if pack else ''}"
            for colours, grey in ((BLACK_IS_ZERO, GREY), (WHITE_IS_ZERO, 255 - GREY)):
                means = np.stack([grey, grey, grey, opaque], 2)
                for name, plane in {
                    "8 bits": GREY,
                    # not the same from both ends
                    "16 bits": (GREY * np.uint16(257)) // 16 * 16,
                    "32 bits": GREY * np.uint32(0x1010101),
                    "floats": (GREY / 255).astype("f4"),
                }.items():
                    content = tiff([plane], colours, order=order, pack=pack)
                    found[f"grey of {name}, {'white' if not colours else 'black'} is 0, {how}"] = content, means
                means = np.stack([grey, grey, grey, ALPHA], 2)
                both = np.stack([GREY, ALPHA], 2)
                for name, pixels in (("8", both), ("16", both * np.uint16(257))):
                    content = tiff([pixels], colours, order=order, pack=pack)
                    found[f"grey and alpha of {name} bits, {'white' if not colours else 'black'} is 0, {how}"] = (
                        content,
                        means,
                    )
            means = np.concatenate([COLOURS, opaque[..., None]], 2)
            for name, dtype, factor in (("8", "u1", 1), ("16", "u2", 257)):
                wide = COLOURS.astype(dtype) * np.dtype(dtype).type(factor)
                found[f"colours of {name} bits, {how}"] = tiff([wide], RGB, order=order, pack=pack), means
                planes = [np.ascontiguousarray(wide[..., band]) for band in range(3)]
                found[f"planes of {name} bits, {how}"] = tiff(planes, RGB, order=order, pack=pack), means
    mixed = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    found["YCbCr"] = tiff([mixed], YCBCR), np.concatenate([COLOURS, opaque[..., None]], 2)
    return found


KINDS = kinds()
#: Those that ImageMagick forgets to turn, and that Pillow does not read either.
NOBODYS = {name for name in KINDS if "white is 0" in name and ("alpha" in name or "32 bits" in name)}


@pytest.mark.parametrize("engine", ["pillow", "wand", "vips"])
@pytest.mark.parametrize("name", KINDS)
def test_each_is_shown_as_it_is_meant_or_refused(name: str, engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "wand":
        request.getfixturevalue("wand")
    content, means = KINDS[name]
    policy = ImagePolicy(engines=(engine,), isolate=False)
    try:
        (made,) = render(io.BytesIO(content), [Rendition(width=WIDTH, format="png", filter="point")], policy)
    except UnsupportedLayoutError:
        return
    shown = np.asarray(Image.open(io.BytesIO(made.blob)).convert("RGBA"), float)
    visible = [pixels[..., :3] * pixels[..., 3:] / 255 for pixels in (shown, means.astype(float))]
    assert np.abs(shown[..., 3] - means[..., 3]).max() <= 1
    # what YCbCr has lost, and the last of 16 bits
    assert np.abs(visible[0] - visible[1]).max() <= (6 if name == "YCbCr" else 2)


@pytest.mark.parametrize("name", KINDS)
def test_one_of_the_usual_engines_shows_it(name: str, wand: str) -> None:
    content, _ = KINDS[name]
    policy = ImagePolicy(engines=("pillow", wand), isolate=False)
    if name in NOBODYS:
        with pytest.raises(UnsupportedLayoutError, match="convert it first"):
            render(io.BytesIO(content), [Rendition(width=8)], policy)
    else:
        assert render(io.BytesIO(content), [Rendition(width=8)], policy)


def test_twelve_bits_are_not_shown_as_sixteen(wand: str) -> None:
    ramp = np.linspace(0, 4095, WIDTH).astype("u2")
    pairs = np.tile(ramp, HEIGHT).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype("u1")
    content = tiff([packed.reshape(HEIGHT, -1)], BLACK_IS_ZERO)
    content = content.replace(struct.pack("<HHII", 258, 4, 1, 8), struct.pack("<HHII", 258, 4, 1, 12))
    policy = ImagePolicy(engines=("pillow", wand), isolate=False)
    (made,) = render(io.BytesIO(content), [Rendition(width=WIDTH, format="png", filter="point")], policy)
    shown = np.asarray(Image.open(io.BytesIO(made.blob)).convert("L"), float)
    assert np.abs(shown - ramp / 4095 * 255).max() <= 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "colours"), [("i1", BLACK_IS_ZERO), ("i1", WHITE_IS_ZERO), ("i2", WHITE_IS_ZERO)])
def test_what_is_below_zero_is_not_shown_as_the_brightest(kind: str, colours: int, order: str, wand: str) -> None:
    limits = np.iinfo(kind)
    content = tiff(
        [np.linspace(limits.min, limits.max, WIDTH).astype(kind)[None].repeat(HEIGHT, 0)], colours, order=order
    )
    policy = ImagePolicy(engines=("pillow", wand), isolate=False)
    try:
        (made,) = render(io.BytesIO(content), [Rendition(width=WIDTH, format="png", filter="point")], policy)
    except UnsupportedLayoutError:
        return
    shown = np.asarray(Image.open(io.BytesIO(made.blob)).convert("L"), int)[0]
    steps = np.diff(shown)
    assert (steps >= 0).all() or (steps <= 0).all()
    assert np.ptp(shown) > 100
