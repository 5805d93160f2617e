"""Collections of labelled pictures, for training and analysis.

A class with the :class:`LabelledImage` mixin keeps each picture once for each label and source, in step with the
transaction and in whatever store the application has::

    class Fruit(Base, LabelledImage):
        __tablename__ = "fruit"

    report = collect(session, from_urls(urls), "Apple", into=Fruit)

    count(session, Fruit, "Apple")                        # one look-up by key
    random_sample(session, Fruit, "Apple").make_blob()    # two
    sample(session, Fruit, 100, balanced=True)
    for part, fruit in split(session, Fruit, train=0.8, test=0.2):
        ...

    export(SQLAlchemyDataset(sessionmaker(engine), Fruit), "fruit", "webdataset", parts=Split(train=0.8, test=0.2))

Other stores have the protocol :class:`DatasetStore`; the one that comes along keeps a dataset in Couchbase.
"""

from __future__ import annotations

from ..errors import DatasetError
from ..extras import needs_extra

with needs_extra("dataset", "datasets need httpcore and NumPy"):
    import httpcore as _httpcore
    import numpy as _numpy

from .attach import attach
from .collect import Collection, NearDuplicates, collect
from .export import Form, export
from .labels import LabelledImage, labelled_classes, recount
from .picking import Split, count, random_sample, sample, split
from .sample import Candidate, Failure, Picture, Provenance, Sample, check_label, check_uri
from .sources import from_csv, from_folder, from_json_lines, from_serpapi, from_urls, search_serpapi
from .stores import DatasetStore, SQLAlchemyDataset
from .suggesting import Suggestion, suggest
from .torch import torch_dataset

__all__ = [
    "Candidate",
    "Collection",
    "DatasetError",
    "DatasetStore",
    "Failure",
    "Form",
    "LabelledImage",
    "NearDuplicates",
    "Picture",
    "Provenance",
    "SQLAlchemyDataset",
    "Sample",
    "Split",
    "Suggestion",
    "attach",
    "check_label",
    "check_uri",
    "collect",
    "count",
    "export",
    "from_csv",
    "from_folder",
    "from_json_lines",
    "from_serpapi",
    "from_urls",
    "labelled_classes",
    "random_sample",
    "recount",
    "sample",
    "search_serpapi",
    "split",
    "suggest",
    "torch_dataset",
]

del _httpcore, _numpy
