"""Dense layers: one matrix product, at one or more positions (nnet_dense_*.h, nnet_dense_stream.h)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from hwq.cost.laws.product import Product, product
from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.laws.weights import matrix_statistics
from hwq.cost.model import LayerCost, Value
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.dense import Dense


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A dense layer; on an image it is built as a 1x1 convolution, one position after the other."""
    params: Dense = node.params
    positions = prod(out.shape[:-1])
    core = product(matrix_statistics(params.weight), x.type.bits, out.type.bits, setting)
    if setting.stream:
        return _stream(node, x, out, core, setting)
    return _parallel(node, core, positions)


def _parallel(node: Node, core: Product, positions: int) -> LayerCost:
    repeats = (positions - 1) * core.ii_cycles
    path = "dense" if positions == 1 else "dense/positions"
    return built(
        node,
        f"{path}/parallel/{core.path}",
        lut=core.lut,
        ff=core.ff,
        dsp=core.dsp,
        bram18=core.bram18,
        latency_cycles=core.latency_cycles + repeats,
        ii_cycles=core.ii_cycles + repeats,
        outside=core.outside or positions > 1,
    )


def _stream(node: Node, x: Tensor, out: Tensor, core: Product, setting: Setting) -> LayerCost:
    """Input words are collected in registers, then the product runs, then one word leaves."""
    buffer_bits = x.shape[-1] * x.type.bits + out.shape[-1] * out.type.bits
    control = stream_control(setting)
    cycles = prod(out.shape[:-1]) * core.ii_cycles + core.latency_cycles + 1
    return built(
        node,
        f"dense/stream/{core.path}",
        lut=core.lut + control,
        ff=core.ff + staged(judged("registers/ff", bits=buffer_bits), "ff", setting),
        dsp=core.dsp,
        bram18=core.bram18,
        latency_cycles=cycles,
        ii_cycles=cycles,
        fill_cycles=1 + core.latency_cycles,
        outside=True,
    )


def stream_control(setting: Setting) -> Value:
    """Handshake and loop counters of a streaming layer."""
    return staged(judged("stream/control/lut", layers=1), "lut", setting)
