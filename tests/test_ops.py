"""Every op of `OPS`: its meaning against plain loops, its interval, and the fast engine, on random cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import floor, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS, sum_pool
from hwq.ops.add import Add
from hwq.ops.argmax import ArgMax
from hwq.ops.concat import Concat
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.depth_to_space import DepthToSpace
from hwq.ops.global_sum import GlobalSum
from hwq.ops.lut import Lut
from hwq.ops.matmul import MatMul
from hwq.ops.max_pool import MaxPool
from hwq.ops.mul import Mul
from hwq.ops.pad import Pad
from hwq.ops.requant import Requant
from hwq.ops.reshape import Reshape
from hwq.ops.slice import Slice
from hwq.ops.sum_pool import SumPool
from hwq.ops.threshold import Threshold
from hwq.ops.transpose import Transpose
from hwq.ops.upsample import Upsample
from hwq.rounding import IntArray
from hwq.sim import Engine, run


@dataclass(frozen=True)
class Case:
    """Parameters, the inputs' shapes and intervals, and the meaning of one sample in plain Python."""

    params: Any
    shapes: tuple[tuple[int, ...], ...]
    intervals: tuple[IntType, ...]
    meaning: Callable[..., IntArray]


def interval(rng: np.random.Generator, reach: int = 20) -> IntType:
    lo = -int(rng.integers(0, reach)) if rng.integers(2) else int(rng.integers(0, 3))
    return IntType(lo, max(lo, 0) + int(rng.integers(0, reach)))


def dense(rng: np.random.Generator) -> Case:
    weight = rng.integers(-8, 8, (5, 3))
    return Case(
        Dense(weight),
        ((5,),),
        (interval(rng),),
        lambda x: np.array([sum(int(x[i]) * int(weight[i, o]) for i in range(5)) for o in range(3)]),
    )


