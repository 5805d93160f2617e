"""Images: what they are, what is accepted, and making pictures from pictures.

:func:`probe` looks at the headers, an :class:`ImagePolicy` accepts or refuses, :func:`render` makes any number of
:class:`Rendition` from one decode.  Nothing here knows of databases or stores::

    with open("holiday.jpg", "rb") as file:
        info = probe(file)
        small, square = render(file, [Rendition(width=300), Rendition(width=96, height=96, fit="fill")])
"""

from __future__ import annotations

from .fitting import Fit
from .info import ImageInfo
from .policy import ImagePolicy
from .probing import probe
from .rendering import Rendered, render
from .rendition import SAME_AS_ORIGINAL, VECTOR_TYPES, Rendition, RenditionDetails, RenditionOptions, Target
from .sniffing import sniff

__all__ = [
    "SAME_AS_ORIGINAL",
    "VECTOR_TYPES",
    "Fit",
    "ImageInfo",
    "ImagePolicy",
    "Rendered",
    "Rendition",
    "RenditionDetails",
    "RenditionOptions",
    "Target",
    "probe",
    "render",
    "sniff",
]
