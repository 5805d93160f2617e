"""Pictures by likeness: distances in SQL, near duplicates, and search by a picture.

Needs the extra ``search``: ``pip install "SQLAlchemy-ImageAttach[search]"``.  One declaration beside a class of
pictures makes a table of vectors, and keeps it in step with the pictures::

    class UserPicture(Base, Image): ...

    looks = embeddings_of(UserPicture)

    near = looks.distance(upload)
    session.scalars(select(UserPicture).where(near < 0.4).order_by(near).limit(10))

:class:`ImageSearch` has the names of Flask-Image-Search, for classes of any kind.
"""

from __future__ import annotations

from ..extras import needs_extra

with needs_extra("search", "searching needs NumPy, among others"):
    import numpy as _numpy

from .column import Vector
from .declaring import embeddings_of, fingerprints_of
from .duplicates import DuplicateGroup, Fingerprints
from .embedding import NOT_INDEXED, Embeddings
from .extractors import ColourHistogram, Extractor, ExtractorInfo, JoinedExtractor, TextExtractor, TinyExtractor
from .fingerprint import dhash64, hamming_distance
from .imagesearch import ImageSearch
from .indexing import IndexFailure, IndexResult, build_index
from .onnx import EfficientNetLite0, OnnxExtractor

__all__ = [
    "NOT_INDEXED",
    "ColourHistogram",
    "DuplicateGroup",
    "EfficientNetLite0",
    "Embeddings",
    "Extractor",
    "ExtractorInfo",
    "Fingerprints",
    "ImageSearch",
    "IndexFailure",
    "IndexResult",
    "JoinedExtractor",
    "OnnxExtractor",
    "TextExtractor",
    "TinyExtractor",
    "Vector",
    "build_index",
    "dhash64",
    "embeddings_of",
    "fingerprints_of",
    "hamming_distance",
]

del _numpy
