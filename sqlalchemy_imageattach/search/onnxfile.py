"""ONNX files, written by hand: as much of the format as a convolutional network needs, so that no library is.

The format is Protocol Buffers: numbered fields, each a number or a string of bytes with its length.  The numbers are
those of ``onnx.proto3``, which never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph"]

_IR_VERSION, _OPSET = 8, 13
_FLOAT, _UINT8 = 1, 2


def _varint(number: int) -> bytes:
    encoded = bytearray()
    number &= 2**64 - 1  # negative numbers have ten bytes
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(encoded)) + encoded


def _attribute(name: str, value: int | str | Iterable[int]) -> bytes:
    head = _bytes(1, name)
    if isinstance(value, int):
        return _bytes(5, head + _number(20, 2) + _number(3, value))
    if isinstance(value, str):
        return _bytes(5, head + _number(20, 3) + _bytes(4, value))
    return _bytes(5, head + _number(20, 7) + b"".join(_number(8, each) for each in value))


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    shape = b"".join(_number(1, side) for side in values.shape)
    return _bytes(5, shape + _number(2, _FLOAT) + _bytes(8, name) + _bytes(9, values.astype("<f4").tobytes()))


def _value(field: int, name: str, kind: int, shape: Iterable[int | str]) -> bytes:
    sides = b"".join(_bytes(1, _number(1, side) if isinstance(side, int) else _bytes(2, side)) for side in shape)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, sides))))


class Graph:
    """A network under construction: each call adds a node and gives the name of what comes out of it.

    :param size: width and height of the pictures that go in, as bytes of red, green and blue
    :param takes_floats: whether they are floating-point numbers instead
    """

    INPUT: Final = "pictures"
    OUTPUT: Final = "vectors"

    def __init__(self, size: tuple[int, int], *, takes_floats: bool = False) -> None:
        self._size, self._kind = size, _FLOAT if takes_floats else _UINT8
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []

    def add(self, operation: str, *inputs: str | NDArray[np.float32], **attributes: Any) -> str:
        """One node.

        :param operation: its name in ONNX
        :param inputs: names of what came out of others, or weights
        :param attributes: of the operation
        """
        return self._node(operation, f"v{len(self._nodes)}", inputs, attributes)

    def finish(self, operation: str, *inputs: str | NDArray[np.float32], dimension: int, **attributes: Any) -> bytes:
        """The last node, and the whole file.

        :param dimension: of the vectors that come out
        """
        self._node(operation, self.OUTPUT, inputs, attributes)
        width, height = self._size
        graph = b"".join(
            [
                *self._nodes,
                _bytes(2, "extractor"),
                *self._tensors,
                _value(11, self.INPUT, self._kind, ["n", height, width, 3]),
                _value(12, self.OUTPUT, _FLOAT, ["n", dimension]),
            ]
        )
        return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, _OPSET))

    def _node(self, operation: str, output: str, inputs: Iterable[str | NDArray[np.float32]], attributes: Any) -> str:
        names = []
        for each in inputs:
            if not isinstance(each, str):
                name = f"w{len(self._tensors)}"
                self._tensors.append(_tensor(name, each))
                each = name
            names.append(each)
        parts = [_bytes(1, name) for name in names] + [_bytes(2, output), _bytes(4, operation)]
        parts += [_attribute(name, value) for name, value in attributes.items()]
        self._nodes.append(_bytes(1, b"".join(parts)))
        return output
