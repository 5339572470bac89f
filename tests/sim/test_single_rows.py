"""One sample has ways of its own: vector products, and strips of one image in one number."""

from __future__ import annotations

import numpy as np
import pytest

from hwq import sim
from hwq.ir import Graph, IntType
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.threshold import Threshold
from hwq.rounding import IntArray
from hwq.sim import products
from hwq.sim.packing import best
from tests.sim.test_engines import chain


@pytest.mark.parametrize("size", [(3, 5), (9, 8), (12, 7), (30, 30), (33, 30)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 1, 0), (1, 0, 0, 1), (3, 1, 0, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pooled", [False, True])
def test_one_image_equals_the_reference(
    size: tuple[int, int], pads: tuple[int, int, int, int], stride: int, pooled: bool
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-1, 2, (3, 3, 32, 32))
    thresholds = np.sort(rng.integers(-20, 20, (32, 3)), axis=1)
    layers = [Conv(weight, (stride, stride), pads), Threshold(thresholds, 0, 1)]
    height = (size[0] + pads[0] + pads[2] - 3) // stride + 1
    width = (size[1] + pads[1] + pads[3] - 3) // stride + 1
    if pooled and min(height, width) >= 2:
        layers.append(MaxPool((2, 2), (2, 2)))
    graph = chain((*size, 32), IntType(0, 3), *layers)
    codes = {"t0": rng.integers(0, 4, (1, *size, 32))}
    expected = sim.run(graph, codes, sim.Engine.REFERENCE)
    (made,), (wanted,) = sim.run(graph, codes).values(), expected.values()
    assert np.array_equal(made, wanted)


@pytest.mark.parametrize("high", [1, 3, 15, 255])
@pytest.mark.parametrize("shape", [(3, 3, 64, 61), (1, 1, 300, 127), (2, 5, 32, 129)])
def test_several_outputs_in_one_number(high: int, shape: tuple[int, int, int, int]) -> None:
    """Weights that are large enough to be packed, and inputs that drive sums to their ends."""
    rng = np.random.default_rng(high)
    weight = rng.integers(-2, 3, shape)
    interval = IntType(-high, high)
    bound = products.magnitude(weight.reshape(-1, shape[3]), interval)
    assert weight.size * 4 >= products._LARGE
    ends = high * np.sign(weight[..., : shape[3] : shape[3] // 6].transpose(3, 0, 1, 2))
    for x in (*ends[::2], *-ends[::3], *rng.integers(-high, high + 1, (2, *shape[:3]))):
        graph = chain(shape[:3], interval, Conv(weight), Threshold(np.array([[-bound, 0, bound]]), 0))
        _same(graph, x[None])
        larger = np.pad(x, ((1, 2), (0, 3), (0, 0)))
        _same(chain(larger.shape, interval, Conv(weight, pads=(0, 1, 1, 0))), larger[None])
        matrix = weight.reshape(-1, shape[3])
        _same(chain((len(matrix),), interval, Dense(matrix)), x.reshape(1, -1))


@pytest.mark.parametrize("stride", [1, 2])
def test_an_image_of_several_blocks(stride: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-7, 8, (3, 3, 5, 8))
    graph = chain((91, 90, 5), IntType(0, 255), Conv(weight, (stride, stride), (1, 1, 1, 1)))
    _same(graph, rng.integers(0, 256, (1, 91, 90, 5)))


def test_outputs_are_packed_where_a_float_holds_several() -> None:
    assert best(300, 300, 576).samples > 1


def _same(graph: Graph, x: IntArray) -> None:
    (made,) = sim.run(graph, {"t0": x}).values()
    (wanted,) = sim.run(graph, {"t0": x}, sim.Engine.REFERENCE).values()
    assert np.array_equal(made, wanted)
