"""``y = saturate(round((x·M[c] + B[c]) / 2**shift), lo, hi)``: requantisation by multiply and shift.

With a second slope, M and B are other numbers below a pivot.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws.requant import cost
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray, saturate, shift_floor, shift_half_even


@dataclass(frozen=True)
class Slope:
    """Multipliers and summands of x < pivot; one element or one a channel (last axis)."""

    pivot: IntArray
    mult: IntArray
    add: IntArray


@dataclass(frozen=True)
class Requant:
    """Multipliers and summands of one element or one a channel (last axis); rounding half to even or down.

    `low` replaces both below its pivot.
    """

    mult: IntArray
    add: IntArray
    shift: int
    half_even: bool
    lo: int
    hi: int
    low: Slope | None = None


def scaled(params: Requant, x: IntArray) -> IntArray:
    """What is rounded and shifted; the channel axis of x is its last."""
    high = x * params.mult + params.add
    if params.low is None:
        return high
    return np.where(x < params.low.pivot, x * params.low.mult + params.low.add, high)


def apply(params: Requant, x: IntArray) -> IntArray:
    """The function itself; the channel axis of x is its last."""
    rounded = (shift_half_even if params.half_even else shift_floor)(scaled(params, x), params.shift)
    return saturate(rounded, params.lo, params.hi)


def arrays(params: Requant) -> dict[str, IntArray]:
    """Its constants by the names that the C++ gives them."""
    named = {"mult": params.mult, "add": params.add}
    if params.low is not None:
        named |= {"low_mult": params.low.mult, "low_add": params.low.add, "pivot": params.low.pivot}
    return named


def channels(params: Requant) -> int:
    """Length of its arrays; 1 if it treats all channels alike."""
    return max(a.size for a in arrays(params).values())


def infer(params: Requant, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    """Raises ValueError for arrays that do not fit the tensor, and beyond 62 bits."""
    for name, array in arrays(params).items():
        if array.dtype != np.int64 or array.ndim != 1 or array.size not in (1, x.shape[-1]):
            raise ValueError(f"requant of {array.size} channels ({name}) reads a tensor of shape {x.shape}")
    pairs = [(params.mult, params.add)]
    if params.low is not None:
        pairs.append((params.low.mult, params.low.add))
        if not params.shift > 0:
            raise ValueError("requant of two slopes without a shift")
        if _largest(params.low.pivot) >= 2**62:
            raise ValueError("requant pivot beyond 62 bits")
    worst = max(_largest(m) * max(abs(x.type.lo), abs(x.type.hi)) + _largest(a) for m, a in pairs)
    if worst >= 2**62:
        raise ValueError(f"requant product may reach {worst}, beyond 62 bits")
    ends = apply(params, _ends(params, x.type))
    return x.shape, IntType(int(ends.min()), int(ends.max()))


def _largest(values: IntArray) -> int:
    return max(-int(values.min()), int(values.max()))


def _ends(params: Requant, interval: IntType) -> IntArray:
    """(points, channels): the ends of each slope's part of the interval, where its extremes lie."""
    points = [np.full(channels(params), v, dtype=np.int64) for v in (interval.lo, interval.hi)]
    if params.low is not None:
        points += [np.clip(points[0] * 0 + params.low.pivot - d, interval.lo, interval.hi) for d in (0, 1)]
    return np.stack(points)


def run(params: Requant, x: IntArray) -> IntArray:
    return apply(params, x)


def intermediate(params: Requant, interval: IntType) -> IntType:
    """What a signed integer must hold: ``x·M + B`` and the summand that rounds."""
    ends = scaled(params, _ends(params, interval))
    rounding = 1 << (params.shift - 1) if params.half_even and params.shift else 0
    return IntType(min(int(ends.min()), -1), max(int(ends.max()) + rounding, rounding))


def emit(params: Requant, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: hls4ml removes a BatchNormalization of scale 1 without bias, type and all."""
    if params.shift > 61:
        raise site.refuse(f"shifts by {params.shift} bits; 61 can be built", "use larger quantisation steps")
    size = channels(params)
    data = {name: np.broadcast_to(array, (size,)) for name, array in arrays(params).items()}
    if params.low is not None:
        data["pivot"] = np.clip(data["pivot"], site.input.type.lo, site.input.type.hi + 1)
    attributes = {
        "n_in": prod(site.input.shape),
        "n_chan": size,
        "shift": params.shift,
        "half_even": params.half_even,
        "lo": params.lo,
        "hi": params.hi,
        "wide_t": intermediate(params, site.input.type),
    }
    name = "HwqRequant" if params.low is None else "HwqRequantTwoSlopes"
    return (own_layer(name, attributes, site, data=data),)


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
