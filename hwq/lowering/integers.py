"""Pending tensors written out as integers times an exact unit: for operators that need plain integers.

All numbers of a file are dyadic or roots, so an affine function of integers usually is an integer
function times a common unit. Where it is none, or needs too many bits, the cure is a quantiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from math import gcd, lcm, prod
from typing import Any

import numpy as np

from hwq.computable import Computable
from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd, at, exact_array, multiply, simplest
from hwq.lowering.builder import Builder
from hwq.lowering.layouts import Placed, as_is, channels_last
from hwq.lowering.pending import (
    MIXED,
    Clip,
    Relu,
    Steps,
    channels,
    compose,
    direction,
    evaluate_exact,
    scale_by,
    shift_by,
)
from hwq.lowering.real import RealNode
from hwq.lowering.values import (
    Constant,
    Flow,
    Join,
    Pending,
    QuantizedConstant,
    Raw,
    Term,
    Value,
    per_channel,
)
from hwq.ops.add import Add
from hwq.ops.lut import Lut
from hwq.ops.requant import Requant
from hwq.rounding import IntArray

QUANTIZE_CURE = "put a quantiser (QuantIdentity, QuantReLU) before it"
GRID_CURE = "state the grid of the input, for example --input-type fixed<16,6>, or " + QUANTIZE_CURE
MAX_BITS = 48
"""Of an integer that stands for an unquantised real number."""
MAX_POINTS = 2**16
"""Elements of a tensor that may each have a constant of its own."""
_MAX_TABLE = 2**14


def collected(numbers: list[Surd]) -> ExactArray:
    """Exact numbers a channel in their simplest form; one element if all are equal."""
    return simplest(exact_array(numbers))


def common_unit(numbers: Sequence[Surd]) -> tuple[Surd, list[int]] | None:
    """The largest positive number of which all are integer multiples, and the multiples; None if there is none.

    >>> common_unit([Surd(Fraction(1, 2)), Surd(Fraction(-3, 4)), Surd(0)])
    (1/4, [2, -3, 0])
    """
    base = next((n for n in numbers if n.terms), None)
    if base is None:
        return Surd(1), [0] * len(numbers)
    base = base if base.sign() > 0 else -base
    ratios = [_ratio(n, base) for n in numbers]
    known = [r for r in ratios if r is not None]
    if len(known) < len(ratios):
        return None
    whole = reduce(lcm, (r.denominator for r in known), 1)
    step = reduce(gcd, (int(r * whole) for r in known), 0)
    return base * Fraction(step, whole), [int(r * whole) // step for r in known]


def _ratio(a: Surd, b: Surd) -> Fraction | None:
    """``a / b`` if it is rational; b is not zero."""
    if not a.terms:
        return Fraction(0)
    (n, c), (m, d) = a.terms[0], b.terms[0]
    guess = Surd(terms=((n, c),)) * Surd(terms=((m, d),)).inverse()
    return guess.rational() if guess.is_rational and b * guess.rational() == a else None


def computed(node: RealNode, value: Value | None) -> Flow:
    """A computed operand."""
    if not isinstance(value, (Raw, Pending, Join)):
        cure = "fold constants before the export, and quantise those that meet computed tensors"
        raise UnsupportedModel(node.name, node.op, "reads a constant where it takes a computed tensor", cure)
    return value


def constant(node: RealNode, value: Value | None, what: str) -> np.ndarray[Any, Any]:
    """A constant operand."""
    if not isinstance(value, (Constant, QuantizedConstant)):
        raise UnsupportedModel(
            node.name, node.op, f"its {what} is computed", f"export with a constant {what}"
        )
    return value.exact() if isinstance(value, QuantizedConstant) else value.values


def single(builder: Builder, node: RealNode, value: Value | None) -> Pending:
    """Steps on one integer tensor; a sum is written out.

    Raises:
        UnsupportedModel: A constant, an unquantised input, or a sum without a common unit.
    """
    flow = computed(node, value)
    if isinstance(flow, Raw):
        raise UnsupportedModel(
            node.name, node.op, f"reads the unquantised network input '{flow.port}'", GRID_CURE
        )
    return flow if isinstance(flow, Pending) else _summed(builder, node, flow)


def _summed(builder: Builder, node: RealNode, value: Join) -> Pending:
    many = max(len(t.factor) for t in value.terms)
    units, mult = [], np.zeros((len(value.terms), many), dtype=np.int64)
    for c in range(many):
        found = common_unit([at(t.factor, c) for t in value.terms])
        if found is None or max(abs(m) for m in found[1]).bit_length() > MAX_BITS:
            reason = "reads a sum of tensors whose scales have no common unit of reasonable size"
            cure = "quantise the operands of the addition, or the sum: QuantEltwiseAdd does both"
            raise UnsupportedModel(node.name, node.op, reason, cure)
        units.append(found[0])
        mult[:, c] = found[1]
    return sum_of(builder, node, value, mult, collected(units))


def sum_of(builder: Builder, node: RealNode, value: Join, mult: IntArray, unit: ExactArray) -> Pending:
    """The sum with integer multipliers (terms, channels or 1); `unit` is what one of its integers is worth."""
    mult = mult[:, :1] if (mult == mult[:, :1]).all() else mult
    params = Add(mult, np.zeros(1, dtype=np.int64))
    tensor = builder.add("add", f"{node.name}.sum", tuple(t.tensor for t in value.terms), params)
    steps = (scale_by(unit), *value.steps)
    return Pending(tensor, value.shape, value.graph_shape, value.layout, steps)


def linear(builder: Builder, node: RealNode, value: Value | None) -> tuple[Pending, ExactArray, ExactArray]:
    """Affine steps on one integer tensor, and their scale and offset; a function of few integers becomes a table.

    Raises:
        UnsupportedModel: A non-linear function that has no exact integers.
    """
    pending = single(builder, node, value)
    affine = compose(pending.steps)
    if affine is None:
        pending = _tabled(builder, node, pending) or _rectified(builder, node, pending)
        affine = compose(pending.steps)
    if affine is None:
        return linear(builder, node, pending)
    return pending, *affine


def _tabled(builder: Builder, node: RealNode, value: Pending) -> Pending | None:
    """All values of a function with few arguments, if they are integer multiples of a unit."""
    lo, hi = builder.bounds(value.tensor)
    many = max(channels(value.steps), len(lo))
    lo, hi = np.broadcast_to(lo, many), np.broadcast_to(hi, many)
    size = int((hi - lo).max()) + 1
    if size * many > _MAX_TABLE:
        return None
    values = np.zeros((many, size), dtype=np.int64)
    units = []
    for c in range(many):
        exact = [
            evaluate_exact(value.steps, min(a, int(hi[c])), c) for a in range(int(lo[c]), int(lo[c]) + size)
        ]
        found = None if any(isinstance(v, Computable) for v in exact) else common_unit(exact)
        if found is None or max(abs(m) for m in found[1]).bit_length() > MAX_BITS:
            return None
        units.append(found[0])
        values[c] = found[1]
    breaks = lo[:, None] + np.arange(1, size)
    tensor = builder.add("lut", f"{node.name}.table", (value.tensor,), Lut(breaks, values))
    return replace(value, tensor=tensor, steps=(scale_by(collected(units)),), exclusive=False)


def _rectified(builder: Builder, node: RealNode, value: Pending) -> Pending:
    """The first non-linear step as a saturation of integers, if it is one."""
    first = next(i for i in range(len(value.steps)) if compose(value.steps[: i + 1]) is None)
    step, rest = value.steps[first], value.steps[first + 1 :]
    limits: tuple[Surd | None, Surd | None] | None = None
    if isinstance(step, Relu):
        limits = Surd(), None
    elif isinstance(step, Clip):
        limits = step.lo, step.hi
    if limits is None:
        raise UnsupportedModel(
            node.name, node.op, "its input passes a non-linear operator unquantised", QUANTIZE_CURE
        )
    before = replace(value, steps=value.steps[:first])
    ends = [e for e in limits if e is not None]
    whole = rescaled(builder, node, before, one_unit=bool(any(e.terms for e in ends)), multiples=ends)
    unit = at(compose(whole.steps)[0], 0)  # type: ignore[index]
    interval = builder.tensors[whole.tensor].type
    lo, hi = (
        default if end is None else int(_ratio(end, unit) or 0)
        for end, default in zip(limits, (interval.lo, interval.hi), strict=True)
    )
    one = np.ones(1, dtype=np.int64)
    params = Requant(one, np.zeros(1, dtype=np.int64), 0, half_even=False, lo=min(lo, hi), hi=hi)
    tensor = builder.add("requant", f"{node.name}.clip", (whole.tensor,), params)
    return replace(whole, tensor=tensor, steps=(*whole.steps, *rest), exclusive=False)


def rescaled(
    builder: Builder,
    node: RealNode,
    value: Value | None,
    *,
    one_unit: bool,
    multiples: Sequence[Surd] = (),
    max_bits: int = MAX_BITS,
) -> Pending:
    """Integers times a unit and no offset, so that real zero is integer zero.

    Args:
        builder: Gets a node if the integers change.
        node: For errors.
        value: A computed tensor.
        one_unit: The same for all channels.
        multiples: Numbers that must be multiples of the unit too.
        max_bits: Of the integers.
    """
    pending, scale, offset = linear(builder, node, value)
    many = max(len(scale), len(offset))
    pairs = [[at(scale, c), at(offset, c)] for c in range(many)]
    groups = [[n for pair in pairs for n in pair]] if one_unit else pairs
    found = [common_unit([*numbers, *multiples]) for numbers in groups]
    if any(f is None or max(map(abs, f[1])).bit_length() > max_bits for f in found):
        reason = "its input is no integer multiple of one unit of reasonable size"
        raise UnsupportedModel(node.name, node.op, reason, QUANTIZE_CURE)
    units = collected([f[0] for f in found if f])
    flat = [m for f, numbers in zip(found, groups, strict=True) if f for m in f[1][: len(numbers)]]
    mult, add = (np.array(flat[i::2], dtype=np.int64) for i in (0, 1))
    if (mult == 1).all() and not add.any():
        return replace(pending, steps=(scale_by(units),))
    interval = builder.tensors[pending.tensor].type
    limit = max(abs(interval.lo), abs(interval.hi)) * int(np.abs(mult).max()) + int(np.abs(add).max())
    if limit.bit_length() > max_bits:
        reason = f"its input needs integers of {limit.bit_length()} bits to be exact"
        raise UnsupportedModel(node.name, node.op, reason, QUANTIZE_CURE)
    params = Requant(mult, add, 0, half_even=False, lo=-limit, hi=limit)
    tensor = builder.add("requant", f"{node.name}.rescale", (pending.tensor,), params)
    return replace(pending, tensor=tensor, steps=(scale_by(units),), exclusive=False)


def aligned(builder: Builder, node: RealNode, values: Sequence[Pending]) -> list[Pending]:
    """Affine tensors as integers of one unit, each without offset."""
    whole = [rescaled(builder, node, v, one_unit=True) for v in values]
    units = [at(compose(v.steps)[0], 0) for v in whole]  # type: ignore[index]
    found = common_unit(units)
    if found is None or max(found[1]).bit_length() > MAX_BITS:
        reason = "the scales of its operands have no common unit of reasonable size"
        raise UnsupportedModel(node.name, node.op, reason, "quantise its operands with one shared quantiser")
    return [
        v if m == 1 else _multiplied(builder, node, v, m, found[0])
        for v, m in zip(whole, found[1], strict=True)
    ]


def _multiplied(builder: Builder, node: RealNode, value: Pending, mult: int, unit: Surd) -> Pending:
    interval = builder.tensors[value.tensor].type
    limit = max(abs(interval.lo), abs(interval.hi)) * mult
    params = Requant(np.array([mult]), np.zeros(1, dtype=np.int64), 0, half_even=False, lo=-limit, hi=limit)
    tensor = builder.add("requant", f"{node.name}.rescale", (value.tensor,), params)
    return replace(value, tensor=tensor, steps=(scale_by(collected([unit])),), exclusive=False)


def monotone(builder: Builder, node: RealNode, value: Value | None) -> Pending:
    """Steps on one integer tensor that fall on no channel."""
    pending = single(builder, node, value)
    if (direction(pending.steps) == MIXED).any():
        pending, _, _ = linear(builder, node, pending)
    return builder.rise(pending, node.name)


def placed(builder: Builder, node: RealNode, value: Value | None, where: Placed) -> Pending:
    """One integer tensor in a given shape and layout; scales of channels that no longer lie last become one."""
    pending = single(builder, node, value)
    moved = builder.arrange(pending, where, node.name)
    if moved is not None:
        return moved
    moved = builder.arrange(rescaled(builder, node, pending, one_unit=True), where, node.name)
    if moved is None:
        raise AssertionError("a tensor of one scale can be laid out in any way")
    return moved


def fitted(
    builder: Builder, node: RealNode, numbers: np.ndarray[Any, Any], value: Flow, what: str = "constant"
) -> tuple[Flow, ExactArray]:
    """The tensor laid out so that a constant beside it is one element or one a channel; and that constant.

    Raises:
        UnsupportedModel: It does not broadcast, or differs in too many places.
    """
    array = per_channel(numbers, value)
    if array is not None:
        return value, array
    size = prod(value.shape)
    if isinstance(value, Join):
        value = single(builder, node, value)
    flow: Raw | Pending = value
    flat: Placed = (size,), flow.layout
    for where in (channels_last(flow.shape), as_is(flow.shape), flat):
        if where != flat or size <= MAX_POINTS:
            trial = replace(flow, graph_shape=where[0], layout=where[1], steps=())
            array = per_channel(numbers, trial)
            moved = builder.arrange(flow, where, node.name) if array is not None else None
            if array is not None and moved is not None:
                return moved, array
    reason = f"its {what} of shape {numbers.shape} does not broadcast to {value.shape}, or differs in too many places"
    raise UnsupportedModel(node.name, node.op, reason, f"use one {what} a tensor or a channel")


def as_join(builder: Builder, node: RealNode, value: Value | None) -> tuple[Join, ExactArray]:
    """An affine tensor as a sum of scaled integer tensors without steps, and its offset."""
    flow = computed(node, value)
    if isinstance(flow, Join) and (affine := compose(flow.steps)):
        gain, offset = affine
        terms = tuple(Term(t.tensor, multiply(t.factor, gain)) for t in flow.terms)
        return replace(flow, terms=terms, steps=()), offset
    pending, scale, offset = linear(builder, node, flow)
    return Join((Term(pending.tensor, scale),), pending.shape, *pending.placed), offset


def shifted(steps: Steps, offset: ExactArray) -> Steps:
    """The steps after an offset, which is left out where it is zero."""
    return steps if all(not Surd.of(v).terms for v in offset.tolist()) else (shift_by(offset), *steps)
