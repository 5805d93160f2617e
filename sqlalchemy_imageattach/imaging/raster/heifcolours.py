"""The colours of AVIF and HEIF, which say them by a profile or by code points; no decoder tells both."""

from __future__ import annotations

from ..formats import isobmff
from ..reader import Guarded, Reader
from .profiles import profile_of

__all__ = ["said_profile"]


def said_profile(source: Guarded) -> bytes | None:
    """The ICC profile of the file, or one that says what its code points say; ``None`` for sRGB."""
    found = isobmff.colours(Reader(source))
    if found.profile is None and found.code_points is not None:
        return profile_of(*found.code_points)
    return found.profile
