"""Every op of `OPS`: its meaning against plain loops, its interval, and the fast engine, on random cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.requant import Requant
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold
from hwq.ops.transpose import Transpose
from hwq.rounding import IntArray
from hwq.sim import Engine, run


@dataclass(frozen=True)
class Case:
    """Parameters, the input's shape and interval, and the meaning of one sample in plain Python."""

    params: Any
    shape: tuple[int, ...]
    interval: IntType
    meaning: Callable[[IntArray], IntArray]


def interval(rng: np.random.Generator, reach: int = 20) -> IntType:
    lo = -int(rng.integers(0, reach)) if rng.integers(2) else int(rng.integers(0, 3))
    return IntType(lo, max(lo, 0) + int(rng.integers(0, reach)))


def dense(rng: np.random.Generator) -> Case:
    weight = rng.integers(-8, 8, (5, 3))
    return Case(
        Dense(weight),
        (5,),
        interval(rng),
        lambda x: np.array([sum(int(x[i]) * int(weight[i, o]) for i in range(5)) for o in range(3)]),
    )


def conv(rng: np.random.Generator) -> Case:
    groups = int(rng.choice([1, 2, 4]))
    weight = rng.integers(-8, 8, (int(rng.integers(1, 4)), int(rng.integers(1, 4)), 4 // groups, 4))
    strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    pads = tuple(int(p) for p in rng.integers(0, 2, 4))
    dilations = (int(rng.integers(1, 3)), 1)
    params = Conv(weight, strides, (pads[0], pads[1], pads[2], pads[3]), dilations, groups)

    def meaning(x: IntArray) -> IntArray:
        kh, kw, per_group, c_out = weight.shape
        h = (6 + pads[0] + pads[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
        w = (5 + pads[1] + pads[3] - (kw - 1) - 1) // strides[1] + 1
        out = np.zeros((h, w, c_out), dtype=np.int64)
        for y, z, o, u, v, c in np.ndindex(h, w, c_out, kh, kw, per_group):
            row = y * strides[0] + u * dilations[0] - pads[0]
            column = z * strides[1] + v - pads[1]
            if 0 <= row < 6 and 0 <= column < 5:
                first = o // (c_out // groups) * per_group
                out[y, z, o] += int(x[row, column, first + c]) * int(weight[u, v, c, o])
        return out

    return Case(params, (6, 5, 4), interval(rng), meaning)


def threshold(rng: np.random.Generator) -> Case:
    channels, levels = int(rng.choice([1, 3])), int(rng.integers(0, 9))
    table = np.sort(rng.integers(-25, 25, (channels, levels)), axis=1)
    base, step = int(rng.integers(-4, 4)), int(rng.choice([1, 2]))

    def meaning(x: IntArray) -> IntArray:
        out = np.empty(x.shape, dtype=np.int64)
        for i in np.ndindex(x.shape):
            row = table[i[-1] if channels > 1 else 0]
            out[i] = base + step * sum(int(x[i]) >= int(t) for t in row)
        return out

    return Case(Threshold(table, base, step), (2, 3), interval(rng), meaning)


def requant(rng: np.random.Generator) -> Case:
    channels, shift, half_even = int(rng.choice([1, 3])), int(rng.integers(0, 6)), bool(rng.integers(2))
    mult, add = rng.integers(-9, 10, channels), rng.integers(-40, 40, channels)

    def meaning(x: IntArray) -> IntArray:
        out = np.empty(x.shape, dtype=np.int64)
        for i in np.ndindex(x.shape):
            c = i[-1] if channels > 1 else 0
            value = Fraction(int(x[i]) * int(mult[c]) + int(add[c]), 2**shift)
            out[i] = min(max(round(value) if half_even else floor(value), -7), 7)
        return out

    return Case(Requant(mult, add, shift, half_even, -7, 7), (2, 3), interval(rng), meaning)


def max_pool(rng: np.random.Generator) -> Case:
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    pads = tuple(int(rng.integers(0, k)) for k in kernel * 2)

    def meaning(x: IntArray) -> IntArray:
        h = (6 + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
        w = (5 + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
        out = np.empty((h, w, 2), dtype=np.int64)
        for y, z, c in np.ndindex(out.shape):
            top, left = y * strides[0] - pads[0], z * strides[1] - pads[1]
            rows = range(max(top, 0), min(top + kernel[0], 6))
            columns = range(max(left, 0), min(left + kernel[1], 5))
            out[y, z, c] = max(int(x[u, v, c]) for u in rows for v in columns)
        return out

    params = MaxPool(kernel, strides, (pads[0], pads[1], pads[2], pads[3]))
    return Case(params, (6, 5, 2), interval(rng), meaning)


def reshape(rng: np.random.Generator) -> Case:
    return Case(Reshape((3, 4)), (2, 6), interval(rng), lambda x: np.array(x.tolist()).ravel().reshape(3, 4))


def transpose(rng: np.random.Generator) -> Case:
    axes = tuple(int(a) for a in rng.permutation(3))
    return Case(Transpose(axes), (2, 3, 4), interval(rng), lambda x: np.moveaxis(x, axes, (0, 1, 2)))


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "dense": dense,
    "conv": conv,
    "threshold": threshold,
    "requant": requant,
    "max_pool": max_pool,
    "reshape": reshape,
    "transpose": transpose,
}
if missing := set(OPS) - set(CASES):
    raise AssertionError(f"ops without a test case: {missing}")


def one_node(op: str, case: Case) -> Graph:
    x = Tensor("x", case.shape, case.interval)
    shape, kind = OPS[op].infer(case.params, x)
    tensors = {"x": x, "y": Tensor("y", shape, kind)}
    ports = [
        Port(t.name, t.name, t.shape, Layout(t.shape, tuple(range(len(t.shape))))) for t in tensors.values()
    ]
    return check(Graph("g", (ports[0],), (ports[1],), (Node(op, "n", ("x",), "y", case.params),), tensors))


@pytest.mark.parametrize("op", list(OPS))
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_meaning_interval_and_engine(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = CASES[op](rng)
    graph = one_node(op, case)
    x = rng.integers(case.interval.lo, case.interval.hi + 1, (6, *case.shape))
    x[0], x[1] = case.interval.lo, case.interval.hi
    plain = run(graph, {"x": x}, Engine.REFERENCE)["y"]
    fast = run(graph, {"x": x})["y"]
    assert np.array_equal(plain, np.stack([case.meaning(row) for row in x]))
    assert np.array_equal(fast, plain)
    kind = graph.tensors["y"].type
    assert kind.lo <= plain.min()
    assert plain.max() <= kind.hi
    assert plain.shape[1:] == graph.tensors["y"].shape


@pytest.mark.parametrize("seed", range(5))
def test_accumulator_intervals_are_reached(seed: int) -> None:
    """As narrow as provably possible: both ends of a dense layer's interval occur."""
    rng = np.random.default_rng(seed)
    case = dense(rng)
    graph = one_node("dense", case)
    weight = case.params.weight
    up = np.where(weight.T > 0, case.interval.hi, case.interval.lo)
    down = np.where(weight.T > 0, case.interval.lo, case.interval.hi)
    y = run(graph, {"x": np.concatenate([up, down])}, Engine.REFERENCE)["y"]
    assert (int(y.min()), int(y.max())) == (graph.tensors["y"].type.lo, graph.tensors["y"].type.hi)


@pytest.mark.parametrize("bits", [20, 30])
def test_products_beyond_float32_stay_exact(bits: int) -> None:
    """Sums just beyond 2**24 and 2**53: float32 or float64 would round them."""
    weight = np.array([[2**bits - 1], [2**bits - 1], [1]])
    graph = one_node("dense", Case(Dense(weight), (3,), IntType(0, 2**bits - 1), lambda x: x))
    x = np.array([[2**bits - 1, 2**bits - 3, 1], [2**bits - 1, 2**bits - 1, 2]])
    expected = [
        [int(v) for v in [sum(int(a) * int(b) for a, b in zip(row, weight[:, 0], strict=True))]] for row in x
    ]
    assert run(graph, {"x": x})["y"].tolist() == expected


def test_sizes_multiply() -> None:
    out = Tensor("y", (4, 4, 3), IntType(0, 1))
    weight = np.ones((3, 3, 2, 3), dtype=np.int64)
    assert OPS["conv"].macs(Conv(weight), out) == 16 * prod(weight.shape)
