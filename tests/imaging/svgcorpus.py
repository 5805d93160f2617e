"""Drawings of all kinds, each a small one with one thing in it: what is compared with a browser."""

# ruff: noqa: E501  # one drawing a line
from __future__ import annotations

import base64
import io

from PIL import Image

from tests.pictures import encode, quadrants

__all__ = ["CASES", "KNOWN", "REFUSED", "SIZES"]

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
BOX = f'{HEAD} width="200" height="100">'


def _url(form: str) -> str:
    data = base64.b64encode(encode(quadrants(80, 60), form).getvalue()).decode()
    return f"data:image/{form.lower()};base64,{data}"


def _alpha_url() -> str:
    image = Image.new("RGBA", (40, 40), "purple")
    image.putalpha(Image.linear_gradient("L").resize((40, 40)))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


_STOPS = '<stop stop-color="red"/><stop offset=".5" stop-color="#ff0"/><stop offset="1" stop-color="blue"/>'
_FULL = '<rect width="200" height="100" fill="url(#g)"/>'
_MARKER = '<marker id="m" markerWidth="6" markerHeight="6" refX="3" refY="3" {0}><circle cx="3" cy="3" r="3"/></marker>'
_LINE = '<path d="M20 80L80 20L140 80L180 20" fill="none" stroke="teal" stroke-width="4" {0}/>'
_TEXT = "font-family='Noto Sans' font-size='36'"
_MULTIPLY = 'style="mix-blend-mode:multiply"'
_TWO = '<rect x="20" y="10" width="100" height="60" fill="#c40"/><circle cx="120" cy="60" r="35" fill="#08c" {0}/>'

