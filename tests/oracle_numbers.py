"""Exact numbers of the oracle: rationals, sums of c·√n, and transcendental values known to many digits.

A rational is a `Fraction`. Everything else is a `Real`; the two mix in +, -, * and comparisons. A `Real` that
comes from roots only is exact: its sign is found by intervals that shrink until they exclude zero, and it is
never zero, because square roots of different classes are linearly independent over the rationals. One that
holds a transcendental value carries an error bound, and a question that the bound leaves open raises
`Undecided`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor, isqrt

import mpmath  # type: ignore[import-untyped, unused-ignore]

HALF = Fraction(1, 2)
_FINEST = 4096
_MOST_DIGITS = 3000


class Undecided(ArithmeticError):
    """A transcendental value lies too near to a boundary for the digits computed."""


@dataclass(frozen=True)
class Real:
    """The sum of c·√n over `terms` (n, c), give or take `error`; n = 1 is the rational part."""

    terms: tuple[tuple[int, Fraction], ...]
    error: Fraction = Fraction(0)

    def __add__(self, other: Scalar) -> Scalar:
        other = as_real(other)
        total = dict(self.terms)
        for n, c in other.terms:
            total[n] = total.get(n, Fraction(0)) + c
        return _simplest(total, self.error + other.error)

    def __mul__(self, other: Scalar) -> Scalar:
        if isinstance(other, Fraction):
            return _simplest({n: c * other for n, c in self.terms}, self.error * abs(other))
        total: dict[int, Fraction] = {}
        for n, c in self.terms:
            for m, d in other.terms:
                factor, root = _class_of(n * m)
                total[root] = total.get(root, Fraction(0)) + c * d * factor
        error = self.error * other.magnitude() + other.error * self.magnitude() + self.error * other.error
        return _simplest(total, error)

    def __neg__(self) -> Scalar:
        return self * Fraction(-1)

    def __sub__(self, other: Scalar) -> Scalar:
        return self + -other

    def __rsub__(self, other: Scalar) -> Scalar:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Scalar) -> Scalar:
        return self * inverse(other)

    def __rtruediv__(self, other: Scalar) -> Scalar:
        return inverse(self) * other

    def __lt__(self, other: Scalar) -> bool:
        return sign(self - other) < 0

    def __le__(self, other: Scalar) -> bool:
        return sign(self - other) <= 0

    def __gt__(self, other: Scalar) -> bool:
        return sign(self - other) > 0

    def __ge__(self, other: Scalar) -> bool:
        return sign(self - other) >= 0

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        """An interval around the value, from roots of `bits` bits."""
        low, high = -self.error, self.error
        for n, c in self.terms:
            below, above = _root(n, bits)
            low += c * (below if c > 0 else above)
            high += c * (above if c > 0 else below)
        return low, high

    def magnitude(self) -> Fraction:
        """At least the absolute value."""
        low, high = self.bounds(64)
        return max(abs(low), abs(high))

    def settle(self, question: Callable[[Fraction], int | float]) -> int | float:
        """The answer that both ends of a small enough interval give."""
        bits = 64
        while bits <= _FINEST or not self.error:
            low, high = self.bounds(bits)
            if question(low) == question(high):
                return question(low)
            bits *= 2
        raise Undecided(str(self))


Scalar = Fraction | Real


def as_real(x: Scalar) -> Real:
    """The same number as a sum of roots."""
    return x if isinstance(x, Real) else Real(((1, x),))


def _simplest(terms: dict[int, Fraction], error: Fraction) -> Scalar:
    kept = tuple(sorted((n, c) for n, c in terms.items() if c))
    if error == 0 and all(n == 1 for n, _ in kept):
        return kept[0][1] if kept else Fraction(0)
    return Real(kept, error)


_classes: list[int] = [1]


@lru_cache(maxsize=100_000)
def _class_of(n: int) -> tuple[Fraction, int]:
    """√n = factor·√root, the same root for all n whose ratio is a square."""
    for root in _classes:
        both = isqrt(n * root)
        if both * both == n * root:
            return Fraction(both, root), root
    _classes.append(n)
    return Fraction(1), n


def forget() -> None:
    """Start over with no known roots; numbers from before must not be mixed with those after."""
    del _classes[1:]
    _class_of.cache_clear()


@lru_cache(maxsize=10_000)
def _root(n: int, bits: int) -> tuple[Fraction, Fraction]:
    below = isqrt(n << (2 * bits))
    exact = below * below == n << (2 * bits)
    return Fraction(below, 1 << bits), Fraction(below + (not exact), 1 << bits)


def square_root(x: Scalar) -> Scalar:
    """√x of a rational."""
    assert isinstance(x, Fraction)
    assert x >= 0
    if x == 0:
        return x
    factor, root = _class_of(x.numerator * x.denominator)
    return _simplest({root: factor / x.denominator}, Fraction(0))


def inverse(x: Scalar) -> Scalar:
    """1/x of a rational or of one root."""
    if isinstance(x, Fraction):
        return 1 / x
    assert x.error == 0
    ((n, c),) = x.terms
    return _simplest({n: 1 / (c * n)}, Fraction(0))


def sign(x: Scalar) -> int:
    """-1, 0 or 1."""
    if isinstance(x, Fraction):
        return (x > 0) - (x < 0)
    return int(x.settle(lambda v: (v > 0) - (v < 0)))


def whole_below(x: Scalar) -> int:
    """Largest integer not above x."""
    return floor(x) if isinstance(x, Fraction) else int(x.settle(floor))


def nearest_float(x: Scalar) -> float:
    """The float64 nearest to x."""
    return float(x) if isinstance(x, Fraction) else float(x.settle(float))


def rounded(mode: str, x: Scalar) -> int:
    """X to an integer, by a rounding mode of QONNX."""
    below = whole_below(x)
    rest = x - Fraction(below)
    if rest == 0:
        return below
    half, negative = sign(rest - HALF), sign(x) < 0
    up = {
        "ROUND": half > 0 or (half == 0 and below % 2 == 1),
        "HALF_EVEN": half > 0 or (half == 0 and below % 2 == 1),
        "FLOOR": False,
        "CEIL": True,
        "UP": not negative,
        "DOWN": negative,
        "HALF_UP": half > 0 or (half == 0 and not negative),
        "HALF_DOWN": half > 0 or (half == 0 and negative),
    }
    return below + up[mode.upper()]


@lru_cache(maxsize=100_000)
def transcendental(name: str, x: Scalar) -> Scalar:
    """Sigmoid, Tanh, Erf, Softplus or Expm1 of x; exact at zero where the value is rational."""
    if x == 0 and name != "Softplus":
        return HALF if name == "Sigmoid" else Fraction(0)
    low, high = as_real(x).bounds(_FINEST)
    size = abs(float(low)) + 1
    # 1 - erf(x) falls like exp(-x²), the distance of the others to their limit like exp(-|x|).
    digits = int(60 + (size * size if name == "Erf" else 2 * size))
    if digits > _MOST_DIGITS:
        raise Undecided(f"{name} of {size}")
    with mpmath.workdps(digits + 20):
        v = mpmath.mpf(low.numerator) / low.denominator
        value = {
            "Sigmoid": lambda: 1 / (1 + mpmath.exp(-v)),
            "Tanh": lambda: mpmath.tanh(v),
            "Erf": lambda: mpmath.erf(v),
            "Softplus": lambda: mpmath.log1p(mpmath.exp(v)),
            "Expm1": lambda: mpmath.expm1(v),
        }[name]()
        numerator, denominator = int(value.man), 1
        if value.exp >= 0:
            numerator <<= int(value.exp)
        else:
            denominator <<= -int(value.exp)
        negative = value < 0
    # No slope of these functions exceeds 2 where they are used: Expm1 only below zero.
    error = Fraction(1, 10**digits) + 2 * (high - low)
    known = Fraction(-abs(numerator) if negative else abs(numerator), denominator)
    return Real(((1, known),), error)
