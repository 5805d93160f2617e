"""The SVG decoder: resvg, in the wheels of resvg-py, which draws what browsers draw.

resvg is never given the document that came, but one that :mod:`.svgdocument` has written anew: nothing in it refers
outside, and pictures embedded in it have passed the policy.  Text is set in the fonts that the policy names, and in
Noto Sans where the extra ``svg`` has brought it along; those of the system are not looked at.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from PIL import PngImagePlugin

from ...errors import EngineUnavailableError, TooCostlyError
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..reader import Guarded
from ..rendition import Order
from .svgdocument import SvgDocument
from .vector import rendered_size

__all__ = ["ResvgDecoder", "bundled_fonts"]

#: What stands for every family that no font has.
_FAMILY: Final = "Noto Sans"
_GENERIC: Final = (
    "font_family",
    "serif_family",
    "sans_serif_family",
    "cursive_family",
    "fantasy_family",
    "monospace_family",
)


@cache
def _resvg() -> Any:
    try:
        import resvg_py
    except ImportError as error:
        msg = f"the SVG engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[svg]'"
        raise EngineUnavailableError(msg) from error
    return resvg_py


@cache
def bundled_fonts() -> tuple[str, ...]:
    """The directories of the fonts that the extra ``svg`` brings along; empty without it."""
    spec = find_spec("fontpkg_noto_sans")
    return () if spec is None else tuple(os.path.join(path, "files") for path in spec.submodule_search_locations or ())


class ResvgDecoder:
    """Renders with resvg.

    :raises EngineUnavailableError: resvg-py is missing
    """

    name: Final = "resvg"

    def __init__(self) -> None:
        _resvg()

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is an SVG."""
        return mimetype == "image/svg+xml"

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Render it, as small as it is ever rendered.

        :raises UnreadableImageError: the file is damaged
        """
        for _ in self.frames(source, info, (), policy):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The picture, on nothing.

        :raises UnreadableImageError: the file is damaged, or what is embedded in it is no picture
        :raises PolicyViolationError: what is embedded in it is not allowed
        """
        size = rendered_size(info, orders)
        with decoding(source, info.mimetype):
            source.seek(0)
            document = SvgDocument(source.read(), size, policy)
            png = _drawn(document, policy)
            image = PngImagePlugin.PngImageFile(io.BytesIO(png))
            image.load()
        yield Frame(image, (info.width, info.height), (image.width / info.width, image.height / info.height))


def _drawn(document: SvgDocument, policy: ImagePolicy) -> bytes:
    try:
        png: bytes = _resvg().svg_to_bytes(svg_string=document.text, dpi=96.0, **_fonts(document, policy))
    except ValueError as error:
        if "limit" in str(error):
            msg = "the SVG draws more elements than resvg takes; give a simpler one"
            raise TooCostlyError(msg, code="too_complex") from error
        raise
    return png


def _fonts(document: SvgDocument, policy: ImagePolicy) -> dict[str, Any]:
    options: dict[str, Any] = {"skip_system_fonts": True}
    if document.has_text:
        paths = (*policy.fonts, *bundled_fonts())
        options["font_dirs"] = [path for path in paths if os.path.isdir(path)]
        options["font_files"] = [path for path in paths if os.path.isfile(path)]
        options |= dict.fromkeys(_GENERIC, _FAMILY)
    return options