_DRAWN = {
    "rect": '<rect x="10.5" y="20.25" width="120" height="50" fill="#369"/>',
    "rounded rect": '<rect x="10" y="10" width="150" height="70" rx="30" ry="15" fill="#a33" stroke="#000"/>',
    "circle": '<circle cx="90" cy="50" r="40" fill="green"/>',
    "ellipse": '<ellipse cx="90" cy="50" rx="80" ry="30" fill="none" stroke="navy" stroke-width="7"/>',
    "line": '<line x1="10" y1="10" x2="190" y2="90" stroke="#f0f" stroke-width="9"/>',
    "polyline": '<polyline points="10,90 60,10 110,90 160,10" fill="#fc0" stroke="#333" stroke-width="5"/>',
    "polygon": '<polygon points="100,5 190,95 10,95" fill="crimson"/>',
    "cubic curves": '<path d="M10 50C40-60 90 160 120 50S180 0 190 80" fill="none" stroke="#060" stroke-width="6"/>',
    "quadratic curves": '<path d="M10 50Q50 0 90 50T170 50" fill="none" stroke="#606" stroke-width="6"/>',
    "arcs": '<path d="M30 50a50 30 20 1 0 90 10a20 40 -30 0 1 40 -20" fill="#8cf" stroke="#024"/>',
    "relative path": '<path d="m20 20h80v30h-40l20 30z" fill="olive"/>',
    "even-odd": '<path d="M10 10H150V90H10ZM40 30H120V70H40Z" fill="#936" fill-rule="evenodd"/>',
    "non-zero": '<path d="M10 10H150V90H10ZM40 30H120V70H40Z" fill="#936"/>',
    "caps": '<path d="M40 50H160" stroke="#000" stroke-width="40" stroke-linecap="round"/>',
    "square cap": '<path d="M40 50H160" stroke="#000" stroke-width="40" stroke-linecap="square"/>',
    "round joins": _LINE.format('stroke-linejoin="round" stroke-width="22"').replace('stroke-width="4" ', ""),
    "bevelled joins": _LINE.format('stroke-linejoin="bevel" stroke-width="22"').replace('stroke-width="4" ', ""),
    "mitre limit": _LINE.format('stroke-miterlimit="1" stroke-width="22"').replace('stroke-width="4" ', ""),
    "dashes": _LINE.format('stroke-dasharray="12 6 3"'),
    "dash offset": _LINE.format('stroke-dasharray="20" stroke-dashoffset="10"'),
    "dashes of percents": _LINE.format('stroke-dasharray="10% 5%"'),
    "opacity of a group": f'<g opacity=".4">{_TWO.format("")}</g>',
    "opacity of each": _TWO.format('opacity=".4"'),
    "fill opacity": _TWO.format('fill-opacity="35%" stroke="#000" stroke-width="8"'),
    "rgba colours": '<rect width="150" height="80" fill="rgba(200, 30, 90, .5)" stroke="hsl(120, 60%, 40%)"/>',
    "short and long hex": '<rect width="90" height="80" fill="#f808"/><rect x="90" width="90" height="80" fill="#08ff4480"/>',
    "currentColor": '<g color="#c60"><rect width="150" height="80" fill="currentColor"/></g>',
    "inherited paint": '<g fill="#0a6" stroke="#a06" stroke-width="6"><rect x="9" y="9" width="99" height="70"/></g>',
    "no paint": '<rect width="150" height="80" fill="none"/><circle cx="50" cy="50" r="30"/>',
    "a translation": '<rect width="60" height="40" fill="#444" transform="translate(50 30)"/>',
    "a rotation": '<rect width="60" height="40" fill="#444" transform="rotate(30 60 20) translate(40)"/>',
    "a skew": '<rect width="60" height="40" fill="#444" transform="translate(20 5) skewX(30) skewY(10) scale(1.5 1)"/>',
    "a matrix": '<rect width="60" height="40" fill="#444" transform="matrix(1 .5 -.3 1.2 40 10)"/>',
    "transforms within": '<g transform="scale(2)"><g transform="rotate(10)"><rect x="20" y="5" width="40" height="20"/></g></g>',
    "a CSS transform": '<rect x="40" y="20" width="60" height="40" style="transform: rotate(20deg) translate(10px, 5px)"/>',
    "a CSS transform beside an attribute": '<rect width="60" height="40" style="transform: translate(1cm, 10px)" transform="scale(3)"/>',
    "a CSS transform of none": '<rect width="60" height="40" style="transform:none" transform="translate(90 30)"/>',
    "CSS transforms of other units": '<g style="transform: rotate(.05turn) skewX(.2rad) scaleY(1.5)"><rect x="50" width="60" height="40"/></g>',
    "a CSS matrix": '<rect width="60" height="40" style="transform:matrix(1,.5,-.3,1.2,40,10);fill:#444"/>',
    "a CSS transform without units": '<rect width="60" height="40" style="transform: translate(50, 20)"/>',
    "a CSS transform in a style sheet": '<style>.a { transform: translate(90px, 30px) }</style><rect class="a" width="60" height="40"/>',
    "a CSS transform of percents": '<rect width="60" height="40" style="transform: translate(50%, 20%)"/>',
    "linear gradient": f'<linearGradient id="g">{_STOPS}</linearGradient>{_FULL}',
    "gradient of the user space": f'<linearGradient id="g" gradientUnits="userSpaceOnUse" x1="50" x2="150" y2="50">{_STOPS}</linearGradient>{_FULL}',
    "repeated gradient": f'<linearGradient id="g" x2=".3" spreadMethod="repeat">{_STOPS}</linearGradient>{_FULL}',
    "reflected gradient": f'<linearGradient id="g" x2=".3" spreadMethod="reflect">{_STOPS}</linearGradient>{_FULL}',
    "gradient transform": f'<linearGradient id="g" gradientTransform="rotate(45 .5 .5)">{_STOPS}</linearGradient>{_FULL}',
    "radial gradient": f'<radialGradient id="g">{_STOPS}</radialGradient>{_FULL}',
    "focal gradient": f'<radialGradient id="g" cx=".4" cy=".5" r=".5" fx=".2" fy=".3">{_STOPS}</radialGradient>{_FULL}',
    "gradient by reference": f'<linearGradient id="a">{_STOPS}</linearGradient><linearGradient id="g" xlink:href="#a" y2="1"/>{_FULL}',
    "gradient with alpha": f'<linearGradient id="g"><stop stop-color="#000" stop-opacity="0"/><stop offset="1" stop-color="#06c"/></linearGradient>{_FULL}',
    "gradient of a stroke": f'<linearGradient id="g">{_STOPS}</linearGradient><circle cx="90" cy="50" r="35" fill="none" stroke="url(#g)" stroke-width="15"/>',
    "paint with a fallback": '<rect width="150" height="80" fill="url(#none) #0c6"/>',
    "clip path": f'<clipPath id="c"><circle cx="80" cy="50" r="40"/></clipPath><g clip-path="url(#c)">{_TWO.format("")}</g>',
    "clip of the box": f'<clipPath id="c" clipPathUnits="objectBoundingBox"><rect x=".2" y=".2" width=".5" height=".6"/></clipPath><g clip-path="url(#c)">{_TWO.format("")}</g>',
    "clip rule": f'<clipPath id="c"><path d="M10 10H150V90H10ZM40 30H120V70H40Z" clip-rule="evenodd"/></clipPath><g clip-path="url(#c)">{_TWO.format("")}</g>',
    "mask by luminance": f'<linearGradient id="g"><stop stop-color="#fff"/><stop offset="1"/></linearGradient><mask id="k">{_FULL}</mask><g mask="url(#k)">{_TWO.format("")}</g>',
    "mask by alpha": f'<mask id="k" mask-type="alpha"><circle cx="80" cy="50" r="40" opacity=".6"/></mask><g mask="url(#k)">{_TWO.format("")}</g>',
    "pattern": '<pattern id="g" width="20" height="20" patternUnits="userSpaceOnUse"><circle cx="10" cy="10" r="7" fill="#c06"/></pattern>' + _FULL,
    "pattern of the box": '<pattern id="g" width=".25" height=".5"><rect width="25" height="25" fill="#c06"/></pattern>' + _FULL,
    "turned pattern": '<pattern id="g" width="20" height="20" patternUnits="userSpaceOnUse" patternTransform="rotate(30)"><rect width="10" height="20" fill="#06c"/></pattern>' + _FULL,
    "markers": _MARKER.format("") + _LINE.format('marker-start="url(#m)" marker-mid="url(#m)" marker-end="url(#m)"'),
    "turned marker": '<marker id="m" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L10 5L0 10z"/></marker>' + _LINE.format('marker-end="url(#m)"'),
    "marker of the user space": _MARKER.format('markerUnits="userSpaceOnUse"') + _LINE.format('marker-mid="url(#m)"'),
    "use": '<defs><rect id="r" width="50" height="30"/></defs><use href="#r" x="20" y="20" fill="#e50"/>',
    "use within use": '<defs><rect id="r" width="30" height="20"/><g id="s"><use href="#r"/><use href="#r" x="40" y="25"/></g></defs><use href="#s" x="20" y="10" fill="#05e"/><use href="#s" x="90" y="40"/>',
    "symbol": '<symbol id="s" viewBox="0 0 10 10"><circle cx="5" cy="5" r="5"/></symbol><use href="#s" x="20" y="10" width="80" height="60" fill="#393"/>',
    "nested svg": '<svg x="30" y="10" width="100" height="80" viewBox="0 0 10 10"><rect width="10" height="10" fill="#a5a"/></svg>',
    "nested svg that hides": '<svg x="30" y="10" width="60" height="40"><circle cx="30" cy="40" r="40" fill="#a5a"/></svg>',
    "percents": '<rect x="10%" y="20%" width="50%" height="50%" fill="#888"/><circle cx="50%" cy="50%" r="10%"/>',
    "units": '<rect x="1mm" y="1pc" width="1in" height="1cm" fill="#363"/><rect x="120" width="20pt" height="3em"/>',
    "class style": "<style>.a{fill:#09c;stroke:#000}.a.b{stroke-width:8}</style><rect class='a b' x='9' y='9' width='99' height='70'/>",
    "style by id and child": "<style>#i>rect{fill:#90c}g rect:first-child{stroke:#0c0}</style><g id='i'><rect x='9' y='9' width='99' height='70' stroke-width='9'/></g>",
    "important style": "<style>rect{fill:#9c0!important}</style><rect style='fill:red' width='99' height='70'/>",
    "display and visibility": '<rect width="99" height="70" display="none"/><g visibility="hidden"><circle cx="90" cy="50" r="30" visibility="visible"/></g>',
    "paint order": '<circle cx="90" cy="50" r="30" fill="#fc0" stroke="#000" stroke-width="20" paint-order="stroke"/>',
    "embedded PNG": f'<image x="10" y="10" width="80" height="60" href="{_url("PNG")}"/>',
    "embedded JPEG": f'<image x="10" y="10" width="160" height="60" xlink:href="{_url("JPEG")}"/>',
    "stretched picture": f'<image width="190" height="60" preserveAspectRatio="none" href="{_url("PNG")}"/>',
    "sliced picture": f'<image width="190" height="60" preserveAspectRatio="xMidYMin slice" href="{_url("PNG")}"/>',
    "picture with alpha": f'<rect width="99" height="50" fill="#fc0"/><image width="90" height="90" href="{_alpha_url()}"/>',
    "blur": f'<filter id="f"><feGaussianBlur stdDeviation="5"/></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "shadow": f'<filter id="f"><feDropShadow dx="8" dy="5" stdDeviation="3" flood-color="#00f"/></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "colour matrix": f'<filter id="f"><feColorMatrix type="hueRotate" values="90"/></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "greyscale": f'<filter id="f"><feColorMatrix type="saturate" values="0"/></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "merged filter": f'<filter id="f"><feOffset dx="15" dy="9" result="o"/><feMerge><feMergeNode in="o"/><feMergeNode in="SourceGraphic"/></feMerge></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "morphology": f'<filter id="f"><feMorphology operator="dilate" radius="4"/></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "component transfer": f'<filter id="f"><feComponentTransfer><feFuncR type="linear" slope=".3" intercept=".4"/></feComponentTransfer></filter><g filter="url(#f)">{_TWO.format("")}</g>',
    "a CSS filter": _TWO.format('style="filter: blur(3px)"'),
    "multiply": _TWO.format('style="mix-blend-mode:multiply"'),
    "screen": _TWO.format('style="mix-blend-mode:screen"'),
    "difference": _TWO.format('style="mix-blend-mode:difference"'),
    "isolation": f'<rect width="200" height="50" fill="#ff0"/><g style="isolation:isolate">{_TWO.format(_MULTIPLY)}</g>',
    "text": f"<text x='10' y='60' {_TEXT}>Hamburg</text>",
    "text in the middle": f"<text x='100' y='60' text-anchor='middle' {_TEXT} fill='#06c'>Äpfel</text>",
    "spans": f"<text x='10' y='40' {_TEXT}>One<tspan x='10' dy='40' fill='#c00'>Two</tspan></text>",
    "spaced letters": f"<text x='10' y='60' letter-spacing='8' {_TEXT}>Wide</text>",
    "stroked text": f"<text x='10' y='60' fill='none' stroke='#000' {_TEXT}>Line</text>",
    "text on a path": f"<path id='p' d='M10 80Q100 10 190 80' fill='none'/><text {_TEXT}><textPath href='#p'>Curved</textPath></text>",
    "turned letters": f"<text x='20 60 110' y='50 60 50' rotate='20' {_TEXT}>ABC</text>",
    "switch": '<switch><rect width="60" height="60" systemLanguage="xx"/><circle cx="60" cy="50" r="30" fill="#0a0"/></switch>',
}  # fmt: skip
_CIRCLE = '<circle cx="50" cy="50" r="50" fill="#849"/><rect x="50" y="50" width="50" height="50" fill="#fa0"/></svg>'
_ROOTS = {
    "view box": 'width="200" height="100" viewBox="0 0 100 100"',
    "view box elsewhere": 'width="200" height="100" viewBox="25 25 100 50"',
    "aligned left": 'width="200" height="100" viewBox="0 0 100 100" preserveAspectRatio="xMinYMid"',
    "aligned right": 'width="200" height="100" viewBox="0 0 100 100" preserveAspectRatio="xMaxYMax meet"',
    "sliced": 'width="200" height="100" viewBox="0 0 100 100" preserveAspectRatio="xMidYMax slice"',
    "not in proportion": 'width="200" height="100" viewBox="0 0 100 100" preserveAspectRatio="none"',
    "no size but a view box": 'viewBox="0 0 100 100"',
    "a width and a view box": 'width="200" viewBox="0 0 100 50"',
    "a height and a view box": 'height="100" viewBox="0 0 100 50"',
    "no size": "",
    "inches": 'width="2in" height="1in" viewBox="0 0 100 100"',
    "centimetres": 'width="5cm" height="30mm" viewBox="0 0 100 100"',
    "percents of nothing": 'width="100%" height="100%" viewBox="0 0 100 100"',
    "a background by style": 'width="200" height="100" style="background:#ffc"',
}
CASES: dict[str, str] = {name: f"{BOX}{content}</svg>" for name, content in _DRAWN.items()}
CASES |= {f"root: {name}": f"{HEAD} {attributes}>{_CIRCLE}" for name, attributes in _ROOTS.items()}
#: What is shown in another way than by Chromium, and why.
KNOWN = {
    "a CSS transform in a style sheet": "resvg turns and moves by the attribute, which is written from inline styles only",
    "a CSS transform of percents": "an attribute cannot say it",
    "pattern": "the tiles of resvg are of whole pixels, so that their edges drift by one",
    "turned pattern": "the tiles of resvg are of whole pixels, so that their edges drift by one",
    "root: a background by style": "resvg draws no background, which no SVG viewer but a browser has",
}
#: Where the size is another one, and why.
SIZES = {
    "root: no size but a view box": "Chromium fits it into 150 pixels; here its own units count",
    "root: percents of nothing": "Chromium fits it into 150 pixels; here its own units count",
}
#: What Chromium shows and is refused here, and why.
REFUSED = {
    "root: no size": "Chromium cuts it at 300×150, the size that HTML gives to what has none",
}
