"""From decoded frames to files: what all engines share that decode only, and leave the rest to Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ..engines.choice import Job
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
    :param loop: how often the animation repeats, 0 for ever, ``None`` not at all
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
    """The frames of one job."""

    frames: list[Image.Image] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)


def produce(frames: Iterator[Frame], jobs: Sequence[Job]) -> list[bytes]:
    """One file for each job.  All of the frames are asked for if a job is animated, else only the first."""
    animated = any(job.rendition.animated for job in jobs)
    first = next(frames)
    stills = _pictures(first, jobs)
    strips = [_Strip() for _ in jobs]
    for frame in _animation(first, frames) if animated else ():
        pictures = stills if frame is first else _pictures(frame, jobs)
        for strip, picture in zip(strips, pictures, strict=True):
            strip.frames.append(picture)
            strip.durations.append(frame.duration or 0.0)
    files = []
    for job, strip, still in zip(jobs, strips, stills, strict=True):
        # a type that holds one frame, and a source that has but one, give a still picture
        moves = job.rendition.animated and len(strip.frames) > 1 and job.target.mimetype != "image/jpeg"
        pictures, durations = (strip.frames, strip.durations) if moves else ([still], [0.0])
        files.append(encoded(pictures, job.target.mimetype, job.rendition, durations, first.loop))
    return files


def _animation(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    if first.duration is not None:
        yield first
    yield from rest


def _pictures(frame: Frame, jobs: Sequence[Job]) -> list[Image.Image]:
    image = resizable(frame.image)
    source = View(image, (0.0, 0.0, float(frame.stored[0]), float(frame.stored[1])), frame.scale)
    colours = Colours(frame.profile, image.mode)
    pictures: dict[int, Image.Image] = {}
    for number, pixels in resampled(source, [plan(job, frame.stored, frame.orientation) for job in jobs]):
        pictures[number] = turned(colours.finished(pixels), frame.orientation)
    return [pictures[number] for number in range(len(jobs))]
