"""GIF: a walk over all blocks, since nothing else tells how many frames there are or whether the file is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["Film", "Picture", "film", "scan"]

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
#: How many sub-blocks are passed in one step of the reader.
_BLOCKS_A_STEP = 16


class Picture(NamedTuple):
    """One frame, as it is in the file.

    :param box: left, top, right and bottom on the screen
    :param interlaced: whether its rows are in four passes
    :param palette: where its own palette is, and how many bytes it has: 0 for none
    :param data: where its picture data begin, with the width of their codes
    :param transparent: the colour that is none, or -1
    :param disposal: what becomes of it afterwards: 2, it is cleared; 3, what it covered comes back
    :param duration: milliseconds
    """

    box: tuple[int, int, int, int]
    interlaced: bool
    palette: tuple[int, int]
    data: int
    transparent: int
    disposal: int
    duration: int


class Film(NamedTuple):
    """What the blocks of a GIF say.

    :param size: of the screen, in pixels
    :param palette: where the palette of all frames is, and its bytes: 0 for none
    :param pictures: the frames
    :param loop: how often they repeat after they were shown once, 0 for ever, ``None`` not at all
    """

    size: tuple[int, int]
    palette: tuple[int, int]
    pictures: list[Picture]
    loop: int | None


def scan(reader: Reader) -> Header:
    """Look through a GIF up to its trailer, or to the end of its last whole frame; what follows is left alone."""
    return _header(reader, _parts(reader))


def film(reader: Reader) -> Film:
    """The frames of a GIF that has been looked through already."""
    # in one pass: two of them would take twice the steps that the look has taken
    parts = list(_parts(reader))
    header = _header(reader, parts)
    pictures = [part for part in parts if isinstance(part, Picture)]
    loops = [part for part in parts if not isinstance(part, Picture)]
    palette = 13, _palette_size(reader.at(10, 1)[0])
    return Film((header.width, header.height), palette, pictures, loops[-1] if loops else None)


def _header(reader: Reader, parts: Iterable[Picture | int]) -> Header:
    screen = reader.at(6, 4)
    width, height = int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:4], "little")
    frames, right, bottom = 0, 0, 0
    for part in parts:
        if isinstance(part, Picture):
            frames += 1
            right, bottom = max(right, part.box[2]), max(bottom, part.box[3])
            if frames == 1:
                # a first frame larger than its screen widens it, in browsers and engines alike; later ones are cut
                width, height = max(width, right), max(height, bottom)
            reader.count(width, height, frames)
    if frames == 0:
        refuse_damaged("a GIF without any picture")
    if width == 0 or height == 0:
        refuse_damaged(f"a GIF of {width}×{height} pixels")
    beyond = right > width or bottom > height
    return Header(width, height, 1, frames, largest=(max(right, width), max(bottom, height)) if beyond else None)


def _parts(reader: Reader) -> Iterator[Picture | int]:
    """The frames, and the number of repetitions where it stands."""
    offset = 13 + _palette_size(reader.at(10, 1)[0])
    frames, control = 0, bytes(4)
    while True:
        if offset == reader.size and frames:
            return
        kind = reader.byte(offset)
        if kind == _IMAGE:
            header = reader.at(offset + 1, 9)
            left, top, width, height = (int.from_bytes(header[i : i + 2], "little") for i in (0, 2, 4, 6))
            palette = offset + 10, _palette_size(header[8])
            data = sum(palette)
            # one byte after the palette says how wide the codes are
            offset = _skip_blocks(reader, data + 1)
            frames += 1
            reader.spend(1)
            yield Picture(
                (left, top, left + width, top + height),
                bool(header[8] & 0x40),
                palette,
                data,
                control[3] if control[0] & 1 else -1,
                control[0] >> 2 & 7,
                10 * int.from_bytes(control[1:3], "little"),
            )
            control = bytes(4)
        elif kind == _EXTENSION:
            label, length = reader.at(offset + 1, 2)
            if label == _CONTROL and length == 4:
                control = reader.at(offset + 3, 4)
            elif label == _APPLICATION and length == 11 and reader.at(offset + 3, 11) in _LOOPS:
                block = reader.at(offset + 14, 4)
                if block[0] == 3 and block[1] == 1:
                    yield int.from_bytes(block[2:4], "little")
            offset = _skip_blocks(reader, offset + 2)
        elif kind == _TRAILER or frames:
            # what is no block ends the file, behind a whole frame, as in browsers
            return
        else:
            refuse_damaged(f"a GIF with an unknown block 0x{kind:02x}")


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(reader: Reader, offset: int) -> int:
    """Where the chain of sub-blocks that begins at ``offset`` ends."""
    while True:
        if offset >= reader.size:
            refuse_truncated("a GIF that ends within a block")
        view = reader.view(offset)
        place, blocks, end = 0, 0, len(view)
        while place < end:
            length = view[place]
            place += 1 + length
            blocks += 1
            if length == 0:
                break
        reader.spend(blocks // _BLOCKS_A_STEP)
        offset += place
        if length == 0:
            return offset
