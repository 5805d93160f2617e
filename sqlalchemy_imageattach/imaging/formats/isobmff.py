"""AVIF and HEIF (HEIC): boxes within boxes, of which those of the pictures are looked at.

Turning and mirroring are properties of the picture here; EXIF, where there is some, says the same and does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

from ..reader import Reader, refuse_damaged, refuse_truncated
from . import av1, hevc, items
from .header import Header

__all__ = ["Colours", "colours", "scan"]

#: The orientation for no, one, two and three quarter turns to the left, which are then not mirrored, mirrored top to
#: bottom (axis 0), or left to right (axis 1).
_ORIENTATIONS: Final = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
#: The main brands of files whose pictures follow one another in time.
_SEQUENCES: Final = frozenset({b"avis", b"hevc", b"hevx", b"msf1"})
_MOST_BYTES: Final = 4 * 2**20
#: What the tiles of a picture may have more than the picture itself, in times and in pixels.
_TILES: Final = (4, 4_000_000)


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
    brand = reader.at(8, 4)
    # of what moves, decoders of HEIF read the picture that stands for it, if there is one
    if movie is not None and (brand == b"avis" or brand in _SEQUENCES and not _has_primary(reader, meta)):
        return _scan_movie(reader, movie, brand)
    if meta is None:
        refuse_damaged("a file of the AVIF and HEIF family that describes no picture")
    return _Meta(reader, meta).header()


def _has_primary(reader: Reader, meta: _Box | None) -> bool:
    return meta is not None and any(box.kind == b"pitm" for box in _boxes(reader, meta.start + 4, meta.end))


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
        offset = box.end


def _boxes(reader: Reader, start: int, end: int) -> Iterator[_Box]:
    while start + 8 <= end:
        box = _box(reader, start, end)
        if box.end > end:
            refuse_damaged("an AVIF or HEIF with a box larger than the one around it")
        yield box
        start = box.end


def _box(reader: Reader, start: int, end: int) -> _Box:
    header = reader.at(start, 8)
    reader.spend(1)
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


def _child(reader: Reader, box: _Box, kind: bytes) -> _Box:
    for child in _boxes(reader, box.start, box.end):
        if child.kind == kind:
            return child
    refuse_damaged(f"an AVIF or HEIF without its {kind.decode()} box")


def _content(reader: Reader, box: _Box) -> bytes:
    if box.end - box.start > _MOST_BYTES:
        refuse_damaged(f"an AVIF or HEIF whose {box.kind!r} box has {box.end - box.start:,} bytes")
    return reader.at(box.start, box.end - box.start)


class Colours(NamedTuple):
    """What a file says of its colours.

    :param profile: the ICC profile
    :param code_points: primaries and transfer, as ITU-T H.273 numbers them
    """

    profile: bytes | None = None
    code_points: tuple[int, int] | None = None


def colours(reader: Reader) -> Colours:
    """The colours of the primary picture, or else of the film."""
    found = Colours()
    for box in _top_level(reader):
        if box.kind == b"meta" and _has_primary(reader, box):
            for property_ in _Meta(reader, box).primary_properties():
                found = _colours(reader, property_, found)
        elif box.kind == b"moov" and found == Colours():
            for track in _boxes(reader, box.start, box.end):
                if track.kind == b"trak":
                    for entry in _Track(reader, track).entries():
                        # a sample entry of pictures has 78 bytes before its boxes
                        for inner in _boxes(reader, entry.start + 78, entry.end):
                            found = _colours(reader, inner, found)
    return found


def _colours(reader: Reader, box: _Box, found: Colours) -> Colours:
    """What was found before, and what a box adds to it: the first of each kind counts."""
    if box.kind == b"colr":
        kind = _field(reader, box, 4)
        if kind in {b"prof", b"rICC"} and found.profile is None:
            return found._replace(profile=_content(reader, box)[4:])
        if kind == b"nclx" and found.code_points is None:
            data = _field(reader, box, 8)
            return found._replace(code_points=(int.from_bytes(data[4:6]), int.from_bytes(data[6:8])))
    return found


def _field(reader: Reader, box: _Box, length: int) -> bytes:
    """The first bytes of a box."""
    if box.start + length > box.end:
        refuse_damaged(f"an AVIF or HEIF whose {box.kind!r} box has {box.end - box.start} bytes, expected {length}")
    return reader.at(box.start, length)


class _Meta:
    """The pictures of a file, and what is said of each."""

    def __init__(self, reader: Reader, box: _Box) -> None:
        self.reader = reader
        self.boxes = {child.kind: child for child in reversed(list(_boxes(reader, box.start + 4, box.end)))}

    def header(self) -> Header:
        size: tuple[int, int] | None = None
        turn, mirror = 0, None
        for box in self.primary_properties():
            if box.kind == b"ispe":
                size = _pair(self.reader, box)
            # decoders of AVIF show the whole picture, those of HEIF this part of it
            elif box.kind == b"clap" and size is not None and self.reader.at(8, 4) != b"avif":
                size = _cropped(self.reader, box, size)
            elif box.kind == b"irot":
                turn = _field(self.reader, box, 1)[0] & 3
            elif box.kind == b"imir":
                mirror = _field(self.reader, box, 1)[0] & 1
        if size is None or 0 in size:
            refuse_damaged("an AVIF or HEIF that does not say the size of its picture")
        return Header(*size, _ORIENTATIONS[mirror][turn], largest=self._largest(size))

    def primary_properties(self) -> Iterator[_Box]:
        """The properties of the primary picture, in their order."""
        content = _content(self.reader, self._box(b"pitm"))
        primary = int.from_bytes(content[4 : 6 if content[:1] == b"\0" else 8])
        yield from self._properties_of(primary)

    def _largest(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """The size of the largest picture, if that is not the primary one: decoders may be made to decode any."""
        largest, area, tiles = size, size[0] * size[1], 0
        for item, kind in self._kinds.items():
            said = next((_pair(self.reader, box) for box in self._properties_of(item) if box.kind == b"ispe"), None)
            coded, beyond = self._coded_size(item, kind)
            if said is not None:
                _check_coded(said, coded, beyond)
            elif coded != (0, 0):
                said = coded
            if said is not None:
                largest = max(largest, said, key=_area)
                tiles += _area(said)
        if tiles > _TILES[0] * max(area, _area(largest)) + _TILES[1]:
            refuse_damaged(f"an AVIF or HEIF of {area:,} pixels whose parts have {tiles:,}")
        return largest if _area(largest) > area else None

    def _coded_size(self, item: int, kind: bytes) -> tuple[tuple[int, int], int]:
        """The size that the data of an item say, and by how much it may be larger than what is shown."""
        sizes = [(0, 0)]
        if kind == b"av01":
            sizes += (av1.coded_size(self.reader, at, at + length) for at, length in self._places.get(item, ()))
        elif kind == b"hvc1":
            boxes = [box for box in self._properties_of(item) if box.kind == b"hvcC"]
            sizes += (hevc.coded_size(self.reader, box.start, box.end) for box in boxes)
        return (max(wide for wide, _ in sizes), max(high for _, high in sizes)), hevc.BLOCK if kind == b"hvc1" else 0

    def _properties_of(self, item: int) -> Iterator[_Box]:
        for number in self._associations.get(item, ()):
            if 0 < number <= len(self._known):
                yield self._known[number - 1]

    def _box(self, kind: bytes) -> _Box:
        if kind not in self.boxes:
            refuse_damaged(f"an AVIF or HEIF without its {kind.decode()} box")
        return self.boxes[kind]

    @cached_property
    def _known(self) -> list[_Box]:
        container = _child(self.reader, self._box(b"iprp"), b"ipco")
        return list(_boxes(self.reader, container.start, container.end))

    @cached_property
    def _associations(self) -> dict[int, list[int]]:
        properties = self._box(b"iprp")
        found: dict[int, list[int]] = {}
        for box in _boxes(self.reader, properties.start, properties.end):
            if box.kind == b"ipma":
                for item, numbers in items.associations(self.reader, _content(self.reader, box)):
                    found.setdefault(item, []).extend(numbers)
        return found

    @cached_property
    def _kinds(self) -> dict[int, bytes]:
        """What each item is: a picture coded so or so, a grid of them, metadata."""
        if b"iinf" not in self.boxes:
            return {}
        box, kinds = self.boxes[b"iinf"], {}
        wide = _field(self.reader, box, 1) != b"\0"
        for entry in _boxes(self.reader, box.start + (8 if wide else 6), box.end):
            data = self.reader.at(entry.start, min(14, entry.end - entry.start))
            if entry.kind == b"infe" and data[:1] in {b"\2", b"\3"}:
                identity = 4 if data[:1] == b"\3" else 2
                kinds[int.from_bytes(data[4 : 4 + identity])] = data[6 + identity : 10 + identity]
        return kinds

    @cached_property
    def _places(self) -> dict[int, list[tuple[int, int]]]:
        """Where the data of each item are, and how many bytes."""
        if b"iloc" not in self.boxes:
            return {}
        idat = self.boxes[b"idat"].start if b"idat" in self.boxes else 0
        return dict(items.places(self.reader, _content(self.reader, self.boxes[b"iloc"]), idat))


def _check_coded(said: tuple[int, int], coded: tuple[int, int], beyond: int) -> None:
    if coded[0] > said[0] + beyond or coded[1] > said[1] + beyond:
        refuse_damaged(f"its header says {said[0]}×{said[1]} pixels, its data {coded[0]}×{coded[1]}")


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _pair(reader: Reader, box: _Box) -> tuple[int, int]:
    data = _field(reader, box, 12)
    return int.from_bytes(data[4:8]), int.from_bytes(data[8:12])


def _cropped(reader: Reader, box: _Box, size: tuple[int, int]) -> tuple[int, int]:
    data = _field(reader, box, 16)
    width, width_by, height, height_by = (int.from_bytes(data[i : i + 4]) for i in range(0, 16, 4))
    if not width_by or not height_by:
        return size
    return min(size[0], width // width_by), min(size[1], height // height_by)


class _Track:
    """What the tables of a track say."""

    def __init__(self, reader: Reader, box: _Box) -> None:
        self.reader = reader
        head = _content(reader, _child(reader, box, b"tkhd"))
        self.size = int.from_bytes(head[-8:-6]), int.from_bytes(head[-4:-2])
        media = _child(reader, box, b"mdia")
        table = _child(reader, _child(reader, media, b"minf"), b"stbl")
        self.tables = {child.kind: child for child in _boxes(reader, table.start, table.end)}

    @cached_property
    def samples(self) -> int:
        return int.from_bytes(_field(self.reader, self._box(b"stsz"), 12)[8:])

    def entries(self) -> Iterator[_Box]:
        """How the samples are coded."""
        box = self._box(b"stsd")
        yield from _boxes(self.reader, box.start + 8, box.end)

    def coded_size(self) -> tuple[int, int]:
        """The size that the samples of an AVIF say."""
        width = height = 0
        for start, length in self._places():
            wide, high = av1.coded_size(self.reader, start, min(start + length, self.reader.size))
            width, height = max(width, wide), max(height, high)
        return width, height

    def _places(self) -> Iterator[tuple[int, int]]:
        """Where each sample is, and how many bytes it has."""
        sizes = self._table(b"stsz")
        fixed = int.from_bytes(sizes[4:8])
        wide = b"co64" in self.tables
        chunks, runs = self._table(b"co64" if wide else b"stco"), self._table(b"stsc")
        step = 8 if wide else 4
        sample, run, per_chunk = 0, 8, 0
        for chunk in range(int.from_bytes(chunks[4:8])):
            self.reader.spend(1)
            if int.from_bytes(runs[run : run + 4]) == chunk + 1:
                per_chunk = int.from_bytes(runs[run + 4 : run + 8])
                run += 12
            place = int.from_bytes(chunks[8 + step * chunk : 8 + step * (chunk + 1)])
            for _ in range(per_chunk):
                if sample >= self.samples:
                    return
                length = fixed or int.from_bytes(sizes[12 + 4 * sample : 16 + 4 * sample])
                self.reader.spend(1)
                yield place, length
                place, sample = place + length, sample + 1

    def _table(self, kind: bytes) -> bytes:
        return _content(self.reader, self._box(kind))

    def _box(self, kind: bytes) -> _Box:
        if kind not in self.tables:
            refuse_damaged(f"an AVIF or HEIF without its {kind.decode()} box")
        return self.tables[kind]


def _scan_movie(reader: Reader, movie: _Box, brand: bytes) -> Header:
    """The size and the number of frames of the longest track that shows something."""
    best, largest = (0, 0, 0), (0, 0)
    for box in _boxes(reader, movie.start, movie.end):
        if box.kind != b"trak":
            continue
        track = _Track(reader, box)
        if 0 in track.size:
            continue
        best = max(best, (track.samples, *track.size))
        largest = max(largest, track.size, key=_area)
        if brand == b"avis":
            _check_coded(track.size, track.coded_size(), 0)
    frames, width, height = best
    if not frames:
        refuse_damaged("an AVIF or HEIF sequence without any picture")
    beyond = largest if _area(largest) > width * height else None
    # no decoder shows the others of a HEIF
    moves = brand == b"avis"
    return Header(width, height, 1, frames if moves else 1, pages=1 if moves else frames, largest=beyond)
