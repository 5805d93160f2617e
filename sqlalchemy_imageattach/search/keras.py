"""A model of Keras as an extractor, for who comes from Flask-Image-Search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image as Pillow

from ..arguments import wrong_type
from .extractors import ExtractorInfo

__all__ = ["KerasExtractor"]


class KerasExtractor:
    """Runs a model of Keras, as Flask-Image-Search does.

    :param name: of the extractor
    :param model: has ``input_shape``, ``output_shape`` and ``predict()``
    :param preprocess: prepares a batch of pictures
    """

    def __init__(self, name: str, model: Any, preprocess: Callable[[Any], Any]) -> None:
        self._name, self._model, self._preprocess = name, model, preprocess
        shape = tuple(model.input_shape)
        if len(shape) != 4 or None in shape[1:3]:
            raise wrong_type("create_keras_model()", model, "a model of pictures of one size", got=f"one of {shape}")
        self._size = (int(shape[2]), int(shape[1]))

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo(f"keras-{self._name}", "1", int(np.prod(self._model.output_shape[1:])))

    def prepare(self, picture: Pillow.Image) -> Any:
        return np.asarray(picture.convert("RGB").resize(self._size), np.float32)

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        found: Any = np.asarray(self._model.predict(self._preprocess(np.stack(prepared))))
        rows: ArrayLike = found.reshape(len(prepared), -1)
        return rows
