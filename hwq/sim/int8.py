"""Levels as ``rint(float32(gain·x + bias) · scale)``: what int8 kernels do to their accumulators, solved and proven.

Level k is to begin at x = T[k]: with u = 1 / scale, ``T[k] - 1 + b < (k - 1/2)·u <= T[k] + b``. Weights that have room
in 8 bits are multiplied by a gain, so that b is a multiple of 1 / gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.ir import IntType
from hwq.rounding import BoolArray, FloatArray, IntArray
from hwq.sim.levels import Levels
from hwq.sim.step import Array

_SLOPES = 33
_FEW = 8
"""Channels that are tried before all are."""
_FLATTEST = 2.0**-20
_CLOSE = 1e-9
"""Ties of exact slopes leave them no room."""
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Rescale:
    """A requantisation of accumulators, of one channel each.

    Attributes:
        gain: What the weights are multiplied by, int64 (C,).
        bias: Added to the sum, int64 (C,).
        scale: float32 (C,), positive.
        thresholds: What it was solved for, int64 (C, K), in lo..hi + 1.
        lo: Smallest accumulators, int64 (C,).
        hi: Largest accumulators, int64 (C,).
        step: Between levels; 1 if K > 1.
    """

    gain: IntArray
    bias: IntArray
    scale: np.ndarray[Any, np.dtype[np.float32]]
    thresholds: IntArray
    lo: IntArray
    hi: IntArray
    step: int = 1

    def boundaries(self) -> IntArray:
        """(2, C, K): biased sums at each threshold, and before it."""
        at = np.stack([self.thresholds, self.thresholds - 1])
        return np.clip(at, self.lo[:, None], self.hi[:, None]) * self.gain[:, None] + self.bias[:, None]

    def right(self, values: Array) -> BoolArray:
        """(C,): whether the levels (2, C, K) of `boundaries` are right, limited to 0..K·step or not."""
        k = self.step * np.arange(1, self.thresholds.shape[1] + 1)
        reached = (values[0] >= k) | (self.thresholds > self.hi[:, None])
        missed = (values[1] <= k - self.step) | (self.thresholds <= self.lo[:, None])
        return np.asarray((reached & missed).all(axis=1))

    def emulate(self, sums: IntArray) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The kernel's arithmetic on biased sums (..., C, P), without its saturation."""
        with np.errstate(over="ignore"):
            return np.asarray(np.rint(sums.astype(np.float32) * self.scale[:, None]))

    def proven(self) -> BoolArray:
        """(C,): whether every accumulator gets its level; each operation is monotone, so the boundaries decide."""
        ends = np.stack([self.lo, self.hi]) * self.gain + self.bias
        fits = (np.abs(ends) <= _MOST).all(axis=0)
        return np.asarray(self.right(self.emulate(self.boundaries())) & fits)

    def most(self) -> int:
        """The largest level of any accumulator, unlimited."""
        return int(self.emulate((self.hi * self.gain + self.bias)[:, None]).max(initial=0))

    def of(self, channels: IntArray | slice) -> Rescale:
        """Of some channels only."""
        return Rescale(
            self.gain[channels],
            self.bias[channels],
            self.scale[channels],
            self.thresholds[channels],
            self.lo[channels],
            self.hi[channels],
            self.step,
        )


def zero_point(interval: IntType) -> int | None:
    """What is added to integers to give codes 0..255; None if they do not fit."""
    zero = min(max(-interval.lo, 0), 255)
    return zero if interval.hi + zero <= 255 and interval.lo + zero >= 0 else None


def identity(lo: IntArray, hi: IntArray) -> Rescale:
    """Accumulators as they are; each is below 2**24."""
    one = np.ones(len(lo), dtype=np.int64)
    return Rescale(one, one * 0, one.astype(np.float32), np.zeros((len(lo), 0), dtype=np.int64), lo, hi)


