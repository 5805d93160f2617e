"""SVG: drawn as browsers draw it, and nothing of the server's in it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import PolicyViolationError, RejectedImageError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.engines.svgdocument import SvgDocument
from tests.pictures import encode, quadrants

POLICY = ImagePolicy(isolate=False).allowing("image/svg+xml")
APART = ImagePolicy().allowing("image/svg+xml")
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="200" height="100">'
BOX = 'x="0" y="0" width="100" height="100"'
PINK = (255, 0, 255)


def svg(content: str, head: str = HEAD) -> io.BytesIO:
    return io.BytesIO(f"{head}{content}</svg>".encode())


def drawn(content: str, policy: ImagePolicy = POLICY, width: int = 200, head: str = HEAD) -> Image.Image:
    (made,) = render(svg(content, head), [Rendition(width=width)], policy)
    return Image.open(io.BytesIO(made.blob)).convert("RGBA")


def data_url(content: bytes, mimetype: str = "image/png") -> str:
    return f"data:{mimetype};base64,{base64.b64encode(content).decode()}"


def text_of(content: str, policy: ImagePolicy = POLICY, head: str = HEAD) -> str:
    return SvgDocument(svg(content, head).getvalue(), (20, 10), policy).text


# --- attacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture of the server's, pink."""
    path = tmp_path / "secret.png"
    Image.new("RGB", (40, 40), PINK).save(path)
    return path


ATTACKS = {
    "a reference": '<image {box} xlink:href="{path}"/>',
    "a plain reference": '<image {box} href="{path}"/>',
    "a file URL": '<image {box} href="file://{path}"/>',
    "one that outlives its element": '<a xlink:href="{path}"><image {box}/></a>',
    "in capitals": '<image HREF="{path}" {box}/>',
    "an attribute of ImageMagick's": '<image path="{path}" {box}/>',
    "an SVG as PNG": '<image {box} xlink:href="{svg_as_png}"/>',
    "an SVG within": '<image {box} xlink:href="{svg}"/>',
    "an SVG within, in text": '<image {box} xlink:href="{svg_in_text}"/>',
    "an SVG as text": '<image {box} xlink:href="{svg_as_text}"/>',
    "an SVG that is packed": '<image {box} xlink:href="{svg_packed}"/>',
    "a command": "<rect width='9' height='9' stroke-dasharray=\"none&#10;image Over 0,0 100,100 '{path}'&#10;\"/>",
    "a filter": '<filter id="f"><feImage {box} xlink:href="{path}"/></filter><rect {box} filter="url(#f)"/>',
    "a filter within": '<filter id="f"><feImage {box} href="{svg}"/></filter><rect {box} filter="url(#f)"/>',
    "a use": '<use xlink:href="{path}#a"/>',
    "a pattern": '<pattern id="p" {box} href="{path}"/><rect {box} fill="url(#p)"/>',
    "a paint": '<rect {box} fill="url({path})"/>',
    "a mask": '<rect {box} fill="#0f0" mask="url({path}#m)"/>',
    "a style": "<style>rect {{ fill: url({path}) }}</style><rect {box}/>",
    "an import": '<style>@import "{path}";</style><rect {box} fill="#0f0"/>',
    "a font": '<style>@font-face {{ font-family: x; src: url({path}) }}</style><text y="50">x</text>',
    "foreign content": '<foreignObject {box}><img xmlns="http://www.w3.org/1999/xhtml" src="{path}"/></foreignObject>',
    "a switch": '<switch><image {box} href="{path}"/></switch>',
    "another prefix": '<image xmlns:y="http://www.w3.org/1999/xlink" {box} y:href="{path}"/>',
    "no namespace for it": '<image xmlns:xlink="http://example.org" {box} xlink:href="{path}"/>',
    "a base": '<g xml:base="{directory}/"><image {box} href="secret.png"/></g>',
    "an animation": '<image {box}><set attributeName="href" to="{path}"/></image>',
    "white space": '<image {box} href=" &#10;{path}"/>',
}


