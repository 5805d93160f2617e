"""From decoded frames to files: what all engines share that decode only, and leave the rest to Pillow."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from ...imagetypes import by_mimetype
from ..rendition import Order
from .colours import Colours, resizable
from .encode import Job, encode_all
from .resample import Plan, View, plan, resampled, turned

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


@dataclass(frozen=True, slots=True)
class _Strip:
    """What one plan makes of the frames: the picture that stands for all of them, and those of the animation."""

    still: Image.Image
    frames: list[Image.Image]


def produce(frames: Iterator[Frame], orders: Sequence[Order]) -> list[bytes]:
    """One file for each order.  All of the frames are asked for if an order is animated, else only the first.

    Each size is made once, whatever the number of its formats.  What was decoded is let go before the first file is
    made: from then on there are the finished pictures only.
    """
    first = next(frames)
    plans = [plan(order, first.stored, first.orientation) for order in orders]
    maker = _Maker(plans)
    # what shows for no time is no part of the animation
    durations = [] if first.duration is None else [first.duration]
    strips = {wanted: _Strip(made, [made] * len(durations)) for wanted, made in maker.pictures(first).items()}
    loop = first.loop
    del first
    if any(order.rendition.animated for order in orders):
        for frame in frames:
            durations.append(frame.duration or 0.0)
            for wanted, made in maker.pictures(frame).items():
                strips[wanted].frames.append(made)
    elif isinstance(frames, Generator):
        frames.close()
    jobs = [_job(order, strips[wanted], durations, loop) for order, wanted in zip(orders, plans, strict=True)]
    return encode_all(jobs)


def _job(order: Order, strip: _Strip, durations: Sequence[float], loop: int | None) -> Job:
    mimetype = order.target.mimetype
    # a type that holds one frame, and a source that has but one, give a still picture
    if order.rendition.animated and len(strip.frames) > 1 and _holds_frames(mimetype):
        return Job(strip.frames, mimetype, order.rendition, durations, loop)
    return Job([strip.still], mimetype, order.rendition, [0.0], loop)


def _holds_frames(mimetype: str) -> bool:
    writing = by_mimetype[mimetype].writing
    return writing is not None and writing.moves


class _Maker:
    """Makes what plans want of each frame of a source, each plan once."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = list(dict.fromkeys(plans))
        #: A profile is made ready once for all frames.
        self._colours: dict[tuple[bytes | None, str], Colours] = {}

    def pictures(self, frame: Frame) -> dict[Plan, Image.Image]:
        """Finished and upright."""
        image = resizable(frame.image)
        source = View(image, (0.0, 0.0, float(frame.stored[0]), float(frame.stored[1])), frame.scale)
        colours = self._colours.setdefault((frame.profile, image.mode), Colours(frame.profile, image.mode))
        return {
            self._plans[number]: turned(colours.finished(pixels), frame.orientation)
            for number, pixels in resampled(source, self._plans)
        }
