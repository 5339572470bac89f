"""Requantisation synthesis: the cheapest hardware form that equals a threshold table, with proof.

All forms are non-decreasing, so a form equals the table on the whole reachable interval exactly
when it does at every threshold T and at T - 1. Those points are evaluated with the op's own
meaning (`hwq.ops.requant.apply`); their number is the size of the proof.

For ``(a·M + B) >> s`` the numbers M and B of a channel must satisfy, for each level with code q,
``T·M + B >= q·2**s`` and ``(T - 1)·M + B < q·2**s``: two bounds on the slope M/2**s from each pair
of levels, then an interval for B.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwq.ir import IntType
from hwq.ops.requant import Requant, apply
from hwq.ops.threshold import Threshold
from hwq.rounding import BoolArray, FloatArray, IntArray

MAX_SHIFT = 40
_MAX_PRODUCT = 2.0**61


@dataclass(frozen=True)
class Form:
    """One exact form of a requantisation.

    Attributes:
        params: `Threshold` or `Requant`.
        text: What it is, for tables.
        cost: LUTs a lane, roughly; for choosing only.
        checks: Points at which equality was evaluated.
    """

    params: Threshold | Requant
    text: str
    cost: float
    checks: int


@dataclass(frozen=True)
class Levels:
    """A threshold table seen as constraints, arrays (channels, levels - 1).

    Attributes:
        code: The integer from each level on.
        at_least: The lowest reachable integer that must give `code` or more, where `has_least`.
        below: The highest reachable integer that must give less, where `has_below`.
    """

    code: IntArray
    at_least: IntArray
    has_least: BoolArray
    below: IntArray
    has_below: BoolArray


def levels(
    thresholds: IntArray, base: int, lo: IntArray, hi: IntArray, below: IntArray | None = None
) -> Levels:
    """Constraints of a table over the intervals lo[c]..hi[c].

    Args:
        thresholds: (channels, levels - 1); the lowest reachable integer of each level.
        base: Integer below all thresholds.
        lo: Lowest reachable integer, one or one a channel.
        hi: Highest.
        below: The highest reachable integer under each threshold, of its shape; its predecessor if None.
    """
    n, k = thresholds.shape
    under = thresholds - 1 if below is None else below
    low, high = np.broadcast_to(lo[:, None], (n, k)), np.broadcast_to(hi[:, None], (n, k))
    code = np.broadcast_to(base + 1 + np.arange(k), (n, k))
    return Levels(
        code,
        np.clip(thresholds, low, high),
        thresholds <= high,
        np.clip(under, low, high),
        under >= low,
    )


def synthesise(
    thresholds: IntArray,
    base: int,
    step: int,
    interval: IntType,
    lo: IntArray,
    hi: IntArray,
    below: IntArray | None = None,
) -> Form:
    """The cheapest form that equals the table; the compare tree always does.

    Args:
        thresholds: (channels or 1, levels - 1); the lowest reachable integer of each level.
        base: Integer below all thresholds.
        step: Distance of neighbouring integers.
        interval: Of the tensor that is compared.
        lo: Lowest reachable integer, one or one a channel.
        hi: Highest.
        below: The highest reachable integer that must give less than the level, of the shape of
            `thresholds`; `thresholds` - 1 if None. Integers between the two never occur.
    """
    best = _compare_tree(thresholds, base, step, interval, lo, hi, below)
    if step != 1 or not thresholds.shape[1]:
        return best
    found = levels(thresholds, base, lo, hi, below)
    top = base + thresholds.shape[1]
    for params in _candidates(found, base, top):
        form = Form(params, _describe(params), _cost(params, interval), _proof(params, found))
        if form.checks and form.cost < best.cost:
            best = form
    return best


def _compare_tree(
    thresholds: IntArray,
    base: int,
    step: int,
    interval: IntType,
    lo: IntArray,
    hi: IntArray,
    below: IntArray | None,
) -> Form:
    always, never = thresholds <= lo[:, None], thresholds > hi[:, None]
    free = thresholds if below is None else _roundest(np.minimum(below, thresholds - 1) + 1, thresholds)
    clean = np.where(always, interval.lo, np.where(never, interval.hi + 1, free))
    count = thresholds.shape[1]
    cost = count * (interval.bits / 2 + 1)
    return Form(Threshold(clean, base, step), f"compare tree, {count} thresholds", cost, 2 * thresholds.size)


def _roundest(first: IntArray, last: IntArray) -> IntArray:
    """The integer of first..last with the most trailing zeros, made non-decreasing along each row.

    >>> _roundest(np.array([[-3, 5, 9, 10]]), np.array([[2, 7, 9, 17]])).tolist()
    [[0, 6, 9, 16]]
    """
    best = last.copy()
    for zeros in range(1, 62):
        candidate = (last >> zeros) << zeros
        if not (inside := candidate >= first).any():
            break
        best = np.where(inside, candidate, best)
    return np.maximum.accumulate(best, axis=1)


def _candidates(found: Levels, base: int, top: int) -> Iterator[Requant]:
    """One candidate of each kind, if there is one: shift, shift half-even, multiply and shift of both."""
    slopes = _slopes(found)
    for half_even in (False, True):
        unit = np.ones((len(found.code), 1), dtype=np.int64)
        for fixed in (unit, None):
            solved = _solve(found, slopes, half_even=half_even, multiplier=fixed)
            if solved:
                mult, add, shift = solved
                yield Requant(_shared(mult), _shared(add), shift, half_even, base, top)


def _shared(values: IntArray) -> IntArray:
    return values[:1] if (values == values[0]).all() else values


def _slopes(found: Levels) -> tuple[FloatArray, FloatArray]:
    """Bounds on M / 2**s a channel, from every pair of levels, as s grows without limit."""
    low, high = np.zeros(len(found.code)), np.full(len(found.code), np.inf)
    for c in range(len(found.code)):
        least, below = found.has_least[c], found.has_below[c]
        run = found.at_least[c][least][:, None] - found.below[c][below][None, :]
        rise = (found.code[c][least][:, None] - found.code[c][below][None, :]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = rise / run
        low[c] = max(0.0, slope[run > 0].max(initial=0.0))
        high[c] = slope[run < 0].min(initial=np.inf)
    return low, high


def _solve(
    found: Levels, slopes: tuple[FloatArray, FloatArray], *, half_even: bool, multiplier: IntArray | None
) -> tuple[IntArray, IntArray, int] | None:
    """(M, B, s) with the smallest common s that fits all channels; None if there is none."""
    low, high = slopes
    slack = 1e-9 * (1 + np.abs(low))
    if (low > high + slack).any():
        return None
    for shift in range(MAX_SHIFT + 1):
        scale = 2.0**shift
        if multiplier is None:
            first = np.floor(low * scale - slack)
            tries = first[:, None] + np.arange(4)
        else:
            tries = multiplier.astype(np.float64)
        reach = max(float(np.abs(found.at_least).max()), float(np.abs(found.below).max()), 1.0)
        if reach * float(tries.max()) + float(np.abs(found.code).max()) * scale > _MAX_PRODUCT:
            return None
        solved = _fit(found, tries.astype(np.int64), shift, half_even=half_even)
        if solved:
            return (*solved, shift)
    return None


def _fit(found: Levels, tries: IntArray, shift: int, *, half_even: bool) -> tuple[IntArray, IntArray] | None:
    """The first multiplier of each channel's tries that leaves an interval for B."""
    need = _numerator(found.code, shift, half_even=half_even)
    chosen = np.zeros(len(tries), dtype=np.int64)
    add = np.zeros(len(tries), dtype=np.int64)
    done = np.zeros(len(tries), dtype=bool)
    far = np.int64(2**62)
    for t in range(tries.shape[1]):
        mult = tries[:, t : t + 1]
        lowest = np.where(found.has_least, need - found.at_least * mult, -far).max(axis=1)
        highest = np.where(found.has_below, need - 1 - found.below * mult, far).min(axis=1)
        fits = ~done & (lowest <= highest) & (tries[:, t] >= 0)
        chosen[fits] = tries[fits, t]
        add[fits] = _simplest(lowest, highest)[fits]
        done |= fits
    return (chosen, add) if done.all() else None


