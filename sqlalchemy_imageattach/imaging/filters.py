"""The resampling filters, by the names that they have in Wand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = ["FILTERS", "KERNELS"]

#: The names of the resampling filters that :attr:`Rendition.filter` takes: those of Wand and ImageMagick.
FILTERS: Final = frozenset(
    """
    undefined point box triangle hermite hanning hamming blackman gaussian quadratic cubic catrom mitchell jinc sinc
    sincfast kaiser welsh parzen bohman bartlett lagrange lanczos lanczossharp lanczos2 lanczos2sharp robidoux
    robidouxsharp cosine spline lanczosradius cubicspline magickernelsharp2013 magickernelsharp2021
    """.split()  # noqa: SIM905
)

Kernel = Literal["point", "box", "triangle", "hamming", "cubic", "lanczos"]

#: What each filter comes to: the nearest relative that there is.  All the others are windowed sincs, as Lanczos is.
KERNELS: Final[Mapping[str, Kernel]] = {
    **dict.fromkeys(FILTERS, "lanczos"),
    **dict.fromkeys(
        """
        hermite gaussian quadratic cubic catrom mitchell parzen robidoux robidouxsharp spline cubicspline
        """.split(),  # noqa: SIM905
        "cubic",
    ),
    "point": "point",
    "box": "box",
    "triangle": "triangle",
    "hamming": "hamming",
}
