"""Whose fault it is when a decoder raises: the picture's, the source's, or the decoder's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from ...errors import ImageAttachError, PolicyViolationError, UnreadableImageError, UnsupportedLayoutError
from ..reader import Guarded

__all__ = ["decoding"]

#: How Pillow's decoders begin to say that a file is of a kind that they do not read, which may well be intact.
_RARE: Final = ("unsupported", "unknown pixel mode", "unknown data organization", "cannot handle", "unrecognized")


@contextmanager
def decoding(source: Guarded, mimetype: str) -> Iterator[None]:
    """Whatever a decoder raises within the block is the picture's fault, unless the source failed.

    :raises UnsupportedLayoutError: the decoder says that it does not read this kind of file
    :raises UnreadableImageError: the decoder raised, from that error
    """
    try:
        yield
    except ImageAttachError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        advice = "Pillow itself refuses it; PIL.Image.MAX_IMAGE_PIXELS is the limit."
        msg = f"the {mimetype} has too many pixels for Pillow itself; give a smaller picture"
        raise PolicyViolationError(msg, code="too_many_pixels", advice=advice) from error
    except Exception as error:
        # decoders raise everything from OSError to SyntaxError, and MemoryError for sizes that make no sense
        if source.failure is not None:
            raise source.failure from None
        # the type of the error only: its text is a library's, and may tell paths and which files there are
        if _is_of_rare_layout(error):
            msg = f"no decoder installed reads this kind of {mimetype} ({type(error).__name__}); convert it first"
            raise UnsupportedLayoutError(msg, mimetype=mimetype) from error
        msg = f"the {mimetype} cannot be decoded ({type(error).__name__}); give an intact file"
        raise UnreadableImageError(msg, code="undecodable", mimetype=mimetype) from error
    if source.failure is not None:
        raise source.failure


def _is_of_rare_layout(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or str(error).lower().startswith(_RARE)
