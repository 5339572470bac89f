"""Layers that move integers without computing: reshape, transpose."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.model import LayerCost
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.transpose import Transpose


def reshape(node: Node, _x: Tensor, _out: Tensor, _setting: Setting) -> LayerCost:
    """Nothing: hls4ml reshapes in place."""
    return built(node, "reshape", ii_cycles=1)


def transpose(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """Wires in io_parallel; in io_stream the tensor in registers (nnet_transpose_stream.h)."""
    params: Transpose = node.params
    moved = [a for a in params.axes if x.shape[a] > 1]
    if moved == sorted(moved) or not setting.stream:
        return built(node, "transpose/wires", ii_cycles=1)
    bits = prod(x.shape) * x.type.bits
    words = prod(x.shape) // x.shape[-1] + prod(out.shape) // out.shape[-1]
    mux = staged(judged("transpose/lut", bits=bits), "lut", setting)
    return built(
        node,
        "transpose/stream",
        lut=mux + stream_control(setting),
        ff=staged(judged("registers/ff", bits=bits), "ff", setting),
        latency_cycles=words + 4,
        ii_cycles=words + 4,
        fill_cycles=prod(x.shape) // x.shape[-1] + 2,
        outside=True,
    )
