"""What a store of a dataset has to do."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..sample import Failure, Picture, Provenance, Sample

__all__ = ["DatasetStore", "Item"]


class Item(NamedTuple):
    """What :meth:`DatasetStore.add` takes."""

    label: str
    uri: str
    picture: Picture
    provenance: Provenance


class DatasetStore(Protocol):
    """Keeps pictures, each once for each label and URI.

    What a method has done when it returns, stays: there is nothing to commit.  What it could not do it has not begun.
    Labels and URIs are those that :func:`~sqlalchemy_imageattach.dataset.check_label` accepts.
    """

    def add(self, label: str, uri: str, picture: Picture, provenance: Provenance) -> bool:
        """Afterwards the dataset has a picture for ``label`` and ``uri``.

        :return: whether this call has added it; ``False`` if it was there, also if somebody else was first
        :raises StoreError: it could not be kept
        """
        ...

    def add_many(self, items: Sequence[Item]) -> list[bool]:
        """:meth:`add` of each of ``items``, in fewer steps where the store can; in a crash some may be there."""
        ...

    def get(self, label: str, uri: str) -> Sample | None:
        """The picture for ``label`` and ``uri``, if the dataset has it."""
        ...

    def has(self, label: str, uri: str) -> bool:
        """Whether the dataset has a picture for ``label`` and ``uri``."""
        ...

    def remove(self, label: str, uri: str) -> bool:
        """Afterwards the dataset has no picture for ``label`` and ``uri``.

        :return: whether it had one
        """
        ...

    def count(self, label: str) -> int:
        """How many pictures there are of a label, in a time that does not depend on it."""
        ...

    def labels(self) -> Mapping[str, int]:
        """All labels that have pictures, with their numbers."""
        ...

    def random(self, label: str, source: random.Random | None = None) -> Sample | None:
        """One picture of a label, each with the same chance, in a time that hardly depends on their number.

        :param source: where randomness comes from
        :return: ``None`` if there is none
        """
        ...

    def iterate(self, label: str | None = None) -> Iterator[Sample]:
        """All pictures, or those of one label, in an order that stays; memory does not grow with their number."""
        ...

    def look_up(self, pictures: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure | None]:
        """Those of ``pictures``, by label and URI, of which something is known.

        :return: ``None`` for what the dataset has, else why it could not be had the last time
        """
        ...

    def has_content(self, label: str, checksums: Collection[str]) -> set[str]:
        """Those of ``checksums``, which are SHA-256 digests, that pictures of the label have."""
        ...

    def has_alike(self, label: str, likeness: int, distance: int) -> bool:
        """Whether a picture of the label has a perceptual hash of which at most ``distance`` bits differ."""
        ...

    def failure(self, label: str, uri: str) -> Failure | None:
        """Why the picture could not be had the last time; ``None`` if it was never tried, or is there."""
        ...

    def note(self, failure: Failure) -> None:
        """Remember a failure, in place of an earlier one of the same picture."""
        ...

    def note_many(self, failures: Sequence[Failure]) -> None:
        """:meth:`note` of each of ``failures``, of different pictures, in fewer steps where the store can."""
        ...

    def failures(self, label: str | None = None) -> Iterator[Failure]:
        """All failures that are remembered."""
        ...
