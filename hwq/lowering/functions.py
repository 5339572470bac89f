"""Transcendental steps: sigmoid, tanh, erf, exp, softplus, ELU.

The magnitude of a result is |value| (NumPy's own error is a few units in its last place) plus the magnitude
of x times a bound of the slope between ``x - magnitude/1024`` and ``x + magnitude/1024``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf

import numpy as np

from hwq import computable
from hwq.exact import Surd
from hwq.lowering.pending import MIXED, Step
from hwq.rounding import FloatArray, IntArray

_REACH = 2.0**-10
_LEAST = 1e-290
"""Covers what float64 loses near its least numbers."""
_LARGEST = 700.0
"""``e**x`` beyond is not computed in float64."""


def _below(x: FloatArray, reach: FloatArray) -> FloatArray:
    """The least |x| within reach."""
    return np.maximum(np.abs(x) - reach, 0.0)


def _sigmoid(x: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    t = np.exp(-np.abs(x))
    return np.where(x > 0, 1.0, t) / (1.0 + t), np.minimum(np.exp(-_below(x, reach)), 0.25)


def _tanh(x: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.tanh(x), np.minimum(4.0 * np.exp(-2.0 * _below(x, reach)), 1.0)


def _erf(x: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    value = np.fromiter(map(erf, x.ravel()), dtype=np.float64, count=x.size).reshape(x.shape)
    return value, 1.1284 * np.exp(-(_below(x, reach) ** 2))


def _exp(x: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    high = x + reach
    slope = np.where(high > _LARGEST, np.inf, np.exp(np.minimum(high, _LARGEST)))
    return np.exp(np.minimum(x, _LARGEST)), slope


def _softplus(x: FloatArray, reach: FloatArray) -> tuple[FloatArray, FloatArray]:
    value = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return value, np.exp(np.minimum(x + reach, 0.0))


_FLOAT: dict[str, Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]] = {
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
    "exp": _exp,
    "softplus": _softplus,
}
_EXACT: dict[str, Callable[[Surd], Surd]] = {
    "sigmoid": computable.sigmoid,
    "tanh": computable.tanh,
    "erf": computable.erf,
    "exp": computable.exp,
    "softplus": computable.softplus,
}


@dataclass(frozen=True)
class Transcendental(Step):
    """One of sigmoid, tanh, erf, exp, softplus (``log(1 + e**x)``); all rise."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in _FLOAT:
            raise ValueError(f"no function '{self.name}'; there are {', '.join(_FLOAT)}")

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = _FLOAT[self.name](x, magnitude * _REACH)
        return value, np.abs(value) + slope * magnitude + _LEAST

    def exact(self, x: Surd, channel: int) -> Surd:  # noqa: ARG002
        return _EXACT[self.name](x)

    def direction(self) -> IntArray:
        return np.ones(1, dtype=np.int64)


@dataclass(frozen=True)
class Elu(Step):
    """``x`` where positive, else ``alpha·(e**x - 1)``."""

    alpha: Surd

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        alpha, high = float(self.alpha), x + magnitude * _REACH
        value = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))
        slope = abs(alpha) * np.exp(np.minimum(high, 0.0))
        slope = np.where(high > 0, np.maximum(slope, 1.0), slope)
        return value, np.abs(value) + slope * magnitude + _LEAST

    def exact(self, x: Surd, channel: int) -> Surd:  # noqa: ARG002
        return x if x.sign() > 0 else (computable.exp(x) - 1) * self.alpha

    def direction(self) -> IntArray:
        return np.array([1 if self.alpha.sign() >= 0 else MIXED])
