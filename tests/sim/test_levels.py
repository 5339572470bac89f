"""Requantisation as thresholds: equal to the op on every integer of the interval."""

from __future__ import annotations

import numpy as np
import pytest

from hwq.ir import IntType, Node
from hwq.ops.requant import Requant, Slope, apply
from hwq.ops.threshold import Threshold, run
from hwq.rounding import IntArray
from hwq.sim.levels import Levels, levels


def value(table: Levels, x: IntArray) -> IntArray:
    met = x[:, :, None] >= table.thresholds[None]
    return np.asarray(table.base + table.step * met.sum(axis=2))


def node(params: Requant | Threshold) -> Node:
    op = "requant" if isinstance(params, Requant) else "threshold"
    return Node(op, "n", ("x",), "y", params)


@pytest.mark.parametrize("seed", range(400))
def test_requantisations_are_their_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels, shift = int(rng.choice([1, 3])), int(rng.integers(0, 7))
    lo = -int(rng.integers(0, 60))
    interval = IntType(lo, lo + int(rng.integers(0, 120)))
    low = None
    if shift and rng.integers(2):
        low = Slope(
            rng.integers(-30, 30, channels), rng.integers(0, 9, channels), rng.integers(-99, 99, channels)
        )
    mult, add = rng.integers(-1, 12, channels), rng.integers(-99, 99, channels)
    ends = -int(rng.integers(0, 9)), int(rng.integers(0, 9))
    params = Requant(mult, add, shift, bool(rng.integers(2)), *ends, low)
    x = np.broadcast_to(
        np.arange(interval.lo, interval.hi + 1)[:, None], (interval.hi - interval.lo + 1, channels)
    )
    expected, table = apply(params, x), levels(node(params), interval)
    if table is None:
        assert low is not None or (mult < 0).any()
        return
    assert np.array_equal(value(table, x), expected)
    assert (table.thresholds > interval.lo).any(axis=0).all()
    assert (table.thresholds <= interval.hi).any(axis=0).all()


@pytest.mark.parametrize("step", [-2, 1, 3])
def test_thresholds_outside_the_interval_are_dropped(step: int) -> None:
    params = Threshold(np.array([[-9, -3, 0, 4, 99], [-8, -2, 1, 50, 98]]), base=7, step=step)
    x = np.broadcast_to(np.arange(-5, 6)[:, None], (11, 2))
    table = levels(node(params), IntType(-5, 5))
    assert table is not None
    assert table.count == 3
    assert np.array_equal(value(table, x), run(params, x))
