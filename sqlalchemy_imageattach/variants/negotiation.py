"""The format that a browser takes, by its ``Accept``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from ..imaging import Rendition

__all__ = ["AUTO", "negotiated"]

#: What is asked for as ``format`` where the browser is to decide.
AUTO: Final = "auto"

#: The formats that are told by name in ``Accept`` where they are understood, the best first.
_BEST: Final = ("image/avif", "image/webp")

_QUALITY: Final = re.compile(r"\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*", re.IGNORECASE | re.ASCII)
_LONGEST: Final = 4096


def negotiated(rendition: Rendition, accept: str | None) -> Rendition:
    """The rendition in the best format that ``accept`` names: AVIF, WebP, or else the one that suits the original.

    A wildcard names none: browsers that take AVIF or WebP say so.

        >>> negotiated(Rendition(width=300), "image/avif,image/webp,*/*;q=0.8").format
        'image/avif'
        >>> negotiated(Rendition(width=300), "*/*").format is None
        True

    :param accept: the header, or ``None``
    """
    taken = _taken(accept or "")
    chosen = next((each for each in _BEST if each in taken), None)
    return rendition if chosen is None else replace(rendition, format=chosen)


def _taken(accept: str) -> set[str]:
    found = set()
    for item in accept[:_LONGEST].split(","):
        name, *parameters = item.split(";")
        qualities = [match[1] for each in parameters if (match := _QUALITY.fullmatch(each))]
        if not qualities or float(qualities[0]) > 0:
            found.add(name.strip().lower())
    return found
