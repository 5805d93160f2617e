"""SVG as Chromium shows it: each drawing of the corpus, by the browser and by this package, pixel by pixel."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.engines.resvg import bundled_fonts
from tests.browser import Browser

from .svgcorpus import CASES, KNOWN, REFUSED, SIZES

POLICY = ImagePolicy(isolate=False).allowing("image/svg+xml")
WIDTH = 200
#: How far levels may be apart on average, and what share of all pixels may be another colour altogether.
MEAN, SHARE = 2.0, 0.015
_DRAW = """
const [svg, width, font] = arguments;
const style = font ? `<style>@font-face { font-family: "Noto Sans"; src: url(${font}) }</style>` : "";
const image = new Image();
image.src = "data:image/svg+xml," + encodeURIComponent(svg.replace(/(<svg[^>]*>)/, "$1" + style));
return image.decode().then(() => new Promise(resolve => setTimeout(resolve, font ? 100 : 0))).then(() => {
    const [w, h] = [image.naturalWidth, image.naturalHeight];
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = Math.max(1, Math.round(width * h / w));
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return [w, h, canvas.toDataURL("image/png").split(",")[1]];
});
"""


@pytest.fixture(scope="module")
def page(shared_window: Browser) -> Browser:
    shared_window.open("data:text/html,<!doctype html>")
    return shared_window


@pytest.fixture(scope="module")
def font() -> str:
    (regular,) = (path for path in Path(bundled_fonts()[0]).iterdir() if path.name.startswith("NotoSans["))
    return f"data:font/ttf;base64,{base64.b64encode(regular.read_bytes()).decode()}"


@pytest.mark.parametrize("name", CASES)
def test_a_drawing_looks_as_in_chromium(name: str, page: Browser, font: str) -> None:
    svg = CASES[name]
    width, height, png = page.run(_DRAW, svg, WIDTH, font if "<text" in svg else "")
    if name in REFUSED:
        with pytest.raises(UnreadableImageError):
            probe(io.BytesIO(svg.encode()), POLICY)
        return
    info = probe(io.BytesIO(svg.encode()), POLICY)
    assert ((info.width, info.height) == (width, height)) == (name not in SIZES)
    (made,) = render(io.BytesIO(svg.encode()), [Rendition(width=WIDTH, format="png")], POLICY)
    expected = on_white(base64.b64decode(png))
    found = on_white(made.blob)
    mean, share = difference(found, expected) if found.shape == expected.shape else (255.0, 1.0)
    said = f"{name}: apart by {mean:.2f} on average, {share:.1%} of the pixels differ"
    if name in KNOWN:
        assert mean > MEAN or share > SHARE, f"{said}: not a known difference any more: {KNOWN[name]}"
    else:
        assert mean <= MEAN, said
        assert share <= SHARE, said


def on_white(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"), float)


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """How far levels are apart on average, and the share of pixels that are apart by a quarter of all levels."""
    apart = np.abs(found - expected)
    return float(apart.mean()), float((apart.max(axis=2) > 64).mean())
