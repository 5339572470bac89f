"""Both engines against the reference on layers large enough for each of their methods, with extreme inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hwq import sim
from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.requant import Requant, Slope
from hwq.ops.threshold import Threshold
from hwq.rounding import IntArray
from hwq.sim import engine_numpy, products, winograd
from hwq.sim.activations import integers
from hwq.sim.plan import compile_graph

FAST = (sim.Engine.NUMPY, sim.Engine.ONNXRUNTIME)


def port(tensor: Tensor) -> Port:
    return Port(tensor.name, tensor.name, tensor.shape, Layout(tensor.shape, tuple(range(len(tensor.shape)))))


def chain(shape: tuple[int, ...], interval: IntType, *params: Any) -> Graph:
    """Ops one after the other."""
    names = {p: name for name, p in ((n, s.params) for n, s in OPS.items())}
    tensors = [Tensor("t0", shape, interval)]
    nodes = []
    for i, p in enumerate(params, 1):
        op = names[type(p)]
        tensors.append(Tensor(f"t{i}", *OPS[op].infer(p, tensors[-1])))
        nodes.append(Node(op, f"n{i}", (f"t{i - 1}",), f"t{i}", p))
    named = {t.name: t for t in tensors}
    return check(Graph("g", (port(tensors[0]),), (port(tensors[-1]),), tuple(nodes), named))


def rows(graph: Graph, weight: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Random, constant, and a patch that drives the first output channel to its ends at the first position."""
    tensor = graph.tensors[graph.inputs[0].tensor]
    lo, hi = tensor.type.lo, tensor.type.hi
    x = rng.integers(lo, hi + 1, (count, *tensor.shape))
    x[0], x[1] = lo, hi
    if weight.ndim == 4 and weight.shape[2] == tensor.shape[2]:
        first = weight[..., 0]
        x[2, : first.shape[0], : first.shape[1]] = np.where(first > 0, hi, lo)
        x[3, : first.shape[0], : first.shape[1]] = np.where(first > 0, lo, hi)
    return x


