"""Statistics of integer weights that decide the size of a matrix product, counted once an array."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hwq.rounding import IntArray

_T = TypeVar("_T")


@dataclass(frozen=True)
class WeightStatistics:
    """Of an (n_in, n_out) matrix of integers.

    Attributes:
        n_in: Rows: inputs of the product.
        n_out: Columns: outputs.
        bits: Width of the smallest type that holds every weight.
        nz: Weights that are not zero.
        u2: Sum over rows of the number of distinct constants with >= 2 canonical signed digits.
        u3: The same with >= 3.
        csd_adders: Two-input adders of every column on its own: its signed digits but one.
    """

    n_in: int
    n_out: int
    bits: int
    nz: int
    u2: int
    u3: int
    csd_adders: int = 0

    @property
    def n(self) -> int:
        """All weights."""
        return self.n_in * self.n_out


def csd_digits(values: IntArray) -> IntArray:
    """Non-zero digits of each integer in canonical signed digit form: the set bits of ``v XOR 3v``.

    Source: Reitwiesner 1960 (the non-adjacent form has the fewest non-zero digits).

    >>> csd_digits(np.array([0, 1, -2, 3, 7, 11, -11, 27])).tolist()
    [0, 1, 1, 2, 2, 3, 3, 3]
    """
    magnitude = np.abs(values)
    digits: IntArray = np.bitwise_count(magnitude ^ (3 * magnitude)).astype(np.int64)
    return digits


def count(matrix: IntArray) -> WeightStatistics:
    """Statistics of an (n_in, n_out) matrix.

    >>> count(np.array([[3, 3, -3], [11, 0, 1]]))
    WeightStatistics(n_in=2, n_out=3, bits=5, nz=5, u2=3, u3=1, csd_adders=7)
    """
    n_in, n_out = matrix.shape
    lo, hi = int(matrix.min(initial=0)), int(matrix.max(initial=0))
    bits = max((-lo - 1).bit_length(), hi.bit_length()) + 1 if lo < 0 else max(hi.bit_length(), 1)
    ordered = np.sort(matrix, axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    digits = csd_digits(ordered[first])
    nz = int(np.count_nonzero(matrix))
    adders = int(csd_digits(matrix).sum()) - int(np.any(matrix, axis=0).sum())
    u2, u3 = int((digits >= 2).sum()), int((digits >= 3).sum())
    return WeightStatistics(n_in, n_out, bits, nz, u2, u3, adders)


class PerArray:
    """Results of a function of an array, kept as long as the array lives."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[weakref.ref[IntArray], object]] = {}

    def get(self, array: IntArray, key: tuple[object, ...], compute: Callable[[], _T]) -> _T:
        """What `compute` gave for this very array and `key`; arrays of a graph are never changed."""
        full = (id(array), *key)
        if (hit := self._kept.get(full)) is not None and hit[0]() is array:
            return hit[1]  # type: ignore[return-value]
        result = compute()
        self._kept[full] = (weakref.ref(array, lambda _: self._kept.pop(full, None)), result)
        return result


_CACHE = PerArray()


def matrix_statistics(weight: IntArray) -> WeightStatistics:
    """Of weights whose last axis is the outputs; the axes before it are one product's inputs."""
    return _CACHE.get(weight, ("matrix",), lambda: count(weight.reshape(-1, weight.shape[-1])))


def live_comparators(thresholds: IntArray, lo: int, hi: int) -> int:
    """Thresholds that an input in `lo`..`hi` can be on both sides of: the others are constants."""
    return _CACHE.get(
        thresholds, ("live", lo, hi), lambda: int(((thresholds > lo) & (thresholds <= hi)).sum())
    )


@dataclass(frozen=True)
class Multipliers:
    """Constants that each multiply an operand of their own.

    Attributes:
        bits: Width of the widest.
        digits: Canonical signed digits of all.
        wide: How many have >= 3 digits.
    """

    bits: int
    digits: int
    wide: int


def multipliers(mult: IntArray) -> Multipliers:
    """Of one constant a channel."""
    return _CACHE.get(mult, ("multipliers",), lambda: _multipliers(mult))


def _multipliers(mult: IntArray) -> Multipliers:
    digits = csd_digits(mult)
    return Multipliers(count(mult.reshape(1, -1)).bits, int(digits.sum()), int((digits >= 3).sum()))
