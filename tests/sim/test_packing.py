"""Several samples in one float: exact up to the last integer that the bound allows."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hwq.rounding import IntArray
from hwq.sim.packing import best, pack, scratch, unpack

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.mark.parametrize("seed", range(60))
def test_products_of_packed_samples_come_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth, wide, high = int(rng.integers(1, 600)), int(rng.integers(1, 5)), int(rng.choice([1, 3, 15, 255]))
    weight = rng.integers(-wide, wide + 1, (depth, 4))
    x = rng.integers(0, high + 1, (int(rng.integers(1, 14)), depth))
    x[0] = np.where(weight[:, 0] > 0, high, 0)  # an extreme beside others
    bound = max(1, high * int(np.abs(weight).sum(axis=0).max()))
    packing = best(bound, bound, depth)
    packed = np.empty((-(-len(x) // packing.samples), depth), dtype=packing.dtype)
    count = pack(x, packed, packing)
    results = [v.copy() for v in unpack(packed @ weight.astype(packing.dtype), count, packing)]
    together: IntArray = np.concatenate(results)[: len(x)].astype(np.int64)
    assert np.array_equal(together, x @ weight)


@pytest.mark.parametrize("bound", [1, 2, 100, 511, 512, 2047, 2048, 2**17, 2**24, 2**25, 2**53, 2**54])
@pytest.mark.parametrize("depth", [1, 30, 1000])
def test_bounds_are_kept(bound: int, depth: int) -> None:
    packing = best(bound, bound, depth)
    if packing.dtype == np.int64:
        assert bound > 2**53
        return
    assert bound * packing.total <= 2 ** (24 if packing.dtype == F32 else 53)
    assert packing.samples == 1 or packing.base > 2 * bound


@pytest.mark.parametrize("result", [1, 3, 17, 100, 154, 2047, 2048, 2424, 2890, 5000, 5780, 2**14, 30_000])
def test_extremes_next_to_each_other(result: int) -> None:
    packing = best(result, result, 2000)
    assert packing.samples > 1
    ends = np.array([result, -result, 0, 1, -1, result - 1])
    x = np.stack(np.meshgrid(*[ends] * packing.samples), axis=-1).reshape(-1, packing.samples).T
    packed = np.empty((1, x.shape[1]), dtype=packing.dtype)
    assert pack(x, packed, packing) == packing.samples
    assert np.array_equal(np.concatenate([v.copy() for v in unpack(packed, packing.samples, packing)]), x)


def test_bases_between_powers_of_two_are_used() -> None:
    assert best(2424, 2424, 27).samples == 2
    assert best(2424, 2424, 27).base < 8192
    assert best(2890, 2890, 27).dtype == F32


def test_threads_have_buffers_of_their_own() -> None:
    mine = scratch.get("a", (3,), np.float32)
    assert scratch.get("a", (3,), np.float32) is mine
    theirs = []
    thread = threading.Thread(target=lambda: theirs.append(scratch.get("a", (3,), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, theirs[0])
