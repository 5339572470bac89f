"""One sample has ways of its own: vector products, and strips of one image in one number."""

from __future__ import annotations

import numpy as np
import pytest

from hwq import sim
from hwq.ir import IntType
from hwq.ops.conv import Conv
from hwq.ops.max_pool import MaxPool
from hwq.ops.threshold import Threshold
from tests.sim.test_engines import chain


@pytest.mark.parametrize("size", [(3, 5), (9, 8), (12, 7), (30, 30)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 1, 0), (3, 1, 0, 1)])
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
