"""``y = saturate(round((x·M[c] + B[c]) / 2**shift), lo, hi)``: requantisation by multiply and shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    worst = int(np.abs(params.mult).max()) * max(abs(x.type.lo), abs(x.type.hi)) + int(np.abs(params.add).max())
    if worst >= 2**62:
        raise ValueError(f"requant product may reach {worst}, beyond 62 bits")
    ends = np.stack([apply(params, np.full(params.mult.size, v, dtype=np.int64)) for v in (x.type.lo, x.type.hi)])
    return x.shape, IntType(int(ends.min()), int(ends.max()))


def run(params: Requant, x: IntArray) -> IntArray:
    return apply(params, x)




SPEC = OpSpec("requant", Requant, infer, run, no_macs, source="Jacob et al. 2018, sec. 2.2, exact here by proof")
