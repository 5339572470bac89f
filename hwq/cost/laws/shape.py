"""Layers that move integers without computing: wires in io_parallel, counters and memories in io_stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod

from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.model import ZERO, LayerCost, Value
from hwq.ir import Node, Tensor

_RAM_BITS = 1024
"""Memories of no more bits are made of LUTs, 64 bits each."""


def reshape(node: Node, _x: Tensor, _out: Tensor, _setting: Setting) -> LayerCost:
    """Nothing: hls4ml reshapes in place."""
    return built(node, "reshape", ii_cycles=1)


def pixels(tensor: Tensor) -> int:
    """Words that a stream of it has."""
    return prod(tensor.shape[:-1])


def transpose(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """In io_stream the tensor is kept: in a memory where pixels stay whole, else in registers."""
    axes = node.params.axes
    moved = [a for a in axes if x.shape[a] > 1]
    if moved == sorted(moved) or not setting.stream:
        return built(node, "transpose/wires", ii_cycles=1)
    if axes[-1] == len(x.shape) - 1:
        return stream_move(node, x, out, setting, fill=pixels(x), whole=True)
    bits = prod(x.shape) * x.type.bits
    words = pixels(x) + pixels(out)
    mux = staged(judged("transpose/lut", bits=bits), "lut", setting)
    return built(
        node,
        "transpose/stream",
        lut=mux + stream_control(setting),
        ff=staged(judged("registers/ff", bits=bits), "ff", setting),
        latency_cycles=words + 4,
        ii_cycles=words + 4,
        fill_cycles=pixels(x) + 2,
        outside=True,
    )


def memory(bits: int, words: int, setting: Setting) -> tuple[Value, Value]:
    """(LUTs, 18 Kb blocks) of a memory of words."""
    if bits * words <= _RAM_BITS:
        return staged(judged("table/lut", table=bits * math.ceil(words / 64)), "lut", setting), ZERO
    blocks = math.ceil(bits / 36) * math.ceil(words / 512)
    return ZERO, staged(judged("fifo/bram18", bram18=blocks), "bram18", setting, shared=True)


def stream_move(
    node: Node, x: Tensor, out: Tensor, setting: Setting, *, fill: int = 1, kept: int = 0, whole: bool = False
) -> LayerCost:
    """A word of the larger tensor a cycle; `kept` words in a memory, or the `whole` tensor before the first."""
    words = pixels(x) + pixels(out) if whole else max(pixels(x), pixels(out))
    lut, blocks = memory(x.shape[-1] * x.type.bits, pixels(x) if whole else kept, setting)
    bits = x.shape[-1] * x.type.bits + out.shape[-1] * out.type.bits
    return built(
        node,
        f"{node.op}/stream",
        lut=(lut if kept or whole else ZERO) + stream_control(setting),
        ff=staged(judged("registers/ff", bits=bits), "ff", setting),
        bram18=blocks if kept or whole else ZERO,
        latency_cycles=words + 3,
        ii_cycles=words + 3,
        fill_cycles=fill + 2,
        outside=True,
    )


def _move(kept: Callable[[Tensor], int] = lambda _: 0) -> Callable[..., LayerCost]:
    def cost(node: Node, x: Tensor, out: Tensor, setting: Setting, *_others: Tensor) -> LayerCost:
        if not setting.stream:
            return built(node, f"{node.op}/wires", ii_cycles=1)
        return stream_move(node, x, out, setting, kept=kept(x))

    return cost


concat = _move()
slice_op = _move()
upsample = _move(lambda x: x.shape[1])
depth_to_space = _move(lambda x: x.shape[1])


def pad(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """Constants in between; reflections and repetitions need the tensor whole."""
    if not setting.stream:
        return built(node, "pad/wires", ii_cycles=1)
    whole = node.params.mode != "constant"
    return stream_move(node, x, out, setting, fill=pixels(x) if whole else 1, whole=whole)
