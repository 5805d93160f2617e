"""Pictures made on the spot, and the arithmetic to compare them with.  Nothing here uses the code under test."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

#: The raster types that both engines read.
RASTER_FORMATS = {
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/tiff": "TIFF",
    "image/webp": "WEBP",
}

_BEST: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4", "speed": 10},
    "JPEG": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True},
}


#: A drawing of 120×80.
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><rect width="120" height="80" fill="red"/></svg>'
)


def picture(width: int = 60, height: int = 40, color: Any = "red", format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new(options.pop("mode", "RGB"), (width, height), color).save(file, format, **options)
    return file.getvalue()


def animation(width: int = 60, height: int = 40, colors: tuple[str, ...] = ("red", "green", "blue")) -> bytes:
    """The bytes of a GIF with a frame of each colour."""
    first, *others = (Image.new("RGB", (width, height), color) for color in colors)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=100, loop=0)
    return file.getvalue()


def size_of(blob: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(blob)) as opened:
        return opened.size


def color_of(blob: bytes) -> tuple[int, ...]:
    """The colour in the middle."""
    with Image.open(io.BytesIO(blob)) as opened:
        color = opened.convert("RGB").getpixel((opened.width // 2, opened.height // 2))
    assert isinstance(color, tuple)
    return color


def encode(image: Image.Image, form: str, **options: Any) -> io.BytesIO:
    """A file that holds the image, in the best quality that its format has."""
    buffer = io.BytesIO()
    image.save(buffer, form, **(_BEST.get(form, {}) | options))
    buffer.seek(0)
    return buffer


def quadrants(width: int = 64, height: int = 48) -> Image.Image:
    """Red and green above blue and white: each turn and each flip looks different."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def texture(width: int, height: int, seed: int = 7) -> Image.Image:
    """Smooth waves with finer ones on top, in three colours: what resampling shows itself on."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    random = np.random.default_rng(seed)
    planes = []
    for _ in range(3):
        plane = np.full((height, width), 127.5)
        for amplitude, longest in ((55, 400), (40, 60), (25, 9)):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            plane += amplitude * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / longest + phase)
        planes.append(plane)
    return Image.fromarray(np.clip(np.stack(planes, axis=2).round(), 0, 255).astype("uint8"))


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """What a camera stores, that says ``orientation`` and shows ``upright``: the inverse of turning it."""
    pixels = np.asarray(upright)
    inverses = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }
    return Image.fromarray(np.ascontiguousarray(inverses[orientation](pixels)))


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def pixels(blob: bytes, mode: str = "RGB") -> np.ndarray:
    """The decoded pixels, as floats."""
    return np.asarray(Image.open(io.BytesIO(blob)).convert(mode), dtype=float)


def corners(blob: bytes, mode: str = "RGB") -> list[tuple[int, ...]]:
    """The colours in the middle of each quadrant: upper left, upper right, lower left, lower right."""
    image = Image.open(io.BytesIO(blob)).convert(mode)
    width, height = image.size
    places = [(width // 4, height // 4), (width * 3 // 4, height // 4)]
    places += [(x, height * 3 // 4) for x, _ in places]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]


def near(found: Iterable[Iterable[float]], expected: Iterable[Iterable[float]], tolerance: float = 12) -> bool:
    """Whether all of these colours are alike."""
    return bool(np.abs(np.asarray(list(found), float) - np.asarray(list(expected), float)).max() <= tolerance)


def lanczos(source: np.ndarray, width: int, height: int, box: tuple[float, ...] | None = None) -> np.ndarray:
    """The reference: a Lanczos resample in floats, without any shortcut or rounding."""
    left, top, right, bottom = box or (0, 0, source.shape[1], source.shape[0])
    across = _weights(source.shape[1], width, left, right)
    down = _weights(source.shape[0], height, top, bottom)
    return np.clip(np.stack([down @ source[:, :, band] @ across.T for band in range(3)], axis=2), 0, 255)


def _weights(old: int, new: int, start: float, end: float) -> np.ndarray:
    scale = (end - start) / new
    spread = max(scale, 1.0)
    centres = start + (np.arange(new) + 0.5) * scale
    distances = (np.arange(old) + 0.5 - centres[:, None]) / spread
    weights = np.where(np.abs(distances) < 3, np.sinc(distances) * np.sinc(distances / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """How alike two pictures are, in dB: 40 is hard to see, 30 is plain."""
    return float(10 * np.log10(255**2 / max(np.mean((found - expected) ** 2), 1e-9)))


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with this header and these chunks before its end, whatever they are."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
