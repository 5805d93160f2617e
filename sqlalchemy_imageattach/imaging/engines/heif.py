"""The HEIF decoder: HEIC and HEIF by the libheif that the wheels of pillow-heif bring along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from ...errors import EngineUnavailableError, UnreadableImageError
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..raster.heifcolours import said_profile
from ..reader import Guarded
from ..rendition import Order

__all__ = ["HeifDecoder"]


@cache
def _opener() -> Any:
    try:
        # the class itself, since registering it would change what all of the process opens
        from pillow_heif import HeifImageFile
    except ImportError as error:
        msg = f"the HEIF engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[heic]'"
        raise EngineUnavailableError(msg) from error
    return HeifImageFile


class HeifDecoder:
    """Decodes with libheif, transparency and all.

    :raises EngineUnavailableError: pillow-heif is missing
    """

    name: Final = "heif"

    def __init__(self) -> None:
        _opener()

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is of the HEIF family.  What moves is not read: a sequence gives its still picture."""
        return mimetype in {"image/heic", "image/heif"} and not animated

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Decode the primary picture.

        :raises UnreadableImageError: the picture is damaged
        """
        for _ in self.frames(source, info, (), policy):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The primary picture, which libheif turns upright by itself.

        :raises UnreadableImageError: the picture is damaged
        """
        size = info.width, info.height
        with decoding(source, info.mimetype):
            source.seek(0)
            image = _opener()(source)
            # before a pixel is decoded, and again after it: a file may describe itself twice
            _check_size(info, image.size)
            image.load()
            _check_size(info, image.size)
            profile = said_profile(source) or image.info.get("icc_profile")
        yield Frame(image, size, profile=profile)


def _check_size(info: ImageInfo, found: tuple[int, int]) -> None:
    if found != (info.width, info.height):
        msg = f"the {info.mimetype} is damaged: its header says {(info.width, info.height)}, its decoder {found} pixels"
        raise UnreadableImageError(msg, code="damaged")
