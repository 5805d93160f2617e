"""The protocol of decoders: what gives the frames of a picture, and leaves the rest to Pillow.

The rest is the same for all of them: turning it upright, making it sRGB, dropping its metadata, sizes, files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import making
from ..raster.frames import Frame, produce
from ..reader import Guarded
from ..rendition import Order

__all__ = ["Decoder", "DecoderEngine"]


class Decoder(Protocol):
    """What gives the frames of a picture.  Decoders hold no state: one object serves all threads."""

    @property
    def name(self) -> str:
        """The name by which :attr:`ImagePolicy.engines` knows it."""
        ...

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it decodes this type, and all of its frames if ``animated``."""
        ...

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The frames in their order, each decoded when it is asked for, in a size that is good enough for the orders.

        What is embedded in the picture is held to the policy too.

        :raises UnsupportedLayoutError: the file is of a kind that this decoder does not read; another one may
        :raises UnreadableImageError: the picture is damaged
        """
        ...

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Return if every frame can be decoded to the end, in the size that its header promises.

        :raises UnsupportedLayoutError: the file is of a kind that this decoder does not read; another one may
        :raises UnreadableImageError: the picture is damaged
        """
        ...


class DecoderEngine:
    """The engine that a decoder and Pillow make together.

    :param decoder: what gives the frames
    """

    def __init__(self, decoder: Decoder) -> None:
        self.name = decoder.name
        self.reads = decoder.reads
        self.verify = decoder.verify
        self._decoder = decoder

    def render(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> list[bytes]:
        """One file for each order, from one decode.

        :raises UnsupportedLayoutError: the frames are of a kind that no picture can be made of
        """
        with making(source, info.mimetype):
            return produce(self._decoder.frames(source, info, orders, policy), orders)
