"""Why a float32 stage may differ from the exact integers: a proof that a rounding boundary is too near.

A float32 sum of n products followed by m further operators errs by at most ``(n + 6·m + 8)·2**-24``
times the sum of the magnitudes that were added up (Higham 2002, sec. 3.1). Where roundings are
independent, ``8·sqrt(n)`` may stand for n with a probability of failure below 1e-13 (Higham and Mary
2019, theorem 2.4); it is what is used here, since the worst case would excuse real faults in wide
layers. The magnitudes are those of the very values at hand, not of the worst case. Where all
scales are powers of two and the sums are below 2**24, products and sums err nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwq.exact import ExactArray, Surd, at, nearest
from hwq.ir import Graph, Node, Tensor
from hwq.lowering.builder import Resolution
from hwq.lowering.pending import Affine, Steps, evaluate, evaluate_exact
from hwq.lowering.thresholds import NO_TIE, Quantizer
from hwq.lowering.values import Term
from hwq.ops import OPS
from hwq.ops.add import Add
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.global_sum import GlobalSum
from hwq.ops.matmul import MatMul
from hwq.ops.mul import Mul
from hwq.ops.pad import Pad
from hwq.ops.requant import Requant
from hwq.ops.sum_pool import SumPool
from hwq.rounding import BoolArray, FloatArray, IntArray

_UNIT = 2.0**-24


@dataclass(frozen=True)
class Certificate:
    """One difference that float32 rounding explains: distance <= bound, both in the tensor's real unit.

    `real` is the exact value that enters the quantiser; empty for an argmax.
    """

    stage: str
    tensor: str
    row: int
    index: tuple[int, ...]
    code: int
    stage_code: int
    distance: float
    bound: float
    real: str = ""


@dataclass(frozen=True)
class Judgement:
    """Whether float32 may have given another code, and why."""

    explained: bool
    distance: float
    bound: float
    why: str
    real: str = ""


@dataclass(frozen=True)
class Sum:
    """What was added up to make an integer tensor: number of roundings, and magnitudes of the tensor's shape.

    `node` is the product behind it, if nothing else was computed since.
    """

    terms: int
    magnitude: FloatArray
    node: Node | None


def summed(graph: Graph, tensor: str, values: Mapping[str, IntArray]) -> Sum:
    """The sums of magnitudes at the values at hand, back to tensors that are quantised in the file."""
    node = graph.producer(tensor)
    if node is None or graph.tensors[tensor].source is not None or node.op in ("threshold", "lut", "argmax"):
        return Sum(1, np.abs(values[tensor]).astype(np.float64), None)
    behind = [summed(graph, t, values) for t in node.inputs]
    magnitudes = [b.magnitude for b in behind]
    positive, count = _positive(node, graph.tensors[node.inputs[0]])
    if positive is None:
        return Sum(1, np.abs(values[tensor]).astype(np.float64), None)
    op = "add" if isinstance(positive, Add) else node.op
    moved = np.asarray(OPS[op].run(positive, *magnitudes), dtype=np.float64)
    same = count == 0 and len(behind) == 1
    node_behind = node if node.op in ("dense", "conv") else behind[0].node if same else None
    return Sum(count + max(b.terms for b in behind), moved, node_behind)


def _positive(node: Node, x: Tensor) -> tuple[Any, int]:
    """Parameters with which a node adds up magnitudes, and how many roundings float32 adds; None for a quantiser."""
    params, roundings = node.params, 0
    match node.params:
        case Dense(weight=weight) | Conv(weight=weight):
            params, roundings = replace(params, weight=np.abs(weight)), int(np.prod(weight.shape[:-1]))
        case Add(mult=mult, add=add):
            params, roundings = Add(np.abs(mult), np.abs(add)), 2 * len(mult)
        case Requant(shift=0, mult=mult, add=add):
            params, roundings = Add(np.abs(mult)[None], np.abs(add)), 2 * bool(add.any())
        case Requant():
            params = None
        case Pad(value=value):
            params = replace(params, value=abs(value))
        case SumPool(kernel=kernel):
            roundings = int(np.prod(kernel))
        case GlobalSum(axes=axes):
            roundings = int(np.prod([x.shape[a] for a in axes]))
        case MatMul():
            roundings = x.shape[-1]
        case Mul():
            roundings = 1
    return params, roundings


def error_bound(
    graph: Graph, terms: Sequence[Term], steps: Steps, values: Mapping[str, IntArray]
) -> FloatArray:
    """Largest float32 error of the steps on a sum of integer tensors, of that sum's shape."""
    added = [summed(graph, t.tensor, values) for t in terms]
    exact = len(added) == 1 and _sums_exactly(graph, added[0], steps)
    count = 0.0 if exact else max(min(a.terms, 8 * a.terms**0.5) for a in added)
    factors = [np.abs(nearest(t.factor)) for t in terms]
    magnitude = sum((a.magnitude * f for a, f in zip(added, factors, strict=True)), np.zeros(1))
    total = np.asarray(magnitude, dtype=np.float64)
    real = _columns(np.broadcast_to(_weighted(terms, values), total.shape))
    _, bound = evaluate(steps, real, _columns(total))
    bound = np.broadcast_to(bound, real.shape)
    return np.asarray((count + 6 * (len(steps) + len(terms)) + 8) * _UNIT * _restore(bound, total.shape))


