"""A ``transform`` that is said by a style, as the attribute says it: renderers that are no browsers read only that."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["without_transform"]

_FUNCTION: Final = re.compile(r"\s{0,99}([a-z]{1,10})\(([^()]{0,400})\)\s{0,99}", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"([+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:e[+-]?\d{1,2})?)([a-z]{0,4})", re.IGNORECASE
)
_BETWEEN: Final = re.compile(r"\s{0,99},\s{0,99}|\s{1,99}")
#: Pixels, and degrees, of each unit.
_LENGTHS: Final = {"px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 9.6 / 2.54, "q": 2.4 / 2.54}
_ANGLES: Final = {"deg": 1.0, "grad": 0.9, "rad": 180 / math.pi, "turn": 360.0}
_NONE: Final = {"": 1.0}
#: What each function takes: the units, how many numbers, and what the attribute calls it.
_FUNCTIONS: Final = {
    "matrix": (_NONE, {6}, "matrix({})"),
    "translate": (_LENGTHS, {1, 2}, "translate({})"),
    "translatex": (_LENGTHS, {1}, "translate({} 0)"),
    "translatey": (_LENGTHS, {1}, "translate(0 {})"),
    "scale": (_NONE, {1, 2}, "scale({})"),
    "scalex": (_NONE, {1}, "scale({} 1)"),
    "scaley": (_NONE, {1}, "scale(1 {})"),
    "rotate": (_ANGLES, {1}, "rotate({})"),
    "skewx": (_ANGLES, {1}, "skewX({})"),
    "skewy": (_ANGLES, {1}, "skewY({})"),
}


def without_transform(style: str) -> tuple[str, str | None]:
    """A style without its ``transform``, and what the attribute has to say instead.

    That is ``None`` where there is nothing to say: the style has none, or one that no browser understands, or what an
    attribute cannot say: percents, a third dimension, another origin.

    >>> without_transform("fill: red; transform: rotate(.25turn) translateX(10px)")
    ('fill: red', 'rotate(90) translate(10 0)')
    >>> without_transform("transform: translate(50%)")
    ('', None)
    """
    transform, others, has_origin = "", [], False
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        name = name.strip().lower()
        has_origin = has_origin or name in {"transform-origin", "transform-box"}
        if name == "transform":
            transform = value.replace("!important", "").strip()
        else:
            others.append(declaration)
    said = None if not transform or has_origin else "" if transform.lower() == "none" else _written(transform)
    return ";".join(others), said


def _written(value: str) -> str | None:
    functions, place = [], 0
    while place < len(value):
        match = _FUNCTION.match(value, place)
        written = None if match is None else _function(match[1].lower(), match[2])
        if match is None or written is None:
            return None
        functions.append(written)
        place = match.end()
    return " ".join(functions)


def _function(name: str, arguments: str) -> str | None:
    if name not in _FUNCTIONS:
        return None
    units, counts, form = _FUNCTIONS[name]
    numbers = [_number(word, units) for word in _BETWEEN.split(arguments.strip())]
    if len(numbers) not in counts or None in numbers:
        return None
    return form.format(" ".join(f"{number:.10g}" for number in numbers))


def _number(word: str, units: dict[str, float]) -> float | None:
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    number, unit = float(match[1]), match[2].lower()
    # nothing has no need of a unit
    return number * units[unit] if unit in units else None if unit or number else 0.0
