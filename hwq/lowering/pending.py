"""A real-valued tensor as a pending function of an integer one.

Affine operators, BatchNormalization, ReLU and the like do not become nodes: each is a `Step` on the
integers before it, per channel (last axis, channels-last). A quantiser resolves the steps into
thresholds; a matrix product absorbs a scale and an offset. `functions.py` has the transcendental
steps, `branches.py` those that join several functions of the same integers.

Every step can be evaluated in float64 with a bound on the magnitudes that were added up (rounding
errors are at most a few units in the last place of that), and exactly, one number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np

from hwq.exact import ExactArray, Surd, add, at, exact_array, multiply, nearest, signs, simplest
from hwq.rounding import BoolArray, FloatArray, IntArray

BAND = 1e-13
"""Relative error bound of a float64 evaluation of fewer than 100 steps; 2**-53 a rounding is far below."""

MIXED = 2
"""The direction of a function that is not known to be monotone."""

Grid = tuple[IntArray, FloatArray]
"""(unit, largest), per channel or of length 1: values are multiples of ``2**unit`` of at most `largest` magnitude.

`largest` is infinite (or NaN) where a float64 evaluation may round.
"""


class Step(Protocol):
    """One function per channel. Arrays of values are (channels or 1, points)."""

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Approximate value and magnitude.

        If x errs by at most ``BAND·magnitude``, so does the result; magnitudes are at least the values'.
        """

    def exact(self, x: Surd, channel: int) -> Surd:
        """The value itself."""

    def direction(self) -> IntArray:
        """+1 rising, -1 falling, 0 constant, `MIXED` where unknown: (channels or 1,)."""

    def take(self, index: IntArray) -> Step:  # noqa: ARG002
        """The step of a tensor whose channel i is this one's channel index[i]."""
        return self

    def channels(self) -> int:
        """Length of its arrays; 1 if it treats all channels alike."""
        return 1

    @property
    def is_affine(self) -> bool:
        """Whether `affine` gives something; fast."""
        return False

    def affine(self) -> tuple[ExactArray, ExactArray] | None:
        """Exact (factor, offset), None if it has none."""
        return None

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        """Where the values lie if x lies on this grid; checked for exactness by the caller."""
        return unit, np.full(largest.shape, np.inf)


def _column(values: ExactArray) -> FloatArray:
    return nearest(values)[:, None]


def _take(values: ExactArray, index: IntArray) -> ExactArray:
    return values if len(values) == 1 else values[index]


def lowest_bits(values: ExactArray) -> IntArray:
    """For each number the largest e such that it is a multiple of 2**e; -5000 for numbers that may be no float64."""
    if values.dtype == object:
        return np.full(len(values), -5000, dtype=np.int64)
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = np.where(whole == 0, 1, whole & -whole).astype(np.float64)
    return np.where(whole == 0, 64, exponent - 53 + np.log2(lowest).astype(np.int64)).astype(np.int64)


@dataclass(frozen=True)
class Affine(Step):
    """``factor·x + offset``; `hidden` is the magnitude of summands that cancelled in the offset."""

    factor: ExactArray
    offset: ExactArray
    hidden: FloatArray = field(default_factory=lambda: np.zeros(1))

    @cached_property
    def _columns(self) -> tuple[FloatArray, FloatArray]:
        return _column(self.factor), _column(self.offset)

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        a, b = self._columns
        return a * x + b, np.abs(a) * magnitude + np.abs(b) + _column(self.hidden)

    def exact(self, x: Surd, channel: int) -> Surd:
        return x * at(self.factor, channel) + at(self.offset, channel)

    def direction(self) -> IntArray:
        return signs(self.factor)

    def take(self, index: IntArray) -> Affine:
        return Affine(_take(self.factor, index), _take(self.offset, index), _take(self.hidden, index))

    def channels(self) -> int:
        return max(len(self.factor), len(self.offset))

    @property
    def is_affine(self) -> bool:
        return True

    def affine(self) -> tuple[ExactArray, ExactArray]:
        return self.factor, self.offset

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        unit = np.minimum(unit + lowest_bits(self.factor), lowest_bits(self.offset))
        factor, offset = self._columns
        return unit, np.abs(factor[:, 0]) * largest + np.abs(offset[:, 0])


