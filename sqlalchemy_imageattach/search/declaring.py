"""Declaring what is known of the pictures of a class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

from ..arguments import wrong_type
from ..entity import Image
from ..errors import InvalidTypeError
from .duplicates import THRESHOLD, Fingerprints, OnDuplicate
from .embedding import Embeddings
from .extractors import Extractor
from .index import Fill, PictureIndex, Unreadable
from .listening import keep_in_step
from .onnx import EfficientNetLite0
from .registry import indexes_of
from .sources import FilePictures, PictureSource, StoredPictures

__all__ = ["embeddings_of", "find_index", "fingerprints_of", "source_of"]

IndexT = TypeVar("IndexT", bound=PictureIndex)


def embeddings_of(
    cls: type[Any],
    extractor: Extractor | None = None,
    *,
    path: str | None = None,
    ignore: str | None = None,
    root: str | Path | None = None,
    attribute: str = "",
    table_name: str | None = None,
    unreadable: Unreadable = "skip",
    fill: Fill = "flush",
) -> Embeddings:
    """Afterwards the metadata of ``cls`` has a table of vectors, and each flush keeps it in step with the pictures.

    ::

        looks = embeddings_of(UserPicture)
        Base.metadata.create_all(engine)

    :param cls: a mapped class, with the :class:`~sqlalchemy_imageattach.entity.Image` mixin or with paths of files
    :param extractor: what makes the vectors; :class:`EfficientNetLite0` by default
    :param path: the name of the attribute with the path of the file, where the class has no ``Image`` mixin
    :param ignore: the name of an attribute that says whether a picture is to be left out
    :param root: the directory that relative paths start from; the current one by default
    :param attribute: a name by which the pictures are told apart where a row has several
    :param table_name: of the table; by default that of the class with ``_embedding``
    :param unreadable: whether a flush with a picture that cannot be decoded leaves it out (``"skip"``), and logs it, or
        raises (``"refuse"``); ``session.info["sqlalchemy_imageattach.search.unreadable"]`` decides for one session
    :param fill: whether pictures are looked at by the flush that writes their rows (``"flush"``), after the commit
        (``"commit"``), by the queue of the session if it has one, or by :func:`build_index` alone (``"never"``)
    :raises InvalidTypeError: ``cls`` is not mapped, or an argument has the wrong type
    :raises InvalidValueError: it has no such attribute
    :raises VectorDimensionError: the table is there already, with another number of dimensions
    """
    source = source_of(cls, path, ignore, lambda: None if root is None else Path(root))
    index = Embeddings(
        cls,
        source,
        EfficientNetLite0() if extractor is None else extractor,
        attribute=attribute,
        table_name=table_name,
        unreadable=unreadable,
        fill=fill,
    )
    if fill != "never":
        keep_in_step(index)
    return index


def fingerprints_of(
    cls: type[Any],
    *,
    path: str | None = None,
    ignore: str | None = None,
    root: str | Path | None = None,
    attribute: str = "",
    table_name: str | None = None,
    unreadable: Unreadable = "skip",
    on_duplicate: OnDuplicate = "allow",
    threshold: int = THRESHOLD,
    told: Callable[[type[Any], tuple[Any, ...], list[tuple[Any, ...]]], object] | None = None,
    fill: Fill = "flush",
) -> Fingerprints:
    """Afterwards the metadata of ``cls`` has a table of perceptual hashes, kept in step; else as :func:`embeddings_of`.

    ::

        prints = fingerprints_of(UserPicture, on_duplicate="refuse")
        prints.duplicates(session)

    :param on_duplicate: what a flush does with a picture that looks like one that is there: ``"allow"`` it,
        ``"refuse"`` it with :exc:`~sqlalchemy_imageattach.errors.DuplicateImageError`, or ``"tell"``
    :param threshold: how many of 64 bits may differ of two that look the same
    :param told: called with the class, the primary key of the picture and those of the others; without, it is logged
    """
    source = source_of(cls, path, ignore, lambda: None if root is None else Path(root))
    index = Fingerprints(
        cls,
        source,
        attribute=attribute,
        table_name=table_name,
        unreadable=unreadable,
        fill=fill,
        on_duplicate=on_duplicate,
        threshold=threshold,
        told=told,
    )
    if fill != "never":
        keep_in_step(index)
    return index


def source_of(cls: type[Any], path: str | None, ignore: str | None, root: Callable[[], Path | None]) -> PictureSource:
    """Where the pictures of a class are."""
    if not isinstance(cls, type) or not hasattr(cls, "__mapper__"):
        raise wrong_type("cls", cls, "a mapped class")
    if path is not None and not issubclass(cls, Image):
        return FilePictures(cls, path, ignore, root)
    if not issubclass(cls, Image):
        msg = f"{cls.__name__} has no Image mixin: expected path, the name of the attribute with the path of its file"
        raise InvalidTypeError(msg)
    return StoredPictures(cls)


@overload
def find_index(cls: type[Any], kind: type[IndexT], attribute: str | None = None) -> IndexT | None: ...
@overload
def find_index(cls: type[Any], kind: None = None, attribute: str | None = None) -> PictureIndex | None: ...
def find_index(cls: type[Any], kind: Any = None, attribute: str | None = None) -> Any:
    """The index of a kind that a class has, if it has one."""
    for index in indexes_of(cls):
        if (kind is None or isinstance(index, kind)) and attribute in {None, index.attribute}:
            return index
    return None
