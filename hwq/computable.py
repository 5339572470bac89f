"""Exact numbers with exponentials: a `Surd` plus rational combinations of atoms exp(y), erfc(y) and the like.

Every atom is positive and is enclosed with a small *relative* error, and what is algebraic stands apart,
exactly. So ``x·sigmoid(x) - x = -x·tail(x)`` has its sign at the first try, however near to zero it is.
A number that is zero without being formally so cannot be told from a small one: refinement is capped.

By Lindemann and Weierstrass, exp, sigmoid, tanh and softplus are transcendental at algebraic arguments other
than zero (softplus at zero too), by Siegel and Shidlovskii so is erf: one of them alone never ties.

Enclosures are pairs of mpmath's raw floats, whose sums, products and quotients are rounded in the stated
direction; exponents have no limit. The functions are series of positive terms in integers, rounded both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from mpmath import libmp
from mpmath.libmp.libmpi import mpi_add, mpi_div, mpi_mul, mpi_sqrt, mpi_square, mpi_sub

from hwq.exact import Number, Surd

MAX_BITS = 4096
"""Refinement ends here."""

Interval = Any
"""(lower, upper): raw mpmath floats, which have no types."""

_FLOOR, _CEILING = libmp.round_floor, libmp.round_ceiling
_ONE: Interval = (libmp.fone, libmp.fone)
_LARGEST_EXPONENT = 1024
"""Atoms of arguments beyond ``2**1024`` are refused."""


@dataclass(frozen=True)
class Atom:
    """A positive transcendental number.

    ``exp(y)``; for y > 0 ``tail(y) = 1/(1 + e**y)`` and ``erfc(y)``; for y >= 0 ``softplus(y) = log(1 + e**-y)``.
    """

    name: str
    argument: Surd


class Computable(Surd):
    """A `Surd` plus Σ coefficient·(product of atoms); at least one product. Make it with `atom` and arithmetic.

    >>> e = atom("exp", Surd(1))
    >>> (e * e - e - e * (e - 1)), (e - 2).sign(), float(e)
    (0, 1, 2.718281828459045)
    """

    __slots__ = ("extra",)

    def __init__(self, algebraic: Surd, extra: tuple[tuple[tuple[Atom, ...], Surd], ...]) -> None:
        super().__init__(terms=algebraic.terms)
        self.extra = extra

    def __neg__(self) -> Surd:
        return self * -1

    def __add__(self, other: Number) -> Surd:
        products = dict(self.extra)
        for atoms, coefficient in _extra(other):
            products[atoms] = products.get(atoms, Surd()) + coefficient
        return _number(_algebraic(self) + _algebraic(other), products)

    __radd__ = __add__

    def __mul__(self, other: Number) -> Surd:
        factor = _algebraic(other)
        products: dict[tuple[Atom, ...], Surd] = {}
        for atoms, coefficient in self.extra:
            products[atoms] = coefficient * factor
        for atoms, coefficient in _extra(other):
            products[atoms] = products.get(atoms, Surd()) + coefficient * _algebraic(self)
            for more, by in self.extra:
                both = tuple(sorted((*atoms, *more), key=repr))
                products[both] = products.get(both, Surd()) + coefficient * by
        return _number(_algebraic(self) * factor, products)

    __rmul__ = __mul__

    def inverse(self) -> Surd:
        """No inverse occurs."""
        raise ZeroDivisionError(f"no inverse of {self!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Surd, Fraction, int, float)) and (self - other).sign() == 0

    def __hash__(self) -> int:
        return hash((self.terms, self.extra))

    def __repr__(self) -> str:
        algebraic = [repr(_algebraic(self))] if self.terms else []
        products = ("*".join(f"{a.name}({a.argument!r})" for a in atoms) for atoms, _ in self.extra)
        rest = [f"({c!r})*{p}" for (_, c), p in zip(self.extra, products, strict=True)]
        return " + ".join(algebraic + rest)

    @property
    def is_rational(self) -> bool:
        """Not known to be, in any case."""
        return False

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        """Rationals that enclose the value; each summand has a relative error of about ``2**-bits``."""
        lo, hi = (Fraction(*libmp.to_rational(v)) for v in enclose(self, bits))
        return lo, hi

    def sign(self) -> int:
        """-1 or 1.

        Raises:
            ValueError: `MAX_BITS` do not tell the number from zero.
        """
        bits = 64
        while bits <= MAX_BITS:
            lo, hi = (libmp.mpf_sign(v) for v in enclose(self, bits))
            if lo > 0 or hi < 0:
                return 1 if lo > 0 else -1
            bits *= 2
        raise ValueError(f"the sign of {_brief(self)} cannot be decided with {MAX_BITS} bits")

    def __float__(self) -> float:
        """The nearest float64.

        Raises:
            ValueError: `MAX_BITS` do not tell it.
            OverflowError: It is beyond the largest float64.
        """
        bits = 96
        while bits <= MAX_BITS:
            lo, hi = (_nearest(v) for v in enclose(self, bits))
            if lo == hi:
                return lo
            bits *= 2
        raise ValueError(f"{_brief(self)} cannot be rounded with {MAX_BITS} bits")


def atom(name: str, argument: Surd) -> Surd:
    """The number of one atom."""
    return Computable(Surd(), (((Atom(name, argument),), Surd(1)),))


def _brief(number: Surd) -> str:
    text = repr(number)
    return text if len(text) < 120 else text[:117] + "..."


def _algebraic(number: Number) -> Surd:
    return Surd(terms=number.terms) if isinstance(number, Computable) else Surd.of(number)


def _extra(number: Number) -> tuple[tuple[tuple[Atom, ...], Surd], ...]:
    return number.extra if isinstance(number, Computable) else ()


def _number(algebraic: Surd, products: dict[tuple[Atom, ...], Surd]) -> Surd:
    left = tuple((atoms, c) for atoms, c in products.items() if c.terms)
    return Computable(algebraic, left) if left else algebraic


def _nearest(bound: Any) -> float:
    """Correctly rounded; what is far below the least float64 is zero."""
    _, _, exponent, bits = bound
    if exponent + bits < -1100:
        return 0.0
    if exponent + bits > 1100:
        raise OverflowError("beyond the largest float64")
    return float(Fraction(*libmp.to_rational(bound)))


# Enclosures ------------------------------------------------------------------------------------------------


def enclose(number: Surd, bits: int) -> Interval:
    """Bounds of a number; every summand has a relative error of about ``2**-bits``."""
    lo, hi = Surd.bounds(Surd(terms=number.terms), bits)
    total: Interval = (_raw(lo, bits, _FLOOR), _raw(hi, bits, _CEILING))
    for atoms, coefficient in _extra(number):
        product = enclose(coefficient, bits)
        for one in atoms:
            product = mpi_mul(product, _enclose_atom(one, bits), bits + 16)
        total = mpi_add(total, product, bits + 16)
    return total


def _raw(value: Fraction, bits: int, direction: str) -> Any:
    return libmp.from_rational(value.numerator, value.denominator, bits + 16, direction)


@lru_cache(maxsize=4096)
def _enclose_atom(one: Atom, bits: int) -> Interval:
    lo, hi = enclose(one.argument, bits)
    if any(b and e + b > _LARGEST_EXPONENT for _, _, e, b in (lo, hi)):
        raise ValueError(f"the argument of {one.name} is too large to decide anything")
    if one.name != "exp" and libmp.mpf_sign(lo) < 0:
        lo = libmp.fzero  # the argument is known not to be negative
    function, rising = _FUNCTIONS[one.name]
    low, high = function(lo, bits + 8), function(hi, bits + 8)
    return (low[0], high[1]) if rising else (high[0], low[1])


def _exp(x: Any, bits: int) -> Interval:
    """``e**x`` of one raw float: Taylor's series of ``x/2**m``, squared m times."""
    if x == libmp.fzero:
        return _ONE
    if libmp.mpf_sign(x) < 0:
        return mpi_div(_ONE, _exp(libmp.mpf_neg(x), bits + 4), bits)
    m = max(0, x[2] + x[3] + 8)
    scale = bits + m + 16
    below = libmp.to_fixed(libmp.mpf_shift(x, -m), scale)  # at most 2**-8; to_fixed rounds down
    lo = hi = lo_term = hi_term = 1 << scale
    k = 0
    while hi_term > 1:
        k += 1
        lo_term = (lo_term * below >> scale) // k
        hi_term = -(-(hi_term * (below + 1)) // (k << scale))
        lo, hi = lo + lo_term, hi + hi_term
    result = _fixed(lo, hi + 1, scale)  # all further terms add up to less than 1
    for _ in range(m):
        result = mpi_square(result, scale)
    return result


def _fixed(lo: int, hi: int, scale: int) -> Interval:
    return libmp.from_man_exp(lo, -scale), libmp.from_man_exp(hi, -scale)


def _tail(x: Any, bits: int) -> Interval:
    """``1/(1 + e**x)``, x > 0."""
    return mpi_div(_ONE, mpi_add(_ONE, _exp(x, bits + 8), bits + 8), bits)


def _log1p_exp_minus(x: Any, bits: int) -> Interval:
    """``log(1 + t)`` with ``t = e**-x``, x >= 0: ``2·atanh(u)``, ``u = t/(2 + t) <= 1/3``."""
    t = _exp(libmp.mpf_neg(x), bits + 8)
    two = (libmp.from_int(2), libmp.from_int(2))
    u = mpi_div(t, mpi_add(two, t, bits + 8), bits + 8)
    lo, hi = (_atanh_over_u(v, bits + 8) for v in u)
    return mpi_mul(mpi_mul(two, u, bits + 8), (lo[0], hi[1]), bits)


def _atanh_over_u(u: Any, bits: int) -> Interval:
    """``atanh(u)/u = 1 + u²/3 + u⁴/5 + …``, 0 <= u <= 0.34."""
    scale = bits + 16
    below = libmp.to_fixed(libmp.mpf_mul(u, u), scale)
    lo = hi = lo_power = hi_power = 1 << scale
    k = 1
    while hi_power > 1:
        k += 2
        lo_power = lo_power * below >> scale
        hi_power = -(-(hi_power * (below + 1)) >> scale)
        lo, hi = lo + lo_power // k, hi + hi_power // k + 1
    return _fixed(lo, hi + 1, scale)


def _erfc(x: Any, bits: int) -> Interval:
    """``erfc(x)``, x > 0, by a continued fraction far out and by the series of erf near zero."""
    squared = max(1, libmp.to_int(libmp.mpf_mul(x, x)))
    if bits < 2 * squared:
        return _erfc_far(x, bits, bits * bits // (2 * squared) + bits // 5 + 8)
    return _erfc_near(x, bits, squared)


def _gauss(x: Any, bits: int) -> Interval:
    """``e**-x² / sqrt(pi)``."""
    pi = (libmp.mpf_pi(bits, _FLOOR), libmp.mpf_pi(bits, _CEILING))
    return mpi_div(_exp(libmp.mpf_neg(libmp.mpf_mul(x, x)), bits), mpi_sqrt(pi, bits), bits)


def _erfc_far(x: Any, bits: int, terms: int) -> Interval:
    """Laplace's ``erfc(x) = e**-x²/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …))))``.

    Everything is positive, so that the rest behind n terms lies between x and ``x + (n + 1)/(2·x)``.
    """
    bits += 16
    point = (x, x)

    def half(n: int) -> Interval:
        value = libmp.from_man_exp(n, -1)
        return value, value

    rest = x, mpi_add(point, mpi_div(half(terms + 1), point, bits), bits)[1]
    for n in range(terms, 0, -1):
        rest = mpi_add(point, mpi_div(half(n), rest, bits), bits)
    return mpi_div(_gauss(x, bits), rest, bits)


def _erfc_near(x: Any, bits: int, squared: int) -> Interval:
    """``1 - 2·e**-x²/sqrt(pi)·Σ 2**n·x**(2n+1)/(2n+1)!!``: all terms positive, so no bits cancel but in 1 - erf."""
    scale = bits + 2 * squared + 32
    below = libmp.to_fixed(libmp.mpf_shift(libmp.mpf_mul(x, x), 1), scale)  # 2·x²
    lo_term, hi_term = libmp.to_fixed(x, scale), libmp.to_fixed(x, scale) + 1
    lo, hi, n = lo_term, hi_term, 0
    while hi_term > 1 or (2 * n + 3) << scale <= 2 * (below + 1):
        n += 1
        lo_term = (lo_term * below >> scale) // (2 * n + 1)
        hi_term = -(-(hi_term * (below + 1)) // ((2 * n + 1) << scale))
        lo, hi = lo + lo_term, hi + hi_term
    series = _fixed(lo, hi + 2, scale)  # from here on each term is at most half of the one before it
    erf = mpi_mul(series, mpi_mul(_gauss(x, scale), (libmp.from_int(2),) * 2, scale), scale)
    lower, upper = mpi_sub(_ONE, erf, scale)
    return (lower if libmp.mpf_sign(lower) > 0 else libmp.fzero), upper


_FUNCTIONS: dict[str, tuple[Callable[[Any, int], Interval], bool]] = {
    "exp": (_exp, True),
    "tail": (_tail, False),
    "erfc": (_erfc, False),
    "softplus": (_log1p_exp_minus, False),
}


# The functions of a network --------------------------------------------------------------------------------


def exp(x: Surd) -> Surd:
    """``e**x``."""
    return atom("exp", x) if x.sign() else Surd(1)


def sigmoid(x: Surd) -> Surd:
    """``1/(1 + e**-x)``."""
    if not (sign := x.sign()):
        return Surd(Fraction(1, 2))
    return 1 - atom("tail", x) if sign > 0 else atom("tail", -x)


def tanh(x: Surd) -> Surd:
    """``2·sigmoid(2·x) - 1``."""
    return sigmoid(x * 2) * 2 - 1


def erf(x: Surd) -> Surd:
    """``1 - erfc(x)``."""
    if not (sign := x.sign()):
        return Surd()
    return 1 - atom("erfc", x) if sign > 0 else atom("erfc", -x) - 1


def softplus(x: Surd) -> Surd:
    """``log(1 + e**x)``; log 2 at zero."""
    if x.sign() > 0:
        return x + atom("softplus", x)
    return atom("softplus", -x)
