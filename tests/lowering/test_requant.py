"""Requantisation synthesis: every form equals its table on every reachable integer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check, load
from hwq.lowering.pending import scale_by, shift_by
from hwq.lowering.requant import Form, _one_slope, _proof, levels, synthesise
from hwq.lowering.thresholds import NO_TIE, Quantizer, find
from hwq.ops import OPS
from hwq.ops.requant import Requant, Slope, arrays, intermediate
from hwq.ops.threshold import Threshold
from hwq.rounding import IntArray, Rounding


def apply(form: Form, x: IntArray) -> IntArray:
    op = "requant" if isinstance(form.params, Requant) else "threshold"
    return OPS[op].run(form.params, x)


def table_values(thresholds: IntArray, base: int, x: IntArray) -> IntArray:
    """(points, channels): base plus the number of thresholds reached."""
    reached = x[:, None, None] >= thresholds[None, :, :]
    return np.asarray(base + reached.sum(axis=2))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_every_form_equals_its_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels, levels = int(rng.integers(1, 4)), int(rng.integers(1, 17))
    lo, hi = -int(rng.integers(1, 400)), int(rng.integers(1, 400))
    if rng.integers(2):
        slope, offset = rng.uniform(0.005, 0.5, (channels, 1)), rng.uniform(-3, 3, (channels, 1))
        thresholds = np.ceil((np.arange(1, levels + 1) - 0.5 - offset) / slope).astype(np.int64)
    else:
        thresholds = np.sort(rng.integers(lo - 2, hi + 3, (channels, levels)), axis=1)
    thresholds = np.clip(thresholds, lo, hi + 1)
    base = int(rng.integers(-8, 3))
    ends = np.array([lo]), np.array([hi])
    form = synthesise(thresholds, base, 1, IntType(lo, hi), *ends)
    x = np.arange(lo, hi + 1)
    got = apply(form, np.repeat(x[:, None], channels, axis=1))
    assert np.array_equal(got, table_values(thresholds, base, x))


def quantiser(bits: int, step: float, rounding: Rounding = Rounding.HALF_EVEN) -> Quantizer:
    return Quantizer(np.array([step]), 0, 0, 2**bits - 1, rounding)


def synthesised(factor: float, quantizer: Quantizer, lo: int, hi: int) -> Form:
    ends = np.array([lo]), np.array([hi])
    table = find((scale_by(np.array([factor])),), quantizer, *ends)
    return synthesise(table.thresholds, quantizer.base, 1, IntType(lo, hi), *ends)


def test_power_of_two_scales_with_half_even_ties_become_a_half_even_shift() -> None:
    form = synthesised(2.0**-6, quantiser(6, 2.0**-2), -1000, 1000)
    assert form.text == "shift 4, half to even"


def test_floor_rounding_becomes_a_plain_shift() -> None:
    form = synthesised(2.0**-6, quantiser(6, 2.0**-2, Rounding.FLOOR), -1000, 1000)
    assert form.text == "shift 4"


def test_few_levels_become_a_compare_tree() -> None:
    assert synthesised(0.0371, quantiser(1, 1.0), -50, 50).text == "compare tree, 1 thresholds"


def test_float_scale_becomes_multiply_and_shift() -> None:
    form = synthesised(0.0371, quantiser(6, 0.9), -3000, 3000)
    assert isinstance(form.params, Requant)
    assert form.text.startswith("(a*M + B) >> ")


def test_unequal_steps_stay_thresholds() -> None:
    thresholds = np.array([[0, 1, 50, 51, 52, 90]])
    form = synthesise(thresholds, 0, 1, IntType(-100, 100), np.array([-100]), np.array([100]))
    assert isinstance(form.params, Threshold)


@pytest.mark.parametrize(("offset", "threshold", "tie"), [(0.0, 2, 1), (1.0, 1, 0), (0.25, 1, NO_TIE)])
def test_a_tie_falls_as_half_even_says_and_is_recorded(offset: float, threshold: int, tie: int) -> None:
    steps = (scale_by(np.array([0.5])), shift_by(np.array([offset])))
    level = 1 if offset != 1.0 else 2
    table = find(steps, quantiser(3, 1.0), np.array([-20]), np.array([20]))
    if offset == 1.0:  # 0.5·a + 1 = 1.5 at a = 1 goes up to the even 2
        assert table.thresholds[0, level - 1] == 1
        assert table.ties[0, level - 1] == 1
    else:  # 0.5·a = 0.5 at a = 1 goes down to the even 0
        assert table.thresholds[0, 0] == threshold
        assert table.ties[0, 0] == tie


def test_constant_channels_are_always_or_never_reached() -> None:
    steps = (scale_by(np.array([0.0, 0.0])), shift_by(np.array([-5.0, 5.0])))
    table = find(steps, quantiser(2, 1.0), np.array([-9]), np.array([9]))
    assert (table.thresholds[0] == 10).all()
    assert (table.thresholds[1] == -9).all()


def test_threshold_op_interval_knows_dead_channels() -> None:
    params = Threshold(np.array([[10, 10, 10]]), 0)
    assert OPS["threshold"].infer(params, Tensor("x", (1,), IntType(-9, 9)))[1] == IntType(0, 0)


def leaky_table(
    rng: np.random.Generator, slopes: tuple[float, float], bits: int, channels: int, *, offset: bool
) -> tuple[IntArray, int, int, int]:
    """Exact thresholds over -reach..reach of round(slope·(x·scale + offset)), slope by the sign; half goes up."""
    base, count, reach = -(2 ** (bits - 1)), 2**bits - 1, int(rng.integers(50, 1500))
    x = np.arange(-reach, reach + 1)
    scale = rng.uniform(0.5, 2, channels) * 2.0**bits / reach
    if rng.integers(2):
        scale = np.exp2(np.round(np.log2(scale)))
    shift = rng.uniform(-2, 2, channels) if offset else np.zeros(channels)
    z = x[:, None] * scale + shift
    code = np.floor(z * np.where(z < 0, slopes[0], slopes[1]) + 0.5)
    table = np.stack(
        [[np.searchsorted(code[:, c], base + 1 + k) - reach for k in range(count)] for c in range(channels)]
    )
    return table.astype(np.int64), base, -reach, reach


@pytest.mark.parametrize("slopes", [(0.1, 1.0), (0.125, 1.0), (0.01, 1.0), (1.0, 0.25), (1.0, 0.1)])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_two_slopes_equal_their_table(slopes: tuple[float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels, bits = int(rng.integers(1, 4)), int(rng.integers(2, 8))
    table, base, lo, hi = leaky_table(rng, slopes, bits, channels, offset=bool(rng.integers(2)))
    form = synthesise(table, base, 1, IntType(lo, hi), np.array([lo]), np.array([hi]))
    x = np.arange(lo, hi + 1)
    got = apply(form, np.repeat(x[:, None], channels, axis=1))
    assert np.array_equal(got, table_values(table, base, x))


@pytest.mark.parametrize("slope", [0.1, 0.125, 0.01])
@pytest.mark.parametrize("offset", [False, True])
def test_a_leaky_relu_of_many_levels_takes_two_slopes(slope: float, offset: bool) -> None:
    table, base, lo, hi = leaky_table(np.random.default_rng(3), (slope, 1.0), 7, 4, offset=offset)
    form = synthesise(table, base, 1, IntType(lo, hi), np.array([lo]), np.array([hi]))
    assert form.text.startswith("two slopes, (a*M + B) >> ")
    assert isinstance(form.params, Requant)
    assert form.params.low is not None
    assert form.params.low.pivot.any() == offset


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_integers_that_cannot_occur_are_free(seed: int) -> None:
    """Sums such as 5·a + 7·b leave gaps; every reachable integer still gives its level."""
    rng = np.random.default_rng(seed)
    x = np.unique(rng.integers(-600, 600, int(rng.integers(4, 80))))
    count = int(rng.integers(1, 16))
    code = np.floor(x * rng.uniform(0.005, 0.05) + rng.uniform(0, 3))
    first = np.searchsorted(code, np.arange(1, count + 1))
    least = np.append(x, x[-1] + 1)[first][None]
    below = np.append(x[0] - 1, x)[first][None]
    ends = np.array([x[0]]), np.array([x[-1]])
    form = synthesise(least, 0, 1, IntType(int(x[0]), int(x[-1])), *ends, below)
    assert np.array_equal(apply(form, x[:, None])[:, 0], np.clip(code, 0, count))
    assert form.cost <= synthesise(least, 0, 1, IntType(int(x[0]), int(x[-1])), *ends).cost


def test_gaps_give_unequal_steps_a_multiplier() -> None:
    least = (np.arange(31) * 10 + np.random.default_rng(0).integers(0, 5, 31))[None]
    ends = IntType(-100, 400), np.array([-100]), np.array([400])
    assert synthesise(least, 0, 1, *ends).text == "compare tree, 31 thresholds"
    assert synthesise(least, 0, 1, *ends, least - 6).text.startswith("(a*M + B) >> ")


@pytest.mark.parametrize("seed", range(12))
def test_no_form_of_fewer_bits_exists(seed: int) -> None:
    """Brute force over all floor forms with a multiplier of fewer bits, every shift up to 9."""
    rng = np.random.default_rng(seed)
    reach = 120
    slope, offset = rng.uniform(0.06, 0.11), rng.uniform(-1, 1)
    thresholds = np.ceil((np.arange(1, 16) - offset) / slope).astype(np.int64)[None]
    thresholds = np.clip(thresholds, -reach, reach + 1)
    ends = np.array([-reach]), np.array([reach])
    x = np.arange(-reach, reach + 1)
    want = table_values(thresholds, 0, x)[:, 0]
    floors = [p for p in _one_slope(levels(thresholds, 0, *ends), reach, 0, 15) if not p.half_even]
    fewest = min(int(p.mult.max()).bit_length() for p in floors)
    for shift in range(10):
        for mult in range(1, 2 ** (fewest - 1)):
            for start in range(1 << shift):
                for add in (start, start - (1 << shift), start + (1 << shift)):
                    got = np.clip((x * mult + add) >> shift, 0, 15)
                    assert not np.array_equal(got, want), (mult, add, shift)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_two_slopes_mean_what_they_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels, shift, half_even = int(rng.choice([1, 3])), int(rng.integers(1, 6)), bool(rng.integers(2))
    mult, add, pivot, low, low_add = rng.integers(-9, 10, (5, channels)) * np.array([[1], [3], [2], [1], [3]])
    params = Requant(mult, add, shift, half_even, -7, 7, Slope(pivot, low, low_add))
    lo = int(rng.integers(-25, 5))
    kind = IntType(lo, lo + int(rng.integers(0, 40)))
    x = np.repeat(np.arange(kind.lo, kind.hi + 1)[:, None], 3, axis=1)
    got = OPS["requant"].run(params, x)
    wide = intermediate(params, kind)
    for i, c in np.ndindex(x.shape):
        a, k = int(x[i, c]), c if channels > 1 else 0
        low = params.low is not None and a < params.low.pivot[k]
        m, b = (params.low.mult, params.low.add) if low and params.low else (params.mult, params.add)
        value = a * int(m[k]) + int(b[k])
        exact = Fraction(value, 2**shift)
        assert got[i, c] == min(max(round(exact) if half_even else floor(exact), -7), 7)
        assert wide.lo <= value <= wide.hi
    inferred = OPS["requant"].infer(params, Tensor("x", (3,), kind))[1]
    assert (inferred.lo, inferred.hi) == (got.min(), got.max())


def test_a_wrong_form_has_no_proof() -> None:
    """Each number of a two-slope form, moved, makes some boundary differ."""
    table, base, lo, hi = leaky_table(np.random.default_rng(3), (0.125, 1.0), 7, 1, offset=True)
    ends = np.array([lo]), np.array([hi])
    params = synthesise(table, base, 1, IntType(lo, hi), *ends).params
    found = levels(table, base, *ends)
    assert isinstance(params, Requant)
    assert params.low is not None
    assert _proof(params, found)
    unit = 1 << params.shift
    for wrong in (
        replace(params, add=params.add + unit),
        replace(params, mult=params.mult + params.mult // 4 + 1),
        replace(params, low=replace(params.low, add=params.low.add - unit)),
        replace(params, low=replace(params.low, mult=params.low.mult * 2 + 1)),
        replace(params, low=replace(params.low, pivot=params.low.pivot + hi // 2)),
        replace(params, low=replace(params.low, pivot=params.low.pivot - hi // 2)),
        replace(params, low=None),
    ):
        assert not _proof(wrong, found)


def test_one_multiplier_serves_all_channels_where_it_can() -> None:
    thresholds = np.ceil((np.arange(1, 64) + np.array([[0.1], [7.3], [-5.2]])) / 0.05).astype(np.int64)
    form = synthesise(thresholds, 0, 1, IntType(-3000, 3000), np.array([-3000]), np.array([3000]))
    assert isinstance(form.params, Requant)
    assert form.params.mult.size == 1


def test_two_slopes_survive_a_file(tmp_path: Path) -> None:
    one = np.ones(1, dtype=np.int64)
    params = Requant(one * 5, one, 3, half_even=False, lo=-8, hi=7, low=Slope(one * -2, one, one * 4))
    x = Tensor("x", (2,), IntType(-9, 9))
    shape, kind = OPS["requant"].infer(params, x)
    tensors = {"x": x, "y": Tensor("y", shape, kind)}
    ports = [Port(n, n, (2,), Layout((2,), (0,))) for n in tensors]
    graph = check(Graph("g", (ports[0],), (ports[1],), (Node("requant", "n", ("x",), "y", params),), tensors))
    graph.save(tmp_path / "g.hwq")
    read = load(tmp_path / "g.hwq").nodes[0].params
    assert read.low is not None
    assert all(
        np.array_equal(a, b) for a, b in zip(arrays(read).values(), arrays(params).values(), strict=True)
    )
