"""A dataset as PyTorch takes it.  PyTorch is needed only when it is used."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from ..errors import MissingExtraError
from .picking import Split
from .sample import Sample
from .stores.protocol import DatasetStore

__all__ = ["torch_dataset"]


def torch_dataset(
    dataset: DatasetStore,
    *,
    part: str | None = None,
    parts: Split | None = None,
    transform: Callable[[Image.Image], Any] | None = None,
) -> Any:
    """A ``torch.utils.data.Dataset`` of pairs: the picture and the number of its label.

    What is in it is looked up once; bytes are read when they are asked for.  Its ``classes`` are the labels in order.
    It can be pickled, as for the workers of a ``DataLoader``, if the store and ``transform`` can.

    ::

        parts = Split(train=0.8, test=0.2)
        train = torch_dataset(dataset, part="train", parts=parts, transform=to_tensor)
        loader = DataLoader(train, batch_size=32, shuffle=True)

    :param dataset: such as a :class:`~sqlalchemy_imageattach.dataset.SQLAlchemyDataset`
    :param part: only the pictures of this part of ``parts``
    :param parts: how the dataset is divided
    :param transform: what to make of each picture, which is an RGB image of Pillow
    :raises MissingExtraError: PyTorch is not installed
    """
    make = _class()
    samples = [
        sample
        for sample in dataset.iterate()
        if parts is None or part is None or parts.part_of(sample.checksum) == part
    ]
    return make(samples, sorted(dataset.labels()), transform)


def _restored(*state: Any) -> Any:
    return _class()(*state)


def _class() -> type[Any]:
    try:
        from torch.utils.data import Dataset
    except ImportError as error:
        raise MissingExtraError("torch_dataset() needs PyTorch: pip install torch") from error

    class LabelledPictures(Dataset):  # type: ignore[misc,type-arg,unused-ignore]
        def __init__(
            self, samples: list[Sample], classes: list[str], transform: Callable[[Image.Image], Any] | None
        ) -> None:
            self.classes = classes
            self._numbers = {label: number for number, label in enumerate(classes)}
            self._samples = samples
            self._transform = transform

        def __len__(self) -> int:
            return len(self._samples)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            sample = self._samples[index]
            with Image.open(io.BytesIO(sample.read())) as opened:
                picture = opened.convert("RGB")
            return (picture if self._transform is None else self._transform(picture)), self._numbers[sample.label]

        def __reduce__(self) -> tuple[Any, ...]:
            # the workers of a DataLoader are new processes, which do not find a class within a function
            return _restored, (self._samples, self.classes, self._transform)

    return LabelledPictures
