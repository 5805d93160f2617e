from __future__ import annotations

import io

import pytest

from sqlalchemy_imageattach.errors import TooCostlyError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, near

POLICY = ImagePolicy().allowing("image/svg+xml")
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="80" height="40">'


def svg(content: str, head: str = HEAD) -> io.BytesIO:
    return io.BytesIO(f"{head}{content}</svg>".encode())


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="200" height="100"', (200, 100)),
        ('width="200px" height=" 100 "', (200, 100)),
        ('width="2in" height="1in"', (192, 96)),
        ('width="150pt" height="75pt"', (200, 100)),
        ('width="25.4mm" height="2.54cm"', (96, 96)),
        ('width="10em" height="5pc"', (160, 80)),
        ('width="1e2" height="5.5e1"', (100, 55)),
        ('width="10.5" height="0.2"', (11, 1)),
        ('viewBox="0 0 200 100"', (200, 100)),
        ('viewBox="-5,-5,200,100"', (200, 100)),
        ('width="100%" height="100%" viewBox="0 0 200 100"', (200, 100)),
        ('width="400" viewBox="0 0 200 100"', (400, 200)),
        ('height="50" viewBox="0 0 200 100"', (100, 50)),
        ('width="300" height="300" viewBox="0 0 200 100"', (300, 300)),
    ],
)
def test_the_size_is_what_the_root_asks_for(attributes: str, size: tuple[int, int]) -> None:
    info = probe(svg("", f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>'), POLICY)
    assert (info.width, info.height) == size


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'width="100%"',
        'width="10" height="-10"',
        'width="10" height="0"',
        'width="ten" height="ten"',
        'viewBox="0 0 0 10"',
        'viewBox="0 0 nan 10"',
        'viewBox="0 0 inf 10"',
        'viewBox="0 0 10"',
        'width="1e99" height="1e99"',
        'width="999999999999e99" viewBox="0 0 1e-300 1"',
        'width="3" viewBox="0 0 1e-320 1e11"',
    ],
)
def test_a_size_that_is_none_is_refused(attributes: str) -> None:
    with pytest.raises(UnreadableImageError):
        probe(svg("", f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>'), POLICY)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_those_of_xml(encoding: str) -> None:
    declared = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{HEAD}<title>Müller</title></svg>'
    assert probe(io.BytesIO(text.encode(encoding)), POLICY).width == 80


@pytest.mark.parametrize(
    "content",
    [
        "",
        '<use href="#a"/>',
        '<use xlink:href=" #a"/>',
        '<a href="https://example.org/"><rect width="1" height="1"/></a>',
        '<rect fill="url(#gradient)"/>',
        "<rect fill=\"url('#gradient')\" style=\"filter: url( &quot;#f&quot; ); font-family: 'A', sans-serif\"/>",
        "<style>rect { fill: url(#g) } @font-face { src: url(data:font/woff2;base64,AAAA) }</style>",
        '<image href="data:image/png;base64,iVBORw0KGgo="/>',
        "<script>alert(1)</script>",
        '<rect onclick="alert(1)" width="1" height="1"/>',
        '<metadata xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:RDF r:about="http://x/"/></metadata>',
        "<text>a \\ b, url(http://example.org/) and @import are but words here</text>",
        '<g transform="translate(1,2)"/>',
        "<?php echo 1 ?>",
    ],
)
def test_what_stays_within_the_document_is_accepted(content: str) -> None:
    assert probe(svg(content), POLICY).width == 80


@pytest.mark.parametrize(
    "content",
    [
        '<image href="file:///etc/passwd"/>',
        '<image xlink:href="/etc/passwd"/>',
        '<image xlink:href="http://169.254.169.254/latest/meta-data/"/>',
        '<image href="//example.org/a.png"/>',
        '<image href="a.png"/>',
        '<image href=""/>',
        '<image href="data:image/svg+xml;base64,PHN2Zy8+"/>',
        '<image href="data:text/html;base64,AAAA"/>',
        '<image href="ephemeral:/tmp/victim"/>',
        '<image href="msl:/tmp/evil.msl"/>',
        '<image href="label:@/etc/passwd"/>',
        '<image href="https://example.org/x.jpg&quot;|ls &quot;-la"/>',
        '<use href="other.svg#a"/>',
        '<script href="https://example.org/x.js"/>',
        '<feImage xlink:href="http://example.org/x.png"/>',
        '<foreignObject><iframe src="http://example.org/"/></foreignObject>',
        '<rect fill="url(http://example.org/x.svg#a)"/>',
        '<rect fill="URL(  http://example.org/x.svg#a)"/>',
        "<rect style=\"filter: url('http://example.org/f.svg#f')\"/>",
        '<rect style="fill: u\\72l(http://example.org/)"/>',
        '<rect style="fill: url(#a) u\\72l(http://example.org/)"/>',
        "<style>@import 'http://example.org/x.css';</style>",
        "<style>@IMPORT url(#a);</style>",
        "<style>@imp\\6frt 'http://example.org/x.css';</style>",
        "<style>rect { background: url(http://example.org/x.png) }</style>",
        "<style><![CDATA[ rect { background: url( 'x.png' ) } ]]></style>",
        "<style>rect { background: u<!-- -->rl(http://example.org/x.png) }</style>",
        '<?xml-stylesheet href="http://example.org/x.css"?>',
        '<g xml:base="http://example.org/"/>',
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>',
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text"/>',
        "<g>" * 300 + "</g>" * 300,
        "<g>",
        "</g>",
        "<rect",
        "&nbsp;",
        "&unknown;",
        "\0",
    ],
)
def test_what_leads_out_of_the_document_or_is_broken_is_refused(content: str) -> None:
    with pytest.raises(UnreadableImageError):
        probe(svg(content), POLICY)
    with pytest.raises(UnreadableImageError):
        render(svg(content), [Rendition(width=10)], POLICY)


DOCTYPES = [
    '<!DOCTYPE svg [<!ENTITY xxe SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE svg [<!ENTITY % remote SYSTEM "http://example.org/evil.dtd"> %remote;]>',
    '<!DOCTYPE svg SYSTEM "http://example.org/evil.dtd" [<!ELEMENT a ANY>]>',
    "<!DOCTYPE svg []>",
    '<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]>',
]


@pytest.mark.parametrize("doctype", DOCTYPES)
def test_a_document_type_that_declares_is_refused_before_any_entity_is(doctype: str) -> None:
    with pytest.raises(UnreadableImageError, match="DOCTYPE"):
        probe(svg("<text>&xxe;&c;</text>", doctype + HEAD), POLICY)


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE svg>",
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">',
        '<!DOCTYPE svg SYSTEM "http://127.0.0.1:9/svg.dtd">',
    ],
)
def test_a_document_type_that_only_names_a_standard_is_fine(doctype: str) -> None:
    file = svg('<rect width="80" height="40" fill="#f00"/>', f"<?xml version='1.0'?>{doctype}{HEAD}")
    assert probe(file, POLICY).width == 80
    (made,) = render(file, [Rendition(width=80)], POLICY)
    assert near(corners(made.blob), [RED] * 4)
    with pytest.raises(UnreadableImageError, match="entity"):
        probe(svg("<text>&xxe;</text>", doctype + HEAD), POLICY)


