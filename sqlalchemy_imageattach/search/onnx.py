"""Extractors that run a model of ONNX Runtime: the default one, and anybody's own.

A model is loaded at its first use, once for each process, whatever number of extractors run it.  A process that was
forked loads its own: what the parent had loaded belongs to threads that the child does not have.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ..arguments import check_range, check_type, wrong_value
from ..errors import InvalidValueError, MissingExtraError
from ..extras import needs_extra
from . import efficientnet
from .extractors import ExtractorInfo

__all__ = ["EfficientNetLite0", "OnnxExtractor"]

#: So many pictures are computed at a time: more are no faster, and take memory.
_BATCH: Final = 8


class _Sessions:
    """The models that this process has loaded, by what tells them apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[tuple[Any, ...], Any] = {}
        self._inherited: list[Any] = []

    def get(self, key: tuple[Any, ...], model: Callable[[], bytes], threads: int) -> Any:
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = _load(model(), threads)
            return self._loaded[key]

    def forked(self) -> None:
        # kept, and never used: to destroy them would wait for threads that are not there
        self._inherited.append(self._loaded)
        self._lock, self._loaded = threading.Lock(), {}


_sessions = _Sessions()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_sessions.forked)


def _load(model: bytes, threads: int) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _runtime() -> Any:
    with needs_extra("search", "ONNX Runtime is needed"):
        import onnxruntime
    return onnxruntime


def _bytes_of(picture: Image.Image, size: tuple[int, int]) -> Any:
    # the whole picture, whatever its shape: what a crop leaves out cannot be found
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))


class EfficientNetLite0:
    """The default extractor: 1,280 numbers of what is to be seen in a picture, in about 10 milliseconds.

    Its weights come in a package, as part of the extra ``search``; nothing is downloaded.

    :param threads: of ONNX Runtime; more than 1 are slower where several pictures are worked on side by side
    :raises InvalidValueError: ``threads`` is less than 1
    """

    def __init__(self, *, threads: int = 1) -> None:
        check_range("threads", check_type("threads", threads, int), "1 or more", 1)
        self._threads = threads

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("efficientnet-lite0", "1", efficientnet.DIMENSION)

    def prepare(self, picture: Image.Image) -> Any:
        return _bytes_of(picture, efficientnet.SIZE)

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        key = ("efficientnet-lite0", self._threads)
        session = _sessions.get(key, efficientnet.efficientnet_lite0, self._threads)
        batches = [np.stack(prepared[start : start + _BATCH]) for start in range(0, len(prepared), _BATCH)]
        return np.concatenate([session.run(None, {"pictures": batch})[0] for batch in batches])


class OnnxExtractor:
    """Runs a model of your own that takes one picture, or a batch, in red, green and blue.

    Pixels are divided by 255, then ``mean`` is subtracted and the rest divided by ``std``, as most models were trained.
    Whatever comes out first is the vector, laid out in one row.

    ::

        mobilenet = OnnxExtractor("mobilenet.onnx", (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    :param path: the ``.onnx`` file; its SHA-256 is the version of the extractor, so another model is noticed
    :param size: width and height of the pictures that it takes, in pixels
    :param mean: of red, green and blue, from 0 to 1
    :param std: of red, green and blue, above 0
    :param name: of the extractor; by default that of the file
    :param threads: of ONNX Runtime
    :raises OSError: the file cannot be read
    :raises MissingExtraError: ONNX Runtime is not installed
    :raises InvalidValueError: it is no model, or takes or gives something else
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int] = (224, 224),
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        *,
        name: str | None = None,
        threads: int = 1,
    ) -> None:
        self._path, self._size, self._threads = Path(path), _size(size), threads
        self._mean, self._std = _triple("mean", mean), _triple("std", std)
        check_range("threads", check_type("threads", threads, int), "1 or more", 1)
        check_range("std", float(self._std.min()), "numbers above 0", 1e-9)
        settings = repr((self._size, self._mean.tolist(), self._std.tolist())).encode()
        model = self._path.read_bytes()
        self._digest = hashlib.sha256(model + settings).hexdigest()
        self._input, self._channels_first = self._find_input(self._session(model))
        (row,) = np.asarray(self.extract([self.prepare(Image.new("RGB", self._size))]))
        self._info = ExtractorInfo(name or self._path.stem, self._digest[:16], len(row))

    def describe(self) -> ExtractorInfo:
        return self._info

    def prepare(self, picture: Image.Image) -> Any:
        return _bytes_of(picture, self._size)

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        session = self._session()
        limit = self._input.shape[0] if isinstance(self._input.shape[0], int) else _BATCH
        rows = []
        for start in range(0, len(prepared), limit):
            batch = prepared[start : start + limit]
            filled = [*batch, *[batch[-1]] * (limit - len(batch))] if isinstance(self._input.shape[0], int) else batch
            pixels = (np.stack(filled).astype(np.float32) / 255 - self._mean) / self._std
            pixels = pixels.transpose(0, 3, 1, 2) if self._channels_first else pixels
            kind = np.float16 if "float16" in self._input.type else np.float32
            found = session.run(None, {self._input.name: pixels.astype(kind)})[0]
            rows.append(np.asarray(found, np.float32).reshape(len(filled), -1)[: len(batch)])
        return np.concatenate(rows)

    def _session(self, model: bytes | None = None) -> Any:
        key = (self._digest, self._threads)
        try:
            return _sessions.get(key, lambda: self._path.read_bytes() if model is None else model, self._threads)
        except MissingExtraError:
            raise
        except Exception as error:
            if isinstance(error, OSError):
                raise
            msg = f"{self._path}: expected a model that ONNX Runtime loads, got {type(error).__name__}: {error}"
            raise InvalidValueError(msg) from error

    def _find_input(self, session: Any) -> tuple[Any, bool]:
        first, *others = session.get_inputs()
        shape = list(first.shape)
        if not others and len(shape) == 4 and first.type in {"tensor(float)", "tensor(float16)"}:
            if shape[1] == 3:
                return first, True
            if shape[3] == 3:
                return first, False
        msg = f"{self._path}: expected a model with one input, a batch of pictures of three colours as floating-point"
        msg += f" numbers, got {[(each.name, each.type, each.shape) for each in (first, *others)]}; export it so"
        raise InvalidValueError(msg)


def _size(size: object) -> tuple[int, int]:
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        raise wrong_value("size", size, "width and height in pixels, such as (224, 224)")
    return size[0], size[1]


def _triple(name: str, values: object) -> Any:
    try:
        numbers = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        numbers = np.empty(0, np.float32)
    if numbers.shape != (3,) or not np.isfinite(numbers).all():
        raise wrong_value(name, values, "three numbers, for red, green and blue")
    return numbers
