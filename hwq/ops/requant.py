"""``y = saturate(round((x·M[c] + B[c]) / 2**shift), lo, hi)``: requantisation by multiply and shift."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws.requant import cost
from hwq.emit.layers import HlsLayer, Site, interval_of
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray, saturate, shift_floor, shift_half_even


@dataclass(frozen=True)
class Requant:
    """Multipliers and summands of one element or one a channel (last axis); rounding half to even or down."""

    mult: IntArray
    add: IntArray
    shift: int
    half_even: bool
    lo: int
    hi: int


def apply(params: Requant, x: IntArray) -> IntArray:
    """The function itself; the channel axis of x is its last."""
    scaled = x * params.mult + params.add
    rounded = (shift_half_even if params.half_even else shift_floor)(scaled, params.shift)
    return saturate(rounded, params.lo, params.hi)


def infer(params: Requant, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if {params.mult.size, params.add.size} - {1, x.shape[-1]}:
        raise ValueError(f"requant of {params.mult.size} channels reads a tensor of shape {x.shape}")
    worst = int(np.abs(params.mult).max()) * max(abs(x.type.lo), abs(x.type.hi)) + int(
        np.abs(params.add).max()
    )
    if worst >= 2**62:
        raise ValueError(f"requant product may reach {worst}, beyond 62 bits")
    ends = np.stack(
        [apply(params, np.full(params.mult.size, v, dtype=np.int64)) for v in (x.type.lo, x.type.hi)]
    )
    return x.shape, IntType(int(ends.min()), int(ends.max()))


def run(params: Requant, x: IntArray) -> IntArray:
    return apply(params, x)


def intermediate(params: Requant, interval: IntType) -> IntType:
    """What a signed integer must hold: ``x·M + B`` and the summand that rounds."""
    ends = np.stack([v * params.mult + params.add for v in (interval.lo, interval.hi)])
    rounding = 1 << (params.shift - 1) if params.half_even and params.shift else 0
    return IntType(min(int(ends.min()), -1), max(int(ends.max()) + rounding, rounding))


def emit(params: Requant, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: hls4ml removes a BatchNormalization of scale 1 without bias, type and all."""
    if params.shift > 61:
        raise site.refuse(f"shifts by {params.shift} bits; 61 can be built", "use larger quantisation steps")
    mult, add = np.broadcast_arrays(params.mult, params.add)
    attributes = {
        "n_in": prod(site.input.shape),
        "n_chan": mult.size,
        "shift": params.shift,
        "half_even": params.half_even,
        "lo": params.lo,
        "hi": params.hi,
        "wide_bits": intermediate(params, site.input.type).bits,
    }
    types = {"result": site.output.type, "mult": interval_of(mult), "add": interval_of(add)}
    return (HlsLayer("HwqRequant", attributes, site.output.shape, types, {"mult": mult, "add": add}),)


SPEC = OpSpec(
    "requant",
    Requant,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=cost,
    source="Jacob et al. 2018, sec. 2.2, exact here by proof",
)
