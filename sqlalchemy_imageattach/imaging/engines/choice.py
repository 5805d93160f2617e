"""What makes pictures: the protocol of imaging engines, and the choice of one.

An engine is an optional library wrapped up so that all of them do the same: turn the picture upright, make it sRGB,
drop its metadata, and give each target exactly the size that :class:`~sqlalchemy_imageattach.imaging.Target` says.  One
test suite runs on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple, Protocol

from ...errors import EngineUnavailableError
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..reader import Guarded
from ..rendition import Rendition, Target

__all__ = ["Engine", "Job", "choose"]

#: What has to be installed for the types that Pillow does not read.
_NEEDED: Final = {
    "application/pdf": "Wand, ImageMagick, and Ghostscript (gs)",
    "image/heic": "Wand, and an ImageMagick with libheif",
    "image/heif": "Wand, and an ImageMagick with libheif",
    "image/svg+xml": "Wand, and an ImageMagick with its SVG coder (on Debian libmagickcore-6.q16-6-extra)",
}


class Job(NamedTuple):
    """One picture to make.

    :param rendition: how
    :param target: how large, of what type and from which part of the source
    """

    rendition: Rendition
    target: Target


class Engine(Protocol):
    """What decodes, resizes and encodes.  Engines hold no state: one object serves all threads."""

    @property
    def name(self) -> str:
        """The name by which :attr:`ImagePolicy.engines` knows it."""
        ...

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it decodes this type, and all of its frames if ``animated``."""
        ...

    def verify(self, source: Guarded, info: ImageInfo) -> None:
        """Return if every frame can be decoded to the end, in the size that its header promises.

        :raises UnreadableImageError: the picture is damaged
        """
        ...

    def render(self, source: Guarded, info: ImageInfo, jobs: Sequence[Job]) -> list[bytes]:
        """One file for each job, in their order, after decoding the source once.

        :raises UnreadableImageError: the picture is damaged
        """
        ...


def choose(policy: ImagePolicy, mimetype: str, *, animated: bool = False) -> Engine:
    """The first engine of the policy that is installed and reads the type.

    :raises EngineUnavailableError: there is none; the message says what to install
    """
    reasons = []
    for name in policy.engines:
        try:
            engine = _load(name)
        except EngineUnavailableError as error:
            reasons.append(str(error))
            continue
        if engine.reads(mimetype, animated=animated):
            return engine
        reasons.append(f"{name} does not read {'animated ' if animated else ''}{mimetype}")
    needed = _NEEDED.get(mimetype)
    msg = f"no imaging engine for {mimetype}: {'; '.join(reasons)}" + (f"; it takes {needed}" if needed else "")
    raise EngineUnavailableError(msg)


@cache
def _load(name: str) -> Engine:
    # late, because an engine costs tens to hundreds of milliseconds to import, and may be missing
    if name == "wand":
        from .wand import WandEngine

        return WandEngine()
    from .pillow import PillowEngine

    return PillowEngine()
