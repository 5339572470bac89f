"""The int8 engine against the reference, its solver against every accumulator, its guards and its refusals."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq import sim
from hwq.errors import ToolMissing, UnsupportedModel
from hwq.frontends import load
from hwq.ir import Graph, IntType, Node, Tensor, check
from hwq.ops import OPS
from hwq.ops.add import Add
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.requant import Requant
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold
from hwq.rounding import IntArray
from hwq.sim import engine_onnxruntime, int8, onnx_session, reference
from hwq.sim.levels import Levels
from hwq.sim.step import Step, ordered, storage
from tests.networks import write
from tests.random_networks import random_network
from tests.test_ops import CASES, port
from tests.whole_networks import NETWORKS

pytest.importorskip("onnxruntime")


def chain(x: Tensor, *params: Any, kept: tuple[int, ...] = ()) -> Graph:
    """One op after another; an `Add` also reads the input. `kept` are indices of nodes that are outputs too."""
    tensors = [x]
    nodes = []
    for i, p in enumerate(params):
        op = next(name for name, spec in OPS.items() if isinstance(p, spec.params))
        sources = (tensors[-1], x) if isinstance(p, Add) else (tensors[-1],)
        tensors.append(Tensor(f"t{i}", *OPS[op].infer(p, *sources)))
        nodes.append(Node(op, f"n{i}", tuple(s.name for s in sources), f"t{i}", p))
    outputs = (*(port(tensors[i + 1]) for i in kept), port(tensors[-1]))
    return check(Graph("g", (port(x),), outputs, tuple(nodes), {t.name: t for t in tensors}))


def codes_for(graph: Graph, rng: np.random.Generator, rows: int = 5) -> dict[str, IntArray]:
    """Random rows; the first three are the lowest integers, the highest, and either at random."""
    found = {}
    for p in graph.inputs:
        tensor = graph.tensors[p.tensor]
        ends = tensor.type.lo, tensor.type.hi
        x = rng.integers(ends[0], ends[1] + 1, (rows, *tensor.shape))
        x[0], x[1], x[2] = *ends, rng.choice(ends, tensor.shape)
        found[p.tensor] = x
    return found


def segments(graph: Graph) -> tuple[Step, ...]:
    return tuple(engine_onnxruntime.segments(graph, frozenset(p.tensor for p in graph.outputs)))


def agree(graph: Graph, codes: dict[str, IntArray]) -> tuple[Step, ...]:
    """The segments, each where its first node stands, and ops themselves elsewhere, give the reference's integers."""
    steps, wanted = segments(graph), reference.run(graph, codes)
    order = [n.name for n in ordered(graph, frozenset(p.tensor for p in graph.outputs))]
    starts = {step.nodes[0].name: step for step in steps}
    covered = {n.name for step in steps for n in step.nodes}
    values, by_name = dict(codes), {n.name: n for n in graph.nodes}
    for name in order:
        if name in starts:
            step = starts[name]
            first = order.index(name)
            assert order[first : first + len(step.nodes)] == [n.name for n in step.nodes]
            given_in = [values[t].astype(storage(graph.tensors[t].type)) for t in step.inputs]
            for t, y in zip(step.outputs, step.run(*given_in), strict=True):
                assert y.dtype in (storage(graph.tensors[t].type), np.int32)
                assert np.array_equal(y, wanted[t]), t
                values[t] = y.astype(np.int64)
        elif name not in covered:
            node = by_name[name]
            values[node.output] = OPS[node.op].run(node.params, *(values[t] for t in node.inputs))
    whole = sim.run(graph, codes, sim.Engine.ONNXRUNTIME)
    for p in graph.outputs:
        assert np.array_equal(values[p.tensor], wanted[p.tensor]), p.tensor
        assert np.array_equal(whole[p.tensor], wanted[p.tensor]), p.tensor
    return steps


