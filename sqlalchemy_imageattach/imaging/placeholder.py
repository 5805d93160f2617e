"""What is shown until a picture is there: its dominant colour, and a blurred preview of 20 to 30 bytes.

The preview is a `ThumbHash <https://evanw.github.io/thumbhash/>`_, by Evan Wallace: the lowest frequencies of a cosine
transform of brightness, two colour differences and, where there is one, transparency.  Written after his description
and reference implementation (MIT licence), since the packages for Python are not kept any more.
"""

from __future__ import annotations

import base64
import io
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .rendition import Rendition

__all__ = ["PREVIEW", "Placeholder", "css_of", "placeholder_of"]

#: What placeholders are made from.
PREVIEW: Final = Rendition(width=32, height=32, upscale=False, format="png")

#: How many pixels the decoded preview has: browsers smooth it when they enlarge it.
_SIDE: Final = 8


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What is kept of a picture to be shown in its place.

    :param color: the colour that prevails, ``"#rrggbb"``, or ``"#rrggbbaa"`` of one that is transparent in parts
    :param thumbhash: in Base64
    """

    color: str
    thumbhash: str


def placeholder_of(preview: bytes) -> Placeholder:
    """The placeholder of a picture, of which ``preview`` is the :data:`PREVIEW`."""
    from PIL import Image

    with Image.open(io.BytesIO(preview)) as opened:
        image = opened.convert("RGBA")
    pixels: list[tuple[int, int, int, int]] = list(zip(*[iter(image.tobytes())] * 4, strict=True))
    return Placeholder(_dominant(pixels), base64.b64encode(_encode(image.width, image.height, pixels)).decode())


def _dominant(pixels: Sequence[tuple[int, int, int, int]]) -> str:
    """The mean of the most frequent of 64 boxes of colours; the transparent parts do not count."""
    boxes: dict[tuple[int, int, int], list[tuple[int, int, int, int]]] = {}
    for pixel in pixels:
        if pixel[3] >= 128:
            boxes.setdefault((pixel[0] >> 6, pixel[1] >> 6, pixel[2] >> 6), []).append(pixel)
    most = max(boxes.values(), key=len, default=[(255, 255, 255, 0)])
    red, green, blue = (round(sum(pixel[channel] for pixel in most) / len(most)) for channel in range(3))
    alpha = round(sum(pixel[3] for pixel in pixels) / len(pixels))
    return f"#{red:02x}{green:02x}{blue:02x}" + ("" if all(pixel[3] == 255 for pixel in pixels) else f"{alpha:02x}")


# --- ThumbHash -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _cosines(length: int, frequency: int) -> tuple[float, ...]:
    return tuple(math.cos(math.pi / length * frequency * (place + 0.5)) for place in range(length))


def _frequencies(across: int, down: int) -> list[tuple[int, int]]:
    """Those of a channel but for the mean, in the order in which they are written."""
    return [(x, y) for y in range(down) for x in range(0 if y else 1, across) if x * down < across * (down - y)]


def _transformed(
    values: Sequence[float], width: int, height: int, across: int, down: int
) -> tuple[float, list[float], float]:
    """The mean of a channel, its other frequencies from 0 to 1, and the scale of these."""
    rows = [values[start : start + width] for start in range(0, width * height, width)]
    lines = [[sum(map(float.__mul__, row, _cosines(width, x))) for row in rows] for x in range(across)]

    def term(x: int, y: int) -> float:
        return sum(map(float.__mul__, lines[x], _cosines(height, y))) / (width * height)

    others = [term(x, y) for x, y in _frequencies(across, down)]
    scale = max((abs(other) for other in others), default=0.0)
    return term(0, 0), [0.5 + 0.5 / scale * other for other in others] if scale else others, scale


def _encode(width: int, height: int, pixels: Sequence[tuple[int, int, int, int]]) -> bytes:
    weight = sum(pixel[3] for pixel in pixels) / 255
    mean = [sum(pixel[c] * pixel[3] for pixel in pixels) / 255 / 255 / (weight or 1.0) for c in range(3)]
    has_alpha = weight < width * height
    limit = 5 if has_alpha else 7
    across, down = (max(1, round(limit * side / max(width, height))) for side in (width, height))
    channels: tuple[list[float], ...] = ([], [], [], [])
    for *color, opacity in pixels:
        alpha = opacity / 255
        red, green, blue = (mean[c] * (1 - alpha) + alpha / 255 * color[c] for c in range(3))
        for channel, value in zip(
            channels, ((red + green + blue) / 3, (red + green) / 2 - blue, red - green, alpha), strict=True
        ):
            channel.append(value)
    l_dc, l_ac, l_scale = _transformed(channels[0], width, height, max(3, across), max(3, down))
    p_dc, p_ac, p_scale = _transformed(channels[1], width, height, 3, 3)
    q_dc, q_ac, q_scale = _transformed(channels[2], width, height, 3, 3)
    landscape = width > height
    head = (
        round(63 * l_dc)
        | round(31.5 + 31.5 * p_dc) << 6
        | round(31.5 + 31.5 * q_dc) << 12
        | round(31 * l_scale) << 18
        | has_alpha << 23
    )
    tail = (down if landscape else across) | round(63 * p_scale) << 3 | round(63 * q_scale) << 9 | landscape << 15
    body, nibbles = head.to_bytes(3, "little") + tail.to_bytes(2, "little"), [*l_ac, *p_ac, *q_ac]
    if has_alpha:
        a_dc, a_ac, a_scale = _transformed(channels[3], width, height, 5, 5)
        body += bytes([round(15 * a_dc) | round(15 * a_scale) << 4])
        nibbles += a_ac
    steps = [min(15, max(0, round(15 * nibble))) for nibble in nibbles] + [0]
    return body + bytes(low | high << 4 for low, high in zip(steps[::2], steps[1::2], strict=False))


def _decode(thumbhash: bytes) -> bytes:
    """``_SIDE`` times ``_SIDE`` pixels of red, green and blue; only for what has no transparency."""
    head, tail = int.from_bytes(thumbhash[:3], "little"), int.from_bytes(thumbhash[3:5], "little")
    landscape = tail >> 15 != 0
    across, down = max(3, 7 if landscape else tail & 7), max(3, tail & 7 if landscape else 7)
    nibbles = iter([nibble for byte in thumbhash[5:] for nibble in (byte & 15, byte >> 4)])

    def channel(dc: float, nx: int, ny: int, scale: float) -> list[list[float]]:
        lines: dict[int, list[float]] = {0: [dc] * _SIDE}
        for x, y in _frequencies(nx, ny):
            term = (next(nibbles, 8) / 7.5 - 1) * scale
            line = lines.setdefault(y, [0.0] * _SIDE)
            for place, cosine in enumerate(_cosines(_SIDE, x)):
                line[place] += 2 * term * cosine
        weights = [(line, _cosines(_SIDE, y)) for y, line in lines.items()]
        return [[sum(line[x] * cosines[y] for line, cosines in weights) for x in range(_SIDE)] for y in range(_SIDE)]

    light = channel((head & 63) / 63, across, down, (head >> 18 & 31) / 31)
    yellow = channel((head >> 6 & 63) / 31.5 - 1, 3, 3, (tail >> 3 & 63) / 63 * 1.25)
    rose = channel((head >> 12 & 63) / 31.5 - 1, 3, 3, (tail >> 9 & 63) / 63 * 1.25)
    found = bytearray()
    for y in range(_SIDE):
        for x in range(_SIDE):
            blue = light[y][x] - 2 / 3 * yellow[y][x]
            red = (3 * light[y][x] - blue + rose[y][x]) / 2
            found += bytes(max(0, min(255, int(255 * value))) for value in (red, red - rose[y][x], blue))
    return bytes(found)


@lru_cache(maxsize=4096)
def css_of(color: str | None, thumbhash: str | None) -> str:
    """CSS that shows the placeholder behind a picture; empty for one that is transparent, which it would shine through.

    >>> css_of("#1f6feb", None)
    'background:#1f6feb'
    >>> css_of("#1f6feb80", None)
    ''
    """
    if color is None or len(color) != 7:
        return ""
    if thumbhash is None:
        return f"background:{color}"
    try:
        pixels = _decode(base64.b64decode(thumbhash))
    except ValueError:
        return f"background:{color}"
    url = f"data:image/png;base64,{base64.b64encode(_png(pixels)).decode()}"
    return f"background:{color} url({url}) 0/100% 100%"


def _png(pixels: bytes) -> bytes:
    lines = b"".join(b"\0" + pixels[start : start + 3 * _SIDE] for start in range(0, len(pixels), 3 * _SIDE))
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
