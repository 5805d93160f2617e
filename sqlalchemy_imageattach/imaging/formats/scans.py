"""The scans of a JPEG, wherever one is: in a file of its own, or in the strips of a TIFF."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_PIXELS", "START"]

#: The marker of a scan, and the first byte of its length: no decoder takes one of 256 bytes or more.
START: Final = b"\xff\xda\x00"
#: Each scan of a progressive JPEG goes over the whole picture: the most pixels over all of them.
MOST_PIXELS: Final = 2_500_000_000