def scale_by(factor: ExactArray) -> Affine:
    """``factor·x``."""
    return Affine(factor, np.zeros(1))


def shift_by(offset: ExactArray) -> Affine:
    """``x + offset``."""
    return Affine(np.ones(1), offset)


@dataclass(frozen=True)
class BatchNorm(Step):
    """``gamma·(x - mean)/sqrt(variance + epsilon) + beta``, with the real square root (ONNX BatchNormalization)."""

    gamma: ExactArray
    beta: ExactArray
    mean: ExactArray
    variance: ExactArray
    epsilon: Fraction

    def _gain(self) -> FloatArray:
        variance = nearest(self.variance)
        total = variance + float(self.epsilon)
        if (variance < 0).any():  # the sum may have cancelled
            total = nearest(exact_array([Surd.of(v) + self.epsilon for v in self.variance.tolist()]))
        return nearest(self.gamma) / np.sqrt(total)

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        gain, mean, beta = self._gain()[:, None], _column(self.mean), _column(self.beta)
        return gain * (x - mean) + beta, np.abs(gain) * (magnitude + np.abs(mean)) + np.abs(beta)

    def exact(self, x: Surd, channel: int) -> Surd:
        variance = at(self.variance, channel).rational() + self.epsilon
        gain = at(self.gamma, channel) / Surd.sqrt(variance)
        return (x - at(self.mean, channel)) * gain + at(self.beta, channel)

    def direction(self) -> IntArray:
        return signs(self.gamma)

    def take(self, index: IntArray) -> BatchNorm:
        gamma, beta, mean, variance = (
            _take(v, index) for v in (self.gamma, self.beta, self.mean, self.variance)
        )
        return BatchNorm(gamma, beta, mean, variance, self.epsilon)

    def channels(self) -> int:
        return max(len(v) for v in (self.gamma, self.beta, self.mean, self.variance))

    @property
    def is_affine(self) -> bool:
        return True

    def affine(self) -> tuple[ExactArray, ExactArray]:
        variances = (Surd.of(v).rational() + self.epsilon for v in self.variance.tolist())
        roots = exact_array([Surd.sqrt(v).inverse() for v in variances])
        gain = multiply(self.gamma, roots)
        return gain, add(multiply(gain, -self.mean), self.beta)


@dataclass(frozen=True)
class Relu(Step):
    """``max(x, 0)``."""

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.maximum(x, 0.0), magnitude

    def exact(self, x: Surd, channel: int) -> Surd:  # noqa: ARG002
        return x if x.sign() > 0 else Surd()

    def direction(self) -> IntArray:
        return np.ones(1, dtype=np.int64)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        return unit, largest


@dataclass(frozen=True)
class LeakyRelu(Step):
    """``x`` where positive, else ``slope·x``; PRelu where slopes differ by channel."""

    slope: ExactArray

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        slope = _column(self.slope)
        return np.where(x > 0, x, slope * x), np.maximum(np.abs(slope), 1.0) * magnitude

    def exact(self, x: Surd, channel: int) -> Surd:
        return x if x.sign() > 0 else x * at(self.slope, channel)

    def direction(self) -> IntArray:
        return np.where(signs(self.slope) < 0, MIXED, 1)

    def take(self, index: IntArray) -> LeakyRelu:
        return LeakyRelu(_take(self.slope, index))

    def channels(self) -> int:
        return len(self.slope)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        unit = np.minimum(unit, unit + lowest_bits(self.slope))
        return unit, np.maximum(np.abs(nearest(self.slope)), 1.0) * largest


