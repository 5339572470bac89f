"""The only place that rounds, saturates or shifts.

A rounding mode is described by its boundaries: a real number rounds to at least k exactly when it
is at or above (`inclusive`) or strictly above a boundary. Every exact comparison in hwq uses these.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Rounding(str, Enum):
    """Rounding modes of QONNX Quant nodes."""

    HALF_EVEN = "ROUND"
    FLOOR = "FLOOR"
    CEIL = "CEIL"
    AWAY = "UP"
    TOWARD_ZERO = "DOWN"
    HALF_AWAY = "HALF_UP"
    HALF_TOWARD_ZERO = "HALF_DOWN"


def boundary(mode: Rounding, k: int) -> tuple[Fraction, bool]:
    """``(b, inclusive)`` such that x rounds to k or more exactly when x > b, or x >= b if inclusive.

    >>> boundary(Rounding.HALF_EVEN, 2), boundary(Rounding.HALF_EVEN, 3)
    ((Fraction(3, 2), True), (Fraction(5, 2), False))
    >>> boundary(Rounding.TOWARD_ZERO, 1), boundary(Rounding.TOWARD_ZERO, 0)
    ((Fraction(1, 1), True), (Fraction(-1, 1), False))
    """
    half = Fraction(2 * k - 1, 2)
    table: dict[Rounding, tuple[Fraction, bool]] = {
        Rounding.HALF_EVEN: (half, k % 2 == 0),
        Rounding.FLOOR: (Fraction(k), True),
        Rounding.CEIL: (Fraction(k - 1), False),
        Rounding.AWAY: (Fraction(k - 1), False) if k > 0 else (Fraction(k), True),
        Rounding.TOWARD_ZERO: (Fraction(k), True) if k > 0 else (Fraction(k - 1), False),
        Rounding.HALF_AWAY: (half, k > 0),
        Rounding.HALF_TOWARD_ZERO: (half, k <= 0),
    }
    return table[mode]


def round_exact(mode: Rounding, x: Fraction) -> int:
    """X rounded to an integer.

    >>> [round_exact(Rounding.HALF_EVEN, Fraction(n, 2)) for n in (-3, -1, 1, 3, 5)]
    [-2, 0, 0, 2, 2]
    >>> [round_exact(Rounding.HALF_AWAY, Fraction(n, 2)) for n in (-3, -1, 1, 3, 5)]
    [-2, -1, 1, 2, 3]
    """
    k = x.numerator // x.denominator + 1
    while not _reaches(mode, x, k):
        k -= 1
    return k


def _reaches(mode: Rounding, x: Fraction, k: int) -> bool:
    edge, inclusive = boundary(mode, k)
    return x >= edge if inclusive else x > edge


_FLOAT_ROUND: dict[Rounding, Callable[[FloatArray], FloatArray]] = {
    Rounding.HALF_EVEN: np.rint,
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.AWAY: lambda x: np.copysign(np.ceil(np.abs(x)), x),
    Rounding.TOWARD_ZERO: np.trunc,
    Rounding.HALF_AWAY: lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    Rounding.HALF_TOWARD_ZERO: lambda x: np.copysign(np.ceil(np.abs(x) - 0.5), x),
}


def round_float(mode: Rounding, x: FloatArray) -> FloatArray:
    """Round float64 values that are known not to be within 1e-9 of a boundary."""
    return _FLOAT_ROUND[mode](x)


def near_boundary(mode: Rounding, x: FloatArray, band: FloatArray | float) -> BoolArray:
    """Which values lie within `band` of a place where the mode steps: half-integers, or integers."""
    halves = mode in (Rounding.HALF_EVEN, Rounding.HALF_AWAY, Rounding.HALF_TOWARD_ZERO)
    shifted = x - 0.5 if halves else x
    return np.abs(shifted - np.rint(shifted)) <= band


def shift_floor(x: IntArray, shift: int) -> IntArray:
    """``floor(x / 2**shift)``.

    >>> shift_floor(np.array([-3, -1, 1, 3]), 1).tolist()
    [-2, -1, 0, 1]
    """
    return np.right_shift(x, shift)


def shift_half_even(x: IntArray, shift: int) -> IntArray:
    """``x / 2**shift``, ties to even.

    >>> shift_half_even(np.array([-3, -1, 1, 3, 5]), 1).tolist()
    [-2, 0, 0, 2, 2]
    """
    if shift == 0:
        return np.array(x)
    quotient = np.right_shift(x, shift)
    rest = x - np.left_shift(quotient, shift)
    half = np.int64(1) << (shift - 1)
    up = (rest > half) | ((rest == half) & (quotient % 2 != 0))
    return np.asarray(quotient + up)


def saturate(x: IntArray, lo: int, hi: int) -> IntArray:
    """Limit x to lo..hi.

    >>> saturate(np.array([-9, 0, 9]), -2, 1).tolist()
    [-2, 0, 1]
    """
    return np.clip(x, lo, hi)
