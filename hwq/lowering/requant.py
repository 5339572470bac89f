"""Requantisation synthesis: the cheapest hardware form that equals a threshold table, with proof.

All forms are non-decreasing, two slopes on each side of their pivot, so a form equals the table on the
whole reachable interval exactly when it does at every threshold T, at the last reachable integer before
it, and at both sides of the pivot. Those points are evaluated with the op's own meaning
(`hwq.ops.requant.apply`); their number is the size of the proof.

For ``(a·M + B) >> s`` the numbers M and B of a channel must satisfy, for each level with code q,
``T·M + B >= q·2**s`` and ``(T - 1)·M + B < q·2**s``. The room for B is a concave function of M, so the
feasible M are an interval, whose ends Newton's method finds in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np

from hwq.cost.laws.weights import csd_digits
from hwq.ir import IntType
from hwq.ops.lut import Lut
from hwq.ops.requant import Requant, Slope, apply
from hwq.ops.threshold import Threshold
from hwq.rounding import BoolArray, FloatArray, IntArray

MAX_SHIFT = 48
_MAX_PRODUCT = 2.0**60
_MAX_CONSTANT = 2**53
"""Constants are written through float64."""
_FAR = np.int64(2**61)
_ROUNDS = 64
_MORE_SHIFTS = 6
_TANGENTS = 5


@dataclass(frozen=True)
class Form:
    """One exact form of a requantisation.

    Attributes:
        params: `Threshold`, `Requant` or `Lut`.
        text: What it is, for tables.
        cost: LUTs a lane, roughly; for choosing only.
        checks: Points at which equality was evaluated.
    """

    params: Threshold | Requant | Lut
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
    reach = max(abs(interval.lo), abs(interval.hi), 1)
    for candidates in (_one_slope, _two_slopes):
        ranked = sorted(
            ((_cost(p, interval), p) for p in candidates(found, reach, base, top)), key=lambda pair: pair[0]
        )
        for cost, params in ranked:
            if cost < best.cost and (checks := _proof(params, found)):
                best = Form(params, _describe(params), cost, checks)
                break
        if ranked:
            break
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
    live = float((~always & ~never).mean()) * count if count else 0.0
    cost = live * (interval.bits / 2 + 1)
    return Form(Threshold(clean, base, step), f"compare tree, {count} thresholds", cost, 2 * thresholds.size)


def _roundest(first: IntArray, last: IntArray) -> IntArray:
    """The integer of first..last with the most trailing zeros, made non-decreasing along each row.

    >>> _roundest(np.array([[-3, 5, 9, 10]]), np.array([[2, 7, 9, 17]])).tolist()
    [[0, 6, 9, 16]]
    """
    return np.asarray(np.maximum.accumulate(_roundest_each(first, last), axis=1))


def _roundest_each(first: IntArray, last: IntArray) -> IntArray:
    """Cut `last` below the highest bit in which it differs from ``first - 1``; 0 if it lies inside."""
    differs = (first - 1) ^ last
    upper = differs >> 30  # halves that float64 holds
    length = np.where(upper > 0, np.frexp(upper)[1] + 30, np.frexp(differs & (2**30 - 1))[1])
    zeros = np.maximum(length - 1, 0).astype(np.int64)
    return np.where((first <= 0) & (last >= 0), 0, (last >> zeros) << zeros)


def _one_slope(found: Levels, reach: int, base: int, top: int) -> Iterator[Requant]:
    """Multiply and shift, floor before half-even; a shift alone is the multiplier 1."""
    for half_even in (False, True):
        for mult, add, shift in _solutions(found, reach, 1, half_even=half_even):
            yield Requant(_shared(mult), _shared(add), shift, half_even, base, top)


def _two_slopes(found: Levels, reach: int, base: int, top: int) -> Iterator[Requant]:
    """Another multiplier below a pivot, which is 0 or the threshold of a level; half-even only without floor."""
    rows = len(found.code)
    for pivot in _pivots(found):
        sides, solved = _split(found, pivot), False
        for half_even in (False, True):
            if solved:
                break
            for mult, add, shift in _solutions(sides, reach, 2, half_even=half_even):
                more = 1 - min(shift, 1)  # a form without a shift reads as a plain sum elsewhere
                m, b = mult << more, add << more
                low = Slope(_shared(pivot), _shared(m[:rows]), _shared(b[:rows]))
                solved = True
                yield Requant(_shared(m[rows:]), _shared(b[rows:]), shift + more, half_even, base, top, low)


def _shared(values: IntArray) -> IntArray:
    return values[:1] if (values == values[0]).all() else values


def _split(found: Levels, pivot: IntArray) -> Levels:
    """The constraints of both sides of each channel's pivot, the low sides' rows first.

    The last reachable integer before the pivot and the first from it on bound levels of the other side.
    """
    at = pivot[:, None]
    gap = (found.below < at) & (at <= found.at_least) & found.has_below & found.has_least
    far = np.int64(2**62)
    before = np.where(gap, found.below, far).min(axis=1)[:, None]
    before = np.where(before == far, at - 1, before)
    first = np.where(gap, found.at_least, -far).max(axis=1)[:, None]
    first = np.where(first == -far, at, first)
    return Levels(
        np.concatenate([found.code, found.code]),
        np.concatenate([np.minimum(found.at_least, before), np.maximum(found.at_least, first)]),
        np.concatenate([found.has_least & (found.at_least < at), found.has_least]),
        np.concatenate([np.minimum(found.below, before), np.maximum(found.below, first)]),
        np.concatenate([found.has_below, found.has_below & (found.below >= at)]),
    )


def _pivots(found: Levels) -> Iterator[IntArray]:
    """Pivots worth a search: 0 for all channels, then a threshold that leaves both sides a slope."""
    rows, count = found.code.shape
    zero = np.zeros(rows, dtype=np.int64)
    if _steepness(_split(found, zero)) is not None:
        yield zero
        return
    index = np.arange(count)

    def rises(k: IntArray, *, low: bool) -> BoolArray:
        """Whether the levels below k, or from k on, have a slope; k is one a channel."""
        at = k[:, None]
        least = found.has_least & ((index < at) if low else (index >= at))
        below = found.has_below & ((index <= at) if low else (index > at))
        return np.isfinite(_slope(replace(found, has_least=least, has_below=below)))

    last = _largest(rows, count, lambda k: rises(k, low=True))
    first = count - 1 - _largest(rows, count, lambda k: rises(count - 1 - k, low=False))
    if (first > last).any():
        return
    chosen: list[IntArray] = []
    for k in ((first + last) // 2, first, last):
        pivot = found.at_least[np.arange(rows), k]
        if not any(np.array_equal(pivot, p) for p in chosen):
            chosen.append(pivot)
            yield pivot


def _largest(rows: int, count: int, holds: Callable[[IntArray], BoolArray]) -> IntArray:
    """The largest k < count of each row for which a falling predicate holds, which it does for 0."""
    good, bad = np.zeros(rows, dtype=np.int64), np.full(rows, count)
    while (bad - good).max() > 1:
        middle = (good + bad) // 2
        true = holds(middle)
        good, bad = np.where(true, middle, good), np.where(true, bad, middle)
    return good


def _slope(found: Levels) -> FloatArray:
    """The flattest slope of each row as s grows without limit, approximately; infinite if there is none.

    The steepest cut of the lines through the constraints, found by Newton's method: the room for B is
    concave in the slope.
    """
    result = np.zeros(len(found.code))
    rows = np.arange(len(found.code))
    code = found.code.astype(np.float64)
    least, below = np.where(found.has_least, found.at_least, 0), np.where(found.has_below, found.below, 0)
    least_code = np.where(found.has_least, code, -np.inf)
    below_code = np.where(found.has_below, code, np.inf)
    size = 1 + np.abs(code).max(initial=0) + 0 * result
    reach = np.maximum(np.abs(least).max(axis=1), np.abs(below).max(axis=1))
    for _ in range(_ROUNDS):
        slope = result[rows, None]
        lowest, highest = least_code[rows] - least[rows] * slope, below_code[rows] - below[rows] * slope
        i, j = lowest.argmax(axis=1), highest.argmin(axis=1)
        at = np.arange(len(rows))
        gap = lowest[at, i] - highest[at, j]
        run = least[rows, i] - below[rows, j]
        open_ = gap > 1e-12 * (size[rows] + reach[rows] * result[rows])
        result[rows[open_]] += np.where(run > 0, gap / np.maximum(run, 1), np.inf)[open_]
        rows = rows[open_ & (run > 0)]
        if not rows.size:
            return result
    result[rows] = np.inf
    return result


def _steepness(found: Levels) -> float | None:
    """The largest of the rows' flattest slopes; None if a row has no slope."""
    slope = float(_slope(found).max())
    return slope if np.isfinite(slope) else None


