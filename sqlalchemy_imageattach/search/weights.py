"""Weights as PyTorch saves them, read without PyTorch, and as nothing but numbers.

A ``.pth`` file is a pickle, and a pickle is a program.  The one of here may name an ordered dictionary and the two
functions by which PyTorch puts tensors together, and nothing else; what it names is never run, but replaced.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValueError

__all__ = ["read_weights"]

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_TYPES: Final[dict[str, np.dtype[Any]]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: parts[:4],
    ("torch", "FloatStorage"): "FloatStorage",
    ("torch", "LongStorage"): "LongStorage",
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            msg = f"expected a file with nothing but tensors, got one that names {module}.{name}; do not use it"
            raise InvalidValueError(msg) from None

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_weights(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file that ``torch.save(model.state_dict(), path)`` has written in the format before 1.6.

    :param path: the ``.pth`` file
    :raises InvalidValueError: it is no such file, or has something else than tensors in it
    """
    with open(path, "rb") as file:
        try:
            if _load(file) != _MAGIC:
                raise InvalidValueError("expected the format of PyTorch before 1.6")
            _load(file), _load(file)  # version of the protocol, sizes of types
            tensors, keys = _load(file), _load(file)
            kinds = {storage[2]: _TYPES[storage[1]] for storage, *_ in tensors.values()}
            storages = {key: _storage(file, kinds[key]) for key in keys}
            return {name: _array(storages, *parts) for name, parts in tensors.items()}
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, struct.error) as error:
            msg = f"{path}: expected weights as PyTorch saves them, got something else: {error}"
            raise InvalidValueError(msg) from error


def _load(file: BinaryIO) -> Any:
    return _Restricted(file).load()


def _storage(file: BinaryIO, kind: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * kind.itemsize), kind, count)


def _array(
    storages: dict[str, NDArray[Any]],
    storage: tuple[Any, ...],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> NDArray[Any]:
    numbers = storages[storage[2]][offset:]
    if any(side < 1 for side in shape) or sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) >= numbers.size:
        raise InvalidValueError(f"a tensor of the shape {shape} does not fit into its {numbers.size} numbers")
    return np.lib.stride_tricks.as_strided(numbers, shape, [step * numbers.itemsize for step in strides])
