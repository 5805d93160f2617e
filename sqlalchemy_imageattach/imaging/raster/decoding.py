"""Whose fault it is when a decoder raises: the picture's, the source's, or the decoder's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from PIL import Image

from ...errors import (
    ImageAttachError,
    PolicyViolationError,
    TooCostlyError,
    UnreadableImageError,
    UnsupportedLayoutError,
)
from ..reader import Guarded

__all__ = ["decoding", "making", "refuse_rare"]

#: How Pillow's decoders begin to say that a file is of a kind that they do not read, which may well be intact.
_RARE: Final = ("unsupported", "unknown pixel mode", "unknown data organization", "cannot handle", "unrecognized")
#: What they say elsewhere in their messages.
_RARE_ANYWHERE: Final = ("not implemented", "not supported", "invalid value for samples per pixel")


@contextmanager
def decoding(source: Guarded, mimetype: str) -> Iterator[None]:
    """Whatever a decoder raises within the block is the picture's fault, unless the source failed.

    :raises UnsupportedLayoutError: the decoder says that it does not read this kind of file
    :raises TooCostlyError: there is not enough memory
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
    except MemoryError as error:
        raise _lack_of_memory(mimetype) from error
    except Exception as error:
        # decoders raise everything from OSError to SyntaxError
        if source.failure is not None:
            raise source.failure from None
        # the type of the error only: its text is a library's, and may tell paths and which files there are
        if _is_of_rare_layout(error):
            refuse_rare(mimetype, error)
        msg = f"the {mimetype} cannot be decoded ({type(error).__name__}); give an intact file"
        raise UnreadableImageError(msg, code="undecodable", mimetype=mimetype) from error
    if source.failure is not None:
        raise source.failure


def refuse_rare(mimetype: str, cause: BaseException | None) -> NoReturn:
    """Refuse a file that may be intact.

    :raises UnsupportedLayoutError: always, from the decoder's own error
    """
    said = f" ({type(cause).__name__})" if cause is not None else ""
    msg = f"no decoder installed reads this kind of {mimetype}{said}; convert it first"
    raise UnsupportedLayoutError(msg, mimetype=mimetype) from cause


@contextmanager
def making(source: Guarded, mimetype: str) -> Iterator[None]:
    """Whatever is raised within the block, where pictures are made of decoded frames, has a type.

    The file may well be intact, so another engine is asked next.

    :raises UnsupportedLayoutError: something else than our own errors was raised, from that error
    :raises TooCostlyError: there is not enough memory
    """
    try:
        yield
    except ImageAttachError:
        raise
    except MemoryError as error:
        raise _lack_of_memory(mimetype) from error
    except Exception as error:
        if source.failure is not None:
            raise source.failure from None
        msg = f"no other picture can be made of this kind of {mimetype} ({type(error).__name__}); convert it first"
        raise UnsupportedLayoutError(msg, mimetype=mimetype) from error


def _lack_of_memory(mimetype: str) -> TooCostlyError:
    return TooCostlyError(f"there is not enough memory for this {mimetype}; give a smaller picture, or try again later")


def _is_of_rare_layout(error: Exception) -> bool:
    said = str(error).lower()
    return (
        isinstance(error, NotImplementedError)
        or said.startswith(_RARE)
        or any(words in said for words in _RARE_ANYWHERE)
    )
