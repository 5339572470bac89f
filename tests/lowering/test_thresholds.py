"""Thresholds and tables against brute force in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwq.exact import Surd, at
from hwq.lowering.branches import Combine, Concatenated
from hwq.lowering.functions import Elu, Transcendental
from hwq.lowering.pending import (
    Affine,
    BatchNorm,
    Clip,
    LeakyRelu,
    Relu,
    Steps,
    channels,
    evaluate_exact,
    scale_by,
    shift_by,
)
from hwq.lowering.thresholds import NO_TIE, Pieces, Quantizer, find, tabulate
from hwq.rounding import Rounding, round_exact

pytestmark = pytest.mark.filterwarnings("error")


def one(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers, dtype=np.float64)


def brute_code(steps: Steps, quantizer: Quantizer, channel: int, point: int) -> int:
    """Level by level, every boundary."""
    real, step = evaluate_exact(steps, point, channel), at(quantizer.step, channel)
    signs = [((real - step * edge).sign(), inclusive) for edge, inclusive in quantizer.boundaries()]
    return quantizer.base + quantizer.stride * sum(s > 0 or (s == 0 and inclusive) for s, inclusive in signs)


def brute_ties(steps: Steps, quantizer: Quantizer, channel: int, point: int) -> bool:
    real, step = evaluate_exact(steps, point, channel), at(quantizer.step, channel)
    return any((real - step * edge).sign() == 0 for edge, _ in quantizer.boundaries())


def code(pieces: Pieces, channel: int, point: int) -> int:
    return int(pieces.values[channel, (point >= pieces.breaks[channel]).sum()])


def silu(*scales: float) -> Steps:
    return (Combine("mul", (scale_by(one(*scales)),), (scale_by(one(*scales)), Transcendental("sigmoid"))),)


def gelu(*scales: float) -> Steps:
    half, root = scale_by(one(0.5)), scale_by(one(float(np.float32(0.5**0.5))))
    x = scale_by(one(*scales))
    return (Combine("mul", (x, half), (x, root, Transcendental("erf"), shift_by(one(1.0)))),)


def lost() -> Steps:
    """``x² - 2·x²``."""
    square = Combine("mul", (), ())
    return (Combine("add", (square,), (square, scale_by(one(-2.0)))),)


MIXED: dict[str, Steps] = {
    "silu": silu(0.25, 0.1),
    "gelu": gelu(0.25, 0.1),
    "hard swish": (
        scale_by(one(0.25, 0.3)),
        Combine("mul", (scale_by(one(0.5)),), (shift_by(one(3.0)), Clip(Surd(0), Surd(6)))),
    ),
    "negative slope": (scale_by(one(0.25, 0.125)), LeakyRelu(one(-0.5))),
    "constant": (Affine(one(0.0, 0.0), one(0.5, 1.0)),),
    "far": (scale_by(one(30.0, 25.0)), Transcendental("exp"), Combine("mul", (), (scale_by(one(-1.0)),))),
    "infinity less infinity": (scale_by(one(30.0, 25.0)), Transcendental("exp"), *lost()),
    "parts": (Concatenated((silu(0.25), (scale_by(one(-0.25)), Relu())), (1, 1)),),
    "norm": (
        BatchNorm(one(1.0, 2.0), one(0.5, -1.0), one(0.0, 2.0), one(3.0, 4.0), Fraction(0)),
        Combine("max", (scale_by(one(-0.5)),), ()),
    ),
}


@pytest.mark.parametrize("case", MIXED)
@pytest.mark.parametrize("mode", [Rounding.HALF_EVEN, Rounding.FLOOR, Rounding.CEIL])
@pytest.mark.parametrize("zero", [0, 3])
def test_tables_equal_brute_force(case: str, mode: Rounding, zero: int) -> None:
    steps = MIXED[case]
    for quantizer in (
        Quantizer(one(0.5), zero, -4, 11, mode),
        Quantizer(one(0.5, 0.3), zero, -1, 1, mode, bipolar=True),
    ):
        lo, hi = np.array([-45, -30]), np.array([40, 60])
        pieces = tabulate(steps, quantizer, lo, hi)
        assert pieces.breaks.shape[1] + 1 == pieces.values.shape[1]
        for c in range(2):
            for a in range(int(lo[c]), int(hi[c]) + 1):
                assert code(pieces, c, a) == brute_code(steps, quantizer, c, a), (c, a)
            expected = [a for a in range(int(lo[c]), int(hi[c]) + 1) if brute_ties(steps, quantizer, c, a)]
            assert pieces.ties[c][pieces.ties[c] != NO_TIE].tolist() == expected
            assert (np.diff(pieces.breaks[c]) >= 0).all()
            assert (pieces.breaks[c] <= hi[c] + 1).all()


def test_a_table_longer_than_a_block() -> None:
    steps, quantizer = silu(2.0**-13), Quantizer(one(0.125), 0, -8, 127, Rounding.HALF_EVEN)
    pieces = tabulate(steps, quantizer, np.array([-(2**17)]), np.array([2**17]))
    for a in range(-(2**17), 2**17, 997):
        assert code(pieces, 0, a) == brute_code(steps, quantizer, 0, a)
    assert (np.diff(pieces.breaks) > 0).all()
    assert (np.diff(pieces.values) != 0).all()
    assert len(pieces.breaks) == 1
    assert pieces.exact_evaluations < 50


def test_tables_of_huge_domains_are_refused() -> None:
    quantizer = Quantizer(one(0.125), 0, -8, 127, Rounding.HALF_EVEN)
    with pytest.raises(ValueError, match="quantise before"):
        tabulate(silu(0.1), quantizer, np.array([0]), np.array([2**20]))
    with pytest.raises(ValueError, match="quantise before"):
        tabulate(silu(*[0.1] * 20), quantizer, np.array([1]), np.array([2**20]))


RISING: dict[str, Steps] = {
    "sigmoid": (scale_by(one(0.25, 0.1)), Transcendental("sigmoid")),
    "tanh": (scale_by(one(0.25, 40.0)), Transcendental("tanh")),
    "erf": (scale_by(one(0.25, 0.1)), Transcendental("erf")),
    "exp": (scale_by(one(0.25, 20.0)), Transcendental("exp")),
    "softplus": (scale_by(one(0.25, 20.0)), Transcendental("softplus")),
    "elu": (scale_by(one(0.25, 20.0)), Elu(Surd(1))),
    "leaky": (scale_by(one(0.25, 0.1)), LeakyRelu(one(0.125, 0.01)), Clip(Surd(-1), Surd(3.5))),
    "tiny": (scale_by(one(0.25)), shift_by(one(0.25, 2.0**-60))),
    "norm": (BatchNorm(one(1.0, 2.0), one(0.5, -1.0), one(0.0, 2.0), one(3.0, 4.0), Fraction(0)),),
    "sum": (Combine("add", (scale_by(one(0.25, 0.1)),), (Transcendental("sigmoid"), Relu())),),
}


@pytest.mark.parametrize("case", RISING)
@pytest.mark.parametrize("mode", [Rounding.HALF_EVEN, Rounding.FLOOR, Rounding.CEIL])
def test_thresholds_equal_brute_force(case: str, mode: Rounding) -> None:
    steps = RISING[case]
    for quantizer in (Quantizer(one(0.25), 1, -3, 6, mode), Quantizer(one(0.25, 0.3), -1, -2, 4, mode)):
        lo, hi = np.array([-45, -30]), np.array([40, 60])
        table = find(steps, quantizer, lo, hi)
        for c in range(max(2, channels(steps))):
            codes = [brute_code(steps, quantizer, c, a) for a in range(int(lo[c]), int(hi[c]) + 1)]
            got = [
                quantizer.base + int((a >= table.thresholds[c]).sum())
                for a in range(int(lo[c]), int(hi[c]) + 1)
            ]
            assert got == codes
            for tie, (edge, _) in zip(table.ties[c].tolist(), quantizer.boundaries(), strict=True):
                exact = (
                    None if tie == NO_TIE else evaluate_exact(steps, tie, c) - at(quantizer.step, c) * edge
                )
                assert exact is None or exact == 0
        assert (tabulate(steps, quantizer, lo, hi).breaks >= lo[:, None]).all()


def test_one_channel_of_many_digits_leaves_the_others_fast() -> None:
    steps: Steps = (scale_by(one(0.25)), shift_by(one(*[0.125] * 63, 2.0**-60)))
    table = find(
        steps, Quantizer(one(0.25), 0, 0, 255, Rounding.HALF_EVEN), np.array([-4000]), np.array([4000])
    )
    assert (table.ties[:63] != NO_TIE).all()
    assert (table.ties[63] == NO_TIE).all()
    assert table.exact_evaluations == 0 or table.exact_evaluations < 2 * 255


def test_large_zero_points_stay_exact() -> None:
    """Boundaries beyond 28 bits times a float32 are no float64: what equals the rounded one is no tie."""
    step, zero = float(np.float32(0.1)), 2**32 - 1
    quantizer = Quantizer(one(step), zero, 0, 15, Rounding.FLOOR)
    for edge, _ in quantizer.boundaries():
        steps: Steps = (shift_by(one(float(edge * Fraction(step)))),)
        for lo in (-1, 0):
            bounds = np.array([lo]), np.array([1])
            table, pieces = find(steps, quantizer, *bounds), tabulate(steps, quantizer, *bounds)
            for a in range(lo, 2):
                expected = brute_code(steps, quantizer, 0, a)
                assert quantizer.base + int((a >= table.thresholds[0]).sum()) == expected
                assert code(pieces, 0, a) == expected


def test_codes_that_change_between_two_blocks() -> None:
    quantizer = Quantizer(one(1.0), 0, 0, 3, Rounding.FLOOR)
    pieces = tabulate((scale_by(one(2.0**-16)),), quantizer, np.array([0]), np.array([2**17]))
    assert pieces.breaks.tolist() == [[2**16, 2**17]]
    assert pieces.values.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("mode", list(Rounding))
@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
@pytest.mark.parametrize(("zero", "lo", "hi"), [(0, -4, 3), (2, 0, 7), (-3, -8, 7)])
def test_thresholds_of_trunc(mode: Rounding, dropped: int, zero: int, lo: int, hi: int) -> None:
    """``y = R(clamp(rint(x/s + z) / 2**t)) - z`` at every integer, on quarters and on thirds."""
    for numerator, step in ((1, 0.25), (3, 0.75), (1, 3.0)):
        quantizer = Quantizer(one(step), zero, lo, hi, mode, dropped=dropped)
        steps: Steps = (scale_by(one(numerator * 0.125)),)
        table = find(steps, quantizer, np.array([-700]), np.array([700]))
        for a in range(-700, 701, 1):
            quotient = Fraction(a * numerator, 8) / Fraction(step) + zero
            n = round_exact(Rounding.HALF_EVEN, quotient)
            clamped = min(max(Fraction(n, 2**dropped), Fraction(lo)), Fraction(hi))
            assert quantizer.base + (a >= table.thresholds[0]).sum() == round_exact(mode, clamped) - zero
