"""Requantisation synthesis: every form equals its table on every reachable integer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.ir import IntType, Tensor
from hwq.lowering.pending import scale_by, shift_by
from hwq.lowering.requant import Form, synthesise
from hwq.lowering.thresholds import NO_TIE, Quantizer, find
from hwq.ops import OPS
from hwq.ops.requant import Requant
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
