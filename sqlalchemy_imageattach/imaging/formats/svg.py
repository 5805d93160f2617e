"""SVG: well-formed XML that refers to nothing outside itself, and the size that it asks for.

SVG is a program more than a picture, so it has to be allowed by a policy, and even then this module refuses what could
make a renderer read another file, call another machine or grow without end:

* a document type with declarations of its own, and so any entity ("XXE", "billion laughs");
* references to anything but a part of the document (``#gradient``) or an embedded raster picture (``data:image/png``),
  in ``href``, ``src``, ``url(...)``, ``@import``, style sheets by processing instruction, XInclude or ``xml:base``.

Hyperlinks (``<a href>``) are left alone, since nothing follows them.  So are scripts and event handlers: a renderer
does not run them.  A *browser* does, when the original itself is opened there, so serve originals with a
``Content-Security-Policy``, or serve PNG thumbnails only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NoReturn
from xml.parsers import expat

from ...errors import RejectedImageError, UnreadableImageError
from ..reader import Reader, refuse_costly, refuse_damaged
from .header import Header

__all__ = ["length", "scan"]

_SVG = "http://www.w3.org/2000/svg"
_LENGTH: Final = re.compile(
    r"\+?(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:e([+-]?\d{1,2}))?\s{0,8}([a-z]{0,4})", re.ASCII | re.IGNORECASE
)
#: Pixels of CSS, of which 96 are an inch.
_UNITS: Final = {
    "": 1.0,
    "px": 1.0,
    "pt": 96 / 72,
    "pc": 16.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 9.6 / 2.54,
    "q": 2.4 / 2.54,
    "em": 16.0,
    "rem": 16.0,
    "ex": 8.0,
}
_INSIDE: Final = re.compile(
    r"\s{0,8}(?:#|data:(?:image/(?:png|jpe?g|gif|webp)|font/[a-z0-9-]{1,20}|application/(?:x-)?font[a-z0-9-]{0,20})[;,])",
    re.IGNORECASE,
)
#: An opening parenthesis, and what may stand before the reference within.
_OPENED: Final = re.compile(r"\(\s{0,8}[\"']?")
_IMPORT: Final = re.compile("@import", re.IGNORECASE)
#: How many characters before a parenthesis may say ``url``.
_BEFORE: Final = 11
#: How the names of attributes end that refer to something, whatever their namespace.
_REFERENCES: Final = ("href", "src", "base")
_MOST_DEEP: Final = 256
#: A document, and any one of its tokens, in bytes: what is embedded as a picture is one token.
_MOST_BYTES: Final = 8 * 2**20
_LONGEST_TOKEN: Final = 2 * 2**20
#: The name of a name space, in characters.
_LONGEST_NAME: Final = 1000
#: All of its style sheets, in characters.
_MOST_STYLE: Final = 2**20
#: How many bytes the parser is given at once, each time looking anew at what is not yet whole; and how many attributes,
#: behind a long token that makes them more bytes.
_CHUNK: Final = 2**17
_MOST_ATTRIBUTES: Final = 2_000
#: What the parser does with one step of the reader: so many bytes; and what it takes in steps for each tag, attribute,
#: end of a line and reference among them.
_BYTES_A_STEP: Final = 384
_STEPS: Final = {b"<": 0.5, b"=": 0.2, b"\n": 0.01, b"\r": 0.01, b"&": 0.01}
#: How many names with prefixes are looked up in one step.
_NAMES_A_STEP: Final = 4
#: How many parentheses of styles are looked at in one step.
_PARENTHESES_A_STEP: Final = 2


def scan(reader: Reader) -> Header:
    """Look through an SVG: all of it, since what it refers to can be anywhere."""
    if reader.size > _MOST_BYTES:
        refuse_costly(f"an SVG of more than {_MOST_BYTES:,} bytes")
    document = _Document(reader)
    # names are told apart here: a parser that does so writes the whole name of a name space, however long, before each
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = document.doctype
    parser.EntityDeclHandler = document.entity
    parser.SkippedEntityHandler = document.entity
    parser.ProcessingInstructionHandler = document.instruction
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text
    try:
        for start, data in _pieces(reader, parser):
            parser.Parse(data, False)
            if start + len(data) - parser.CurrentByteIndex > _LONGEST_TOKEN:
                refuse_costly(f"an SVG with a part of more than {_LONGEST_TOKEN:,} bytes")
        parser.Parse(b"", True)
    except RejectedImageError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        refuse_damaged(f"an SVG that is no well-formed XML ({error})")
    width, height = document.size()
    return Header(width, height)


def _pieces(reader: Reader, parser: expat.XMLParserType) -> Iterator[tuple[int, bytes]]:
    """The file piece by piece, and where each begins; its price is paid before the parser sees it."""
    start = 0
    while start < reader.size:
        # what the parser has, and could do nothing with yet: with twice as much each time it looks at all of it twice
        unfinished = start - max(0, parser.CurrentByteIndex)
        length = min(max(_CHUNK, unfinished), _LONGEST_TOKEN + _CHUNK - unfinished, reader.size - start)
        data = reader.at(start, length)
        if unfinished >= _CHUNK:
            # either a long value ends here, or one element has very many attributes, of which none is known yet
            if data.count(b"=") > _MOST_ATTRIBUTES:
                data = data[:_CHUNK]
                reader.spend(unfinished // _BYTES_A_STEP)
            reader.spend(data.count(b"="))
        reader.spend(len(data) // _BYTES_A_STEP + int(sum(data.count(byte) * each for byte, each in _STEPS.items())))
        yield start, data
        start += len(data)


def _refuse(what: str) -> NoReturn:
    raise UnreadableImageError(f"the SVG is refused: {what}", code="unsafe")


class _Document:
    """Looks at each part as it comes by, and keeps nothing but the size and the style sheet being read."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.root: dict[str, str] | None = None
        self.depth = 0
        self.style_depth = 0
        self.style: list[str] = []
        self.style_length = 0
        #: of attributes, as far as they were seen
        self.names: set[str] = set()
        #: how many elements around declare each prefix, and which prefixes each of them does
        self.prefixes = {"xml": 1, "xmlns": 1}
        self.declared: list[tuple[int, list[str]]] = []

    def doctype(self, _name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        # one that only names the standard declares nothing, and nobody fetches it
        if has_subset:
            _refuse("its document type can declare entities; remove the [...] within its <!DOCTYPE ...>")

    def entity(self, *_: object) -> None:
        _refuse("it uses an entity of its own; write what that stands for in its place")

    def instruction(self, target: str, _: str) -> None:
        self.reader.spend(1)
        if target.lower() == "xml-stylesheet":
            _refuse("it has a style sheet outside itself; put it into a <style> element")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        prefix, _, local = name.rpartition(":")
        if self.root is None:
            if local != "svg" or attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "") not in {"", _SVG}:
                _refuse(f"its outermost element is {local!r}, expected 'svg'")
            self.root = attributes
        self.depth += 1
        if not self.names.issuperset(attributes):
            # each name that is new takes as much as three that are known
            self.reader.spend(len(attributes.keys() - self.names))
            self.names.update(attributes)
        if self.depth > _MOST_DEEP:
            _refuse(f"its elements are nested more than {_MOST_DEEP} deep")
        names = [key for key in attributes if ":" in key or key == "xmlns"]
        if names or prefix:
            self.reader.spend(len(names) // _NAMES_A_STEP)
            self._check_names([name, *names] if prefix else names, attributes)
        for key, value in attributes.items():
            if "(" in value or key.endswith(_REFERENCES):
                self._check_attribute(local, key, value)
        if local == "style" and not self.style_depth:
            self.style_depth = self.depth

    def _check_names(self, names: list[str], attributes: dict[str, str]) -> None:
        """Take in the prefixes that an element declares; each that it uses has to be declared."""
        spaces = [name for name in names if name.partition(":")[0] == "xmlns" and name in attributes]
        for space in spaces:
            if attributes[space].endswith("XInclude"):
                _refuse("it includes another file; put the content in its place")
            if len(attributes[space]) > _LONGEST_NAME:
                refuse_costly(f"an SVG with a name space of more than {_LONGEST_NAME:,} characters")
        prefixes = [space[6:] for space in spaces]
        if prefixes:
            self.declared.append((self.depth, prefixes))
            for prefix in prefixes:
                self.prefixes[prefix] = self.prefixes.get(prefix, 0) + 1
        for name in names:
            if not self.prefixes.get(name.partition(":")[0]):
                refuse_damaged(f"an SVG that is no well-formed XML (the prefix of {name[:80]!r} is not declared)")

    def _check_attribute(self, element: str, key: str, value: str) -> None:
        local = key.rpartition(":")[2]
        if key == "xml:base":
            _refuse("it has xml:base, so that its references could lead anywhere; remove it")
        if local in {"href", "src"} and element != "a" and not _INSIDE.match(value):
            _refuse(f"it refers to {value[:80]!r}, which is outside of it; embed the picture as data:image/png")
        _check_style(self.reader, value)

    def text(self, data: str) -> None:
        if self.style_depth:
            self.reader.spend(1)
            self.style.append(data)
            self.style_length += len(data)
            if self.style_length > _MOST_STYLE:
                refuse_costly(f"an SVG with style sheets of more than {_MOST_STYLE:,} characters")

    def end(self, _: str) -> None:
        if self.depth == self.style_depth:
            style, self.style, self.style_depth = "".join(self.style), [], 0
            if _IMPORT.search(style):
                _refuse("its style sheet imports another one; put the content in its place")
            if "\\" in style:
                _refuse("its style sheet has escapes (\\), which could hide a reference; write them out")
            _check_style(self.reader, style)
        if self.declared and self.declared[-1][0] == self.depth:
            for prefix in self.declared.pop()[1]:
                self.prefixes[prefix] -= 1
        self.depth -= 1

    def size(self) -> tuple[int, int]:
        """The size in pixels of CSS, from width and height, or from the view box where they are missing."""
        root = self.root or {}
        view = _view_box(root.get("viewBox", ""))
        width, height = length(root.get("width")), length(root.get("height"))
        if view is not None:
            if width is None and height is None:
                width, height = view
            elif width is None and height is not None:
                width = height * view[0] / view[1]
            elif height is None and width is not None:
                height = width * view[1] / view[0]
        if width is None or height is None:
            msg = "the SVG does not say how large it is; give its <svg> a width and a height, or a viewBox"
            raise UnreadableImageError(msg, code="unsupported", mimetype="image/svg+xml")
        if not max(width, height) < 2**31:
            refuse_damaged(f"an SVG of {width:g}×{height:g} pixels")
        return max(1, int(width + 0.5)), max(1, int(height + 0.5))


def _check_style(reader: Reader, value: str) -> None:
    if "(" not in value:
        return
    if "\\" in value:
        _refuse("one of its styles has escapes (\\), which could hide a reference; write them out")
    for number, match in enumerate(_OPENED.finditer(value)):
        if number % _PARENTHESES_A_STEP == 0:
            reader.spend(1)
        start = match.start()
        name = value[max(0, start - _BEFORE) : start].rstrip()
        if name[-3:].lower() == "url" and not _INSIDE.match(value, match.end()):
            _refuse(f"it refers to {name[-3:] + value[start : start + 80]!r}, which is outside of it")


def length(value: str | None) -> float | None:
    """Pixels; ``None`` where it is missing or relative to a page that is not there (``100%``)."""
    match = _LENGTH.fullmatch((value or "").strip())
    if match is None or match[3].lower() not in _UNITS:
        return None
    pixels = float(match[1]) * 10.0 ** int(match[2] or 0) * _UNITS[match[3].lower()]
    return pixels if pixels > 0 else None


def _view_box(value: str) -> tuple[float, float] | None:
    try:
        _, _, width, height = (float(part) for part in value[:400].replace(",", " ").split())
    except ValueError:
        return None
    return (width, height) if 0 < width < 1e12 and 0 < height < 1e12 else None
