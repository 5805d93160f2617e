"""ICC profiles: which of those of strangers are used, and those for colours that a file says in another way.

A profile may be a program: a chain of stages that costs minutes for one pixel.  So only the kinds that cameras, phones
and browsers write are used: a matrix with curves, and tables; anything else is taken for sRGB.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final

__all__ = ["is_plain", "profile_of"]

#: Those of printers have a megabyte or two.
_LONGEST: Final = 4 * 2**20
_MOST_TAGS: Final = 100
_TABLES: Final = frozenset({b"mft1", b"mft2", b"mAB ", b"mBA "})
_CURVES: Final = frozenset({b"curv", b"para"})


def is_plain(profile: bytes) -> bool:
    """Whether it is a matrix with curves, or tables: work that grows with the pixels alone."""
    if not 132 <= len(profile) <= _LONGEST or profile[36:40] != b"acsp":
        return False
    count = int.from_bytes(profile[128:132])
    if count > _MOST_TAGS or 132 + 12 * count > len(profile):
        return False
    for number in range(count):
        name, offset, length = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        kind = profile[offset : offset + 4]
        if name[:3] in {b"D2B", b"B2D"} or kind == b"mpet" or offset + length > len(profile):
            return False
        if name[:3] in {b"A2B", b"B2A"} and kind not in _TABLES or name[1:] == b"TRC" and kind not in _CURVES:
            return False
    return True


_White = tuple[float, float]
#: x and y of red, green, blue and white, by the numbers of ITU-T H.273.
_D65: Final = (0.3127, 0.3290)
PRIMARIES: Final[dict[int, tuple[_White, _White, _White, _White]]] = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
#: The white of diffuse paper in HDR, in nits, and the brightest that each transfer says.
_PAPER: Final = 203.0
_BRIGHTEST_PQ, _BRIGHTEST_HLG = 10_000.0, 1_000.0


def _srgb(level: float) -> float:
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def _pq(level: float) -> float:
    power = level ** (1 / 78.84375)
    light = (max(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return _mapped(light * _BRIGHTEST_PQ / _PAPER, _BRIGHTEST_PQ / _PAPER)


def _hlg(level: float) -> float:
    scene = level * level / 3 if level <= 0.5 else (math.exp((level - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return _mapped(scene**1.2 * _BRIGHTEST_HLG / _PAPER, _BRIGHTEST_HLG / _PAPER)


def _mapped(light: float, brightest: float) -> float:
    """Light in terms of paper white, brought into the range of a screen: what is as bright as can be becomes white."""
    return light * (1 + light / brightest**2) / (1 + light)


#: From levels to light, both 0 to 1, by the same numbers; those that are missing are as sRGB is.
_TRANSFERS: Final[dict[int, Callable[[float], float]]] = {
    4: lambda level: level**2.2,
    5: lambda level: level**2.8,
    8: lambda level: level,
    16: _pq,
    18: _hlg,
}


def profile_of(primaries: int, transfer: int) -> bytes | None:
    """A profile that says the same; ``None`` for sRGB, and for numbers that say nothing."""
    if primaries not in PRIMARIES or primaries == 1 and transfer not in _TRANSFERS:
        return None
    return matrix_profile(PRIMARIES[primaries], _TRANSFERS.get(transfer, _srgb))


def matrix_profile(
    primaries: tuple[_White, _White, _White, _White], transfer: Callable[[float], float]
) -> bytes | None:
    """A profile of these primaries, red, green, blue and white, and this curve; ``None`` if there can be none."""
    columns = _columns(primaries)
    if columns is None:
        return None
    curve = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(65535 * transfer(i / 1023)) for i in range(1024)))
    tags = {b"wtpt": _xyz((0.9642, 1.0, 0.8249)), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"desc": _DESCRIPTION}
    for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[name + b"XYZ"] = _xyz(column)
        tags[name + b"TRC"] = curve
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0")
    head = (head + b"acsp").ljust(68, b"\0") + _fixed((0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


_DESCRIPTION: Final = (b"desc\0\0\0\0" + struct.pack(">I", 5) + b"said\0").ljust(96, b"\0")


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: tuple[float, float, float]) -> bytes:
    return b"".join(struct.pack(">i", round(max(-30000.0, min(30000.0, value)) * 65536)) for value in values)


_Vector = tuple[float, float, float]
_BRADFORD: Final = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_D50: Final = (0.9642, 1.0, 0.8249)


def _columns(primaries: tuple[_White, _White, _White, _White]) -> list[_Vector] | None:
    """Red, green and blue as XYZ under D50."""
    if any(not 0 < y <= 1 or not 0 <= x <= 1 for x, y in primaries):
        return None
    red, green, blue, white = ((x / y, 1.0, (1 - x - y) / y) for x, y in primaries)
    scales = _solved((red, green, blue), white)
    if scales is None:
        return None
    # from the white of the file to the one of profiles
    from_white, to_white = _times(_BRADFORD, white), _times(_BRADFORD, _D50)
    columns = []
    for column, scale in zip((red, green, blue), scales, strict=True):
        cone = _times(_BRADFORD, (column[0] * scale, column[1] * scale, column[2] * scale))
        moved = [cone[i] * to_white[i] / from_white[i] for i in range(3)]
        rows = tuple(zip(*_BRADFORD, strict=True))
        back = _solved((rows[0], rows[1], rows[2]), (moved[0], moved[1], moved[2]))
        assert back is not None
        columns.append(back)
    return columns


def _times(rows: tuple[_Vector, _Vector, _Vector], vector: _Vector) -> _Vector:
    a, b, c = (sum(row[i] * vector[i] for i in range(3)) for row in rows)
    return a, b, c


def _solved(columns: tuple[_Vector, _Vector, _Vector], wanted: _Vector) -> _Vector | None:
    """How much of each column makes up what is wanted, by Cramer's rule."""
    whole = _determinant(*columns)
    if abs(whole) < 1e-9:
        return None
    a, b, c = columns
    return (
        _determinant(wanted, b, c) / whole,
        _determinant(a, wanted, c) / whole,
        _determinant(a, b, wanted) / whole,
    )


def _determinant(a: _Vector, b: _Vector, c: _Vector) -> float:
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) + c[0] * (a[1] * b[2] - a[2] * b[1])