def gains(weight: IntArray, largest_code: int, *, signed: bool) -> IntArray | None:
    """(C,): the largest factors that keep weights (K, C) in 8 bits, or None if they do not fit.

    Processors without VNNI add two products of an unsigned and a signed byte in 16 bits; unsigned weights
    are multiplied in 32.
    """
    up = 127 // np.maximum(weight.max(axis=0), 1)
    down = 128 // np.maximum(-weight.min(axis=0), 1)
    most = np.minimum(up, down)
    if signed:
        largest = np.maximum(np.abs(weight).max(axis=0), 1)
        most = np.minimum(most, 32767 // (2 * max(largest_code, 1) * largest))
        most = np.where(largest > 127, 0, np.minimum(most, 127 // largest))
    return np.asarray(most) if (most >= 1).all() else None


def solve(levels: Levels, lo: IntArray, hi: IntArray, most: IntArray) -> Rescale | None:
    """The requantisation that is `levels`, or None if there is none or it was not found.

    Args:
        levels: Of one row or C.
        lo: Smallest accumulators, (C,).
        hi: Largest accumulators, (C,).
        most: Largest gains, (C,).
    """
    table = np.broadcast_to(levels.thresholds, (len(lo), levels.count))
    table = np.clip(table, lo[:, None], hi[:, None] + 1)
    one = np.ones(len(lo), dtype=np.int64)
    if levels.count == 1 and levels.step > 0:
        scale = np.full(len(lo), levels.step, dtype=np.float32)
        only = Rescale(one, 1 - table[:, 0], scale, table, lo, hi, levels.step)
        return only if only.proven().all() else None
    if levels.step != 1 or not 1 < levels.count <= 255:
        return None
    start = Rescale(one, one * 0, one.astype(np.float32), table, lo, hi)
    least, largest = _slopes(start)
    if (least > largest * (1 + _CLOSE)).any():
        return None
    largest = np.maximum(largest, least)
    few = slice(0, _FEW)
    if _search(start.of(few), least[few], largest[few], most[few]) is None:
        return None
    return _search(start, least, largest, most)


def _slopes(x: Rescale) -> tuple[FloatArray, FloatArray]:
    """Bounds of u, (C,) each: no two thresholds may contradict each other."""
    table, count = x.thresholds.astype(np.float64), x.thresholds.shape[1]
    met, missed = x.thresholds <= x.hi[:, None], x.thresholds > x.lo[:, None]
    least, largest = np.full(len(table), _FLATTEST), np.full(len(table), np.inf)
    for d in range(1, count):
        rise = table[:, d:] - table[:, :-d]
        above = np.where(met[:, d:] & missed[:, :-d], (rise + 1) / d, np.inf)
        below = np.where(missed[:, d:] & met[:, :-d], (rise - 1) / d, 0)
        largest, least = np.minimum(largest, above.min(axis=1)), np.maximum(least, below.max(axis=1))
    return least, np.where(np.isinf(largest), 2 * least + 2, largest)


def _search(start: Rescale, least: FloatArray, largest: FloatArray, most: IntArray) -> Rescale | None:
    """The smallest gain first, and of each the middle slopes first."""
    gain, bias, scale = start.gain.copy(), start.bias.copy(), start.scale.copy()
    left = np.arange(len(gain))
    for power in range(int(most.max() - 1).bit_length() + 1):
        for i in sorted(range(_SLOPES), key=lambda i: abs(2 * i + 1 - _SLOPES)):
            u = least[left] + (largest - least)[left] * (i / (_SLOPES - 1))
            tried = _with_slope(start.of(left), u, np.minimum(1 << power, most[left]))
            good = tried.proven()
            done = left[good]
            gain[done], bias[done], scale[done] = tried.gain[good], tried.bias[good], tried.scale[good]
            left = left[~good]
            if not len(left):
                return Rescale(gain, bias, scale, start.thresholds, start.lo, start.hi)
    return None


def _with_slope(x: Rescale, u: FloatArray, gain: IntArray) -> Rescale:
    """With the bias in the middle of what u leaves of its interval."""
    edge = (np.arange(x.thresholds.shape[1]) + 0.5) * u[:, None] - x.thresholds
    least = np.where(x.thresholds <= x.hi[:, None], edge, -np.inf).max(axis=1)
    largest = np.where(x.thresholds > x.lo[:, None], edge + 1, np.inf).min(axis=1)
    least = np.where(np.isinf(least), largest - 1, least)
    largest = np.where(np.isinf(largest), least + 1, largest)
    bias = np.clip(np.rint((least + largest) / 2 * gain), -_MOST, _MOST).astype(np.int64)
    return Rescale(gain, bias, (1 / (u * gain)).astype(np.float32), x.thresholds, x.lo, x.hi)
