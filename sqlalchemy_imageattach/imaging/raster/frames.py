"""From decoded frames to files: what all engines share that decode only, and leave the rest to Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ...imagetypes import by_mimetype
from ..rendition import Order
from .colours import Colours, resizable
from .encode import encoded
from .resample import View, plan, resampled, turned

__all__ = ["Frame", "produce"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of a source.

    :param image: the pixels, in any mode
    :param stored: the size of the stored source, in its own pixels
    :param scale: how many pixels there are for each pixel of the source: below 1 after a scaled decode
    :param orientation: how they have to be turned, 1 to 8
    :param profile: the ICC profile, if there is one
    :param duration: how long it shows, in milliseconds; ``None`` if it is no part of the animation
    :param loop: how often the animation is shown, 0 for ever; ``None`` is once
    """

    image: Image.Image
    stored: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    orientation: int = 1
    profile: bytes | None = None
    duration: float | None = 0.0
    loop: int | None = None


@dataclass(slots=True)
class _Strip:
    """The frames of one order."""

    frames: list[Image.Image] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)


def produce(frames: Iterator[Frame], orders: Sequence[Order]) -> list[bytes]:
    """One file for each order.  All of the frames are asked for if an order is animated, else only the first."""
    animated = any(order.rendition.animated for order in orders)
    first = next(frames)
    colours: dict[tuple[bytes | None, str], Colours] = {}
    stills = _pictures(first, orders, colours)
    strips = [_Strip() for _ in orders]
    for frame in _animation(first, frames) if animated else ():
        pictures = stills if frame is first else _pictures(frame, orders, colours)
        for strip, picture in zip(strips, pictures, strict=True):
            strip.frames.append(picture)
            strip.durations.append(frame.duration or 0.0)
    files = []
    for order, strip, still in zip(orders, strips, stills, strict=True):
        # a type that holds one frame, and a source that has but one, give a still picture
        moves = order.rendition.animated and len(strip.frames) > 1 and _holds_frames(order.target.mimetype)
        pictures, durations = (strip.frames, strip.durations) if moves else ([still], [0.0])
        files.append(encoded(pictures, order.target.mimetype, order.rendition, durations, first.loop))
    return files


def _holds_frames(mimetype: str) -> bool:
    writing = by_mimetype[mimetype].writing
    return writing is not None and writing.moves


def _animation(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    if first.duration is not None:
        yield first
    yield from rest


def _pictures(
    frame: Frame, orders: Sequence[Order], known: dict[tuple[bytes | None, str], Colours]
) -> list[Image.Image]:
    """What the orders want of a frame; a profile is made ready once for all frames."""
    image = resizable(frame.image)
    source = View(image, (0.0, 0.0, float(frame.stored[0]), float(frame.stored[1])), frame.scale)
    colours = known.setdefault((frame.profile, image.mode), Colours(frame.profile, image.mode))
    pictures: dict[int, Image.Image] = {}
    for number, pixels in resampled(source, [plan(order, frame.stored, frame.orientation) for order in orders]):
        pictures[number] = turned(colours.finished(pixels), frame.orientation)
    return [pictures[number] for number in range(len(orders))]
