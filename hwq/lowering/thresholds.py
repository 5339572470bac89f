"""A quantiser resolved: the exact integer thresholds of a pending monotone function.

``T[c, k]`` is the smallest integer of the interval at which the exact value reaches level k.
Bisection runs vectorised in float64; a point whose distance to the boundary is within the error
band is decided in exact arithmetic, so ties fall as the rounding mode says.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwq.exact import ExactArray, Surd, at, nearest
from hwq.lowering.pending import BAND, Steps, channels, evaluate, evaluate_exact, is_exact_in_float64
from hwq.rounding import BoolArray, IntArray, Rounding, boundary

NO_TIE = np.iinfo(np.int64).min


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
    """

    step: ExactArray
    zero: int
    lo: int
    hi: int
    rounding: Rounding
    bipolar: bool = False

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
        if self.bipolar:
            return [(Fraction(-self.zero), True)]
        edges = (boundary(self.rounding, k) for k in range(self.lo + 1, self.hi + 1))
        return [(edge - self.zero, inclusive) for edge, inclusive in edges]


@dataclass(frozen=True)
class Table:
    """Thresholds (channels or 1, levels - 1) and, of the same shape, the integer that ties exactly or `NO_TIE`."""

    thresholds: IntArray
    ties: IntArray
    exact_evaluations: int


class _Search:
    """State of one bisection over all channels and levels."""

    def __init__(self, steps: Steps, quantizer: Quantizer, lo: IntArray, hi: IntArray) -> None:
        self.steps, self.quantizer = steps, quantizer
        self.edges = quantizer.boundaries()
        n = max(channels(steps), len(quantizer.step), len(lo))
        shape = (n, len(self.edges))
        self.lo = np.broadcast_to(lo[:, None], shape)
        self.hi = np.broadcast_to(hi[:, None], shape)
        quotient = np.array([float(edge) for edge, _ in self.edges])
        self.target = nearest(quantizer.step)[:, None] * quotient[None, :]
        self.ties = np.full(shape, NO_TIE)
        self.exact_evaluations = 0
        largest = float(max(np.abs(lo).max(), np.abs(hi).max()) + 1)
        # A step is a float32 and an edge a multiple of one half: their product rounds nowhere below 2**28.
        floats = (
            quantizer.step.dtype != object and (quantizer.step.astype(np.float32) == quantizer.step).all()
        )
        self.dyadic = bool(floats) and len(self.edges) < 2**28 and is_exact_in_float64(steps, largest)
        self.inclusive = np.array([inclusive for _, inclusive in self.edges], dtype=bool)

    def reaches(self, point: IntArray, active: BoolArray) -> BoolArray:
        """Whether the level is reached at each active point (channels, levels)."""
        value, magnitude = evaluate(self.steps, point.astype(np.float64))
        distance = value - self.target
        if self.dyadic:
            tie = np.broadcast_to(distance == 0, point.shape)
            self.ties = np.where(tie & active, point, self.ties)
            return np.asarray((distance > 0) | (tie & self.inclusive))
        result: BoolArray = np.broadcast_to(distance > 0, point.shape).copy()
        close = np.abs(distance) <= BAND * (magnitude + np.abs(self.target))
        for c, k in np.argwhere(close & active):
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
