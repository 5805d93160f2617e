"""Files out of pixels: the settings of each format, and why they are these."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from PIL import AvifImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ...imagetypes import SMALL_SIDE, by_mimetype
from ..rendition import PassingRendition, Rendition
from .colours import flattened

try:
    import resource
except ImportError:  # it is of POSIX
    resource = None  # type: ignore[assignment]

__all__ = ["Job", "encode_all", "encoded"]

_PLUGINS: Final = {
    "image/avif": AvifImagePlugin.AvifImageFile.format,
    "image/gif": GifImagePlugin.GifImageFile.format,
    "image/jpeg": JpegImagePlugin.JpegImageFile.format,
    "image/png": PngImagePlugin.PngImageFile.format,
    "image/webp": WebPImagePlugin.WebPImageFile.format,
}
#: Measured on photographs, in time against bytes: beyond these, each per cent saved costs half as much time again.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # at the same score speed 9 takes a third of the time for 7 to 12% more, 6 takes 2.5 times as long for 4 to 12% less
    "image/avif": {"speed": 8},
    "image/gif": {},
    # without, it takes half the time for 2 to 7% more; progressive takes 2.5 times as long for 3% less
    "image/jpeg": {"optimize": True},
    # level 1 is twice as fast for 5 to 15% more, level 6 twice as slow for 1 to 6% less
    "image/png": {"compress_level": 4},
    # method 4 is twice as slow for 4% less
    "image/webp": {"method": 2},
}

#: Colours at the resolution of the picture, by those types that leave the choice.
_FULL_COLOURS: Final = {"image/avif": "4:4:4", "image/jpeg": "4:4:4"}
#: How long each takes, in times of JPEG.
_COSTS: Final = {"image/avif": 70, "image/gif": 20, "image/jpeg": 1, "image/png": 40, "image/webp": 11}
#: Those that are worth a thread.
_SLOW: Final = frozenset(_COSTS) - {"image/jpeg"}
#: Pixels of a JPEG that have to be there beside the dearest file: a thread takes as long to start.
_WORTHWHILE: Final = 100_000
#: Each holds the memory of an encoder, which for AVIF is some 30 bytes for each pixel.
_MOST_THREADS: Final = 4

#: What all formats can write, in milliseconds or repetitions; a stranger's file may say anything.
_LARGEST = 65_535


class Job(NamedTuple):
    """A file to make.

    :param frames: one or more, all of one size; ``L``, ``LA``, ``RGB`` or ``RGBA``
    :param mimetype: of the file
    :param rendition: for its quality
    :param durations: how long each frame shows, in milliseconds
    :param loop: how often the frames are shown, 0 for ever; ``None`` is once
    """

    frames: Sequence[Image.Image]
    mimetype: str
    rendition: Rendition
    durations: Sequence[float]
    loop: int | None

    @property
    def cost(self) -> int:
        """About how long it takes, in pixels of a JPEG."""
        return _COSTS[self.mimetype] * sum(frame.width * frame.height for frame in self.frames)


def encode_all(jobs: Sequence[Job]) -> list[bytes]:
    """The files, in the order of their jobs; made side by side where that is faster.

    Encoders let other threads run.  Those of JPEG are done before threads are, so that they have none of their own.
    Nor is there a thread where the address space is limited: each would take a share of it that it does not use.
    """
    costs = [job.cost for job in jobs]
    workers = min(_processors(), _MOST_THREADS, len(jobs))
    if workers < 2 or sum(costs) - max(costs) < _WORTHWHILE or not any(job.mimetype in _SLOW for job in jobs):
        return [encoded(job) for job in jobs]
    dearest_first = sorted(range(len(jobs)), key=costs.__getitem__, reverse=True)
    with ThreadPoolExecutor(workers) as pool:
        # submitted here to keep the order of their costs: else the dearest might come last, and alone
        files = {number: pool.submit(_encoded_apart, jobs[number]) for number in dearest_first}
        return [files[number].result() for number in range(len(jobs))]


def _encoded_apart(job: Job) -> bytes:
    # Pillow leaves the options of an encoder with the picture, so that two threads that save one swap them: each has
    # its own, of the same pixels, which encoders only read
    return encoded(job._replace(frames=[frame._new(frame.im) for frame in job.frames]))


def _processors() -> int:
    if resource is not None and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encoded(job: Job) -> bytes:
    """A file of the type, with these frames."""
    frames, mimetype, rendition, durations, loop = job
    options = dict(_OPTIONS[mimetype])
    if mimetype == "image/png" and isinstance(rendition, PassingRendition):
        options["compress_level"] = 0
    writing = by_mimetype[mimetype].writing
    assert writing is not None
    size = frames[0].size
    if writing.quality is not None:
        options["quality"] = rendition.quality or writing.quality_of(*size)
    if mimetype in _FULL_COLOURS and max(size) <= SMALL_SIDE and len(frames) == 1:
        options["subsampling"] = _FULL_COLOURS[mimetype]
    first, *rest = frames if writing.alpha else [flattened(frame) for frame in frames]
    if rest:
        options |= {"save_all": True, "append_images": rest, "duration": [_within(time) for time in durations]}
        plays = 1 if loop is None else _within(loop)
        if mimetype == "image/avif":
            # browsers take those that move for it, whatever they say
            options["range"] = "limited"
        elif mimetype != "image/gif":
            options["loop"] = plays
        elif plays != 1:
            # a GIF says how often it repeats after it was shown once
            options["loop"] = plays and plays - 1
        if mimetype == "image/gif":
            # each frame replaces the one before, as transparency would let it shine through
            options["disposal"] = 2
    buffer = io.BytesIO()
    first.save(buffer, _PLUGINS[mimetype], **options)
    return buffer.getvalue()


def _within(number: float) -> int:
    return min(max(0, round(number)), _LARGEST)
