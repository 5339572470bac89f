"""Exact numbers against mpmath-free integer arithmetic, and the rounding modes exhaustively."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq.exact import Surd
from hwq.rounding import Rounding, boundary, round_exact, round_float, shift_floor, shift_half_even

rationals = st.fractions(min_value=-50, max_value=50, max_denominator=64)
squares = st.fractions(min_value=0, max_value=50, max_denominator=64)


@given(rationals, rationals, squares)
def test_sign_of_a_surd_by_squaring(r: Fraction, s: Fraction, v: Fraction) -> None:
    number = Surd(r) + Surd.sqrt(v) * s
    left, right = -r, s  # sign of s·√v - left
    if right >= 0 and left <= 0:
        expected = int(right * right * v > 0 or left < 0)
    elif right <= 0 and left >= 0:
        expected = -int(right * right * v > 0 or left > 0)
    else:
        difference = right * right * v - left * left
        expected = ((difference > 0) - (difference < 0)) * (1 if right > 0 else -1)
    assert number.sign() == expected


@given(squares, squares)
def test_products_of_roots_are_roots_of_products(a: Fraction, b: Fraction) -> None:
    assert Surd.sqrt(a) * Surd.sqrt(b) == Surd.sqrt(a * b)


def test_roots_with_a_rational_ratio_merge() -> None:
    assert (Surd.sqrt(Fraction(18)) - Surd.sqrt(Fraction(8)) - Surd.sqrt(Fraction(2))).sign() == 0
    assert (Surd.sqrt(3) + Surd.sqrt(2) - Surd.sqrt(5)).sign() == 1


@given(squares.filter(bool))
def test_inverse(v: Fraction) -> None:
    assert Surd.sqrt(v) * Surd.sqrt(v).inverse() == 1


@given(squares)
def test_float_is_the_nearest(v: Fraction) -> None:
    x = float(Surd.sqrt(v))
    below, above = Fraction(np.nextafter(x, -np.inf)), Fraction(np.nextafter(x, np.inf))
    middle_low, middle_high = (below + Fraction(x)) / 2, (above + Fraction(x)) / 2
    assert x == 0 or middle_low**2 <= v <= middle_high**2


def definition(mode: Rounding, x: Fraction) -> int:
    low = x.numerator // x.denominator
    rest = x - low
    if rest == 0:
        return low
    half = (rest > Fraction(1, 2)) - (rest < Fraction(1, 2))
    positive = x > 0
    return (
        low
        + {
            Rounding.HALF_EVEN: half > 0 or (half == 0 and low % 2 == 1),
            Rounding.FLOOR: False,
            Rounding.CEIL: True,
            Rounding.AWAY: positive,
            Rounding.TOWARD_ZERO: not positive,
            Rounding.HALF_AWAY: half > 0 or (half == 0 and positive),
            Rounding.HALF_TOWARD_ZERO: half > 0 or (half == 0 and not positive),
        }[mode]
    )


@pytest.mark.parametrize("mode", list(Rounding))
def test_every_mode_on_eighths(mode: Rounding) -> None:
    for n in range(-40, 41):
        x = Fraction(n, 8)
        expected = definition(mode, x)
        assert round_exact(mode, x) == expected
        assert round_float(mode, np.array([float(x)]))[0] == expected
        edge, inclusive = boundary(mode, expected)
        assert x >= edge if inclusive else x > edge


@pytest.mark.parametrize("shift", range(5))
def test_shifts_against_fractions(shift: int) -> None:
    x = np.arange(-70, 71)
    exact = [Fraction(int(v), 2**shift) for v in x]
    assert shift_floor(x, shift).tolist() == [round_exact(Rounding.FLOOR, v) for v in exact]
    assert shift_half_even(x, shift).tolist() == [round_exact(Rounding.HALF_EVEN, v) for v in exact]
