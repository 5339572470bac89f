"""The AXI4-Stream wrapper of an overlay (hwq_axis.h): words of 64 bits to codes and back, a port each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.model import ZERO, LayerCost
from hwq.ir import Node, Tensor

_WORD_BITS = 64
_CODE_BITS = (8, 16, 32, 64)
_SIDE_BITS = 17
"""TKEEP, TSTRB and TLAST beside a word."""


@dataclass(frozen=True)
class PortCost:
    """Of one port: cycles that an image takes, register bits, bits that are multiplexed."""

    cycles: int
    register_bits: int
    mux_bits: int


def port_cost(tensor: Tensor, *, stream: bool) -> PortCost:
    """A port's registers: word and side band twice (HLS registers both ways), counters, the pixel or the tensor.

    A clock moves gcd(codes in a word, codes in a pixel) codes; in io_parallel the whole tensor is one pixel.
    """
    size = math.prod(tensor.shape)
    pixel = tensor.shape[-1] if stream else size
    lane = next(bits for bits in _CODE_BITS if tensor.type.bits <= bits)
    step = math.gcd(_WORD_BITS // lane, pixel)
    counters = 2 * max(1, (size - 1).bit_length())
    registers = 2 * (_WORD_BITS + _SIDE_BITS) + _WORD_BITS + counters + pixel * tensor.type.bits
    places = pixel // step
    return PortCost(math.ceil(size / step), registers, (places > 1) * pixel * tensor.type.bits + _WORD_BITS)


def wrapper(ports: Iterable[Tensor], setting: Setting) -> LayerCost:
    """What a project with an overlay has beside the network; without DMA engines, interconnect and processor."""
    costs = [port_cost(tensor, stream=setting.stream) for tensor in ports]
    lut = sum((judged("axis/lut", bits=c.mux_bits) for c in costs), ZERO)
    ff = sum((judged("axis/ff", bits=c.register_bits) for c in costs), ZERO)
    cycles = max((c.cycles for c in costs), default=1)
    return built(
        Node("top", "(axi wrapper)", (), "", None), "top/axi", lut=staged(lut, "lut", setting),
        ff=staged(ff, "ff", setting), latency_cycles=cycles, ii_cycles=cycles, fill_cycles=2 * len(costs), outside=True,
    )  # fmt: skip