@pytest.mark.parametrize("policy", [POLICY, APART], ids=["here", "apart"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_picture_of_the_server_gets_into_a_thumbnail(
    attack: str, policy: ImagePolicy, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip
    from urllib.parse import quote

    monkeypatch.chdir(secret.parent)
    for path in (str(secret), "secret.png"):
        inner = f'{HEAD}<image {BOX} xlink:href="{path}"/></svg>'
        content = attack.format(
            box=BOX,
            path=path,
            directory=secret.parent,
            svg=data_url(inner.encode(), "image/svg+xml"),
            svg_as_png=data_url(f'<?xml version="1.0"?>{inner}'.encode()),
            svg_as_text=data_url(inner.encode(), "text/plain"),
            svg_packed=data_url(gzip.compress(inner.encode())),
            svg_in_text=f"data:image/png,{quote(inner)}",
        )
        try:
            probe(svg(content), policy)
            picture = drawn(content, policy)
        except RejectedImageError:
            continue
        seen = Image.alpha_composite(Image.new("RGBA", picture.size), picture).convert("RGB")
        assert PINK not in {colour for _, colour in seen.getcolors(1 << 16) or ()}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_is_drawn_refers_to_nothing_outside_even_where_nobody_has_looked_before(attack: str) -> None:
    inner = data_url(f"{HEAD}</svg>".encode(), "image/svg+xml")
    keys = ("svg", "svg_as_png", "svg_as_text", "svg_packed", "svg_in_text")
    content = attack.format(box=BOX, path="/secret.png", directory="/", **dict.fromkeys(keys, inner))
    try:
        text = text_of(content)
    except UnreadableImageError:
        return
    assert 'href="/' not in text
    assert "data:" not in text
    assert "foreignObject" not in text
    assert "base" not in text


@pytest.mark.parametrize("script", ["<script>alert(1)</script>", '<rect onload="alert(1)"/>', "<handler>x</handler>"])
def test_scripts_are_left_out(script: str) -> None:
    text = text_of(script)
    assert "alert" not in text
    assert "handler" not in text


def test_entities_are_refused_by_the_renderer_as_well() -> None:
    document = f'<!DOCTYPE svg [<!ENTITY a "b">]>{HEAD}<text>&a;</text></svg>'.encode()
    with pytest.raises(UnreadableImageError, match="entities"):
        SvgDocument(document, (20, 10), POLICY)


# --- embedded pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_embedded_pictures_are_drawn_by_what_their_bytes_say(form: str) -> None:
    url = data_url(encode(quadrants(80, 80), form).getvalue(), "image/png")
    assert drawn(f'<image {BOX} href="{url}"/>').getpixel((25, 25)) == pytest.approx((255, 0, 0, 255), abs=12)


def test_embedded_pictures_are_held_to_the_policy() -> None:
    url = data_url(encode(quadrants(80, 80), "GIF").getvalue())
    without = ImagePolicy(isolate=False, allowed_types=frozenset({"image/svg+xml", "image/png"}))
    with pytest.raises(PolicyViolationError):
        drawn(f'<image {BOX} href="{url}"/>', without)
    few = ImagePolicy(isolate=False, max_pixels=200 * 150).allowing("image/svg+xml")
    large = data_url(encode(Image.new("RGB", (150, 110)), "PNG").getvalue())
    assert drawn(f'<image {BOX} href="{large}"/>', few).width == 200
    with pytest.raises(PolicyViolationError):
        drawn(f'<image {BOX} href="{large}"/>' * 2, few)


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "spot", "colour"),
    [
        ('<path d="M38 38h25v25H38z"/>', (50, 50), (0, 0, 0, 255)),
        ('<path d="M38 38h25v25H38z"/>', (30, 50), (0, 0, 0, 0)),
        ('<linearGradient id="a"><stop stop-color="#f00"/><stop offset="1" stop-color="#f00"/></linearGradient>'
         '<path d="M0 0h100v100H0z" fill="url(#a)"/>', (50, 50), (255, 0, 0, 255)),
        ('<path d="M0 0h100v100H0z" fill="#f00" opacity=".5"/>', (50, 50), (255, 0, 0, 128)),
        ('<g color="#f00"><path d="M0 0h100v100H0z" fill="currentColor"/></g>', (50, 50), (255, 0, 0, 255)),
        ('<style>.a{fill:#0f0}</style><rect class="a" width="100" height="100"/>', (50, 50), (0, 255, 0, 255)),
        ('<path d="M50 0a50 50 0 1 1-.1 0z" fill="#00f"/>', (50, 80), (0, 0, 255, 255)),
        ('<path d="M50 0a50 50 0 1 1-.1 0z" fill="#00f"/>', (3, 3), (0, 0, 0, 0)),
        ("<style><![CDATA[rect{fill:#f00}]]></style><rect width='100' height='100'/>", (50, 50), (255, 0, 0, 255)),
        ('<filter id="f"><feFlood flood-color="#f0f"/></filter><rect width="90" height="90" filter="url(#f)"/>',
         (50, 50), (255, 0, 255, 255)),
        ('<defs><rect id="r" width="50" height="50"/></defs><use xlink:href="#r" x="20" fill="#0f0"/>',
         (40, 20), (0, 255, 0, 255)),
        ('<g xml:space="preserve" transform="translate(100 0)"><rect width="50" height="50" fill="red"/></g>',
         (120, 20), (255, 0, 0, 255)),
    ],
)  # fmt: skip
def test_it_looks_as_in_browsers(content: str, spot: tuple[int, int], colour: tuple[int, ...]) -> None:
    assert drawn(content).getpixel(spot) == pytest.approx(colour, abs=3)


@pytest.mark.parametrize(
    "attributes",
    ['width="2in" height="1in"', 'width="508mm" height="254mm" viewBox="0 0 200 100"', 'viewBox="0 0 200 100"'],
)
def test_the_size_is_ours_whatever_the_unit(attributes: str) -> None:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>'
    picture = drawn('<rect width="50%" height="50%" fill="#f00"/>', head=head, width=400)
    assert picture.size == (400, 200)
    assert picture.getpixel((190, 90)) == (255, 0, 0, 255)
    assert picture.getpixel((210, 90)) == (0, 0, 0, 0)


def test_an_svg_without_a_namespace_is_drawn_too() -> None:
    head = '<svg width="200" height="100">'
    assert drawn('<rect width="200" height="100" fill="#f00"/>', head=head).getpixel((9, 9)) == (255, 0, 0, 255)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_text_in_other_encodings_is_read(encoding: str) -> None:
    name = encoding.partition("-sig")[0]
    document = f'<?xml version="1.0" encoding="{name}"?>{HEAD}<desc>ä</desc><rect width="9" height="9"/></svg>'
    text = SvgDocument(document.encode(encoding), (20, 10), POLICY).text
    assert "ä" in text


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["Arial", "serif", "sans-serif", "monospace", "Noto Sans", ""])
def test_text_is_set_in_noto_sans_whatever_it_asks_for(family: str) -> None:
    picture = drawn(f'<text x="10" y="60" font-size="40" font-family="{family}">Hg Я λ</text>')
    assert picture.getchannel("A").getbbox() is not None
    asked = drawn('<text x="10" y="60" font-size="40" font-family="Noto Sans">Hg Я λ</text>')
    assert picture.tobytes() == asked.tobytes()


@pytest.mark.parametrize("policy", [POLICY, APART], ids=["here", "apart"])
def test_other_fonts_are_used_where_the_policy_names_them(policy: ImagePolicy, tmp_path: Path) -> None:
    import shutil
    from dataclasses import replace

    from sqlalchemy_imageattach.imaging.engines.resvg import bundled_fonts

    (italic,) = Path(bundled_fonts()[0]).glob("*Italic*")
    shutil.copy(italic, tmp_path / "own.ttf")
    text = '<text x="10" y="60" font-size="40" font-style="italic">Hello</text>'
    for fonts in ((str(tmp_path),), (str(tmp_path / "own.ttf"),), (str(tmp_path / "missing"),)):
        assert drawn(text, replace(policy, fonts=fonts)).getchannel("A").getbbox() is not None
