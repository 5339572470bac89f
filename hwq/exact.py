"""Exact real numbers of the form Σ cᵢ·√nᵢ: all that BatchNormalization and float32 constants can make.

Square roots of integers whose pairwise products are no squares are linearly independent over the
rationals (Besicovitch 1940), so a sum in that form is zero only if it has no terms, and its sign
can be found by refining an enclosing interval.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import Any, Union

import numpy as np
import numpy.typing as npt

Number = Union["Surd", Fraction, int, float]
ExactArray = npt.NDArray[Any]
"""A 1-D array of exact numbers: float64 (each the dyadic rational that it is) or objects (`Surd`)."""


def _is_square(n: int) -> bool:
    return isqrt(n) ** 2 == n


def _split_root(n: int) -> tuple[int, int]:
    """``√n = c·√m`` with the powers of four and a full square taken out of m."""
    c = 1
    while n % 4 == 0:
        n, c = n // 4, c * 2
    root = isqrt(n)
    return (c * root, 1) if root * root == n else (c, n)


class Surd:
    """A sum of rational multiples of square roots of positive integers; immutable.

    >>> x = Surd.sqrt(Fraction(1, 2))
    >>> (x * x - Fraction(1, 2)).sign(), float(x + 1), (Surd(3) - Surd.sqrt(8)).sign()
    (0, 1.7071067811865475, 1)
    """

    __slots__ = ("terms",)

    def __init__(
        self, value: Fraction | int | float = 0, terms: tuple[tuple[int, Fraction], ...] | None = None
    ):
        if terms is None:
            rational = Fraction(value)
            terms = ((1, rational),) if rational else ()
        self.terms = terms

    @staticmethod
    def of(value: Number) -> Surd:
        """The exact value of any number; a float is the dyadic rational that it is."""
        return value if isinstance(value, Surd) else Surd(value)

    @staticmethod
    def sqrt(value: Fraction | int | float) -> Surd:
        """The non-negative square root of a non-negative rational."""
        v = Fraction(value)
        if v < 0:
            raise ValueError(f"square root of the negative number {v}")
        if v == 0:
            return Surd()
        factor, radicand = _split_root(v.numerator * v.denominator)
        return Surd(terms=((radicand, Fraction(factor, v.denominator)),))

    def __neg__(self) -> Surd:
        return Surd(terms=tuple((n, -c) for n, c in self.terms))

    def __add__(self, other: Number) -> Surd:
        summand = Surd.of(other)
        if not (self.terms and summand.terms):
            return self if self.terms else summand
        total = dict(self.terms)
        for n, c in summand.terms:
            _accumulate(total, n, c)
        return Surd(terms=tuple(sorted((n, c) for n, c in total.items() if c)))

    __radd__ = __add__

    def __sub__(self, other: Number) -> Surd:
        return self + (-Surd.of(other))

    def __rsub__(self, other: Number) -> Surd:
        return Surd.of(other) - self

    def __mul__(self, other: Number) -> Surd:
        total: dict[int, Fraction] = {}
        left, right = self.terms, Surd.of(other).terms
        if len(left) == len(right) == 1 and (left[0][0] == 1 or right[0][0] == 1):  # the usual case, fast
            return Surd(terms=((left[0][0] * right[0][0], left[0][1] * right[0][1]),))
        for n, c in left:
            for m, d in right:
                factor, radicand = (n, 1) if n == m else _split_root(n * m)
                _accumulate(total, radicand, c * d * factor)
        return Surd(terms=tuple(sorted((n, c) for n, c in total.items() if c)))

    __rmul__ = __mul__

    def inverse(self) -> Surd:
        """``1/x`` of a number with one term; more terms do not occur in a network."""
        if len(self.terms) != 1:
            raise ZeroDivisionError(f"no inverse of {self!r}")
        ((n, c),) = self.terms
        return Surd(terms=((n, 1 / (c * n)),))

    def __truediv__(self, other: Number) -> Surd:
        return self * Surd.of(other).inverse()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Surd, Fraction, int, float)) and not (self - other).terms

    def __lt__(self, other: Number) -> bool:
        return (self - other).sign() < 0

    def __le__(self, other: Number) -> bool:
        return (self - other).sign() <= 0

    def __gt__(self, other: Number) -> bool:
        return (self - other).sign() > 0

    def __ge__(self, other: Number) -> bool:
        return (self - other).sign() >= 0

    def __hash__(self) -> int:
        return hash(self.terms)

    def __repr__(self) -> str:
        return " + ".join(f"{c}" if n == 1 else f"{c}*sqrt({n})" for n, c in self.terms) or "0"

    @property
    def is_rational(self) -> bool:
        """Whether no square root is left."""
        return all(n == 1 for n, _ in self.terms)

    def rational(self) -> Fraction:
        """The value as a fraction.

        Raises:
            ValueError: A square root is left.
        """
        if not self.is_rational:
            raise ValueError(f"{self!r} is irrational")
        return self.terms[0][1] if self.terms else Fraction(0)

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        """Rationals that enclose the value; each root is known to ``2**-bits``."""
        lo = hi = Fraction(0)
        for n, c in self.terms:
            below = Fraction(isqrt(n << 2 * bits), 1 << bits)
            above = below if n == 1 else below + Fraction(1, 1 << bits)
            lo += c * (below if c > 0 else above)
            hi += c * (above if c > 0 else below)
        return lo, hi

    def sign(self) -> int:
        """-1, 0 or 1, exactly."""
        if len(self.terms) < 2:
            return (self.terms[0][1] > 0) * 2 - 1 if self.terms else 0
        bits = 64
        while True:
            lo, hi = self.bounds(bits)
            if lo > 0 or hi < 0:
                return 1 if lo > 0 else -1
            bits *= 2

    def __float__(self) -> float:
        """The nearest float64, ties to even: the correctly rounded value."""
        if self.is_rational:
            return float(self.rational())
        bits = 128
        while True:
            lo, hi = (float(v) for v in self.bounds(bits))
            if lo == hi:
                return lo
            bits *= 2


def _accumulate(total: dict[int, Fraction], radicand: int, coefficient: Fraction) -> None:
    """Add ``coefficient·√radicand``, merging with a term whose root is a rational multiple of it."""
    if radicand in total:
        total[radicand] += coefficient
        return
    for n in total:
        if n != 1 and radicand != 1 and _is_square(n * radicand):
            total[n] += coefficient * Fraction(isqrt(n * radicand), n)
            return
    total[radicand] = coefficient


def at(values: ExactArray, channel: int) -> Surd:
    """Exact element of a per-channel array; an array of one element serves every channel."""
    return Surd.of(
        values[channel if len(values) > 1 else 0].item()
        if values.dtype != object
        else values[channel if len(values) > 1 else 0]
    )


def signs(values: ExactArray) -> npt.NDArray[np.int64]:
    """-1, 0 or 1 of each exact element."""
    if values.dtype != object:
        return np.sign(values).astype(np.int64)
    return np.array([Surd.of(v).sign() for v in values], dtype=np.int64)


def nearest(values: ExactArray) -> npt.NDArray[np.float64]:
    """The float64 nearest to each exact element."""
    if values.dtype != object:
        return values.astype(np.float64)
    return np.array([float(v) for v in values], dtype=np.float64)


def exact_array(values: list[Surd]) -> ExactArray:
    """An object array of exact numbers."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def simplest(values: ExactArray) -> ExactArray:
    """The same numbers as float64 where each is one, and as one element where all are equal."""
    if values.dtype == object:
        exact = [Surd.of(v) for v in values]
        if all(v.is_rational for v in exact):
            floats = [float(v) for v in exact]
            if all(Fraction(f) == v.rational() for f, v in zip(floats, exact, strict=True)):
                values = np.array(floats)
    if values.dtype != object:
        return values[:1] if len(values) > 1 and (values == values[0]).all() else values
    first = exact[0].terms
    return exact_array(exact[:1] if all(v.terms == first for v in exact) else exact)