def requantiser(rng: np.random.Generator, interval: IntType, channels: int, count: int) -> Any:
    """Of some kind, with up to `count` levels, of the accumulators of an interval."""
    if rng.integers(2):
        table = np.sort(rng.integers(interval.lo, interval.hi + 2, (channels, count)), axis=1)
        return Threshold(table, base=-int(rng.integers(0, 3)), step=1)
    shift = max(1, int(interval.bits) - int(rng.integers(0, 4)))
    mult, add = rng.integers(0, count + 1, channels), rng.integers(-(2**shift), 2**shift, channels)
    low = None
    if rng.integers(4) == 0:
        low = Slope(np.zeros(channels, np.int64), mult // 2, add)
    return Requant(mult, add, shift, bool(rng.integers(2)), -count // 2, count // 2, low)


def agree(graph: Graph, x: IntArray) -> None:
    codes = {"t0": x}
    plain = sim.run(graph, codes, sim.Engine.REFERENCE, trace=True)
    for engine in FAST:
        for name, y in sim.run(graph, codes, engine).items():
            assert np.array_equal(y, plain[name]), engine
    traced = sim.run(graph, codes, trace=True)
    assert all(np.array_equal(traced[name], plain[name]) for name in plain)


@pytest.mark.parametrize("seed", range(60))
def test_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c_in, c_out = int(rng.choice([3, 8, 16, 24])), int(rng.choice([8, 16, 40]))
    size, kernel = (int(rng.integers(4, 13)), int(rng.integers(4, 13))), int(rng.choice([1, 3, 3, 3]))
    groups = int(rng.choice([1, 1, c_in]))
    c_out = c_in if groups > 1 else c_out
    interval = [IntType(0, 1), IntType(-1, 1), IntType(0, 3), IntType(0, 15), IntType(-128, 127)][
        rng.integers(5)
    ]
    wide = int(rng.choice([1, 1, 7, 120]))
    weight = rng.integers(-wide, wide + 1, (kernel, kernel, c_in // groups, c_out))
    pads = tuple(int(p) for p in rng.integers(0, 2, 4)) if kernel == 3 else (0, 0, 0, 0)
    strides = (int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2])))
    params = Conv(weight, strides, (pads[0], pads[1], pads[2], pads[3]), groups=groups)
    between = OPS["conv"].infer(params, Tensor("t0", (*size, c_in), interval))[1]
    act = requantiser(rng, between, c_out, int(rng.choice([1, 3, 15, 40])))
    pool = [MaxPool((2, 2), (2, 2))] if min(size) > 6 and strides == (1, 1) else []
    graph = chain((*size, c_in), interval, params, act, *pool)
    agree(graph, rows(graph, weight, int(rng.integers(4, 23)), rng))


@pytest.mark.parametrize("seed", range(40))
def test_dense_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wide, high = int(rng.choice([1, 7, 127])), int(rng.choice([1, 3, 255, 2**20]))
    weight = rng.integers(-wide, wide + 1, (int(rng.integers(1, 300)), 12))
    interval = IntType(-high if rng.integers(2) else 0, high)
    between = OPS["dense"].infer(Dense(weight), Tensor("t0", (weight.shape[0],), interval))[1]
    act = requantiser(rng, between, 12, int(rng.choice([1, 3, 15])))
    graph = chain((weight.shape[0],), interval, Dense(weight), act, Dense(rng.integers(-3, 4, (12, 5))))
    agree(graph, rows(graph, weight, 17, rng))


@pytest.mark.parametrize(("lo", "hi"), [(-128, 127), (0, 255), (-100, 155), (-32768, 32767), (-1, 254)])
@pytest.mark.parametrize("half_even", [False, True])
def test_outputs_of_many_levels(lo: int, hi: int, half_even: bool) -> None:
    weight = np.random.default_rng(0).integers(-127, 128, (40, 12))
    shift = 4 if hi < 2**15 - 1 else 0
    act = Requant(np.arange(1, 13), np.arange(-6, 6), shift, half_even, lo, hi)
    graph = chain((40,), IntType(-128, 127), Dense(weight), act)
    x = rows(graph, weight, 300, np.random.default_rng(1))
    x[:12] = np.where(weight.T > 0, 127, -128)
    agree(graph, x)


@pytest.mark.parametrize(("high", "total"), [(217, 151), (128, 256), (256, 2**16), (257, 65281)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_depthwise_sums_up_to_the_ends_of_their_number(
    high: int, total: int, strides: tuple[int, int], sign: int
) -> None:
    """The largest sums are 2**15 - 1, 2**15, 2**24 and 2**24 + 1, and another input gives their opposites."""
    weight = np.zeros((3, 3, 1, 6), np.int64)
    weight[1, 1], weight[0, 2], weight[2, 1] = sign * (total // 2), sign, sign * (total - total // 2 - 1)
    graph = chain((9, 7, 6), IntType(-high, high), Conv(weight, strides, (1, 1, 1, 1), groups=6))
    assert ("int16" in compile_graph(graph).steps[0].method) == (high * total < 2**15)
    x = np.random.default_rng(0).integers(-high, high + 1, (5, 9, 7, 6))
    x[0], x[1] = high, -high
    agree(graph, x)


def test_blas_threads_return_when_the_last_of_several_runs_ends() -> None:
    graph = chain((4,), IntType(0, 3), Dense(np.ones((4, 4), np.int64)))
    before = [b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"]
    x = np.ones((3, 4), np.int64)
    first, second = (engine_numpy.run(sim.plan(graph), {"t0": x.astype(np.uint8)}) for _ in range(2))
    next(first), next(second)
    assert {b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"} == {1}
    first.close()
    second.close()
    assert [b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"] == before


@pytest.mark.parametrize(
    ("rows_given", "workers", "size"), [(0, 1, 1), (46, 1, 46), (100, 1, 34), (100, 2, 25)]
)
def test_chunks_are_equal_parts_that_fit(rows_given: int, workers: int, size: int) -> None:
    plan = sim.plan(chain((4,), IntType(0, 3), Dense(np.ones((4, 4), np.int64))))
    plan = replace(plan, row_bytes=engine_numpy._CHUNK_BYTES // 47)
    assert engine_numpy.chunk_rows(plan, rows_given, workers) == size


def test_every_method_is_used() -> None:
    """So that the tests above test them."""
    found = " ".join(
        step.method
        for c, interval, groups, out in (
            (64, IntType(0, 1), 1, 64),
            (64, IntType(0, 15), 1, 64),
            (32, IntType(0, 3), 32, 32),
            (8, IntType(-128, 127), 1, 8),
        )
        for step in compile_graph(
            chain((12, 12, c), interval, Conv(np.ones((3, 3, c // groups, out), np.int64), groups=groups))
        ).steps
    )
    for method in ("Winograd, float32, 2 samples", "9 taps", "im2col"):
        assert method in found


@pytest.mark.parametrize("seed", range(12))
def test_winograd_is_exact_up_to_its_bounds(seed: int) -> None:
    """Inputs at their ends, and weights of the largest magnitudes that the proof accepts."""
    rng = np.random.default_rng(seed)
    c, high = int(rng.choice([8, 16, 32])), int(rng.integers(1, 16))
    signs = rng.choice([-1, 1], (3, 3, c, c)) if rng.integers(2) else rng.choice([-1, 1], c)
    made = None
    for wide in (127, 63, 31, 15, 7, 3, 1):
        params = Conv(np.full((3, 3, c, c), wide) * signs, pads=(1, 1, 1, 1))
        graph = chain((7, 8, c), IntType(0, high), params)
        result = products.magnitude(params.weight.reshape(-1, c), IntType(0, high))
        packing = winograd._packing(params, IntType(0, high), result)
        if packing.dtype == np.float32:
            act = integers(graph.tensors["t1"].type)
            made = winograd._Winograd(params, graph.tensors["t1"], act, packing)
            break
    assert made is not None
    x = rng.choice([0, high], (6, 7, 8, c))
    x[0] = high
    assert np.array_equal(made.run(x), OPS["conv"].run(params, x))
