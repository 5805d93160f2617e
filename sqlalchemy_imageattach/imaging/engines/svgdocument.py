"""An SVG as a renderer is given it: written anew from what one parser has read.

A document that two parsers read differently can say one thing to the one that checks and another to the one that
draws.  So it is read once, and what is drawn is what has been understood:

* elements of SVG and their attributes; anything else, scripts and foreign content too, is left out;
* references to a part of the document, and embedded PNG, JPEG, GIF and WebP pictures whose *bytes* say that they are
  one and which the policy accepts;
* the size in pixels, given by us; and what a style says of a ``transform``, as its attribute.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from ...errors import UnreadableImageError
from ..formats.svg import length
from ..looking import look, type_of
from ..policy import ImagePolicy
from ..reader import Reader
from .csstransform import without_transform

__all__ = ["SvgDocument"]

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
_XML: Final = "http://www.w3.org/XML/1998/namespace"
#: What runs, or holds what is not SVG.
_LEFT_OUT: Final = frozenset({"script", "foreignObject", "handler", "listener", "iframe", "audio", "video", "canvas"})
_TEXT: Final = frozenset({"text", "tspan", "tref", "textPath"})
_EMBEDDED: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_ESCAPES: Final = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


class SvgDocument:
    """What is drawn of an SVG.

    :param data: the file
    :param size: pixels that it is to have
    :param policy: for the pictures embedded in it
    :raises UnreadableImageError: it is no SVG, refers outside, or something else than a picture is embedded in it
    :raises PolicyViolationError: a picture embedded in it is not accepted
    """

    def __init__(self, data: bytes, size: tuple[int, int], policy: ImagePolicy) -> None:
        #: Whether fonts are needed.
        self.has_text = False
        self._size = size
        self._policy = policy
        self._parts: list[str] = []
        self._depth = 0
        self._left_out_from = 0
        self._embedded_pixels = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity
        parser.Parse(data, True)

    @property
    def text(self) -> str:
        """The document."""
        return "".join(self._parts)

    def _entity(self, *_: object) -> NoReturn:
        raise UnreadableImageError("the SVG is refused: it declares entities; write them out", code="unsafe")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        namespace, _, local = name.rpartition(" ")
        if self._left_out_from:
            return
        if namespace not in {"", _SVG} or local in _LEFT_OUT:
            self._left_out_from = self._depth
            return
        self.has_text = self.has_text or local in _TEXT
        written = self._written(local, attributes)
        if self._depth == 1:
            written = self._sized(written)
            written["xmlns"], written["xmlns:xlink"] = _SVG, _XLINK
        self._parts.append(f"<{local}")
        self._parts += (f" {key}={quoteattr(value, _ESCAPES)}" for key, value in written.items())
        self._parts.append(">")

    def _end(self, name: str) -> None:
        if not self._left_out_from:
            self._parts.append(f"</{name.rpartition(' ')[2]}>")
        elif self._left_out_from == self._depth:
            self._left_out_from = 0
        self._depth -= 1

    def _characters(self, data: str) -> None:
        if not self._left_out_from:
            self._parts.append(escape(data, {"\r": "&#13;"}))

    def _written(self, element: str, attributes: dict[str, str]) -> dict[str, str]:
        written = {}
        for name, value in attributes.items():
            namespace, _, local = name.rpartition(" ")
            if local == "href" and namespace in {"", _XLINK}:
                if element != "a":
                    written["xlink:href" if namespace else "href"] = self._reference(value)
            elif namespace == _XML and local in {"lang", "space"}:
                written[f"xml:{local}"] = value
            elif not namespace and not local.lower().startswith("on"):
                written[local] = value
        if self._depth > 1 and "transform" in written.get("style", ""):
            # a renderer that reads the attribute only may take it from here too, and then read it as one
            written["style"], transform = without_transform(written["style"])
            if transform is not None:
                written["transform"] = transform
        return written

    def _sized(self, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes of the root, with the size in pixels: what was the size before becomes the view box."""
        if "viewBox" not in attributes:
            width, height = length(attributes.get("width")), length(attributes.get("height"))
            attributes["viewBox"] = f"0 0 {width or self._size[0]} {height or self._size[1]}"
            attributes["preserveAspectRatio"] = "none"
        attributes["width"], attributes["height"] = map(str, self._size)
        return attributes

    def _reference(self, value: str) -> str:
        value = value.strip()
        if value.startswith("#") or not value:
            return value
        scheme, _, content = value.partition(":")
        if scheme.lower() != "data":
            msg = "the SVG is refused: it refers to something outside of it; embed the picture as data:image/png"
            raise UnreadableImageError(msg, code="unsafe")
        data = _decoded(content)
        reader = Reader(io.BytesIO(data))
        mimetype = type_of(reader)
        if mimetype not in _EMBEDDED:
            msg = f"the SVG is refused: {mimetype} is embedded in it; embed pictures as PNG, JPEG, GIF or WebP"
            allowed = sorted(_EMBEDDED)
            raise UnreadableImageError(msg, code="type_not_allowed", allowed=allowed, found=mimetype)
        self._policy.check_type(mimetype)
        info = look(reader, mimetype)
        self._embedded_pixels += info.width * info.height
        self._policy.check_pixels(self._embedded_pixels, 1)
        return f"data:{mimetype};base64,{base64.b64encode(data).decode()}"


def _decoded(content: str) -> bytes:
    """What follows ``data:``."""
    head, _, body = content.partition(",")
    data = unquote_to_bytes(body)
    if not head.lower().rstrip().endswith(";base64"):
        return data
    try:
        return base64.b64decode(b"".join(data.split()) + b"==")
    except binascii.Error:
        msg = "the SVG is refused: what is embedded in it is no base64; embed the picture anew"
        raise UnreadableImageError(msg, code="damaged") from None
