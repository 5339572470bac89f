"""One row through a chain of dense layers: a dozen NumPy calls on buffers that are made once.

Small networks spend a row's time in calls, not in arithmetic. So a requantisation is one compare with all its
thresholds; their bits either are the next product's vector, against weights that are repeated, or are summed into
it; an activation's base moves into the thresholds that come after it; an input quantiser of few levels is such a
compare too; and outputs are looked up in a table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwq.ir import Graph, InputQuantizer, IntType, Port
from hwq.ops.dense import Dense
from hwq.ops.reshape import Reshape
from hwq.ops.spec import largest
from hwq.rounding import FloatArray, IntArray
from hwq.sim import encoding, ports
from hwq.sim.encoding import Encoder
from hwq.sim.engine_numpy import ONE_BLAS_THREAD
from hwq.sim.levels import Levels, levels
from hwq.sim.products import magnitude
from hwq.sim.step import ACTIVATIONS, Array, number_type

Run = Callable[[Array], FloatArray | None]
"""float32 (1, *file shape) -> float64 (1, *file shape); None where this way has no answer, and the usual has."""

_REPEATED = 2**14
"""Most weights of a product that repeats them for each threshold; others read sums of bits."""
_FLOAT32 = np.dtype(np.float32)
_COMPARED = 2**16
"""Most compares of a layer."""
_FEW = 4
"""Levels of an input quantiser that are compared."""


@dataclass(frozen=True)
class _Held:
    """What a vector x of `times` parts stands for: ``base + step · (x[:n] + x[n:2n] + …)``, x in lowest..highest."""

    base: IntArray
    step: int = 1
    lowest: int = 0
    highest: int = 1
    times: int = 1


@dataclass(frozen=True)
class _Stage:
    """``y = weight @ x``, then which of ``y >= thresholds``, then how many.

    Attributes:
        weight: (n_out, n_in) in the type of x and y; None where y = x, the float32 input.
        thresholds: (K, n_out or 1) in the type of y; None if y is what the next stage reads.
        summed: Whether it reads how many thresholds are met, rather than which.
    """

    weight: Array | None
    thresholds: Array | None
    summed: bool = False


_RUNS: WeakKeyDictionary[Graph, Run | None] = WeakKeyDictionary()


def run(graph: Graph) -> Run | None:
    """The graph compiled for one row, once; None if it is no such chain, or floats do not hold its sums."""
    if graph not in _RUNS:
        _RUNS[graph] = _compiled(graph)
    return _RUNS[graph]


def _compiled(graph: Graph) -> Run | None:
    pairs, port = _chain(graph), graph.inputs[0]
    if not pairs or port.quantizer is None:
        return None
    sizes = [dense.weight.size for dense, _ in pairs] + [_REPEATED + 1]
    first = _first(graph, port, port.quantizer, sizes[0])
    if first is None:
        return None
    encode, stage, held = first
    stages = [stage] if stage else []
    for i, (dense, table) in enumerate(pairs):
        weight = dense.weight if i else dense.weight[np.argsort(port.layout.index())]
        made = _product(weight, table, held, sizes[i + 1])
        if made is None:
            return None
        stages.append(made[0])
        held = made[1]
    decode = _decoder(graph, graph.outputs[0], held)
    return decode and _Row(port, encode, stages, decode).run


def _chain(graph: Graph) -> list[tuple[Dense, Levels | None]]:
    """Dense layers and their requantisations, of which the last may have none; empty if there is anything else."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return []
    pairs: list[tuple[Dense, Levels | None]] = []
    current, product = graph.inputs[0].tensor, ""
    for node in graph.nodes:
        if node.inputs != (current,):
            return []
        current = node.output
        if isinstance(node.params, Dense) and len(graph.tensors[current].shape) == 1 and not product:
            pairs.append((node.params, None))
            product = current
        elif node.op in ACTIVATIONS and node.inputs == (product,):
            table = levels(node, graph.tensors[product].type)
            if table is None or not 0 < table.thresholds.size <= _COMPARED:
                return []
            pairs[-1], product = (pairs[-1][0], table), ""
        elif not isinstance(node.params, Reshape):
            return []
    return pairs if current == graph.outputs[0].tensor else []


def _first(
    graph: Graph, port: Port, quantizer: InputQuantizer, size: int
) -> tuple[Encoder | None, _Stage | None, _Held] | None:
    """The input quantiser as an encoder, or as a stage of compares."""
    tensor = graph.tensors[port.tensor]
    count = 1 if quantizer.bipolar else quantizer.hi - quantizer.lo
    if 0 < count <= _FEW:
        steps = encoding.first_floats(quantizer, ports.quantize)
        if (steps.signs > 0).all():
            thresholds = steps.first
            if thresholds.shape[1] > 1:
                thresholds = thresholds[:, np.argsort(port.layout.index()) % tensor.shape[-1]]
            base, step = (-1, 2) if quantizer.bipolar else (quantizer.lo, 1)
            return None, *_compares(None, thresholds, base - quantizer.zero, step, size)
    encode = encoding.encoder(graph, port, ports.quantize)
    ends = _Held(np.array(0), 1, tensor.type.lo, tensor.type.hi)
    return (encode, None, ends) if encode else None


