"""Sums of differently scaled integer tensors, as in residual connections, made integer for the quantiser behind them.

Equal scales, or scales with a small common unit, add as integers at once. Otherwise the sum
``S = M₁·a + M₂·b`` needs only be fine enough for the quantiser: for every value of the narrow tensor b
the exact thresholds of the wide tensor a are found, and M₂/M₁ must lie in the open interval of
slopes that keeps all sums below a level apart from all sums at or above it. The simplest fraction of
that interval has the smallest multipliers that exist. This enumeration is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, at
from hwq.exact import add as plus
from hwq.lowering.branches import Combine
from hwq.lowering.builder import Builder
from hwq.lowering.integers import as_join, collected, common_unit, placed, shifted, single, sum_of
from hwq.lowering.layouts import channels_last
from hwq.lowering.pending import MIXED, Affine, Steps, channels, compose, direction, scale_by
from hwq.lowering.real import RealNode
from hwq.lowering.thresholds import Quantizer, find
from hwq.lowering.values import Flow, Join, Pending, Raw, Term
from hwq.rounding import BoolArray, IntArray

_SMALL_BITS = 4
"""Multipliers of a common unit that are not worth a search."""
_MAX_TABLE = 2**23
_MAX_PAIRS = 2**27
_MAX_BITS = 24
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
    if _has_small_unit(value) or (direction(value.steps) == MIXED).any():
        return single(builder, node, value)
    return _search(builder, node, value, quantizer) or single(builder, node, value)


def _has_small_unit(value: Join) -> bool:
    for c in range(max(len(t.factor) for t in value.terms)):
        found = common_unit([at(t.factor, c) for t in value.terms])
        if found is None or max(map(abs, found[1])).bit_length() > _SMALL_BITS:
            return False
    return True


def _search(builder: Builder, node: RealNode, value: Join, quantizer: Quantizer) -> Sum | None:
    """The simplest multipliers that keep all levels apart."""
    if len(value.terms) != 2:
        return None
    wide, narrow = sorted(value.terms, key=lambda t: -_width(builder, t))
    grid = np.arange(builder.tensors[narrow.tensor].type.lo, builder.tensors[narrow.tensor].type.hi + 1)
    bounds = builder.bounds(wide.tensor)
    many = max(
        len(wide.factor), len(narrow.factor), channels(value.steps), len(quantizer.step), len(bounds[0])
    )
    levels = len(quantizer.boundaries())
    if many * len(grid) * levels > _MAX_TABLE or many * len(grid) ** 2 * levels > _MAX_PAIRS:
        return None
    signs = np.broadcast_to(direction(value.steps), many)
    gains = [at(wide.factor, c) * int(signs[c] or 1) for c in range(many)]
    if any(not g.terms for g in gains):
        return None
    turn = np.array([g.sign() for g in gains], dtype=np.int64)
    lo, hi = (np.broadcast_to(b, many) for b in bounds)
    low, high = np.where(turn > 0, lo, -hi), np.where(turn > 0, hi, -lo)
    rows = np.repeat(np.arange(many), len(grid))
    step = quantizer.step if len(quantizer.step) == 1 else quantizer.step[rows]
    first = Affine(_rows(wide.factor, turn, rows), _offsets(narrow.factor, grid, many))
    steps = (first, *(s.take(rows) for s in value.steps))
    table = find(steps, replace(quantizer, step=step), low[rows], high[rows])
    reached = np.broadcast_to(table.thresholds, (len(rows), levels)).reshape(many, len(grid), levels)
    slopes = [
        s for c in range(many) if (s := _slope(reached[c], grid, int(low[c]), int(high[c]))) is not None
    ]
    if (
        len(slopes) < many
        or max(max(abs(s.numerator), s.denominator) for s in slopes).bit_length() > _MAX_BITS
    ):
        return None
    mult = np.array([[s.denominator for s in slopes], [s.numerator for s in slopes]], dtype=np.int64)
    mult[0] *= turn
    ordered = Join((wide, narrow), value.shape, value.graph_shape, value.layout)
    return _separated(builder, node, ordered, mult, reached, grid, (low, high))


def _width(builder: Builder, term: Term) -> int:
    interval = builder.tensors[term.tensor].type
    return interval.hi - interval.lo


def _rows(factor: ExactArray, turn: IntArray, rows: IntArray) -> ExactArray:
    turned = collected([at(factor, c) * int(t) for c, t in enumerate(turn)])
    return turned if len(turned) == 1 else turned[rows]


def _offsets(factor: ExactArray, grid: IntArray, many: int) -> ExactArray:
    return collected([at(factor, c) * int(b) for c in range(many) for b in grid])


def _slope(thresholds: IntArray, grid: IntArray, low: int, high: int) -> Fraction | None:
    """The simplest M₂/M₁ that keeps levels apart; thresholds are (values of b, levels - 1) on the turned a."""
    reach, miss = thresholds <= high, thresholds > low
    at_least = np.maximum(thresholds, low)
    below = np.minimum(thresholds - 1, high)
    lower, upper = Fraction(-(2**40)), Fraction(2**40)
    for distance in range(1, len(grid)):
        # b + distance reaches the level, b does not: M₁·(at_least - below) + M₂·distance > 0
        rising = _worst(below[:-distance] - at_least[distance:], miss[:-distance] & reach[distance:])
        falling = _worst(below[distance:] - at_least[:-distance], miss[distance:] & reach[:-distance])
        if rising is not None:
            lower = max(lower, Fraction(rising, distance))
        if falling is not None:
            upper = min(upper, Fraction(-falling, distance))
    return simplest_between(lower, upper) if lower < upper else None


def _worst(values: IntArray, where: BoolArray) -> int | None:
    return int(values[where].max()) if where.any() else None


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