@dataclass(frozen=True)
class Clip(Step):
    """``min(hi, max(lo, x))``; None is no limit. With hi below lo it is hi everywhere, as ONNX says."""

    lo: Surd | None
    hi: Surd | None

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.lo is not None:
            x = np.maximum(x, float(self.lo))
        if self.hi is not None:
            x = np.minimum(x, float(self.hi))
        return x, np.maximum(magnitude, np.abs(x))

    def exact(self, x: Surd, channel: int) -> Surd:  # noqa: ARG002
        if self.lo is not None and x < self.lo:
            x = self.lo
        return self.hi if self.hi is not None and self.hi < x else x

    def direction(self) -> IntArray:
        constant = self.lo is not None and self.hi is not None and self.hi <= self.lo
        return np.array([0 if constant else 1], dtype=np.int64)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        for limit, side in ((self.lo, 1.0), (self.hi, -1.0)):
            if limit is None:
                continue
            level = simplest(exact_array([limit]))
            value = nearest(level)
            reached = ~(-side * value > largest)  # otherwise no x is beyond this limit
            unit = np.where(reached, np.minimum(unit, lowest_bits(level)), unit)
            largest = np.where(reached, np.maximum(largest, np.abs(value)), largest)
        return unit, largest


Steps = tuple[Step, ...]


def grid(steps: Steps, unit: IntArray, largest: FloatArray) -> Grid:
    """Where the values of all steps lie; `largest` is infinite or NaN on channels where float64 may round."""
    with np.errstate(all="ignore"):
        for step in steps:
            unit, largest = np.broadcast_arrays(*step.grid(unit, largest))
            fits = (np.abs(unit) < 900) & (largest <= np.ldexp(1.0, 53 + np.clip(unit, -900, 900)))
            largest = np.where(fits, largest, np.inf)
    return unit, largest


def exact_channels(steps: Steps, largest: float) -> BoolArray:
    """On which channels (or 1) a float64 evaluation at integers of at most this magnitude rounds nowhere."""
    return np.asarray(
        np.isfinite(grid(steps, np.zeros(1, dtype=np.int64), np.array([largest], dtype=np.float64))[1])
    )


def is_exact_in_float64(steps: Steps, largest: float) -> bool:
    """Whether a float64 evaluation at integers of at most this magnitude rounds nowhere, on any channel."""
    return bool(exact_channels(steps, largest).all())


def evaluate(
    steps: Steps, x: FloatArray, magnitude: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Float64 value and magnitude of all steps at integer points x, (channels or 1, points).

    Both may be infinite or NaN where numbers are too large; a comparison with the band must take that as unsure.
    """
    y, magnitude = x, np.abs(x) if magnitude is None else magnitude
    with np.errstate(all="ignore"):
        for step in steps:
            y, magnitude = step.float(y, magnitude)
    return y, magnitude


def evaluate_exact(steps: Steps, x: int | Fraction | Surd, channel: int) -> Surd:
    """The exact value of all steps at one point.

    Raises:
        ValueError: A comparison inside cannot be decided (see `hwq.computable`).
    """
    y = Surd.of(x)
    for step in steps:
        y = step.exact(y, channel)
    return y


def direction(steps: Steps) -> IntArray:
    """+1, -1, 0 or `MIXED` per channel (or for all)."""
    total = np.ones(1, dtype=np.int64)
    for step in steps:
        new = step.direction()
        total = np.where((total == MIXED) | (new == MIXED), np.where(total * new == 0, 0, MIXED), total * new)
    return total


def channels(steps: Steps) -> int:
    """1 if all channels are treated alike, else their number."""
    return max((s.channels() for s in steps), default=1)


def take(steps: Steps, index: IntArray) -> Steps:
    """The steps of a tensor whose channel i is this one's channel index[i]."""
    return tuple(step.take(index) for step in steps)


def compose(steps: Steps) -> tuple[ExactArray, ExactArray] | None:
    """Exact (scale, offset) if all steps are affine, else None."""
    if not all(step.is_affine for step in steps):
        return None
    scale, offset = np.ones(1), np.zeros(1)
    for step in steps:
        both = step.affine()
        if both is None:
            return None
        factor, shift = both
        scale, offset = multiply(factor, scale), add(multiply(factor, offset), shift)
    return simplest(scale), simplest(offset)


def _simplest(values: list[Surd]) -> ExactArray:
    return simplest(exact_array(values))