def _solutions(
    found: Levels, reach: int, sides: int, *, half_even: bool
) -> Iterator[tuple[IntArray, IntArray, int]]:
    """(M, B, s) with few non-zero digits, one M for all rows of a side first, for the smallest s and some more.

    Feasible at s is feasible at s + 1 with 2·M, so the smallest s is found by bisection, and all
    multipliers of a row between its smallest and its largest are feasible.
    """
    steepest = _steepness(found)
    if steepest is None:
        return
    codes = int(np.abs(found.code).max()) + 1
    limit = 2 * steepest if steepest > 0 else 1.0
    top = MAX_SHIFT
    while top > 0 and 2.0**top * (2 * reach * limit + 2 * codes) + 4.0 * reach > _MAX_PRODUCT:
        top -= 1
    search = _Search(found, half_even)
    rows = len(found.code)
    end = np.full(rows, max(int(np.ceil(limit * 2.0**top)), 1))
    widest = search.range(top, np.zeros(rows, dtype=np.int64), end)
    if widest is None:
        return
    search.prune(top, *widest)

    def at(shift: int) -> tuple[IntArray, IntArray] | None:
        down = top - shift
        return search.range(shift, -(-widest[0] >> down), widest[1] >> down)

    bad, good = -1 + half_even, top
    while good - bad > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if at(middle) is not None else (good, middle)
    for shift in range(good, min(good + _MORE_SHIFTS, top) + 1):
        ends = at(shift)
        if ends is None:
            return
        for together in (True, False):
            solved = search.choose(shift, *ends, sides if together else rows)
            if solved and max(np.abs(solved[0]).max(), np.abs(solved[1]).max()) < _MAX_CONSTANT:
                yield (*solved, shift)


