"""Sums of differently scaled integer tensors, as in residual connections, made integer for the quantiser behind them.

Equal scales, or scales with a small common unit, add as integers at once. Otherwise the sum
``S = M₁·a + M₂·b`` needs only be fine enough for the quantiser: for every value of the narrow tensor b
the exact thresholds of the wide tensor a are found, and M₂/M₁ must lie in the open interval of
slopes that keeps all sums below a level apart from all sums at or above it. The simplest fraction of
that interval has the smallest multipliers that exist. This enumeration is the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import combinations

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd, at, nearest, signs
from hwq.exact import add as plus
from hwq.lowering.branches import Combine
from hwq.lowering.builder import Builder
from hwq.lowering.integers import as_join, collected, common_unit, placed, shifted, single, sum_of
from hwq.lowering.layouts import channels_last
from hwq.lowering.pending import (
    MIXED,
    Affine,
    Grid,
    Step,
    Steps,
    channels,
    compose,
    direction,
    lowest_bits,
    scale_by,
)
from hwq.lowering.real import RealNode
from hwq.lowering.thresholds import Quantizer, find
from hwq.lowering.values import Flow, Join, Pending, Raw, Term
from hwq.rounding import FloatArray, IntArray

_SMALL_BITS = 4
"""Multipliers of a common unit that are not worth a search."""
_MAX_TABLE = 2**23
_MAX_ITERATIONS = 64
_MAX_SUM_BITS = 52
_FAR = 2**48
"""Beyond all accumulators that are searched, with room for a product in float64."""
_MAX_BITS = 40
"""Of a multiplier that the search finds."""


@dataclass(frozen=True)
class Sum:
    """An integer sum that is fine enough for one quantiser.

    Attributes:
        value: The sum, without steps.
        thresholds: (channels or 1, levels - 1): smallest sum at which the level must be reached.
        below: Largest sum at which it must not.
        checks: Boundaries of the wide tensor that were evaluated.
    """

    value: Pending
    thresholds: IntArray
    below: IntArray
    checks: int


def add(builder: Builder, node: RealNode, a: Flow, b: Flow, sign: int = 1) -> Flow:
    """``a + sign·b`` of two computed tensors."""
    if isinstance(a, Pending) and isinstance(b, Pending) and a.tensor == b.tensor and a.placed == b.placed:
        second = b.steps if sign > 0 else (*b.steps, scale_by(np.array([-1.0])))
        return replace(a, steps=_added(a.steps, second), exclusive=False)
    left, right = matched(builder, node, a, b)
    first, first_offset = as_join(builder, node, left)
    second_join, second_offset = as_join(builder, node, right)
    terms = list(first.terms)
    for term in second_join.terms:
        signed = Term(term.tensor, term.factor * sign)
        same = next((i for i, t in enumerate(terms) if t.tensor == term.tensor), None)
        if same is None:
            terms.append(signed)
        else:
            terms[same] = Term(term.tensor, plus(terms[same].factor, signed.factor))
    offset = plus(first_offset, second_offset * sign)
    shape = np.broadcast_shapes(first.shape, second_join.shape)
    graph_shape = np.broadcast_shapes(first.graph_shape, second_join.graph_shape)
    layout = first.layout if first.shape == shape else second_join.layout
    if shape not in (first.shape, second_join.shape):
        layout = channels_last(shape)[1]
    return Join(tuple(terms), shape, graph_shape, layout, shifted((), offset))


def _added(a: Steps, b: Steps) -> Steps:
    left, right = compose(a), compose(b)
    if left is None or right is None:
        return (Combine("add", a, b),)
    return (Affine(plus(left[0], right[0]), plus(left[1], right[1])),)


def matched(builder: Builder, node: RealNode, a: Flow, b: Flow) -> tuple[Flow, Flow]:
    """Two operands laid out alike; axes of size one broadcast.

    Raises:
        UnsupportedModel: An unquantised input, or shapes that do not broadcast axis by axis.
    """
    for value in (a, b):
        if isinstance(value, Raw):
            single(builder, node, value)
    if len(a.shape) != len(b.shape) or any(
        m != n and 1 not in (m, n) for m, n in zip(a.shape, b.shape, strict=True)
    ):
        reason = f"combines tensors of shapes {a.shape} and {b.shape}"
        raise UnsupportedModel(node.name, node.op, reason, "give both the same shape, or axes of size one")
    if a.placed == b.placed:
        return a, b
    if a.shape != b.shape:
        return tuple(placed(builder, node, v, channels_last(v.shape)) for v in (a, b))  # type: ignore[return-value]
    if isinstance(b, Pending):
        return a, _arranged(builder, node, b, a)
    return _arranged(builder, node, a, b), b


def _arranged(builder: Builder, node: RealNode, value: Flow, like: Flow) -> Flow:
    return placed(builder, node, value, like.placed)


def for_quantizer(builder: Builder, node: RealNode, value: Join, quantizer: Quantizer) -> Pending | Sum:
    """The sum as one integer tensor: exactly, if that is cheap or the only way, else as fine as the quantiser needs."""
    if _has_small_unit(value.terms) or (direction(value.steps) == MIXED).any():
        return single(builder, node, value)
    pair = _two_terms(builder, node, value)
    return (_search(builder, node, pair, quantizer) if pair else None) or single(builder, node, value)


def _has_small_unit(terms: Sequence[Term], bits: int = _SMALL_BITS) -> bool:
    for c in range(max(len(t.factor) for t in terms)):
        found = common_unit([at(t.factor, c) for t in terms])
        if found is None or max(map(abs, found[1])).bit_length() > bits:
            return False
    return True


def _two_terms(builder: Builder, node: RealNode, value: Join) -> Join | None:
    """The same sum of two tensors, those with a common unit added first; None if there is no such sum."""
    terms = list(value.terms)
    while len(terms) > 2:
        pairs = [p for p in combinations(terms, 2) if _has_small_unit(p, _MAX_BITS)]
        if not pairs:
            return None
        first = min(pairs, key=lambda p: sum(_width(builder, t) for t in p))
        part = single(builder, node, replace(value, terms=first, steps=()))
        affine = compose(part.steps)
        if affine is None:
            return None
        terms = [t for t in terms if t not in first] + [Term(part.tensor, affine[0])]
    return replace(value, terms=tuple(terms))


@dataclass(frozen=True)
class _Plane(Step):
    """``wide[c]·x + narrow[c]·b``: one row for each channel c and each value of b, in this order."""

    wide: ExactArray
    narrow: ExactArray
    grid_of_b: IntArray
    many: int

    @cached_property
    def _floats(self) -> tuple[FloatArray, FloatArray]:
        """Factor of x and summand a row."""
        wide, narrow = (np.broadcast_to(nearest(v), self.many) for v in (self.wide, self.narrow))
        return np.repeat(wide, len(self.grid_of_b)), np.outer(narrow, self.grid_of_b).ravel()

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        factor, summand = (v[:, None] for v in self._floats)
        return factor * x + summand, np.abs(factor) * magnitude + np.abs(summand)

    def exact(self, x: Surd, channel: int) -> Surd:
        c, b = divmod(channel, len(self.grid_of_b))
        return x * at(self.wide, c) + at(self.narrow, c) * int(self.grid_of_b[b])

    def direction(self) -> IntArray:
        return np.repeat(np.broadcast_to(signs(self.wide), self.many), len(self.grid_of_b))

    def channels(self) -> int:
        return self.many * len(self.grid_of_b)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        rows = np.repeat(np.arange(self.many), len(self.grid_of_b))
        wide, narrow = (np.broadcast_to(lowest_bits(v), self.many)[rows] for v in (self.wide, self.narrow))
        factor, summand = self._floats
        return np.minimum(unit + wide, narrow), np.abs(factor) * largest + np.abs(summand)


def _search(builder: Builder, node: RealNode, value: Join, quantizer: Quantizer) -> Sum | None:
    """The simplest multipliers that keep all levels apart."""
    wide, narrow = sorted(value.terms, key=lambda t: -_width(builder, t))
    interval = builder.tensors[narrow.tensor].type
    bounds = builder.bounds(wide.tensor)
    many = max(
        len(wide.factor), len(narrow.factor), channels(value.steps), len(quantizer.step), len(bounds[0])
    )
    levels, size = len(quantizer.boundaries()), interval.hi - interval.lo + 1
    gains = signs(wide.factor)
    if many * size * levels > _MAX_TABLE or not levels:
        return None
    way = np.where(direction(value.steps) < 0, -1, 1)
    turn = np.broadcast_to(np.where(gains == 0, 1, gains * way), many)
    lo, hi = (np.broadcast_to(b, many) for b in bounds)
    low, high = np.where(turn > 0, lo, -hi), np.where(turn > 0, hi, -lo)
    grid = np.arange(interval.lo, interval.hi + 1)
    rows = np.repeat(np.arange(many), len(grid))
    step = quantizer.step if len(quantizer.step) == 1 else quantizer.step[rows]
    turned = collected([at(wide.factor, c) * int(turn[c]) for c in range(many)])
    steps = (_Plane(turned, narrow.factor, grid, many), *(s.take(rows) for s in value.steps))
    table = find(steps, replace(quantizer, step=step), low[rows], high[rows])
    reached = np.broadcast_to(table.thresholds, (len(rows), levels)).reshape(many, len(grid), levels)
    mult = np.ones((2, many), dtype=np.int64)
    alone = np.broadcast_to(signs(narrow.factor) * way, many)
    for c in range(many):
        if not at(turned, c).terms:  # the wide tensor does not matter here
            mult[:, c] = 0, alone[c]
            continue
        ratio = Fraction(float(at(narrow.factor, c)) / float(at(turned, c)))
        slope = _slope(reached[c], grid, int(low[c]), int(high[c]), ratio)
        if slope is None:
            return None
        mult[:, c] = slope.denominator * int(turn[c]), slope.numerator
    ordered = Join((wide, narrow), value.shape, value.graph_shape, value.layout)
    return _separated(builder, node, ordered, mult, reached, grid, (low, high))


def _width(builder: Builder, term: Term) -> int:
    interval = builder.tensors[term.tensor].type
    return interval.hi - interval.lo


def _slope(thresholds: IntArray, grid: IntArray, low: int, high: int, ratio: Fraction) -> Fraction | None:
    """The simplest M₂/M₁ that keeps levels apart, found outwards from the real one.

    Args:
        thresholds: (values of b, levels - 1) on the turned a.
        grid: The values of b.
        low: Lowest turned a.
        high: Highest.
        ratio: Of the real factors, nearly.
    """
    reach, miss = thresholds <= high, thresholds > low
    at_least = np.where(reach, np.maximum(thresholds, low), _FAR)
    below = np.where(miss, np.minimum(thresholds - 1, high), -_FAR)
    keep = reach.any(axis=0) & miss.any(axis=0)
    at_least, below = at_least[:, keep], below[:, keep]
    if not keep.any():
        return Fraction(0)
    ends = []
    for sign in (-1, 1):
        # the gap between what reaches a level and what does not shrinks linearly once the slope is far off
        end = ratio + sign * Fraction(2**20)
        for _ in range(_MAX_ITERATIONS):
            lowest, highest = _extremes(at_least, below, grid, end)
            gap = end * (grid[lowest] - grid[highest]).astype(object) + (
                at_least[lowest, np.arange(len(lowest))] - below[highest, np.arange(len(highest))]
            ).astype(object)
            worst = min(range(len(gap)), key=lambda k: gap[k])
            if gap[worst] >= 0:
                break
            rise = int(grid[lowest[worst]] - grid[highest[worst]])
            run = int(at_least[lowest[worst], worst] - below[highest[worst], worst])
            if not rise:
                return None
            end = Fraction(-run, rise)
        else:
            return None
        ends.append(end)
    if ends[0] >= ends[1]:
        return None
    found = simplest_between(*ends)
    return found if max(abs(found.numerator), found.denominator).bit_length() <= _MAX_BITS else None


def _extremes(
    at_least: IntArray, below: IntArray, grid: IntArray, slope: Fraction
) -> tuple[IntArray, IntArray]:
    """Of each level, which b makes the lowest sum that reaches it, and which the highest that does not."""
    along = grid.astype(np.float64) * float(slope)
    return (at_least + along[:, None]).argmin(axis=0), (below + along[:, None]).argmax(axis=0)


def simplest_between(lower: Fraction, upper: Fraction) -> Fraction:
    """The fraction with the smallest denominator, then numerator, in an open interval (Stern-Brocot tree).

    >>> simplest_between(Fraction(4, 5), Fraction(5, 6)), simplest_between(Fraction(-1), Fraction(1, 2))
    (Fraction(9, 11), Fraction(0, 1))
    """
    if lower < 0 < upper:
        return Fraction(0)
    if upper <= 0:
        return -simplest_between(-upper, -lower)
    whole = lower.numerator // lower.denominator
    if whole + 1 < upper:
        return Fraction(whole + 1)
    rest = simplest_between(1 / (upper - whole), 1 / (lower - whole)) if lower > whole else None
    if rest is not None:
        return whole + 1 / rest
    fraction = upper - whole
    return whole + Fraction(1, fraction.denominator // fraction.numerator + 1)


def _separated(
    builder: Builder,
    node: RealNode,
    value: Join,
    mult: IntArray,
    reached: IntArray,
    grid: IntArray,
    ends: tuple[IntArray, IntArray],
) -> Sum | None:
    """Build the sum and check, boundary by boundary, that its thresholds are right; None if they are not."""
    low, high = (e[:, None, None] for e in ends)
    reach_of_sum = np.abs(mult[0]) * np.maximum(np.abs(ends[0]), np.abs(ends[1])).astype(float)
    if (reach_of_sum + np.abs(mult[1]) * float(np.abs(grid).max()) > 2.0**_MAX_SUM_BITS).any():
        return None
    outer = np.abs(mult[0])[:, None, None]
    inner = (mult[1][:, None] * grid[None, :])[:, :, None]
    reach, miss = reached <= high, reached > low
    far = np.int64(2**61)
    at_least = np.where(reach, np.maximum(reached, low) * outer + inner, far).min(axis=1)
    below = np.where(miss, np.minimum(reached - 1, high) * outer + inner, -far).max(axis=1)
    if (below >= at_least).any():
        return None
    total = sum_of(builder, node, value, mult, np.ones(1))
    lo, hi = builder.bounds(total.tensor)
    thresholds = np.where(at_least == far, hi[:, None] + 1, at_least)
    below = np.where(below == -far, lo[:, None] - 1, below)
    thresholds, below = np.where(below < lo[:, None], lo[:, None], thresholds), np.minimum(below, hi[:, None])
    checks = int(reach.sum() + miss.sum())
    return Sum(replace(total, steps=()), thresholds, below, checks)
