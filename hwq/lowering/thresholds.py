"""A quantiser resolved: exact integer thresholds of a monotone pending function, exact codes of another one.

``T[c, k]`` is the smallest integer of the interval at which the exact value reaches level k.
Bisection runs vectorised in float64; a point whose distance to the boundary is within the error
band is decided in exact arithmetic, so ties fall as the rounding mode says. A function that is not
monotone is evaluated at every integer, in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

import numpy as np

from hwq.exact import ExactArray, Surd, at, nearest
from hwq.lowering.pending import BAND, Steps, channels, evaluate, evaluate_exact, exact_channels, take
from hwq.rounding import BoolArray, FloatArray, IntArray, Rounding, boundary

NO_TIE = np.iinfo(np.int64).min
MAX_POINTS = 2**20
MAX_POINTS_IN_ALL = 2**24
_BLOCK = 2**16


@dataclass(frozen=True)
class Quantizer:
    """``step·(round(clamp(x/step + zero)) - zero)``; codes have the zero point subtracted.

    Attributes:
        step: Positive scale, one element or one a channel.
        zero: Zero point.
        lo: Lowest code before the zero point is subtracted.
        hi: Highest.
        rounding: Mode.
        bipolar: Only the codes -1 and +1; 0 becomes +1.
        dropped: Low bits that QONNX Trunc drops: ``x/step + zero`` is first rounded half to even to an integer n,
            and ``n / 2**dropped`` takes its place.
    """

    step: ExactArray
    zero: int
    lo: int
    hi: int
    rounding: Rounding
    bipolar: bool = False
    dropped: int | None = None

    @property
    def base(self) -> int:
        """The lowest integer that comes out."""
        return self.lo - self.zero

    @property
    def stride(self) -> int:
        """Distance between neighbouring integers that come out."""
        return 2 if self.bipolar else 1

    def boundaries(self) -> list[tuple[Fraction, bool]]:
        """For each level above the lowest: the quotient x/step at which it begins, and whether inclusive."""
        return self._boundaries

    @cached_property
    def _boundaries(self) -> list[tuple[Fraction, bool]]:
        if self.bipolar:
            return [(Fraction(-self.zero), True)]
        edges = [boundary(self.rounding, k) for k in range(self.lo + 1, self.hi + 1)]
        if self.dropped is not None:
            edges = [_before_dropping(edge * 2**self.dropped, inclusive) for edge, inclusive in edges]
        return [(edge - self.zero, inclusive) for edge, inclusive in edges]


def _before_dropping(edge: Fraction, inclusive: bool) -> tuple[Fraction, bool]:
    """Where the smallest integer at (if inclusive) or above an edge begins, when rounded half to even."""
    return boundary(Rounding.HALF_EVEN, ceil(edge) if inclusive else floor(edge) + 1)


@dataclass(frozen=True)
class Table:
    """Thresholds (channels or 1, levels - 1) and, of the same shape, the integer that ties exactly or `NO_TIE`."""

    thresholds: IntArray
    ties: IntArray
    exact_evaluations: int


@dataclass(frozen=True)
class Pieces:
    """Exact codes of a function that need not be monotone: `values[c, #{k: a >= breaks[c, k]}]` at the integer a.

    Attributes:
        breaks: Ascending integers (channels or 1, K); rows are filled up with hi[c] + 1.
        values: Codes, zero point subtracted (channels or 1, K + 1).
        ties: Ascending integers that tie exactly (channels or 1, n); rows are filled up with `NO_TIE`.
        exact_evaluations: How many integers float64 could not decide.
    """

    breaks: IntArray
    values: IntArray
    ties: IntArray
    exact_evaluations: int


def _targets(quantizer: Quantizer, edges: list[tuple[Fraction, bool]]) -> tuple[FloatArray, BoolArray]:
    """Boundaries as float64 (channels or 1, levels - 1), and the channels (or 1) on which that is exact."""
    quotient = np.array([float(edge) for edge, _ in edges])
    target = nearest(quantizer.step)[:, None] * quotient[None, :]
    if quantizer.step.dtype == object or np.abs(quotient).max(initial=0) >= 2**28:
        return target, np.zeros(1, dtype=bool)
    # The product of a float32 and a multiple of one half below 2**28 rounds nowhere.
    with np.errstate(over="ignore", under="ignore"):
        return target, np.asarray(quantizer.step.astype(np.float32) == quantizer.step)


def _largest(lo: IntArray, hi: IntArray) -> float:
    return float(max(np.abs(lo).max(), np.abs(hi).max()) + 1)


class _Search:
    """State of one bisection over all channels and levels."""

    def __init__(self, steps: Steps, quantizer: Quantizer, lo: IntArray, hi: IntArray) -> None:
        self.steps, self.quantizer = steps, quantizer
        self.edges = quantizer.boundaries()
        n = max(channels(steps), len(quantizer.step), len(lo))
        shape = (n, len(self.edges))
        self.lo = np.broadcast_to(lo[:, None], shape)
        self.hi = np.broadcast_to(hi[:, None], shape)
        self.target, exact = _targets(quantizer, self.edges)
        self.ties = np.full(shape, NO_TIE)
        self.exact_evaluations = 0
        self.exact = np.broadcast_to((exact & exact_channels(steps, _largest(lo, hi)))[:, None], shape)
        self.inclusive = np.array([inclusive for _, inclusive in self.edges], dtype=bool)

    def reaches(self, point: IntArray, active: BoolArray) -> BoolArray:
        """Whether the level is reached at each active point (channels, levels)."""
        value, magnitude = evaluate(self.steps, point.astype(np.float64))
        with np.errstate(invalid="ignore", over="ignore"):
            distance = value - self.target
            result: BoolArray = np.broadcast_to(distance > 0, point.shape).copy()
            far = np.abs(distance) > BAND * (
                magnitude + np.abs(self.target)
            )  # not so where either is no number
        tie = active & self.exact & (distance == 0)
        if tie.any():
            self.ties = np.where(tie, point, self.ties)
            result |= tie & self.inclusive
        for c, k in np.argwhere(active & ~far & ~self.exact):
            result[c, k] = self._reaches_exactly(int(c), int(k), int(point[c, k]))
        return result

    def _reaches_exactly(self, channel: int, level: int, point: int) -> bool:
        self.exact_evaluations += 1
        edge, inclusive = self.edges[level]
        target: Surd = at(self.quantizer.step, channel) * edge
        sign = (evaluate_exact(self.steps, point, channel) - target).sign()
        if sign == 0:
            self.ties[channel, level] = point
        return sign > 0 or (sign == 0 and inclusive)


def find(steps: Steps, quantizer: Quantizer, lo: IntArray, hi: IntArray) -> Table:
    """Thresholds of a non-falling function over the integers lo[c]..hi[c].

    Args:
        steps: Rising or constant on every channel.
        quantizer: What resolves them.
        lo: Lowest reachable integer, one element or one a channel.
        hi: Highest.

    Returns:
        A level that is always reached has the threshold lo[c], one never reached hi[c] + 1.
    """
    search = _Search(steps, quantizer, lo, hi)
    below, above = search.lo - 1, search.hi + 1
    while (gap := above - below).max(initial=1) > 1:
        middle = below + gap // 2
        active = gap > 1
        reached = search.reaches(middle, active)
        above = np.where(active & reached, middle, above)
        below = np.where(active & ~reached, middle, below)
    reachable = (search.ties >= search.lo) & (search.ties <= search.hi)
    return Table(above, np.where(reachable, search.ties, NO_TIE), search.exact_evaluations)


def tabulate(steps: Steps, quantizer: Quantizer, lo: IntArray, hi: IntArray) -> Pieces:
    """Exact codes of any function at all integers lo[c]..hi[c], as pieces on which the code is constant.

    Args:
        steps: Any.
        quantizer: What resolves them.
        lo: Lowest reachable integer, one element or one a channel.
        hi: Highest.

    Raises:
        ValueError: Too many integers, or a comparison that cannot be decided.
    """
    n = max(channels(steps), len(quantizer.step), len(lo), len(hi))
    lo, hi = np.broadcast_to(lo, n), np.broadcast_to(hi, n)
    points = hi - lo + 1
    if points.max() > MAX_POINTS or points.sum() > MAX_POINTS_IN_ALL:
        raise ValueError(
            f"the function is not known to be monotone, and {int(points.max())} integers a channel "
            f"({int(points.sum())} in all) are too many for a table; quantise before"
        )
    rows = [_Row(steps, quantizer, c) for c in range(n)]
    for row, low, high in zip(rows, lo.tolist(), hi.tolist(), strict=True):
        row.fill(low, high)
    last = [row.values[-1] for row in rows]
    return Pieces(
        _filled([row.breaks for row in rows], (hi + 1).tolist()),
        _filled([row.values for row in rows], last),
        _filled([row.ties for row in rows], [NO_TIE] * n),
        sum(row.exact_evaluations for row in rows),
    )


def _filled(rows: list[list[int]], fill: list[int]) -> IntArray:
    width = max(len(row) for row in rows)
    padded = [row + [f] * (width - len(row)) for row, f in zip(rows, fill, strict=True)]
    return np.array(padded, dtype=np.int64).reshape(len(rows), width)


class _Row:
    """The codes of one channel."""

    def __init__(self, steps: Steps, quantizer: Quantizer, channel: int) -> None:
        self.quantizer, self.channel, self.whole = quantizer, channel, steps
        self.steps = take(steps, np.array([channel]))
        self.edges = quantizer.boundaries()
        step = quantizer.step[channel : channel + 1] if len(quantizer.step) > 1 else quantizer.step
        targets, exact = _targets(replace(quantizer, step=step), self.edges)
        self.target, self.target_is_exact = targets[0], bool(exact.all())
        self.inclusive = np.array([inclusive for _, inclusive in self.edges], dtype=bool)
        self.breaks: list[int] = []
        self.values: list[int] = []
        self.ties: list[int] = []
        self.exact_evaluations = 0

    def fill(self, lo: int, hi: int) -> None:
        """Find the codes of lo..hi, block after block."""
        largest = float(max(abs(lo), abs(hi)))
        exact = self.target_is_exact and bool(exact_channels(self.steps, largest).all())
        for start in range(lo, hi + 1, _BLOCK):
            points = np.arange(start, min(start + _BLOCK, hi + 1), dtype=np.int64)
            level = self._levels_of_floats(points) if exact else self._levels(points)
            codes = self.quantizer.base + self.quantizer.stride * level
            if self.values and codes[0] != self.values[-1]:
                self.breaks.append(start)
                self.values.append(int(codes[0]))
            self.values = self.values or [int(codes[0])]
            change = np.flatnonzero(np.diff(codes)) + 1
            self.breaks += points[change].tolist()
            self.values += codes[change].tolist()

    def _evaluate(self, points: IntArray) -> tuple[FloatArray, FloatArray]:
        value, magnitude = evaluate(self.steps, points[None, :].astype(np.float64))
        shape = (1, len(points))
        return np.broadcast_to(value, shape)[0], np.broadcast_to(magnitude, shape)[0]

    def _levels_of_floats(self, points: IntArray) -> IntArray:
        """Where neither values nor boundaries are rounded."""
        value, _ = self._evaluate(points)
        below = np.searchsorted(self.target, value, side="left")
        tie = np.searchsorted(self.target, value, side="right") > below
        self.ties += points[tie].tolist()
        up = np.append(self.inclusive, False)[below] & tie
        return np.asarray(below + up, dtype=np.int64)

    def _levels(self, points: IntArray) -> IntArray:
        value, magnitude = self._evaluate(points)
        with np.errstate(invalid="ignore", over="ignore"):
            band = BAND * (magnitude + np.abs(self.target).max(initial=0))
            low, high = value - band, value + band
        level = np.searchsorted(self.target, low, side="left")
        top = np.searchsorted(self.target, high, side="right")
        lost = ~(np.isfinite(low) & np.isfinite(high))
        level, top = np.where(lost, 0, level), np.where(lost, len(self.edges), top)
        for i in np.flatnonzero(level < top):
            level[i] = self._exact_level(int(points[i]), int(level[i]), int(top[i]))
        return np.asarray(level, dtype=np.int64)

    def _exact_level(self, point: int, low: int, high: int) -> int:
        """The level at a point, known to be one of low..high."""
        self.exact_evaluations += 1
        value = evaluate_exact(self.whole, point, self.channel)
        step = at(self.quantizer.step, self.channel)
        while low < high:
            middle = (low + high) // 2
            edge, inclusive = self.edges[middle]
            sign = (value - step * edge).sign()
            if sign == 0:
                self.ties.append(point)
                return middle + inclusive
            low, high = (middle + 1, high) if sign > 0 else (low, middle)
        return low
