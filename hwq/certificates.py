"""Why a float32 stage may differ from the exact integers: a proof that a rounding boundary is too near.

A float32 sum of n products followed by m further operators errs by at most ``(n + 6·m + 8)·2**-24``
times the sum of the magnitudes that were added up (Higham 2002, sec. 3.1). Where roundings are
independent, ``8·sqrt(n)`` may stand for n with a probability of failure below 1e-13 (Higham and Mary
2019, theorem 2.4); it is what is used here, since the worst case would excuse real faults in wide
layers. The magnitudes are those of the very values at hand, not of the worst case. Where all
scales are powers of two and the sums are below 2**24, products and sums err nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwq.exact import ExactArray, Surd, at
from hwq.ir import Graph, Node
from hwq.lowering.builder import Resolution
from hwq.lowering.pending import Affine, Steps, evaluate, evaluate_exact
from hwq.lowering.thresholds import NO_TIE, Quantizer
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.rounding import BoolArray, FloatArray, IntArray

_UNIT = 2.0**-24


@dataclass(frozen=True)
class Certificate:
    """One difference that float32 rounding explains: distance <= bound, both in the tensor's real unit."""

    stage: str
    tensor: str
    row: int
    index: tuple[int, ...]
    code: int
    stage_code: int
    distance: float
    bound: float


@dataclass(frozen=True)
class Judgement:
    """Whether float32 may have given another code, and why."""

    explained: bool
    distance: float
    bound: float
    why: str


@dataclass(frozen=True)
class Sum:
    """What was added up to make an integer tensor: number of terms, and magnitudes of the tensor's shape."""

    terms: int
    magnitude: FloatArray
    node: Node | None


def summed(graph: Graph, tensor: str, values: Mapping[str, IntArray]) -> Sum:
    """The product behind an integer tensor, and the sums of magnitudes at the values at hand.

    Pools, reshapes and sign changes between the two pass magnitudes on; another quantiser ends the search.
    """
    node = graph.producer(tensor)
    if node is None or (node.op in ("threshold", "requant") and not _negates(node)):
        return Sum(1, np.abs(values[tensor]).astype(np.float64), None)
    source = node.inputs[0]
    if isinstance(node.params, (Dense, Conv)):
        weight = node.params.weight
        positive = replace(node.params, weight=np.abs(weight))
        sums = OPS[node.op].run(positive, np.abs(values[source]))
        return Sum(int(np.prod(weight.shape[:-1])), sums.astype(np.float64), node)
    behind = summed(graph, source, values)
    if _negates(node):
        return behind
    moved = np.asarray(OPS[node.op].run(node.params, np.asarray(behind.magnitude)), dtype=np.float64)
    return Sum(behind.terms, moved, behind.node)


def _negates(node: Node) -> bool:
    """Whether a requantisation only changes signs."""
    params = node.params
    return node.op == "requant" and not params.shift and bool((np.abs(params.mult) == 1).all())


def error_bound(graph: Graph, tensor: str, steps: Steps, values: Mapping[str, IntArray]) -> FloatArray:
    """Largest float32 error of the steps on each value of an integer tensor, of the tensor's shape."""
    added = summed(graph, tensor, values)
    terms = 0.0 if _sums_exactly(graph, added, steps) else min(added.terms, 8 * added.terms**0.5)
    columns = _columns(added.magnitude)
    _, total = evaluate(steps, columns, columns)
    return np.asarray((terms + 6 * len(steps) + 8) * _UNIT * _restore(total, added.magnitude.shape))


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


def real_values(steps: Steps, integers: np.ndarray[Any, Any]) -> FloatArray:
    """Float64 values of the steps on an integer tensor, far nearer to the exact ones than float32's."""
    value, _ = evaluate(steps, _columns(integers))
    return _restore(np.broadcast_to(value, (integers.shape[-1], value.shape[1])), integers.shape)


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
    resolution: Resolution, bound: float, integer: float, channel: int, code: int, stage_code: int
) -> Judgement:
    """Whether float32 explains that a stage has `stage_code` where the graph has `code`.

    Args:
        resolution: The quantiser.
        bound: Largest float32 error before it, in the tensor's real unit.
        integer: The accumulator (or the float32 network input) that it reads.
        channel: Its channel.
        code: The graph's integer.
        stage_code: The stage's.
    """
    quantizer = resolution.quantizer
    real = evaluate_exact(resolution.steps, Surd.of(integer).rational(), channel)
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
    return Judgement(explained=distance <= bound, distance=distance, bound=bound, why=why)


def beyond(stage: FloatArray, exact: FloatArray, bound: FloatArray) -> BoolArray:
    """Where a float tensor is farther from the exact one than float32 explains; NaN is."""
    return np.asarray(~(np.abs(stage - exact) <= bound + np.abs(exact) * 2.0**-40))


def ties_hit(resolution: Resolution, accumulator: IntArray) -> int:
    """How many accumulators (N, ..., channels) lie exactly on a rounding boundary."""
    if resolution.table is None:
        return 0
    flat = accumulator.reshape(-1, accumulator.shape[-1])
    ties = np.where(resolution.table.ties == NO_TIE, np.iinfo(np.int64).max, resolution.table.ties)
    return sum(int((flat == ties[:, k]).sum()) for k in range(ties.shape[1]))