def _compares(
    weight: Array | None, thresholds: Array, base: int, step: int, following: int
) -> tuple[_Stage, _Held]:
    """For a next product of so many weights."""
    count = len(thresholds)
    summed = count > 1 and count * following > _REPEATED
    held = _Held(np.array(base), step, 0, *((count, 1) if summed else (1, count)))
    return _Stage(weight, thresholds, summed), held


def _product(
    weight: IntArray, table: Levels | None, held: _Held, following: int
) -> tuple[_Stage, _Held] | None:
    """A dense layer (n_in, n_out) and its requantisation; None if floats do not hold its sums."""
    matrix = np.tile(held.step * weight, (held.times, 1))
    offset = held.base * weight.sum(axis=0)
    thresholds = table.thresholds.T - offset if table else np.zeros((0, 1), np.int64)
    bound = magnitude(matrix, IntType(held.lowest, held.highest))
    number = number_type(max(bound, largest(thresholds)))
    if number is np.int64:
        return None
    typed = np.ascontiguousarray(matrix.T.astype(number))
    if table is None:
        return _Stage(typed, None), _Held(offset)
    return _compares(typed, thresholds.astype(number), table.base, table.step, following)


def _decoder(graph: Graph, port: Port, held: _Held) -> Callable[[Array], FloatArray] | None:
    """From the last vector to real outputs."""
    real, tensor = graph.meaning(port), graph.tensors[port.tensor]
    if real is None:
        return None
    table = ports.decode_table(graph, port, real)
    count = prod(tensor.shape)

    def usual(y: Array) -> FloatArray:
        codes = y.astype(np.int64) * held.step + held.base
        return ports.decode_output(graph, port, codes.reshape(1, *tensor.shape))

    in_order = (port.layout.index() == np.arange(count)).all()
    if table is None or not in_order:
        return usual
    lines = np.arange(count) * table.shape[1] if len(table) > 1 else np.zeros(count, np.int64)
    first, shape, flat = lines + held.base - tensor.type.lo, (1, *port.shape), table.reshape(-1)

    def look_up(y: Array) -> FloatArray:
        index = y.astype(np.int64)
        if held.step != 1:
            np.multiply(index, held.step, index)
        np.add(index, first, index)
        return flat[index].reshape(shape)

    return look_up


class _Row(threading.local):
    """The stages as calls on a thread's own buffers."""

    def __init__(
        self, port: Port, encode: Encoder | None, stages: list[_Stage], decode: Callable[[Array], FloatArray]
    ) -> None:
        self.shape, self.encode, self.decode = (1, *port.shape), encode, decode
        self.finite = bytearray(prod(port.shape))
        self.mask = np.frombuffer(self.finite, np.bool_)
        self.x = y = np.empty(prod(port.shape), _kind(stages[0]))
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        for stage, reader in zip(stages, [*stages[1:], stages[-1]], strict=True):
            y = self._add(stage, y, _kind(reader))
        self.y = y

    def _add(self, stage: _Stage, x: Array, kind: np.dtype[Any]) -> Array:
        """The calls of a stage that reads x; what they give to the next one, in the number type that this reads."""
        y = x
        if stage.weight is not None:
            y = np.empty(len(stage.weight), _kind(stage))
            self.calls.append((stage.weight.dot, (x, y)))
        if stage.thresholds is None:
            return y
        bits = np.empty((len(stage.thresholds), y.size), kind)
        self.calls.append((np.greater_equal, (y, stage.thresholds, bits)))
        if not stage.summed:
            return bits.reshape(-1)
        sums = np.empty(y.size, kind)
        if len(bits) == 2:
            self.calls.append((np.add, (bits[0], bits[1], sums)))
        else:
            self.calls.append((np.ones(len(bits), kind).dot, (bits, sums)))
        return sums

    def run(self, x: Array) -> FloatArray | None:
        """Of what is not float32, of this shape, and finite, nothing."""
        if x.shape != self.shape or x.dtype != _FLOAT32:
            return None
        given = x.reshape(-1)
        np.isfinite(given, self.mask)
        if 0 in self.finite:
            return None
        with ONE_BLAS_THREAD:
            np.copyto(self.x, self.encode(given) if self.encode else given, casting="unsafe")
            for call, arguments in self.calls:
                call(*arguments)
        return self.decode(self.y)


def _kind(stage: _Stage) -> np.dtype[Any]:
    """Of what it reads."""
    return _FLOAT32 if stage.weight is None else stage.weight.dtype