def _weighted(terms: Sequence[Term], values: Mapping[str, IntArray]) -> FloatArray:
    """``Σ factor·q`` in float64."""
    parts = [values[t.tensor].astype(np.float64) * nearest(t.factor) for t in terms]
    return np.asarray(sum(parts[1:], parts[0]))


def _sums_exactly(graph: Graph, added: Sum, steps: Steps) -> bool:
    """Whether both operands of the product have power-of-two scales and its sums stay below 2**24."""
    first = steps[0] if steps else None
    if added.node is None or not isinstance(first, Affine) or float(added.magnitude.max(initial=0)) >= 2**24:
        return False
    real = graph.tensors[added.node.inputs[0]].real
    return real is not None and _powers_of_two(real.scale) and _powers_of_two(first.factor)


def _powers_of_two(values: ExactArray) -> bool:
    return values.dtype != object and bool((np.abs(np.frexp(values)[0]) == 0.5).all())


def _columns(values: np.ndarray[Any, Any]) -> FloatArray:
    """(..., channels) as (channels, points), as steps take it."""
    columns: FloatArray = np.asarray(values, dtype=np.float64).reshape(-1, values.shape[-1]).T
    return columns


def _restore(columns: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    restored: FloatArray = np.ascontiguousarray(columns.T).reshape(shape)
    return restored


def real_values(steps: Steps, reals: np.ndarray[Any, Any]) -> FloatArray:
    """Float64 values of the steps, far nearer to the exact ones than float32's; channels are the last axis."""
    value, _ = evaluate(steps, _columns(reals))
    return _restore(np.broadcast_to(value, (reals.shape[-1], value.shape[1])), reals.shape)


def entering(resolution: Resolution, values: Mapping[str, IntArray]) -> FloatArray:
    """The real numbers that a quantiser reads, in float64."""
    return real_values(resolution.steps, _weighted(resolution.terms, values))


def exact_entering(resolution: Resolution, values: Mapping[str, IntArray], at_index: tuple[int, ...]) -> Surd:
    """The exact real number that a quantiser reads at one place (row, ..., channel)."""
    total = Surd()
    for term in resolution.terms:
        q = values[term.tensor]
        place = tuple(
            i if size > 1 or axis == 0 else 0
            for axis, (i, size) in enumerate(zip(at_index, q.shape, strict=True))
        )
        total = total + at(term.factor, at_index[-1]) * int(q[place])
    return evaluate_exact(resolution.steps, total, at_index[-1])


def exact_code(quantizer: Quantizer, real: Surd, channel: int) -> int:
    """The code of an exact real value, its zero point subtracted."""
    step = at(quantizer.step, channel)
    level, edges = 0, quantizer.boundaries()
    high = len(edges)
    while level < high:
        middle = (level + high + 1) // 2
        edge, inclusive = edges[middle - 1]
        sign = (real - step * edge).sign()
        level, high = (middle, high) if sign > 0 or (sign == 0 and inclusive) else (level, middle - 1)
    return quantizer.base + quantizer.stride * level


def judge(
    resolution: Resolution, bound: float, real: Surd, channel: int, code: int, stage_code: int
) -> Judgement:
    """Whether float32 explains that a stage has `stage_code` where the graph has `code`.

    Args:
        resolution: The quantiser.
        bound: Largest float32 error before it, in the tensor's real unit.
        real: The exact number that it reads.
        channel: Its channel.
        code: The graph's integer.
        stage_code: The stage's.
    """
    quantizer = resolution.quantizer
    right = exact_code(quantizer, real, channel)
    if right != code:
        return Judgement(explained=False, distance=0.0, bound=bound, why=f"the exact code is {right}")
    edges = quantizer.boundaries()
    low, high = sorted((v - quantizer.base) // quantizer.stride for v in (code, stage_code))
    if low < 0 or high > len(edges) or (stage_code - quantizer.base) % quantizer.stride:
        return Judgement(explained=False, distance=0.0, bound=bound, why="the quantiser has no such code")
    step = at(quantizer.step, channel)
    distance = max(abs(float(real - step * edge)) for edge, _ in edges[low:high])
    why = f"the exact value is {distance:.3g} from the boundary, float32 explains at most {bound:.3g}"
    return Judgement(explained=distance <= bound, distance=distance, bound=bound, why=why, real=str(real))


def beyond(stage: FloatArray, exact: FloatArray, bound: FloatArray) -> BoolArray:
    """Where a float tensor is farther from the exact one than float32 explains; NaN is."""
    return np.asarray(~(np.abs(stage - exact) <= bound + np.abs(exact) * 2.0**-40))


def ties_hit(resolution: Resolution, values: Mapping[str, IntArray]) -> int:
    """How many of a quantiser's inputs lie exactly on a rounding boundary."""
    if resolution.table is None:
        return _ties_of_sum(resolution, values) if resolution.terms else 0
    accumulator = values[resolution.terms[0].tensor]
    flat = accumulator.reshape(-1, accumulator.shape[-1])
    ties = np.where(resolution.table.ties == NO_TIE, np.iinfo(np.int64).max, resolution.table.ties)
    return sum(int((flat == ties[:, k]).sum()) for k in range(ties.shape[1]))


def _ties_of_sum(resolution: Resolution, values: Mapping[str, IntArray]) -> int:
    """By the exact value wherever the approximate one is near a boundary."""
    quantizer = resolution.quantizer
    quotient = entering(resolution, values) / nearest(quantizer.step)
    edges = np.array([float(edge) for edge, _ in quantizer.boundaries()])
    if not len(edges):
        return 0
    place = np.clip(np.searchsorted(edges, quotient), 1, len(edges)) - 1
    near = np.minimum(
        np.abs(quotient - edges[place]), np.abs(quotient - edges[np.minimum(place + 1, len(edges) - 1)])
    )
    count, known = 0, {}
    for index in np.argwhere(near <= 1e-9 * (1 + np.abs(quotient))):
        where = tuple(int(i) for i in index)
        key = (
            where[-1],
            *(int(np.broadcast_to(values[t.tensor], quotient.shape)[where]) for t in resolution.terms),
        )
        if key not in known:
            real = exact_entering(resolution, values, where)
            step = at(quantizer.step, where[-1])
            known[key] = any((real - step * edge).sign() == 0 for edge, _ in quantizer.boundaries())
        count += known[key]
    return count
