"""Maximum over a window, channels last; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.ops.window import Pads, Pair, out_size, windows
from hwq.rounding import IntArray

_LOWEST = -(2**62)


@dataclass(frozen=True)
class MaxPool:
    """Window, strides and pads in (height, width)."""

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)


def infer(params: MaxPool, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    h, w, c = x.shape
    return (*out_size((h, w), params.kernel, params.strides, params.pads, params.dilations), c), x.type


def run(params: MaxPool, x: IntArray) -> IntArray:
    view = windows(x, params.kernel, params.strides, params.pads, params.dilations, fill=_LOWEST)
    out: IntArray = view.max(axis=(4, 5))
    return out


SPEC = OpSpec("max_pool", MaxPool, infer, run, no_macs, source="ONNX MaxPool")
