"""The PDF decoder: the first page on white, by the PDFium that the wheels of pypdfium2 bring along.

It has neither JavaScript nor forms, opens no file and asks no machine.  Fonts that a file does not embed are those that
PDFium has in itself; it is not let look for any others.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from PIL import Image

from ...errors import EngineUnavailableError, UnreadableImageError, UnsupportedLayoutError
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..reader import Guarded
from ..rendition import Order
from .vector import rendered_size

__all__ = ["PdfiumDecoder"]

#: PDFium is not made for threads.
_ALONE: Final = threading.Lock()
_WHITE: Final = 0xFFFFFFFF
_ANNOTATIONS, _BGRX = 0x01, 3
#: Errors: a password is needed, and a kind of encryption that PDFium does not know.
_LOCKED: Final = frozenset({4, 5})


@cache
def _pdfium() -> Any:
    try:
        # its helpers would start the library with the fonts of the system
        import pypdfium2_raw as pdfium
    except ImportError as error:
        msg = f"the PDF engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[pdf]'"
        raise EngineUnavailableError(msg) from error
    no_directory = (ctypes.POINTER(ctypes.c_char) * 1)()
    config = pdfium.FPDF_LIBRARY_CONFIG(version=2)
    config.m_pUserFontPaths = ctypes.cast(no_directory, type(config.m_pUserFontPaths))
    pdfium.FPDF_InitLibraryWithConfig(config)
    pdfium.directories_of_fonts = no_directory  # which has to live as long as the library
    return pdfium


class PdfiumDecoder:
    """Renders with PDFium.

    :raises EngineUnavailableError: pypdfium2 is missing
    """

    name: Final = "pdfium"

    def __init__(self) -> None:
        _pdfium()

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is a PDF."""
        return mimetype == "application/pdf"

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Render the first page, as small as it is ever rendered.

        :raises UnreadableImageError: the file is damaged
        """
        for _ in self.frames(source, info, (), policy):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The first page, in a size of pixels that is known before, whatever the file says to PDFium.

        :raises UnreadableImageError: the file is damaged
        :raises UnsupportedLayoutError: it is encrypted
        """
        width, height = rendered_size(info, orders)
        with decoding(source, info.mimetype), _ALONE:
            source.seek(0)
            image = _rendered(source.read(), width, height)
        yield Frame(image, (info.width, info.height), (width / info.width, height / info.height))


def _rendered(data: bytes, width: int, height: int) -> Image.Image:
    pdfium = _pdfium()
    document = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
    if not document:
        error = pdfium.FPDF_GetLastError()
        if error in _LOCKED:
            msg = "the PDF is encrypted; give one that has no password"
            raise UnsupportedLayoutError(msg, mimetype="application/pdf")
        msg = f"PDFium does not open the PDF (error {error}); give an intact file"
        raise UnreadableImageError(msg, code="undecodable", mimetype="application/pdf")
    try:
        page = pdfium.FPDF_LoadPage(document, 0)
        if not page:
            raise UnreadableImageError("PDFium finds no first page in the PDF; give an intact file", code="damaged")
        try:
            return _painted(pdfium, page, width, height)
        finally:
            pdfium.FPDF_ClosePage(page)
    finally:
        pdfium.FPDF_CloseDocument(document)


def _painted(pdfium: Any, page: Any, width: int, height: int) -> Image.Image:
    pixels = bytearray(width * height * 4)
    target = (ctypes.c_char * len(pixels)).from_buffer(pixels)
    bitmap = pdfium.FPDFBitmap_CreateEx(width, height, _BGRX, target, width * 4)
    if not bitmap:
        raise MemoryError
    try:
        pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, _WHITE)
        pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, _ANNOTATIONS)
    finally:
        pdfium.FPDFBitmap_Destroy(bitmap)
    return Image.frombuffer("RGB", (width, height), pixels, "raw", "BGRX", 0, 1)
