"""Pictures as browsers show them: Chromium is the referee, of each pixel of the files of ``browserfiles.py``."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sqlalchemy_imageattach.errors import PolicyViolationError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.browser import Browser
from tests.pictures import encode

from . import browserfiles

PILLOW = ImagePolicy(engines=("pillow",))
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
GREY = browserfiles.GREY


#: Where ours is another picture on purpose, or for want of something, and why.
_HDR = "HDR is mapped by a curve of our own; what is as bright as paper looks alike, and saturated light does not"
KNOWN = {
    "png, colour type 2, 16 bits, one clear": "Pillow keeps 8 of 16 bits: what is near the clear one is clear",
    "png, animated, with a still picture of its own": "ours is that one; Chromium shows it nowhere",
    "png, code points 9, 16": _HDR,
    "png, code points 9, 18": _HDR,
    "png, code points 12, 16": _HDR,
    "avif, BT.2020 with HLG": _HDR,
    "avif, alpha": "Chromium stretches the alpha as if it were of limited range; ours is what was saved",
    "webp, orientation 6": "Chromium does not turn a WebP by its EXIF; ours stands as the file says",
}
POLICY = ImagePolicy().allowing("image/vnd.microsoft.icon")

STILL = """
return Promise.all(arguments[0].map(async ([type, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type}));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', {colorSpace: 'srgb'});
  context.drawImage(bitmap, 0, 0);
  return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
}))
"""
FILM = """
return Promise.all(arguments[0].map(async ([type, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const decoder = new ImageDecoder({data: bytes, type});
  await decoder.tracks.ready;
  await decoder.completed;
  const frames = [];
  for (let frameIndex = 0; frameIndex < decoder.tracks.selectedTrack.frameCount; frameIndex++) {
    const {image} = await decoder.decode({frameIndex});
    const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
    const context = canvas.getContext('2d', {colorSpace: 'srgb'});
    context.drawImage(image, 0, 0);
    frames.push(...context.getImageData(0, 0, image.displayWidth, image.displayHeight).data);
    image.close();
  }
  return frames;
}))
"""


def shown(content: bytes, *, animated: bool) -> np.ndarray:
    """The pixels of our picture of the same size: of all frames, one after the other."""
    width = probe(io.BytesIO(content), POLICY).width
    rendition = Rendition(width=width, format="png", filter="point", animated=animated)
    (made,) = render(io.BytesIO(content), [rendition], POLICY)
    film = Image.open(io.BytesIO(made.blob))
    return np.concatenate([np.asarray(frame.convert("RGBA"), float) for frame in ImageSequence.Iterator(film)])


def seen(pixels: np.ndarray) -> np.ndarray:
    """Colours as much as they can be seen, and alpha."""
    return np.concatenate([pixels[..., :3] * pixels[..., 3:] / 255, pixels[..., 3:]], axis=-1)


@pytest.mark.parametrize(
    ("files", "script", "animated"),
    [(browserfiles.stills(), STILL, False), (dict(browserfiles.films()), FILM, True)],
    ids=["stills", "films"],
)
def test_pixels_are_those_that_chromium_shows(
    files: dict[str, bytes], script: str, animated: bool, shared_window: Browser, tmp_path: Path, wand: str
) -> None:
    (tmp_path / "page.html").write_text("<!doctype html>")
    shared_window.open((tmp_path / "page.html").as_uri())
    asked = [
        [probe(io.BytesIO(content), POLICY).mimetype, base64.b64encode(content).decode()] for content in files.values()
    ]
    wrong = set()
    for (name, content), answer in zip(files.items(), shared_window.run(script, asked), strict=True):
        ours = shown(content, animated=animated)
        expected = np.asarray(answer, float).reshape(ours.shape)
        differences = np.abs(seen(expected) - seen(ours)).max(axis=-1)
        worst = np.unravel_index(differences.argmax(), differences.shape)
        # what a failure, and pytest -s, show of each file
        print(  # noqa: T201
            f"{name:60} {differences.max():5.0f}  Chromium {expected[worst]}, ours {ours[worst]}"
        )
        if differences.max() > 3:
            wrong.add(name)
    assert wrong == set(KNOWN) & set(files)


def test_the_referee_sees_a_hundred_kinds_of_files() -> None:
    names = {*browserfiles.stills(), *dict(browserfiles.films())}
    assert len(names) >= 160
    assert set(KNOWN) <= names


@pytest.mark.parametrize(
    ("form", "plays", "made", "expected"),
    [("GIF", 1, "webp", 2), ("GIF", 0, "png", 0), ("WEBP", 2, "gif", 1), ("WEBP", 0, "gif", 0), ("PNG", 3, "webp", 3)],
)
def test_a_film_plays_as_often_as_before(form: str, plays: int, made: str, expected: int) -> None:
    film = encode(FRAMES[0], form, save_all=True, append_images=FRAMES[1:], duration=200, loop=plays)
    (moving,) = render(film, [Rendition(width=8, format=made, animated=True)], PILLOW)
    assert Image.open(io.BytesIO(moving.blob)).info["loop"] == expected


def test_a_scan_of_several_pages_gives_a_still_picture() -> None:
    pages = encode(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:])
    (made,) = render(pages, [Rendition(width=8, format="webp", animated=True)], PILLOW)
    assert getattr(Image.open(io.BytesIO(made.blob)), "n_frames", 1) == 1
    scan = Image.new("1", (2480, 3508))
    sheets = encode(scan, "TIFF", compression="group4", save_all=True, append_images=[scan] * 19)
    assert probe(sheets).pages == 20


def test_what_is_larger_than_the_header_says_is_refused_before_it_is_decoded() -> None:
    later = encode(Image.new("L", (1, 1)), "TIFF", save_all=True, append_images=[Image.new("RGBA", (900, 900))])
    with pytest.raises(PolicyViolationError, match="pixels"):
        probe(later, ImagePolicy(max_pixels=1000, verify="decode"))
    avif = bytearray(encode(Image.new("RGB", (400, 300)), "AVIF").getvalue())
    place = avif.index(b"ispe") + 8
    avif[place : place + 8] = struct.pack(">II", 10, 10)
    with pytest.raises(UnreadableImageError, match="10×10 pixels, its data 400×300"):
        probe(io.BytesIO(avif))


def test_a_profile_that_is_a_program_is_not_run() -> None:
    stages = 2000
    content = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, stages) + struct.pack(">II", 16, 12) * stages
    head = bytearray(128)
    head[8:24], head[36:40] = b"\x04\x40\0\0mntrRGB XYZ ", b"acsp"
    profile = bytes(head) + struct.pack(">I4sII", 1, b"D2B0", 144, len(content)) + content
    (made,) = render(encode(GREY, "PNG", icc_profile=profile), [Rendition(width=4)], PILLOW)
    assert Image.open(io.BytesIO(made.blob)).getpixel((1, 1)) == (128, 128, 128)
