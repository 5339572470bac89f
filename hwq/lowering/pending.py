"""A real-valued tensor as a pending function of an integer one.

Affine operators, BatchNormalization, ReLU and the like do not become nodes: each is a `Step` on the
integers before it, per channel (last axis, channels-last). A quantiser resolves the steps into
thresholds; a matrix product absorbs a scale and an offset.

Every step can be evaluated in float64 with a bound on the magnitudes that were added up (rounding
errors are at most a few units in the last place of that), and exactly, one number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from hwq.exact import ExactArray, Surd, at, exact_array, nearest
from hwq.rounding import FloatArray, IntArray

BAND = 1e-13
"""Relative error bound of a float64 evaluation of fewer than 100 steps; 2**-53 a rounding is far below."""


class Step(Protocol):
    """One monotone function per channel."""

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Approximate value and accumulated magnitude; arrays are (channels or 1, points)."""

    def exact(self, x: Surd, channel: int) -> Surd:
        """The value itself."""

    def direction(self) -> IntArray:
        """+1 rising, -1 falling, 0 constant: (channels or 1,)."""

    def take(self, index: IntArray) -> Step:
        """The step of a tensor whose channel i is this one's channel index[i]."""

    def channels(self) -> int:
        """Length of its arrays; 1 if it treats all channels alike."""


def _column(values: ExactArray) -> FloatArray:
    return nearest(values)[:, None]


def _sign(values: ExactArray) -> IntArray:
    return np.sign(nearest(values)).astype(np.int64)


def _take(values: ExactArray, index: IntArray) -> ExactArray:
    return values if len(values) == 1 else values[index]


@dataclass(frozen=True)
class Affine:
    """``factor·x + offset``; `hidden` is the magnitude of summands that cancelled in the offset."""

    factor: ExactArray
    offset: ExactArray
    hidden: FloatArray = field(default_factory=lambda: np.zeros(1))

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        a, b = _column(self.factor), _column(self.offset)
        return a * x + b, np.abs(a) * magnitude + np.abs(b) + _column(self.hidden)

    def exact(self, x: Surd, channel: int) -> Surd:
        return x * at(self.factor, channel) + at(self.offset, channel)

    def direction(self) -> IntArray:
        return _sign(self.factor)

    def take(self, index: IntArray) -> Affine:
        return Affine(_take(self.factor, index), _take(self.offset, index), _take(self.hidden, index))

    def channels(self) -> int:
        return max(len(self.factor), len(self.offset))


def scale_by(factor: ExactArray) -> Affine:
    """``factor·x``."""
    return Affine(factor, np.zeros(1))


def shift_by(offset: ExactArray) -> Affine:
    """``x + offset``."""
    return Affine(np.ones(1), offset)


@dataclass(frozen=True)
class BatchNorm:
    """``gamma·(x - mean)/sqrt(variance + epsilon) + beta``, with the real square root (ONNX BatchNormalization)."""

    gamma: ExactArray
    beta: ExactArray
    mean: ExactArray
    variance: ExactArray
    epsilon: Fraction

    def _gain(self) -> FloatArray:
        return nearest(self.gamma) / np.sqrt(nearest(self.variance) + float(self.epsilon))

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        gain, mean, beta = self._gain()[:, None], _column(self.mean), _column(self.beta)
        return gain * (x - mean) + beta, np.abs(gain) * (magnitude + np.abs(mean)) + np.abs(beta)

    def exact(self, x: Surd, channel: int) -> Surd:
        variance = at(self.variance, channel).rational() + self.epsilon
        gain = at(self.gamma, channel) / Surd.sqrt(variance)
        return (x - at(self.mean, channel)) * gain + at(self.beta, channel)

    def direction(self) -> IntArray:
        return _sign(self.gamma)

    def take(self, index: IntArray) -> BatchNorm:
        gamma, beta, mean, variance = (
            _take(v, index) for v in (self.gamma, self.beta, self.mean, self.variance)
        )
        return BatchNorm(gamma, beta, mean, variance, self.epsilon)

    def channels(self) -> int:
        return len(self.gamma)


@dataclass(frozen=True)
class Relu:
    """``max(x, 0)``."""

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.maximum(x, 0.0), magnitude

    def exact(self, x: Surd, channel: int) -> Surd:  # noqa: ARG002
        return x if x.sign() > 0 else Surd()

    def direction(self) -> IntArray:
        return np.ones(1, dtype=np.int64)

    def take(self, index: IntArray) -> Relu:  # noqa: ARG002
        return self

    def channels(self) -> int:
        return 1


Steps = tuple[Step, ...]


def lowest_bit(values: ExactArray) -> int | None:
    """The largest e such that all numbers are multiples of 2**e; None for numbers that are no float64."""
    if values.dtype == object:
        return None
    mantissa, exponent = np.frexp(values[values != 0])
    whole = (mantissa * 2.0**53).astype(np.int64)
    trailing = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return int((exponent - 53 + trailing).min(initial=64))


def is_exact_in_float64(steps: Steps, largest: float) -> bool:
    """Whether a float64 evaluation at integers of at most this magnitude rounds nowhere."""
    unit, value = 0, np.full((1, 1), largest)
    magnitude = value
    for step in steps:
        if isinstance(step, Relu):
            continue
        factor, offset = (
            (lowest_bit(v) for v in (step.factor, step.offset)) if isinstance(step, Affine) else (None, None)
        )
        if factor is None or offset is None:
            return False
        unit = min(unit + factor, offset)
        value, magnitude = step.float(value, magnitude)
        if not -900 < unit < 900 or float(magnitude.max()) > 2.0 ** (53 + unit):
            return False
    return True


def evaluate(
    steps: Steps, x: FloatArray, magnitude: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Float64 value and magnitude of all steps at integer points x, (channels or 1, points)."""
    y, magnitude = x, np.abs(x) if magnitude is None else magnitude
    for step in steps:
        y, magnitude = step.float(y, magnitude)
    return y, magnitude


def evaluate_exact(steps: Steps, x: int | Fraction | Surd, channel: int) -> Surd:
    """The exact value of all steps at one point."""
    y = Surd.of(x)
    for step in steps:
        y = step.exact(y, channel)
    return y


def direction(steps: Steps) -> IntArray:
    """+1, -1 or 0 per channel (or for all)."""
    total = np.ones(1, dtype=np.int64)
    for step in steps:
        total = total * step.direction()
    return total


def channels(steps: Steps) -> int:
    """1 if all channels are treated alike, else their number."""
    return max((s.channels() for s in steps), default=1)


def compose(steps: Steps) -> tuple[ExactArray, ExactArray] | None:
    """Exact (scale, offset) if all steps are affine, else None."""
    if any(isinstance(s, Relu) for s in steps):
        return None
    n = channels(steps)
    zero = [evaluate_exact(steps, 0, c) for c in range(n)]
    one = [evaluate_exact(steps, 1, c) - zero[c] for c in range(n)]
    return _simplest(one), _simplest(zero)


def _simplest(values: list[Surd]) -> ExactArray:
    """float64 where every number is one, else exact objects; one element if all are equal."""
    if len(values) > 1 and all(v.terms == values[0].terms for v in values):
        values = values[:1]
    if all(v.is_rational and Fraction(float(v)) == v.rational() for v in values):
        return np.array([float(v) for v in values])
    return exact_array(values)