def _numerator(code: IntArray, shift: int, *, half_even: bool) -> IntArray:
    """The smallest numerator that gives `code` or more after rounding and the shift."""
    if not half_even or shift == 0:
        return code << shift
    return ((2 * code - 1) << (shift - 1)) + code % 2


def _simplest(lowest: IntArray, highest: IntArray) -> IntArray:
    """0 where it lies in the interval, else the end nearer to it."""
    return np.where((lowest <= 0) & (highest >= 0), 0, np.where(lowest > 0, lowest, highest))


def _proof(params: Requant, found: Levels) -> int:
    """Number of points checked; 0 if one of them differs from the table."""
    above = found.code <= apply(params, found.at_least.T).T
    under = found.code > apply(params, found.below.T).T
    if not (above | ~found.has_least).all() or not (under | ~found.has_below).all():
        return 0
    return int(found.has_least.sum() + found.has_below.sum())


def _describe(params: Requant) -> str:
    rounding = ", half to even" if params.half_even and params.shift else ""
    if (params.mult == 1).all():
        if not params.shift:
            return "add, saturate" if params.add.any() else "saturate"
        return f"shift {params.shift}{rounding}"
    bits = int(params.mult.max()).bit_length()
    return f"(a*M + B) >> {params.shift}{rounding}, M {bits} bits"


def _cost(params: Requant, interval: IntType) -> float:
    """Adders of the constant multiplier (non-zero digits), the summand, the rounding and the saturation."""
    width = interval.bits + int(params.mult.max()).bit_length()
    digits = max((3 * int(m) ^ int(m)).bit_count() for m in params.mult)
    adders = max(digits - 1, 0) + bool(params.add.any())
    rounding = (params.shift / 4 + (width - params.shift)) if params.half_even and params.shift else 0.0
    saturation = max(width - params.shift, 1)
    return adders * width + rounding + saturation