def test_a_root_that_is_no_svg_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="outermost"):
        probe(svg("", '<svg xmlns="http://example.org/other" width="1" height="1">'), POLICY)


def test_an_embedded_picture_is_fine() -> None:
    import base64

    from tests.pictures import encode, quadrants

    data = base64.b64encode(encode(quadrants(80, 40), "PNG").getvalue()).decode()
    file = svg(f'<image width="80" height="40" xlink:href="data:image/png;base64,{data}"/>')
    (made,) = render(file, [Rendition(width=80)], POLICY)
    assert (made.width, made.height) == (80, 40)


QUARTERS = (
    '<rect width="100" height="50" fill="#f00"/><rect x="100" width="100" height="50" fill="#0f0"/>'
    '<rect y="50" width="100" height="50" fill="#00f"/><rect x="100" y="50" width="100" height="50" fill="#fff"/>'
)


@pytest.mark.parametrize(
    "attributes",
    [
        'width="200" height="100"',
        'viewBox="0 0 200 100"',
        'width="100%" height="100%" viewBox="0 0 200 100"',
        'width="400" viewBox="0 0 200 100"',
        'width="20mm" height="10mm" viewBox="0 0 200 100"',
        'width="2in" height="1in" viewBox="0 0 200 100"',
        'width="10.4" height="5.2" viewBox="0 0 200 100"',
    ],
)
@pytest.mark.parametrize("width", [7, 80, 1000])
def test_a_vector_is_as_sharp_as_its_rendition_is_large(attributes: str, width: int) -> None:
    (made,) = render(
        svg(QUARTERS, f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>'), [Rendition(width=width)], POLICY
    )
    assert made.mimetype == "image/png"
    assert made.width == width
    assert near(corners(made.blob), [RED, GREEN, BLUE, WHITE], 30 if width == 7 else 4)


def test_an_absurdly_flat_vector_is_rendered_within_bounds() -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="1">'
    (made,) = render(svg("", head.format(10_000)), [Rendition(width=900, height=900, fit="fill")], POLICY)
    assert (made.width, made.height) == (900, 900)
    (made,) = render(svg("", head.format(100_000)), [Rendition(width=900, height=900, fit="fill")], POLICY)
    assert (made.width, made.height) == (900, 900)


def test_references_within_references_do_not_grow_without_end() -> None:
    layers = '<g id="a0"><rect width="1" height="1"/></g>' + "".join(
        f'<g id="a{n}">' + f'<use xlink:href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 9)
    )
    with pytest.raises(TooCostlyError):
        render(svg(f'<defs>{layers}</defs><use xlink:href="#a8"/>'), [Rendition(width=10)], POLICY)
