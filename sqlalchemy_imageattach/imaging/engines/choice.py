"""What makes pictures: the protocol of imaging engines, and the choice among those that are installed.

An engine is an optional library wrapped up so that all of them do the same: turn the picture upright, make it sRGB,
drop its metadata, and give each order exactly the size that its :class:`~sqlalchemy_imageattach.imaging.Target` says.
Most libraries only decode: those are a :class:`~.decoder.Decoder`, which Pillow makes an engine.  One test suite runs
on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Final, Protocol

from ...errors import EngineUnavailableError
from ...imagetypes import by_mimetype
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..reader import Guarded
from ..rendition import Order

__all__ = ["Engine", "choose", "engine_named", "engines"]


class Engine(Protocol):
    """What decodes, resizes and encodes.  Engines hold no state: one object serves all threads."""

    @property
    def name(self) -> str:
        """The name by which :attr:`ImagePolicy.engines` knows it."""
        ...

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it decodes this type, and all of its frames if ``animated``."""
        ...

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Return if every frame can be decoded to the end, in the size that its header promises.

        :raises UnsupportedLayoutError: the file is of a kind that this engine does not read; another one may
        :raises UnreadableImageError: the picture is damaged
        """
        ...

    def render(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> list[bytes]:
        """One file for each order, in their order, after decoding the source once.

        :raises UnsupportedLayoutError: the file is of a kind that this engine does not read; another one may
        :raises UnreadableImageError: the picture is damaged
        """
        ...


def choose(policy: ImagePolicy, mimetype: str, *, animated: bool = False) -> Engine:
    """The first engine of the policy that is installed and reads the type.

    :raises EngineUnavailableError: there is none; the message says what to install
    """
    return next(engines(policy, mimetype, animated=animated))


def engines(policy: ImagePolicy, mimetype: str, *, animated: bool = False) -> Iterator[Engine]:
    """Those of the policy that are installed and read the type, in its order.

    :raises EngineUnavailableError: there is none; the message says what to install
    """
    decoders = by_mimetype[mimetype].decoders if mimetype in by_mimetype else ()
    reasons = []
    found = False
    for name in policy.engines:
        if name not in decoders:
            reasons.append(f"{name} does not read {mimetype}")
            continue
        try:
            engine = engine_named(name)
        except EngineUnavailableError as error:
            reasons.append(str(error))
            continue
        if engine.reads(mimetype, animated=animated):
            found = True
            yield engine
        else:
            reasons.append(f"{name} does not read {'animated ' if animated else ''}{mimetype}")
    if not found:
        raise EngineUnavailableError(f"no imaging engine for {mimetype}: {'; '.join(reasons)}")


#: Where each decoder is.
_DECODERS: Final = {
    "pillow": ("pillow", "PillowDecoder"),
    "resvg": ("resvg", "ResvgDecoder"),
    "heif": ("heif", "HeifDecoder"),
    "pdfium": ("pdfium", "PdfiumDecoder"),
    "wand": ("wand", "WandDecoder"),
    "vips": ("vips", "VipsDecoder"),
}


@cache
def engine_named(name: str) -> Engine:
    """The engine of this name.

    :raises EngineUnavailableError: its library is not installed; the message says what to install
    """
    # late, because each costs tens to hundreds of milliseconds to import, and may be missing
    from .decoder import DecoderEngine

    module, decoder = _DECODERS[name]
    engine: Engine = DecoderEngine(getattr(import_module(f".{module}", __package__), decoder)())
    return engine