def conv(rng: np.random.Generator) -> Case:
    groups = int(rng.choice([1, 2, 4]))
    weight = rng.integers(-8, 8, (int(rng.integers(1, 4)), int(rng.integers(1, 4)), 4 // groups, 4))
    strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    pads = tuple(int(p) for p in rng.integers(0, 2, 4))
    dilations = (int(rng.integers(1, 3)), 1)
    spaced = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
    params = Conv(weight, strides, (pads[0], pads[1], pads[2], pads[3]), dilations, groups, spaced)

    def meaning(x: IntArray) -> IntArray:
        kh, kw, per_group, c_out = weight.shape
        height, width = 5 * spaced[0] + 1, 4 * spaced[1] + 1
        h = (height + pads[0] + pads[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
        w = (width + pads[1] + pads[3] - (kw - 1) - 1) // strides[1] + 1
        out = np.zeros((h, w, c_out), dtype=np.int64)
        for y, z, o, u, v, c in np.ndindex(h, w, c_out, kh, kw, per_group):
            row, between_rows = divmod(y * strides[0] + u * dilations[0] - pads[0], spaced[0])
            column, between_columns = divmod(z * strides[1] + v - pads[1], spaced[1])
            if 0 <= row < 6 and 0 <= column < 5 and not between_rows and not between_columns:
                first = o // (c_out // groups) * per_group
                out[y, z, o] += int(x[row, column, first + c]) * int(weight[u, v, c, o])
        return out

    return Case(params, ((6, 5, 4),), (interval(rng),), meaning)


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

    return Case(Threshold(table, base, step), ((2, 3),), (interval(rng),), meaning)


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

    return Case(Requant(mult, add, shift, half_even, -7, 7), ((2, 3),), (interval(rng),), meaning)


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
    return Case(params, ((6, 5, 2),), (interval(rng),), meaning)


def reshape(rng: np.random.Generator) -> Case:
    return Case(
        Reshape((3, 4)), ((2, 6),), (interval(rng),), lambda x: np.array(x.tolist()).ravel().reshape(3, 4)
    )


def transpose(rng: np.random.Generator) -> Case:
    axes = tuple(int(a) for a in rng.permutation(3))
    return Case(Transpose(axes), ((2, 3, 4),), (interval(rng),), lambda x: np.moveaxis(x, axes, (0, 1, 2)))


def add(rng: np.random.Generator) -> Case:
    n, many = int(rng.integers(1, 4)), bool(rng.integers(2))
    mult = rng.integers(-5, 6, (n, 3 if rng.integers(2) else 1))
    summand = rng.integers(-20, 20, 3 if many else 1)
    shapes = ((2, 3), *(((2, 3), (1, 3), (2, 1))[int(i)] for i in rng.integers(0, 3, n - 1)))

    def meaning(*xs: IntArray) -> IntArray:
        out = np.empty((2, 3), dtype=np.int64)
        for r, c in np.ndindex(2, 3):
            out[r, c] = int(summand[c % len(summand)]) + sum(
                int(m[c % len(m)]) * int(x[r % len(x), c % len(x[0])]) for m, x in zip(mult, xs, strict=True)
            )
        return out

    return Case(Add(mult, summand), shapes, tuple(interval(rng) for _ in shapes), meaning)


def mul(rng: np.random.Generator) -> Case:
    shapes = ((2, 3), ((2, 3), (1, 3), (2, 1))[int(rng.integers(3))])

    def meaning(a: IntArray, b: IntArray) -> IntArray:
        row = [[int(a[r, c]) * int(b[r % len(b), c % len(b[0])]) for c in range(3)] for r in range(2)]
        return np.array(row)

    return Case(Mul(), shapes, (interval(rng), interval(rng)), meaning)


def matmul(rng: np.random.Generator) -> Case:
    n, k, m = (int(v) for v in rng.integers(1, 5, 3))

    def meaning(a: IntArray, b: IntArray) -> IntArray:
        out = np.zeros((2, n, m), dtype=np.int64)
        for i, r, c, t in np.ndindex(2, n, m, k):
            out[i, r, c] += int(a[i, r, t]) * int(b[i, t, c])
        return out

    return Case(MatMul(), ((2, n, k), (2, k, m)), (interval(rng), interval(rng)), meaning)


def concat(rng: np.random.Generator) -> Case:
    axis, sizes = int(rng.integers(2)), [int(v) for v in rng.integers(1, 4, int(rng.integers(1, 4)))]
    shapes = tuple((size, 3) if axis == 0 else (3, size) for size in sizes)
    reach = int(rng.choice([20, 300, 2**20, 2**40]))

    def meaning(*xs: IntArray) -> IntArray:
        if axis == 0:
            return np.array([row for x in xs for row in x.tolist()])
        return np.array([[v for x in xs for v in x[r].tolist()] for r in range(3)])

    return Case(Concat(axis), shapes, tuple(interval(rng, reach) for _ in sizes), meaning)


def slicing(rng: np.random.Generator) -> Case:
    start, step = int(rng.integers(0, 5)), int(rng.integers(1, 4))
    stop = int(rng.integers(start + 1, 7))

    def meaning(x: IntArray) -> IntArray:
        return np.array([[x[r, c] for c in range(start, stop, step)] for r in range(2)])

    return Case(Slice(1, start, stop, step), ((2, 6),), (interval(rng),), meaning)


def a_sum_pool(rng: np.random.Generator) -> Case:
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    dilations = (int(rng.integers(1, 3)), 1)
    pads = tuple(int(rng.integers(0, k)) for k in kernel * 2)
    count = bool(rng.integers(2))
    params = SumPool(kernel, strides, (pads[0], pads[1], pads[2], pads[3]), dilations, count)

    def meaning(x: IntArray) -> IntArray:
        h = (6 + pads[0] + pads[2] - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
        w = (5 + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
        out = np.empty((h, w, 2), dtype=np.int64)
        for y, z, c in np.ndindex(out.shape):
            rows = [y * strides[0] - pads[0] + u * dilations[0] for u in range(kernel[0])]
            columns = [z * strides[1] - pads[1] + v for v in range(kernel[1])]
            seen = [int(x[r, k, c]) for r in rows for k in columns if 0 <= r < 6 and 0 <= k < 5]
            mean = Fraction(sum(seen), kernel[0] * kernel[1] if count else len(seen))
            exact = mean * sum_pool.divisor(params, (6, 5, 2))
            assert exact.denominator == 1
            out[y, z, c] = int(exact)
        return out

    return Case(params, ((6, 5, 2),), (interval(rng),), meaning)


def global_sum(rng: np.random.Generator) -> Case:
    axes = ((0,), (0, 1), (2, 0), (1,))[int(rng.integers(4))]

    def meaning(x: IntArray) -> IntArray:
        out = np.zeros(tuple(1 if i in axes else s for i, s in enumerate(x.shape)), dtype=np.int64)
        for i in np.ndindex(x.shape):
            out[tuple(0 if a in axes else v for a, v in enumerate(i))] += x[i]
        return out

    return Case(GlobalSum(axes), ((3, 2, 4),), (interval(rng),), meaning)


def padding(rng: np.random.Generator) -> Case:
    mode = str(rng.choice(["constant", "reflect", "edge"]))
    rows, columns = ((int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2)))
    value = int(rng.choice([0, -3, 300, 2**40]))

    def source(i: int, size: int) -> int:
        if mode == "edge":
            return min(max(i, 0), size - 1)
        return size - 1 - abs(size - 1 - abs(i)) if mode == "reflect" else i

    def meaning(x: IntArray) -> IntArray:
        out = np.full((3 + sum(rows), 4 + sum(columns)), value)
        for r, c in np.ndindex(out.shape):
            i, k = source(r - rows[0], 3), source(c - columns[0], 4)
            if 0 <= i < 3 and 0 <= k < 4:
                out[r, c] = x[i, k]
        return out

    return Case(Pad((rows, columns), value, mode), ((3, 4),), (interval(rng),), meaning)


def upsample(rng: np.random.Generator) -> Case:
    u, v = (int(f) for f in rng.integers(1, 4, 2))

    def meaning(x: IntArray) -> IntArray:
        return np.array([[x[r // u, c // v] for c in range(4 * v)] for r in range(3 * u)])

    return Case(Upsample((u, v)), ((3, 4, 2),), (interval(rng),), meaning)


def depth_to_space(rng: np.random.Generator) -> Case:
    mode = str(rng.choice(["DCR", "CRD"]))

    def meaning(x: IntArray) -> IntArray:
        out = np.empty((4, 6, 3), dtype=np.int64)
        for r, c, k in np.ndindex(out.shape):
            block = r % 2 * 2 + c % 2
            out[r, c, k] = x[r // 2, c // 2, block * 3 + k if mode == "DCR" else k * 4 + block]
        return out

    return Case(DepthToSpace(2, mode), ((2, 3, 12),), (interval(rng),), meaning)


def lut(rng: np.random.Generator) -> Case:
    pieces = int(rng.integers(1, 9))
    breaks = np.sort(rng.integers(-25, 25, (int(rng.choice([1, 3])), pieces - 1)), axis=1)
    values = rng.integers(-300, 300, (int(rng.choice([1, 3])), pieces))
    kind = interval(rng, int(rng.choice([20, 2**20])))

    def meaning(x: IntArray) -> IntArray:
        out = np.empty(x.shape, dtype=np.int64)
        for i in np.ndindex(x.shape):
            row = breaks[i[-1] % len(breaks)]
            out[i] = values[i[-1] % len(values), sum(int(x[i]) >= int(t) for t in row)]
        return out

    return Case(Lut(breaks, values), ((2, 3),), (kind,), meaning)


def argmax(rng: np.random.Generator) -> Case:
    def meaning(x: IntArray) -> IntArray:
        return np.array([[row.tolist().index(max(row.tolist()))] for row in x])

    return Case(ArgMax(), ((2, 4),), (interval(rng, 3),), meaning)


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "dense": dense,
    "conv": conv,
    "matmul": matmul,
    "threshold": threshold,
    "requant": requant,
    "lut": lut,
    "add": add,
    "mul": mul,
    "concat": concat,
    "slice": slicing,
    "max_pool": max_pool,
    "sum_pool": a_sum_pool,
    "global_sum": global_sum,
    "pad": padding,
    "reshape": reshape,
    "transpose": transpose,
    "upsample": upsample,
    "depth_to_space": depth_to_space,
    "argmax": argmax,
}
if missing := set(OPS) - set(CASES):
    raise AssertionError(f"ops without a test case: {missing}")


def port(tensor: Tensor) -> Port:
    return Port(tensor.name, tensor.name, tensor.shape, Layout(tensor.shape, tuple(range(len(tensor.shape)))))


def one_node(op: str, case: Case) -> Graph:
    xs = [
        Tensor(f"x{i}", shape, kind)
        for i, (shape, kind) in enumerate(zip(case.shapes, case.intervals, strict=True))
    ]
    y = Tensor("y", *OPS[op].infer(case.params, *xs))
    node = Node(op, "n", tuple(x.name for x in xs), "y", case.params)
    return check(
        Graph("g", tuple(map(port, xs)), (port(y),), (node,), {t.name: t for t in (*xs, y)}),
    )


def draw(rng: np.random.Generator, case: Case, rows: int = 6) -> dict[str, IntArray]:
    """Random rows; the first two are the lowest and the highest integers."""
    codes = {}
    for i, (shape, kind) in enumerate(zip(case.shapes, case.intervals, strict=True)):
        x = rng.integers(kind.lo, kind.hi + 1, (rows, *shape))
        x[0], x[1] = kind.lo, kind.hi
        codes[f"x{i}"] = x
    return codes


@pytest.mark.parametrize("op", list(OPS))
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_meaning_interval_and_engine(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = CASES[op](rng)
    graph, codes = one_node(op, case), draw(rng, case)
    plain = run(graph, codes, Engine.REFERENCE)["y"]
    fast = run(graph, codes)["y"]
    assert np.array_equal(
        plain, np.stack([case.meaning(*rows) for rows in zip(*codes.values(), strict=True)])
    )
    assert np.array_equal(fast, plain)
    assert np.array_equal(run(graph, codes, Engine.ONNXRUNTIME)["y"], plain)
    kind = graph.tensors["y"].type
    assert kind.lo <= plain.min()
    assert plain.max() <= kind.hi
    assert plain.shape[1:] == graph.tensors["y"].shape


ATTAINED = ("concat", "sum_pool", "global_sum", "slice", "upsample", "depth_to_space", "max_pool", "pad")


@pytest.mark.parametrize("op", ATTAINED)
@pytest.mark.parametrize("seed", range(20))
def test_intervals_of_monotone_ops_are_reached_by_constant_inputs(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = CASES[op](rng)
    graph = one_node(op, case)
    y = run(graph, draw(rng, case, rows=2), Engine.REFERENCE)["y"]
    assert IntType(int(y.min()), int(y.max())) == graph.tensors["y"].type


@pytest.mark.parametrize("seed", range(20))
def test_intervals_of_tables_products_and_sums_are_reached(seed: int) -> None:
    """Over every combination of ends; a table over every integer."""
    rng = np.random.default_rng(seed)
    for op in ("lut", "mul", "add"):
        case = CASES[op](rng)
        graph = one_node(op, case)
        ends = [range(k.lo, k.hi + 1) if op == "lut" else (k.lo, k.hi) for k in case.intervals]
        if any(len(e) > 1000 for e in ends):
            continue
        rows = list(product(*ends))
        codes = {
            f"x{i}": np.stack([np.full(shape, row[i]) for row in rows]) for i, shape in enumerate(case.shapes)
        }
        y = run(graph, codes, Engine.REFERENCE)["y"]
        assert IntType(int(y.min()), int(y.max())) == graph.tensors["y"].type, op


def test_a_square_is_never_negative() -> None:
    x = Tensor("x", (2,), IntType(-3, 2))
    assert OPS["mul"].infer(Mul(), x, x)[1] == IntType(0, 9)
    assert OPS["mul"].infer(Mul(), x, replace(x, name="y"))[1] == IntType(-6, 9)


@pytest.mark.parametrize("seed", range(20))
def test_input_dilated_convolutions_reach_their_interval(seed: int) -> None:
    """As narrow as the taps that meet pixels at one position allow."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-8, 8, (int(rng.integers(1, 5)), int(rng.integers(1, 5)), 1, 1))
    strides, pads = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (int(rng.integers(0, 4)), 1, 2, 0)
    spaced = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    params = Conv(weight, strides, pads, input_dilations=spaced)
    graph = one_node("conv", Case(params, ((9, 9, 1),), (IntType(-1, 1),), lambda x: x))
    out = graph.tensors["y"].shape
    index = np.eye(81, dtype=np.int64).reshape(81, 9, 9, 1)
    columns = run(graph, {"x0": index}, Engine.REFERENCE)["y"].reshape(81, -1)
    assert np.abs(columns).sum(axis=0).max() == graph.tensors["y"].type.hi == -graph.tensors["y"].type.lo
    assert OPS["conv"].macs(params, graph.tensors["y"]) <= out[0] * out[1] * weight.size


def test_a_pad_of_nothing_with_a_value_beyond_the_type() -> None:
    graph = one_node("pad", CASES["pad"](np.random.default_rng(1210)))
    x = np.zeros((1, *graph.tensors[graph.inputs[0].tensor].shape), dtype=np.int64)
    assert np.array_equal(run(graph, {graph.inputs[0].tensor: x})[graph.outputs[0].tensor], x)


@pytest.mark.parametrize("seed", range(5))
def test_accumulator_intervals_are_reached(seed: int) -> None:
    """As narrow as provably possible: both ends of a dense layer's interval occur."""
    rng = np.random.default_rng(seed)
    case = dense(rng)
    graph = one_node("dense", case)
    weight = case.params.weight
    lo, hi = case.intervals[0].lo, case.intervals[0].hi
    up, down = np.where(weight.T > 0, hi, lo), np.where(weight.T > 0, lo, hi)
    y = run(graph, {"x0": np.concatenate([up, down])}, Engine.REFERENCE)["y"]
    assert (int(y.min()), int(y.max())) == (graph.tensors["y"].type.lo, graph.tensors["y"].type.hi)


@pytest.mark.parametrize("bits", [20, 30])
def test_products_beyond_float32_stay_exact(bits: int) -> None:
    """Sums just beyond 2**24 and 2**53: float32 or float64 would round them."""
    weight = np.array([[2**bits - 1], [2**bits - 1], [1]])
    graph = one_node("dense", Case(Dense(weight), ((3,),), (IntType(0, 2**bits - 1),), lambda x: x))
    x = np.array([[2**bits - 1, 2**bits - 3, 1], [2**bits - 1, 2**bits - 1, 2]])
    expected = [
        [int(v) for v in [sum(int(a) * int(b) for a, b in zip(row, weight[:, 0], strict=True))]] for row in x
    ]
    assert run(graph, {"x0": x})["y"].tolist() == expected


def test_sizes_multiply() -> None:
    out = Tensor("y", (4, 4, 3), IntType(0, 1))
    weight = np.ones((3, 3, 2, 3), dtype=np.int64)
    assert OPS["conv"].macs(Conv(weight), out) == 16 * prod(weight.shape)
    transposed = Conv(weight, input_dilations=(2, 2))
    assert OPS["conv"].macs(transposed, out) == 4 * prod(weight.shape)
    a, b = Tensor("a", (4, 5), IntType(0, 1)), Tensor("b", (5, 3), IntType(0, 1))
    assert OPS["matmul"].macs(MatMul(), Tensor("y", (4, 3), IntType(0, 5)), a, b) == 60


@pytest.mark.parametrize("power", [23, 24, 25, 52, 53, 54, 60])
@pytest.mark.parametrize("op", ["add", "mul", "matmul", "sum_pool", "global_sum", "concat", "pad", "lut"])
def test_every_number_type_is_exact_at_its_end(op: str, power: int) -> None:
    """Odd integers just below a power of two, alone and behind a layer that leaves floats."""
    one, big = IntType(0, 1), IntType(-(2**power) + 1, 2**power - 1)
    pair = (np.ones((2, 1), dtype=np.int64), np.zeros(1, dtype=np.int64))
    half = IntType(big.lo // 2, big.hi // 2)
    cases = {
        "add": Case(Add(*pair), ((4,), (4,)), (half, half), lambda x: x),
        "mul": Case(Mul(), ((4,), (4,)), (big, one), lambda x: x),
        "matmul": Case(MatMul(), ((2, 2), (2, 2)), (half, one), lambda x: x),
        "sum_pool": Case(SumPool((1, 2), (1, 1)), ((1, 4, 1),), (half,), lambda x: x),
        "global_sum": Case(GlobalSum((0,)), ((2, 2),), (half,), lambda x: x),
        "concat": Case(Concat(0), ((2,), (2,)), (big, one), lambda x: x),
        "pad": Case(Pad(((1, 0),), big.hi), ((4,),), (one,), lambda x: x),
        "lut": Case(Lut(np.array([[big.hi]]), np.array([[big.lo, big.hi]])), ((4,),), (big,), lambda x: x),
    }
    case, rng = cases[op], np.random.default_rng(power)
    graph, codes = behind_floats(one_node(op, case)), draw(rng, case, rows=40)
    assert np.array_equal(run(graph, codes)["y"], run(graph, codes, Engine.REFERENCE)["y"])


def behind_floats(graph: Graph) -> Graph:
    """With a sum of one term before every input."""
    one, none = np.ones((1, 1), dtype=np.int64), np.zeros(1, dtype=np.int64)
    nodes, tensors = [], dict(graph.tensors)
    for name in graph.nodes[0].inputs:
        tensors[f"{name}.f"] = replace(tensors[name], name=f"{name}.f")
        nodes.append(Node("add", f"{name}.n", (name,), f"{name}.f", Add(one, none)))
    last = replace(graph.nodes[0], inputs=tuple(f"{t}.f" for t in graph.nodes[0].inputs))
    return check(replace(graph, nodes=(*nodes, last), tensors=tensors))


X3, WIDE = Tensor("x", (4, 4, 8), IntType(-3, 4)), Tensor("w", (4, 4, 8), IntType(0, 2**61))
ONE = np.ones((1, 1), dtype=np.int64)


@pytest.mark.parametrize(
    ("op", "params", "inputs", "message"),
    [
        ("add", Add(ONE, ONE[0]), (X3, X3), "multipliers"),
        ("add", Add(ONE.repeat(2, 0), ONE[0]), (X3, replace(X3, shape=(4, 8))), "rank"),
        ("add", Add(ONE.repeat(2, 0), ONE[0]), (WIDE, WIDE), "62 bits"),
        ("add", Add(ONE * 2**40, ONE[0]), (WIDE,), "62 bits"),
        ("add", Add(ONE, ONE[0] * (2**62 - 2)), (X3,), "62 bits"),
        ("add", Add(ONE.repeat(3, 1), ONE[0]), (X3,), "multipliers"),
        ("mul", Mul(), (WIDE, X3), "62 bits"),
        ("mul", Mul(), (X3, replace(X3, shape=(3, 4, 8))), "broadcast"),
        ("matmul", MatMul(), (X3, X3), "multiply matrices"),
        ("matmul", MatMul(), (replace(WIDE, shape=(4, 4)), replace(X3, shape=(4, 4))), "62 bits"),
        ("concat", Concat(3), (X3,), "join"),
        ("concat", Concat(0), (X3, replace(X3, shape=(4, 4, 7))), "join"),
        ("slice", Slice(0, 2, 2), (X3,), "slices"),
        ("slice", Slice(0, -1, 2), (X3,), "slices"),
        ("slice", Slice(0, 0, 5), (X3,), "slices"),
        ("slice", Slice(0, 0, 4, 0), (X3,), "slices"),
        ("slice", Slice(3, 0, 1), (X3,), "slices"),
        ("sum_pool", SumPool((2, 2), (1, 1), (2, 0, 0, 0), count_pads=False), (X3,), "only padding"),
        ("sum_pool", SumPool((2, 2), (1, 1)), (WIDE,), "62 bits"),
        ("sum_pool", SumPool((2, 2), (0, 1)), (X3,), "strides"),
        ("global_sum", GlobalSum(()), (X3,), "sums axes"),
        ("global_sum", GlobalSum((0, 0)), (X3,), "sums axes"),
        ("global_sum", GlobalSum((-1,)), (X3,), "sums axes"),
        ("global_sum", GlobalSum((0,)), (WIDE,), "62 bits"),
        ("pad", Pad(((0, 0), (0, 0))), (X3,), "pads"),
        ("pad", Pad(((0, -1), (0, 0), (0, 0))), (X3,), "pads"),
        ("pad", Pad(((0, 4), (0, 0), (0, 0)), mode="reflect"), (X3,), "reflects"),
        ("pad", Pad(((0, 2**40), (0, 0), (0, 0))), (X3,), "elements"),
        ("pad", Pad(((0, 1), (0, 0), (0, 0)), mode="wrap"), (X3,), "mode"),
        ("pad", Pad(((0, 1), (0, 0), (0, 0)), 2**62), (X3,), "62 bits"),
        ("upsample", Upsample((2**30, 2**30)), (X3,), "elements"),
        ("upsample", Upsample((0, 1)), (X3,), "upsamples"),
        ("depth_to_space", DepthToSpace(3, "DCR"), (X3,), "depth to space"),
        ("depth_to_space", DepthToSpace(0, "DCR"), (X3,), "depth to space"),
        ("depth_to_space", DepthToSpace(2, "RCD"), (X3,), "mode"),
        ("lut", Lut(np.array([[2, 1]]), np.array([[1, 2, 3]])), (X3,), "fall"),
        ("lut", Lut(np.array([[1, 2]]), np.array([[1, 2]])), (X3,), "table"),
        ("lut", Lut(np.array([[1]] * 3), np.array([[1, 2]])), (X3,), "table"),
        ("conv", Conv(np.ones((1, 1, 8, 1), dtype=np.int64), input_dilations=(0, 1)), (X3,), "dilation"),
        ("conv", Conv(np.ones((1, 1, 8, 1), dtype=np.int64), input_dilations=(1, 2**40)), (X3,), "dilation"),
    ],
)
def test_misfits_are_refused(op: str, params: Any, inputs: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPS[op].infer(params, *inputs)