def requantiser(rng: np.random.Generator, x: Tensor) -> Threshold | Requant:
    """Of 1 to 15 levels about the middle of what x may be, as networks have them."""
    channels, span = int(rng.choice([1, x.shape[-1]])), x.type.hi - x.type.lo
    if rng.integers(2):
        count = int(rng.integers(1, 16))
        slope, middle = rng.uniform(0.2, 1, (channels, 1)) * span / count, (x.type.lo + x.type.hi) / 2
        offset = rng.normal(size=(channels, 1)) * span / 8
        table = np.ceil((np.arange(count) - count / 2) * slope + middle + offset).astype(np.int64)
        return Threshold(table, int(rng.integers(-count, 1)))
    mult = rng.integers(1, 200, channels)
    shift = int(rng.integers(0, 6)) + max(0, int(span * 100 // 20).bit_length() - 3)
    add = rng.integers(-(2**shift), 2**shift + 1, channels)
    return Requant(mult, add, shift, bool(rng.integers(2)), int(rng.choice([0, -8])), 7)


def random_conv(rng: np.random.Generator, x: Tensor) -> Conv:
    c_in = x.shape[-1]
    groups = int(rng.choice([1, 1, 2 if c_in % 2 == 0 else 1, c_in]))
    kernel = [int(k) for k in rng.integers(1, 4, 2)]
    reach = int(rng.choice([1, 1, 3, 7, 100]))
    c_out = groups * int(rng.integers(1, 20 if groups < 3 else 3))
    pads = tuple(int(p) for p in rng.integers(0, 2, 4))
    weight = rng.integers(-reach, reach + 1, (*kernel, c_in // groups, c_out))
    strides, dilations = ((int(a), int(b)) for a, b in rng.integers(1, 3, (2, 2)))
    return Conv(weight, strides, (pads[0], pads[1], pads[2], pads[3]), dilations, groups)


def kind(rng: np.random.Generator) -> IntType:
    lows = [0, -1, -8, -128, 0, 0, 3]
    lo = int(rng.choice(lows))
    return IntType(lo, lo + int(rng.choice([1, 2, 15, 127, 255])))


@pytest.mark.parametrize("seed", range(40))
def test_random_chains_of_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = source = Tensor("x", (9, 8, int(rng.choice([1, 3, 4, 16, 18]))), kind(rng))
    params: list[Any] = []
    for _ in range(int(rng.integers(1, 4))):
        for make in (random_conv, requantiser):
            params.append(make(rng, x))
            op = next(name for name, spec in OPS.items() if isinstance(params[-1], spec.params))
            try:
                x = Tensor("y", *OPS[op].infer(params[-1], x))
            except ValueError:  # the image is too small for another
                params.pop()
                break
    flat = int(np.prod(x.shape))
    params += [Reshape((flat,)), Dense(rng.integers(-2, 3, (flat, 11)))]
    graph = chain(source, *params)
    assert agree(graph, codes_for(graph, rng))


@pytest.mark.parametrize("op", list(OPS))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_op_beside_a_dense_layer(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = CASES[op](rng)
    xs = [Tensor(f"x{i}", *pair) for i, pair in enumerate(zip(case.shapes, case.intervals, strict=True))]
    y = Tensor("y", *OPS[op].infer(case.params, *xs))
    nodes, tensors = [Node(op, "n", tuple(t.name for t in xs), "y", case.params)], [*xs, y]
    if max(abs(y.type.lo), abs(y.type.hi)) < 2**40:
        weight = Dense(rng.integers(-3, 4, (y.shape[-1], 5)))
        z = Tensor("z", *OPS["dense"].infer(weight, y))
        act = requantiser(rng, z) if z.type.hi - z.type.lo < 2**20 else Threshold(np.array([[0]]), -1, 2)
        tensors += [z, Tensor("out", *OPS[_op(act)].infer(act, z))]
        nodes += [Node("dense", "d", ("y",), "z", weight), Node(_op(act), "a", ("z",), "out", act)]
    graph = check(
        Graph("g", tuple(map(port, xs)), (port(tensors[-1]),), tuple(nodes), {t.name: t for t in tensors})
    )
    agree(graph, codes_for(graph, rng))


def _op(act: Threshold | Requant) -> str:
    return "threshold" if isinstance(act, Threshold) else "requant"


@pytest.mark.parametrize("seed", range(25))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    model, _, _ = random_network(seed)
    try:
        graph = load(write(model, tmp_path / "model.onnx")).graph
    except UnsupportedModel as error:
        pytest.skip(str(error))
    agree(graph, codes_for(graph, np.random.default_rng(seed)))


WHOLE = (
    "intrusion_detection",
    "keras_cnn",
    "residual_requantised",
    "binary_cnn",
    "mobile",
    "truncating_pools",
)
"""Without a node for NumPy."""


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    graph = load(write(network.model, tmp_path / "model.onnx"), network.input_type).graph
    steps = agree(graph, codes_for(graph, np.random.default_rng(1)))
    if name in WHOLE:
        (step,) = steps
        assert len(step.nodes) == len(graph.nodes)


SMALL = Tensor("x", (6, 6, 4), IntType(-1, 1))


def ternary(rng: np.random.Generator, *shape: int) -> IntArray:
    return rng.integers(-1, 2, shape)


def test_a_residual_block_is_one_session() -> None:
    rng = np.random.default_rng(0)
    table = Threshold(np.array([[-3, 4]]), -1)
    conv = Conv(ternary(rng, 3, 3, 4, 4), pads=(1, 1, 1, 1))
    joined = Add(np.array([[1], [1]]), np.array([0]))
    graph = chain(SMALL, conv, table, joined, Threshold(np.array([[-1, 1]]), -1), conv, table)
    (step,) = agree(graph, codes_for(graph, rng))
    assert len(step.nodes) == len(graph.nodes)
    assert step.method == "onnxruntime int8: 6 nodes, 3 QLinearConv"
    assert (step.inputs, step.outputs) == (("x",), (graph.outputs[0].tensor,))


def test_tensors_that_are_outputs_too_are_returned() -> None:
    rng = np.random.default_rng(0)
    conv, table = Conv(ternary(rng, 3, 3, 4, 4)), Threshold(np.array([[-3, 4]]), -1)
    graph = chain(SMALL, conv, table, Reshape((64,)), Dense(ternary(rng, 64, 10)), kept=(1, 2))
    (step,) = agree(graph, codes_for(graph, rng))
    assert step.outputs == ("t1", "t2", "t3")


def test_no_rows_any_integer_type_and_many_threads() -> None:
    rng = np.random.default_rng(0)
    graph = chain(SMALL, Conv(ternary(rng, 3, 3, 4, 8)), Threshold(np.array([[-3, 4]]), -1))
    (step,) = segments(graph)
    assert step.run(np.zeros((0, 6, 6, 4), np.int8))[0].shape == (0, 4, 4, 8)
    parts = [rng.integers(-1, 2, (n, 6, 6, 4)) for n in (1, 2, 7) * 8]
    kinds = [np.int8, np.int16, np.int32, np.int64]
    with ThreadPoolExecutor(8) as pool:
        given_in = [x.astype(kinds[i % 4]) for i, x in enumerate(parts)]
        found = list(pool.map(lambda x: step.run(x)[0], given_in))
    for x, y in zip(parts, found, strict=True):
        assert np.array_equal(y, reference.run(graph, {"x": x})["t1"])


@pytest.mark.parametrize(("reach", "kernel"), [(64, np.int8), (65, np.uint8), (127, np.uint8)])
def test_products_of_pairs_stay_in_16_bits(reach: int, kernel: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two products of 255 and 65 are more than int16 holds: kernels without VNNI would saturate."""
    seen: list[Any] = []
    constant = onnx_session.Builder.constant

    def spy(self: onnx_session.Builder, value: Any, dtype: Any) -> str:
        if np.ndim(value) == 4:
            seen.append(dtype)
        return constant(self, value, dtype)

    rng = np.random.default_rng(0)
    weight = rng.choice([-reach, reach, 1], (3, 3, 4, 8))
    graph = chain(Tensor("x", (6, 6, 4), IntType(0, 255)), Conv(weight), Threshold(np.array([[9]]), 0))
    monkeypatch.setattr(onnx_session.Builder, "constant", spy)
    (step,) = agree(graph, codes_for(graph, rng))
    assert len(step.nodes) == 2
    assert seen[-1] is kernel


def test_weights_beyond_8_bits_are_left_to_numpy() -> None:
    graph = chain(SMALL, Conv(np.full((1, 1, 4, 2), 129)), Threshold(np.array([[9]]), 0))
    assert segments(graph) == ()


def test_a_kernel_that_rounds_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    conv, table = Conv(ternary(rng, 3, 3, 4, 4)), Threshold(np.array([[-3, 4]]), -1)
    graph = chain(
        SMALL, conv, table, Reshape((64,)), Dense(ternary(rng, 64, 10)), Threshold(np.array([[0]]), 0)
    )
    asked = engine_onnxruntime._asked

    def one_level_more(*args: Any) -> Any:
        return asked(*args) + 1

    monkeypatch.setattr(engine_onnxruntime, "_asked", one_level_more)
    (step,) = agree(graph, codes_for(graph, rng))
    assert [n.op for n in step.nodes] == ["reshape", "dense"]
    assert step.method == "onnxruntime int8: 2 nodes, 1 MatMulInteger"


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolMissing, match="pip install onnxruntime"):
        engine_onnxruntime.segments(chain(SMALL, Reshape((144,))), frozenset({"t0"}))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_solution_is_right_for_every_accumulator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels, count, reach = (
        int(rng.integers(1, 6)),
        int(rng.integers(1, 20)),
        int(rng.choice([20, 300, 5000])),
    )
    lo, hi = -rng.integers(0, reach, channels), rng.integers(0, reach, channels)
    shape = rng.integers(3)
    slope, offset = (
        rng.uniform(0, 3 * reach / count, (channels, 1)),
        rng.normal(size=(channels, 1)) * reach / 2,
    )
    table = np.ceil((np.arange(count) - count / 2) * slope + offset).astype(np.int64)
    if shape == 1:
        table = np.sort(rng.integers(-reach, reach, (channels, count)), axis=1)
    elif shape == 2:  # ties of slope 2 or 4, half to even
        k, u = np.arange(1, count + 1), 2 * rng.integers(1, 3, (channels, 1))
        table = k * u - u // 2 + k % 2
    step = int(rng.choice([1, 2])) if count == 1 else 1
    levels = Levels(table, 0, step)
    found = int8.solve(levels, lo, hi, rng.integers(1, 100, channels))
    if shape == 2:
        assert found is not None
    if found is None:
        return
    x = np.arange(lo.min(), hi.max() + 1)
    levels_of_x = np.clip(found.emulate(x * found.gain[:, None] + found.bias[:, None]), 0, count * step)
    wanted = step * (x[None, :, None] >= table[:, None, :]).sum(axis=2)
    inside = (x >= lo[:, None]) & (x <= hi[:, None])
    assert np.array_equal(levels_of_x[inside], wanted[inside])


@pytest.mark.parametrize("channels", [1, 64])
@pytest.mark.parametrize("count", [2, 3, 7, 15])
def test_rounded_lines_of_small_weights_have_a_solution(count: int, channels: int) -> None:
    """What a normalisation and a quantiser are together, of weights with room for a gain of 18."""
    rng = np.random.default_rng(count)
    lo, hi = np.full(channels, -3000), np.full(channels, 3000)
    slope = rng.uniform(50, 5000 / count, (channels, 1))
    table = np.ceil((np.arange(count) + 0.5) * slope + rng.uniform(-1000, 100, (channels, 1))).astype(
        np.int64
    )
    found = int8.solve(Levels(table, 0, 1), lo, hi, np.full(channels, 18))
    assert found is not None
    assert found.proven().all()


def test_zero_points() -> None:
    for lo, hi, zero in ((0, 255, 0), (-128, 127, 128), (-200, -10, 200), (3, 255, 0), (-1, 254, 1)):
        assert int8.zero_point(IntType(lo, hi)) == zero
    for lo, hi in ((0, 256), (-1, 255), (-256, 0), (300, 301)):
        assert int8.zero_point(IntType(lo, hi)) is None
