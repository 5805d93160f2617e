"""AVIF and HEIF (HEIC): boxes within boxes, of which those of the primary picture are looked at.

Turning and mirroring are properties of the picture here; EXIF, where there is some, says the same and does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["profile", "scan"]

#: The orientation for no, one, two and three quarter turns to the left, which are then not mirrored, mirrored top to
#: bottom (axis 0), or left to right (axis 1).
_ORIENTATIONS: Final = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
#: The main brands of files whose pictures follow one another in time.
_SEQUENCES: Final = frozenset({b"avis", b"hevc", b"hevx", b"msf1"})
_MOST_BOXES = 10_000
_MOST_BYTES = 4 * 2**20


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def scan(reader: Reader) -> Header:
    """Look through an AVIF or a HEIF: its top-level boxes have to be all there."""
    boxes = list(_top_level(reader))
    kinds = {box.kind for box in boxes}
    meta = next((box for box in boxes if box.kind == b"meta"), None)
    movie = next((box for box in boxes if box.kind == b"moov"), None)
    within = meta is not None and any(box.kind == b"idat" for box in _boxes(reader, meta.start + 4, meta.end))
    if b"mdat" not in kinds and not within:
        refuse_truncated("a file of the AVIF and HEIF family without picture data")
    if reader.at(8, 4) in _SEQUENCES and movie is not None:
        return _scan_movie(reader, movie)
    if meta is None:
        refuse_damaged("a file of the AVIF and HEIF family that describes no picture")
    return _scan_meta(reader, meta)


def _top_level(reader: Reader) -> Iterator[_Box]:
    offset = 0
    seen: set[bytes] = set()
    while offset + 8 <= reader.size:
        box = _box(reader, offset, reader.size)
        if box.end > reader.size:
            # behind a whole picture it is junk, else it is the picture that is cut off
            if {b"meta", b"mdat"} <= seen and box.kind not in {b"mdat", b"moov", b"meta"}:
                return
            refuse_truncated(f"it needs {box.end:,} bytes, of which {reader.size:,} are there")
        yield box
        seen.add(box.kind)
        if len(seen) > 1000:
            refuse_damaged("more boxes than an AVIF or HEIF can have")
        offset = box.end


def _boxes(reader: Reader, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        box = _box(reader, start, end)
        if box.end > end:
            refuse_damaged("an AVIF or HEIF with a box larger than the one around it")
        yield box
        start = box.end
    refuse_damaged("more boxes than an AVIF or HEIF can have")


def _box(reader: Reader, start: int, end: int) -> _Box:
    header = reader.at(start, 8)
    size, kind = int.from_bytes(header[:4]), header[4:]
    content = start + 8
    if size == 1:
        size = int.from_bytes(reader.at(content, 8))
        content += 8
    elif size == 0:
        size = end - start
    if start + size < content:
        refuse_damaged(f"an AVIF or HEIF with a box of {size} bytes")
    return _Box(kind, content, start + size)


def _child(reader: Reader, box: _Box, kind: bytes, skip: int = 0) -> _Box:
    for child in _boxes(reader, box.start + skip, box.end):
        if child.kind == kind:
            return child
    refuse_damaged(f"an AVIF or HEIF without its {kind.decode()} box")


def _content(reader: Reader, box: _Box) -> bytes:
    if box.end - box.start > _MOST_BYTES:
        refuse_damaged(f"an AVIF or HEIF whose {box.kind!r} box has {box.end - box.start:,} bytes")
    return reader.at(box.start, box.end - box.start)


def profile(reader: Reader) -> bytes | None:
    """The ICC profile of the primary picture, for engines that do not tell; ``None`` without one."""
    for box in _top_level(reader):
        if box.kind == b"meta":
            for found in _properties(reader, box):
                if found.kind == b"colr" and _field(reader, found, 4) in {b"prof", b"rICC"}:
                    return _content(reader, found)[4:]
    return None


def _field(reader: Reader, box: _Box, length: int) -> bytes:
    """The first bytes of a box."""
    if box.start + length > box.end:
        refuse_damaged(f"an AVIF or HEIF whose {box.kind!r} box has {box.end - box.start} bytes, expected {length}")
    return reader.at(box.start, length)


def _scan_meta(reader: Reader, meta: _Box) -> Header:
    size: tuple[int, int] | None = None
    turn, mirror = 0, None
    for box in _properties(reader, meta):
        if box.kind == b"ispe":
            size = _pair(reader, box)
        # decoders of AVIF show the whole picture, those of HEIF this part of it
        elif box.kind == b"clap" and size is not None and reader.at(8, 4) != b"avif":
            size = _cropped(reader, box, size)
        elif box.kind == b"irot":
            turn = _field(reader, box, 1)[0] & 3
        elif box.kind == b"imir":
            mirror = _field(reader, box, 1)[0] & 1
    if size is None or 0 in size:
        refuse_damaged("an AVIF or HEIF that does not say the size of its picture")
    return Header(*size, _ORIENTATIONS[mirror][turn])


def _properties(reader: Reader, meta: _Box) -> Iterator[_Box]:
    """The properties of the primary picture, in their order."""
    primary_box = _content(reader, _child(reader, meta, b"pitm", 4))
    primary = int.from_bytes(primary_box[4 : 6 if primary_box[:1] == b"\0" else 8])
    properties = _child(reader, meta, b"iprp", 4)
    container = _child(reader, properties, b"ipco")
    known = list(_boxes(reader, container.start, container.end))
    for box in _boxes(reader, properties.start, properties.end):
        if box.kind == b"ipma":
            for number in _associations(_content(reader, box), primary):
                if 0 < number <= len(known):
                    yield known[number - 1]


def _pair(reader: Reader, box: _Box) -> tuple[int, int]:
    data = _field(reader, box, 12)
    return int.from_bytes(data[4:8]), int.from_bytes(data[8:12])


def _cropped(reader: Reader, box: _Box, size: tuple[int, int]) -> tuple[int, int]:
    data = _field(reader, box, 16)
    width, width_by, height, height_by = (int.from_bytes(data[i : i + 4]) for i in range(0, 16, 4))
    if not width_by or not height_by:
        return size
    return min(size[0], width // width_by), min(size[1], height // height_by)


def _associations(data: bytes, item: int) -> Iterator[int]:
    """The numbers of the properties of one item, in their order."""
    wide_items, wide_numbers = data[:1] != b"\0", bool(data[3:4] and data[3] & 1)
    position = 8
    for _ in range(int.from_bytes(data[4:8])):
        ident = int.from_bytes(data[position : position + (4 if wide_items else 2)])
        position += 4 if wide_items else 2
        if position >= len(data):
            return
        count = data[position]
        position += 1
        for _ in range(count):
            number = data[position : position + (2 if wide_numbers else 1)]
            position += 2 if wide_numbers else 1
            if ident == item and number:
                # the highest bit says that the property is essential
                yield int.from_bytes(number) & (0x7FFF if wide_numbers else 0x7F)


def _scan_movie(reader: Reader, movie: _Box) -> Header:
    """The size and the number of frames of the longest track that shows something."""
    best = (0, 0, 0)
    for track in _boxes(reader, movie.start, movie.end):
        if track.kind != b"trak":
            continue
        head = _content(reader, _child(reader, track, b"tkhd"))
        width, height = int.from_bytes(head[-8:-6]), int.from_bytes(head[-4:-2])
        media = _child(reader, track, b"mdia")
        table = _child(reader, _child(reader, media, b"minf"), b"stbl")
        samples = int.from_bytes(_field(reader, _child(reader, table, b"stsz"), 12)[8:])
        if width and height:
            best = max(best, (samples, width, height))
    frames, width, height = best
    if not frames:
        refuse_damaged("an AVIF or HEIF sequence without any picture")
    return Header(width, height, 1, frames)
