"""One row through a chain of dense layers, against the reference and exact decoding."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from hwq import sim
from hwq.errors import InputError
from hwq.exact import Surd, exact_array
from hwq.ir import Graph, InputQuantizer, IntType, Layout, Port, Real, Tensor
from hwq.ops import OPS
from hwq.ops.dense import Dense
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold
from hwq.rounding import Rounding
from hwq.sim import ports, rows
from tests.sim.test_engines import chain, requantiser
from tests.sim.test_ports import numbers

SHAPE = (5, 2, 3)
"""Of the file; the graph has its channels last."""
LAYOUT = Layout((5, 6), (1, 0))
SEEDS = 60


def quantizer(rng: np.random.Generator) -> InputQuantizer:
    lo, hi = [(-1, 1), (0, 1), (0, 3), (-2, 1), (-8, 7)][rng.integers(5)]
    step, zero = np.array([0.25]), int(rng.integers(lo, hi + 1)) * int(rng.integers(2))
    if rng.integers(4) == 0:
        return InputQuantizer(
            np.array([1.0]), np.array([0.0]), step, 0, -1, 1, Rounding.HALF_EVEN, bipolar=True
        )
    scale = rng.choice([0.5, 1.0, 1.5], int(rng.choice([1, 5 if hi < 7 else 1])))
    return InputQuantizer(scale, np.array([0.125]), step, zero, lo, hi, list(Rounding)[rng.integers(7)])


@cache
def network(seed: int) -> Graph:
    """Dense layers behind a quantised image, with requantisations of all sizes."""
    rng = np.random.default_rng(seed)
    q = quantizer(rng)
    interval = IntType(-1, 1) if q.bipolar else IntType(q.lo - q.zero, q.hi - q.zero)
    size, last = 30, int(rng.integers(1, 5))
    layers: list[object] = [Reshape((size,))]
    tensor = Tensor("x", (size,), interval)
    for i in range(last):
        outputs = int(rng.choice([1, 7, 120, 300]))
        dense = Dense(rng.integers(-3, 4, (size, outputs)))
        made = Tensor("y", *OPS["dense"].infer(dense, tensor))
        layers.append(dense)
        if i + 1 < last or rng.integers(3) == 0:
            act = requantiser(rng, made.type, outputs, int(rng.choice([1, 2, 3, 15, 40])))
            if rng.integers(3) == 0 and isinstance(act, Threshold):
                act = replace(act, step=-2 if rng.integers(2) else 3)
            layers.append(act)
            made = Tensor("z", *OPS[{Threshold: "threshold"}.get(type(act), "requant")].infer(act, made))
        tensor, size = made, outputs
    graph = chain((6, 5), interval, *layers)
    scale = numbers(rng, (-1, 1)) if size == 3 else np.array([rng.random() + 0.1])
    if rng.integers(3) == 0:
        scale = exact_array([Surd.sqrt(Fraction(int(rng.integers(2, 50)), 64))])
    real = Real(scale, np.array([rng.choice([0.0, 0.75])]))
    given = Port("t0", "x", SHAPE, LAYOUT, q)
    return replace(graph, inputs=(given,), outputs=(replace(graph.outputs[0], real=real),))


def inputs(graph: Graph, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """On steps of the quantiser, beside them, and at the ends of float32."""
    q = graph.inputs[0].quantizer
    assert q is not None
    x = (rng.integers(4 * q.lo - 4, 4 * q.hi + 5, (24, *SHAPE)) / 16).astype(np.float32)
    x[6:12] = np.nextafter(x[6:12], np.float32(rng.choice([-np.inf, np.inf])))
    x[12:14] = np.array([-3.0e38, 3.0e38], dtype=np.float32).reshape(2, 1, 1, 1)
    x[14:16] = np.array([-0.0, 1e-45], dtype=np.float32).reshape(2, 1, 1, 1)
    return x


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_row_equals_the_reference(seed: int) -> None:
    graph = network(seed)
    x = inputs(graph, np.random.default_rng(seed))
    (port,) = graph.outputs
    codes = sim.run(graph, sim.encode(graph, x), sim.Engine.REFERENCE)[port.tensor]
    expected = ports.decode_output(graph, port, codes)
    for i, row in enumerate(x):
        made = sim.simulate(graph, row[None])
        assert isinstance(made, np.ndarray)
        assert made.dtype == np.float64
        assert made.tobytes() == expected[i : i + 1].tobytes()


def test_all_forms_are_made() -> None:
    """So that the test above tests them."""
    made = [_row(network(seed)) for seed in range(SEEDS)]
    names = [tuple(call.__name__ for call, _ in row.calls) for row in made if row]
    assert len(names) > 40
    starts = {n[:2] for n in names}
    assert {("greater_equal", "dot"), ("greater_equal", "add"), ("dot", "greater_equal")} <= starts
    assert any(row.encode for row in made if row)
    assert any("add" in n[2:] for n in names)
    assert any(n[i : i + 3] == ("greater_equal", "dot", "dot") for n in names for i in range(len(n)))


def _row(graph: Graph) -> Any:
    run: Any = rows.run(graph)
    return run and run.__self__


def test_results_are_not_overwritten_by_the_next_row_or_another_thread() -> None:
    graph = network(3)
    x = inputs(graph, np.random.default_rng(0))[:10]
    alone = [np.array(sim.simulate(graph, row[None])) for row in x]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda row: sim.simulate(graph, row[None]), np.repeat(x, 50, axis=0)))
    assert all(np.array_equal(np.asarray(y), alone[i // 50]) for i, y in enumerate(together))


def test_what_is_no_such_row_is_refused_or_computed_as_ever() -> None:
    graph = next(g for g in map(network, range(SEEDS)) if rows.run(g))
    with pytest.raises(InputError, match="NaN or infinite"):
        sim.simulate(graph, np.full((1, *SHAPE), np.nan, np.float32))
    with pytest.raises(InputError, match="NaN or infinite"):
        sim.simulate(graph, np.full((1, *SHAPE), -np.inf, np.float32))
    with pytest.raises(InputError, match="float32"):
        sim.simulate(graph, np.zeros((1, *SHAPE)))
    with pytest.raises(InputError, match="takes"):
        sim.simulate(graph, np.zeros((1, 30), np.float32))
    x = inputs(graph, np.random.default_rng(0))[:1]
    codes = sim.codes(graph, x)["t0"]
    given = graph.inputs[0].layout.to_file(codes, SHAPE)
    assert (np.asarray(sim.simulate(graph, given)) == sim.simulate(graph, x)).all()


def test_other_graphs_have_no_such_way() -> None:
    weight = np.ones((4, 4), np.int64)
    plain = chain((4,), IntType(0, 3), Dense(weight))
    assert rows.run(plain) is None  # no quantiser
    wide = Threshold(np.arange(2**15)[None, :] * np.ones((4, 1), np.int64), 0, 1)
    port = Port("t0", "x", (4,), Layout((4,), (0,)), network(0).inputs[0].quantizer)
    graph = chain((4,), IntType(0, 2**14), Dense(weight), wide)
    assert rows.run(replace(graph, inputs=(port,))) is None


@pytest.mark.parametrize("wide", [2**17, 2**21, 2**47, 2**52])
def test_sums_near_the_ends_of_float32_and_float64(wide: int) -> None:
    rng = np.random.default_rng(0)
    weight = wide - rng.integers(0, 5, (8, 6))
    q = InputQuantizer(np.array([1.0]), np.array([0.0]), np.array([1.0]), 0, -8, 7, Rounding.HALF_EVEN)
    port = Port("t0", "x", (8,), Layout((8,), (0,)), q)
    codes = rng.integers(-8, 8, (20, 8))
    sums = (codes @ weight)[:, :1].T
    table = Threshold(np.sort(sums + rng.integers(-1, 2, (6, 20)), axis=1), 0)
    graph = chain((8,), IntType(-8, 7), Dense(weight), table)
    real = Real(np.array([1.0]), np.array([0.0]))
    graph = replace(graph, inputs=(port,), outputs=(replace(graph.outputs[0], real=real),))
    assert (rows.run(graph) is None) == (wide > 2**50)
    expected = sim.run(graph, {"t0": codes}, sim.Engine.REFERENCE)["t2"]
    for row, wanted in zip(codes.astype(np.float32), expected, strict=True):
        assert (np.asarray(sim.simulate(graph, row[None]))[0] == wanted).all()