class _Search:
    """The constraints of rows, each with its M and B, for one rounding."""

    def __init__(self, found: Levels, half_even: bool) -> None:
        self.half_even = half_even
        self.code, self.has_least, self.has_below = found.code, found.has_least, found.has_below
        self.least = np.where(found.has_least, found.at_least, 0)
        self.below = np.where(found.has_below, found.below, 0)

    def _needs(self, shift: int) -> tuple[IntArray, IntArray]:
        """Numerators that a level's first integer must reach, and that the one before must not exceed."""
        need = _numerator(self.code, shift, half_even=self.half_even)
        return np.where(self.has_least, need, -_FAR), np.where(self.has_below, need - 1, _FAR)

    def range(self, shift: int, first: IntArray, last: IntArray) -> tuple[IntArray, IntArray] | None:
        """Smallest and largest feasible M of each row within first..last; None if a row has none."""
        if (first > last).any():
            return None
        needs = self._needs(shift)
        lo = self._cut(needs, first, last, 1)
        if (lo > last).any():
            return None
        return lo, self._cut(needs, last, lo, -1)

    def _cut(self, needs: tuple[IntArray, IntArray], start: IntArray, end: IntArray, sign: int) -> IntArray:
        """The first feasible M from start towards end, or one beyond end: Newton's method in integers."""
        mult: IntArray = start.copy()
        rows = np.arange(len(start))
        for _ in range(_ROUNDS):
            m = mult[rows, None]
            lowest, highest = needs[0][rows] - self.least[rows] * m, needs[1][rows] - self.below[rows] * m
            i, j = lowest.argmax(axis=1), highest.argmin(axis=1)
            at = np.arange(len(rows))
            gap = lowest[at, i] - highest[at, j]
            run = sign * (self.least[rows, i] - self.below[rows, j])
            moved = mult[rows] + sign * -(-gap // np.maximum(run, 1))
            lost = (run <= 0) | (sign * (moved - end[rows]) > 0)
            bad = gap > 0
            mult[rows[bad]] = np.where(lost, end[rows] + sign, moved)[bad]
            rows = rows[bad & ~lost]
            if not rows.size:
                return mult
        mult[rows] = end[rows] + sign
        return mult

    def prune(self, shift: int, first: IntArray, last: IntArray) -> None:
        """Drop constraints that bind for no M in first..last; even and odd codes apart, as half-even rounds."""
        needs = self._needs(shift)
        parities = [self.code % 2 == p for p in (0, 1)] if self.half_even else [self.code == self.code]
        kept = []
        for need, point, has in (
            (needs[0], self.least, self.has_least),
            (-needs[1], -self.below, self.has_below),
        ):
            keep = np.zeros(has.shape, dtype=bool)
            for parity in parities:
                keep |= has & parity & _binding(np.where(parity, need, -_FAR), point, first, last)
            kept.append(keep)
        self.has_least, self.has_below = kept
        either = kept[0] | kept[1]
        width = max(int(either.sum(axis=1).max()), 1)
        order = np.argsort(~either, axis=1, kind="stable")[:, :width]
        for name in ("code", "has_least", "has_below", "least", "below"):
            setattr(self, name, np.take_along_axis(getattr(self, name), order, axis=1))

    def choose(self, shift: int, lo: IntArray, hi: IntArray, groups: int) -> tuple[IntArray, IntArray] | None:
        """(M, B) with the fewest adders, M equal in each of `groups` blocks of rows; None if none is."""
        rows = len(lo)
        lo, hi = lo.reshape(groups, -1).max(axis=1), hi.reshape(groups, -1).min(axis=1)
        if (lo > hi).any():
            return None
        tries, digits = _few_digits(lo, hi)
        needs = self._needs(shift)
        best = np.full(groups, np.inf)
        mult, add = np.zeros((2, rows), dtype=np.int64)
        for t in range(tries.shape[1]):
            m = np.repeat(tries[:, t], rows // groups)
            lowest = (needs[0] - self.least * m[:, None]).max(axis=1)
            highest = (needs[1] - self.below * m[:, None]).min(axis=1)
            summand = _simplest(lowest.reshape(groups, -1), highest.reshape(groups, -1))
            cost = np.maximum(digits[:, t] - 1, 0) + (summand != 0).mean(axis=1)
            better = np.repeat(cost < best, rows // groups)
            best = np.minimum(best, cost)
            mult, add = np.where(better, m, mult), np.where(better, summand.ravel(), add)
        return mult, add


def _binding(need: IntArray, point: IntArray, first: IntArray, last: IntArray) -> BoolArray:
    """Which lines need - point·M may be the highest of their row for an M in first..last; never too few.

    The envelope is touched at a few places; between two of them it lies below the crossing of the
    tangents only where a line rises above that crossing.
    """
    rows = np.arange(len(need))
    keep = np.zeros(need.shape, dtype=bool)
    touched: list[IntArray] = []
    for part in range(_TANGENTS):
        m = first + (last - first) // (_TANGENTS - 1) * part if part < _TANGENTS - 1 else last
        touched.append((need - point * m[:, None]).argmax(axis=1))
    for i, j in pairwise(touched):
        keep[rows, i] = keep[rows, j] = True
        apart = point[rows, i] - point[rows, j]
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = (need[rows, i] - need[rows, j]) / apart
        cross = np.where(apart != 0, np.clip(np.nan_to_num(cross), first, last), first)[:, None]
        value = need - point * cross
        top = value[rows, i][:, None]
        slack = 2.0**-48 * (np.abs(need[rows, i][:, None]) + np.abs(point).max(axis=1)[:, None] * cross)
        keep |= value >= top - slack - 1
    return keep


def _few_digits(lo: IntArray, hi: IntArray) -> tuple[IntArray, IntArray]:
    """Up to 4 integers of each lo..hi with the fewest signed digits, the smallest first, and the digits.

    >>> [a.tolist() for a in _few_digits(np.array([5]), np.array([9]))]
    [[[8, 5, 6, 7]], [[1, 2, 2, 2]]]
    """
    zeros = np.frexp((hi - lo).astype(np.float64))[1] - 4
    unit = np.int64(1) << np.maximum(zeros, 0).astype(np.int64)
    tries = (-(-lo // unit))[:, None] * unit[:, None] + np.arange(17) * unit[:, None]
    inside = tries <= hi[:, None]
    tries = np.where(inside, tries, lo[:, None])
    digits = csd_digits(tries)
    order = np.lexsort((tries, digits, ~inside), axis=1)[:, :4]
    return np.take_along_axis(tries, order, axis=1), np.take_along_axis(digits, order, axis=1)


def _numerator(code: IntArray, shift: int, *, half_even: bool) -> IntArray:
    """The smallest numerator that gives `code` or more after rounding and the shift."""
    if not half_even or shift == 0:
        return np.asarray(code << shift)
    return np.asarray(((2 * code - 1) << (shift - 1)) + code % 2)


def _simplest(lowest: IntArray, highest: IntArray) -> IntArray:
    """Summands (groups, rows) within lowest..highest: one for a group if possible, 0 if that is inside, else round.

    >>> _simplest(np.array([[-3, 5], [5, 6]]), np.array([[9, 9], [5, 9]])).tolist()
    [[8, 8], [5, 8]]
    """
    one = [lowest.max(axis=1, keepdims=True), highest.min(axis=1, keepdims=True)]
    shared = (one[0] <= one[1]) & (lowest.shape[1] > 1)
    lo, hi = np.where(shared, one[0], lowest), np.where(shared, one[1], highest)
    flip = hi < 0
    first, last = np.where(flip, -hi, np.maximum(lo, 0)), np.where(flip, -lo, hi)
    rounded = _roundest_each(first, last)
    return np.where((lo <= 0) & (hi >= 0), 0, np.where(flip, -rounded, rounded))


def _proof(params: Requant, found: Levels) -> int:
    """Number of points checked; 0 if one of them differs from the table.

    Of two slopes each must be right on its side; both ends of the sides are among the points.
    """
    rows = len(found.code)
    if params.low is None:
        parts = [found]
    else:
        sides = _split(found, np.broadcast_to(params.low.pivot, (rows,)))
        parts = [_rows(sides, slice(0, rows)), _rows(sides, slice(rows, None))]
    if any((m < 0).any() for m in _multipliers(params)):
        return 0
    for part in parts:
        above = part.code <= apply(params, part.at_least.T).T
        under = part.code > apply(params, part.below.T).T
        if not (above | ~part.has_least).all() or not (under | ~part.has_below).all():
            return 0
    return sum(int(part.has_least.sum() + part.has_below.sum()) for part in parts)


def _rows(found: Levels, rows: slice) -> Levels:
    return Levels(*(getattr(found, f.name)[rows] for f in fields(found)))


def _describe(params: Requant) -> str:
    rounding = ", half to even" if params.half_even and params.shift else ""
    if params.low is None and (params.mult == 1).all():
        if not params.shift:
            return "add, saturate" if params.add.any() else "saturate"
        return f"shift {params.shift}{rounding}"
    bits = int(max(m.max() for m in _multipliers(params))).bit_length()
    slopes = "" if params.low is None else "two slopes, "
    return f"{slopes}(a*M + B) >> {params.shift}{rounding}, M {bits} bits"


def _multipliers(params: Requant) -> list[IntArray]:
    return [params.mult] if params.low is None else [params.mult, params.low.mult]


def _cost(params: Requant, interval: IntType) -> float:
    """Of the mean lane: adders of the constant multipliers (non-zero digits), summand, rounding, saturation.

    Two slopes add a second product, a comparison with the pivot and a multiplexer.
    """
    summands = [params.add] if params.low is None else [params.add, params.low.add]
    width = interval.bits + int(max(m.max() for m in _multipliers(params))).bit_length()
    adders = sum(float(np.maximum(csd_digits(m) - 1, 0).mean()) for m in _multipliers(params))
    adders += sum(float((b != 0).mean()) for b in summands)
    rounding = (params.shift / 4 + (width - params.shift)) if params.half_even and params.shift else 0.0
    saturation = max(width - params.shift, 1)
    choice = 0.0
    if params.low is not None:
        choice = width / 2 + (interval.bits / 2 if params.low.pivot.any() else 0.0)
    return adders * width + rounding + saturation + choice
