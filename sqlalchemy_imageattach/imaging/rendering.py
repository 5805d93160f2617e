"""Making pictures from pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..arguments import wrong_type
from ..errors import InvalidTypeError
from ..observing import measured
from . import isolation
from .looking import look, type_of
from .policy import ImagePolicy
from .probing import check_policy
from .reader import Guarded, Reader, rewound
from .rendition import Order, Rendition

__all__ = ["Rendered", "render"]

_DEFAULT = ImagePolicy()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture that has been made.

    :param blob: the file
    :param width: pixels
    :param height: pixels
    :param mimetype: e.g. ``"image/png"``
    :param rendition: what was asked for
    """

    blob: bytes
    width: int
    height: int
    mimetype: str
    rendition: Rendition


def render(source: BinaryIO, renditions: Sequence[Rendition], policy: ImagePolicy = _DEFAULT) -> list[Rendered]:
    """One picture for each rendition, in their order, from **one** decode; the source is left where it stood.

    Each has the size and type of its :meth:`Rendition.target`, stands upright, is sRGB (or grey) and carries no
    metadata.  The pixels and frames of the source, and the pixels of each picture, are checked before anything is
    decoded; its type, bytes and sides are not, since what is stored already may be older than the policy.

    :param source: a binary file that can seek, read from its start to its end
    :param renditions: what is wanted
    :param policy: the most pixels, and the engines
    :raises UnreadableImageError: the source is empty, cut off, damaged, or of no type known here
    :raises PolicyViolationError: the source, or a picture wanted of it, has too many pixels; the source has too
        many frames; or a picture would be too large for a file of its type
    :raises EngineUnavailableError: no engine installed reads the type
    :raises InvalidTypeError: an argument has the wrong type
    :raises TooCostlyError: decoding the source would take too long
    :raises InvalidValueError: the source is closed
    :raises OSError: the source itself cannot be read; its error passes as it is

    >>> import io
    >>> square = io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>')
    >>> render(square, [])
    []
    """
    check_policy(policy)
    wanted = _renditions(renditions)
    with rewound(source):
        reader = Reader(source, policy.check_pixels)
        info = look(reader, type_of(reader))
        policy.check_cost(info)
        orders = [Order(rendition, rendition.target(info.width, info.height, info.mimetype)) for rendition in wanted]
        for rendition, target in orders:
            policy.check_pixels(target.width, target.height, info.frames if rendition.animated else 1)
        if not orders:
            return []
        with measured("render", mimetype=info.mimetype, pictures=len(orders)):
            blobs = isolation.render(Guarded(source), info, orders, policy)
    return [
        Rendered(blob, target.width, target.height, target.mimetype, rendition)
        for blob, (rendition, target) in zip(blobs, orders, strict=True)
    ]


def _renditions(renditions: object) -> list[Rendition]:
    if not isinstance(renditions, Iterable):
        msg = f"renditions: expected several Rendition, got {type(renditions).__name__}; put it into a list"
        raise InvalidTypeError(msg)
    wanted = list(renditions)
    for rendition in wanted:
        if not isinstance(rendition, Rendition):
            raise wrong_type("renditions", rendition, "Rendition")
    return wanted
