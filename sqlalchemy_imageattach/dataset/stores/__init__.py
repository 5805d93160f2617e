"""Where a dataset is kept: one small protocol, :class:`DatasetStore`, and the stores that keep it.

:class:`SQLAlchemyDataset` keeps rows of a :class:`~sqlalchemy_imageattach.dataset.LabelledImage` class, whose blobs are
in an image store.  :class:`CouchbaseDataset` keeps documents in a collection of Couchbase.
"""

from __future__ import annotations

from .couchbase import CouchbaseDataset
from .database import SQLAlchemyDataset
from .protocol import DatasetStore

__all__ = ["CouchbaseDataset", "DatasetStore", "SQLAlchemyDataset"]