def add(a: ExactArray, b: ExactArray) -> ExactArray:
    """Exact sums of per-channel arrays (n or 1,)."""
    if object not in (a.dtype, b.dtype):
        with np.errstate(over="ignore", invalid="ignore"):
            total = a + b
            part = total - a
            lost = (a - (total - part)) + (b - part)  # Knuth's two-sum: what the rounding lost
        if (lost == 0).all():
            return np.asarray(total)
    return exact_array([x + y for x, y in _pairs(a, b)])


def multiply(a: ExactArray, b: ExactArray) -> ExactArray:
    """Exact products of per-channel arrays (n or 1,)."""
    if object not in (a.dtype, b.dtype):
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            product = a * b
            (a1, a2), (b1, b2) = _halves(a), _halves(b)
            lost = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2  # Dekker: what the rounding lost
        safe = (np.abs(product) > 1e-250) | (a == 0) | (b == 0)
        if ((lost == 0) & safe).all():
            return np.asarray(product)
    return exact_array([x * y for x, y in _pairs(a, b)])


def _halves(x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Veltkamp: x as a sum of two numbers of 26 bits."""
    scaled = x * 134217729.0
    upper = scaled - (scaled - x)
    return upper, x - upper


def _pairs(a: ExactArray, b: ExactArray) -> list[tuple[Surd, Surd]]:
    n = max(len(a), len(b))
    left, right = ([Surd.of(x) for x in v.tolist()] for v in (a, b))
    return list(zip(left * (n // len(left)), right * (n // len(right)), strict=True))
