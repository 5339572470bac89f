"""An independent meaning of a QONNX file: plain Python, Fractions, and r + s·√v; nothing from hwq.

Slow and obvious on purpose. Sums of products run as Fractions too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Root:
    """r + s·√v with rationals; v is shared by whatever is added."""

    r: Fraction
    s: Fraction = Fraction(0)
    v: Fraction = Fraction(0)

    def __add__(self, other: Root | Fraction) -> Root:
        if isinstance(other, Fraction):
            return Root(self.r + other, self.s, self.v)
        assert self.s == 0 or other.s == 0 or self.v == other.v
        v = self.v if self.s != 0 else other.v
        return Root(self.r + other.r, self.s + other.s, v)

    def __mul__(self, k: Fraction) -> Root:
        return Root(self.r * k, self.s * k, self.v)

    def sign(self) -> int:
        """By squaring."""
        square = self.s * self.s * self.v
        if self.s == 0 or self.v == 0:
            return (self.r > 0) - (self.r < 0)
        if self.r >= 0 and self.s > 0:
            return 1
        if self.r <= 0 and self.s < 0:
            return -1
        larger = self.r * self.r - square
        sign = (larger > 0) - (larger < 0)
        return sign if self.r > 0 else -sign

    def floor(self) -> int:
        """Largest integer not above the value."""
        k: int = floor(float(self.r) + float(self.s) * float(self.v) ** 0.5)
        while (self + Fraction(-k)).sign() < 0:
            k -= 1
        while (self + Fraction(-k - 1)).sign() >= 0:
            k += 1
        return k

    def nearest_float(self) -> float:
        """Correctly rounded: a rational with 300 bits of the root decides."""
        if self.s == 0:
            return float(self.r)
        scale = 1 << 300
        n = self.v.numerator * self.v.denominator * scale * scale
        low, high = 0, 1 << (n.bit_length() // 2 + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if middle * middle <= n else (low, middle)
        return float(self.r + self.s * Fraction(low, scale * self.v.denominator))


def _round(mode: str, x: Root) -> int:
    below = x.floor()
    rest = x + Fraction(-below)
    half = (rest + Fraction(-1, 2)).sign()
    whole, negative = rest.sign() == 0, x.sign() < 0
    up: dict[str, bool] = {
        "ROUND": half > 0 or (half == 0 and below % 2 == 1),
        "FLOOR": False,
        "CEIL": not whole,
        "UP": not whole and not negative,
        "DOWN": not whole and negative,
        "HALF_UP": half > 0 or (half == 0 and not negative),
        "HALF_DOWN": half > 0 or (half == 0 and negative),
    }
    return below + up[mode]


def _quant(x: Root, scale: Fraction, zero: Fraction, bits: int, attributes: dict[str, Any]) -> Root:
    signed, narrow = attributes.get("signed", 1), attributes.get("narrow", 0)
    quotient = x * (1 / scale) + zero
    if bits == 1 and signed:
        return Root((Fraction(1 if quotient.sign() >= 0 else -1) - zero) * scale)
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    if (quotient + Fraction(-high)).sign() > 0:
        quotient = Root(Fraction(high))
    if (quotient + Fraction(-low)).sign() < 0:
        quotient = Root(Fraction(low))
    return Root((_round(attributes.get("rounding_mode", "ROUND"), quotient) - zero) * scale)


def _roots(x: Array) -> Array:
    out = np.empty(x.shape, dtype=object)
    for i in np.ndindex(x.shape):
        out[i] = x[i] if isinstance(x[i], Root) else Root(Fraction(float(x[i])))
    return out


def _rational(x: Root) -> Fraction:
    assert x.s == 0
    return x.r


def _products(a: Array, b: Array) -> Array:
    """(N, K) times (K, M)."""
    out = np.empty((a.shape[0], b.shape[1]), dtype=object)
    for n, m in np.ndindex(out.shape):
        out[n, m] = sum((a[n, k] * _rational(b[k, m]) for k in range(a.shape[1])), Root(Fraction(0)))
    return out


def _conv(x: Array, w: Array, attributes: dict[str, Any]) -> Array:
    groups, (sh, sw) = attributes.get("group", 1), attributes.get("strides", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    dh, dw = attributes.get("dilations", [1, 1])
    n, c, h, width = x.shape
    padded = _roots(np.zeros((n, c, h + top + bottom, width + left + right)))
    padded[:, :, top : top + h, left : left + width] = x
    out_c, per_group, kh, kw = w.shape
    out_h = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    out_w = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    out = np.empty((n, out_c, out_h, out_w), dtype=object)
    for i, o, y, z in np.ndindex(out.shape):
        first = o // (out_c // groups) * per_group
        total = Root(Fraction(0))
        for c_in, u, v in np.ndindex(per_group, kh, kw):
            total += padded[i, first + c_in, y * sh + u * dh, z * sw + v * dw] * _rational(w[o, c_in, u, v])
        out[i, o, y, z] = total
    return out


def _larger(a: Root, b: Root) -> Root:
    difference = Root(a.r - b.r, a.s - b.s, a.v or b.v)
    assert a.s == 0 or b.s == 0 or a.v == b.v
    return a if difference.sign() >= 0 else b


def _max_pool(x: Array, attributes: dict[str, Any]) -> Array:
    (kh, kw), (sh, sw) = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    n, c, h, w = x.shape
    out_h, out_w = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
    out = np.empty((n, c, out_h, out_w), dtype=object)
    for i, k, y, z in np.ndindex(out.shape):
        rows = range(max(y * sh - top, 0), min(y * sh - top + kh, h))
        columns = range(max(z * sw - left, 0), min(z * sw - left + kw, w))
        best: Root | None = None
        for u in rows:
            for v in columns:
                best = x[i, k, u, v] if best is None else _larger(best, x[i, k, u, v])
        out[i, k, y, z] = best
    return out


def _batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, attributes: dict[str, Any]
) -> Array:
    out = np.empty(x.shape, dtype=object)
    epsilon = Fraction(float(np.float32(attributes.get("epsilon", 1e-5))))
    for i in np.ndindex(x.shape):
        c = i[1]
        variance = _rational(var[c]) + epsilon
        centred = _rational(x[i]) - _rational(mean[c])
        out[i] = Root(_rational(beta[c]), _rational(gamma[c]) * centred / variance, variance)
    return out


def _broadcast(function: Callable[[Root, Root], Root], a: Array, b: Array) -> Array:
    a, b = np.broadcast_arrays(a, b)
    out = np.empty(a.shape, dtype=object)
    for i in np.ndindex(a.shape):
        out[i] = function(a[i], b[i])
    return out


def evaluate(model: onnx.ModelProto, x: Array) -> Array:
    """Float64 of the exact output, correctly rounded; every operator by its definition."""
    values: dict[str, Array] = {t.name: _roots(numpy_helper.to_array(t)) for t in model.graph.initializer}
    values[model.graph.input[0].name] = _roots(x)
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        values[node.output[0]] = _apply(node.op_type, [values[i] for i in node.input], attributes)
    out = values[model.graph.output[0].name]
    return np.asarray(np.vectorize(lambda v: v.nearest_float(), otypes=[float])(out))


def _apply(op: str, xs: list[Array], attributes: dict[str, Any]) -> Array:
    if op == "Quant":
        x, scale = np.broadcast_arrays(xs[0], xs[1])
        zero, bits = _rational(xs[2].item()), int(_rational(xs[3].item()))
        out = np.empty(x.shape, dtype=object)
        for i in np.ndindex(x.shape):
            out[i] = _quant(x[i], _rational(scale[i]), zero, bits, attributes)
        return out
    if op == "BipolarQuant":
        return _broadcast(lambda v, s: Root(s.r if v.sign() >= 0 else -s.r), xs[0], xs[1])
    if op == "BatchNormalization":
        return _batch_norm(xs[0], xs[1], xs[2], xs[3], xs[4], attributes)
    table: dict[str, Callable[[], Array]] = {
        "MatMul": lambda: _products(xs[0], xs[1]),
        "Gemm": lambda: _broadcast(
            lambda a, b: a + b,
            _products(xs[0], xs[1].T if attributes.get("transB") else xs[1]),
            xs[2] if len(xs) > 2 else _roots(np.zeros(1)),
        ),
        "Conv": lambda: _broadcast(
            lambda a, b: a + b,
            _conv(xs[0], xs[1], attributes),
            xs[2].reshape(-1, 1, 1) if len(xs) > 2 else _roots(np.zeros(1)),
        ),
        "Relu": lambda: _broadcast(lambda a, b: a if a.sign() > 0 else b, xs[0], _roots(np.zeros(1))),
        "Mul": lambda: _broadcast(lambda a, b: a * _rational(b), xs[0], xs[1]),
        "Add": lambda: _broadcast(lambda a, b: a + b, xs[0], xs[1]),
        "Sub": lambda: _broadcast(lambda a, b: a + b * Fraction(-1), xs[0], xs[1]),
        "MaxPool": lambda: _max_pool(xs[0], attributes),
        "Flatten": lambda: xs[0].reshape(len(xs[0]), -1),
        "Transpose": lambda: xs[0].transpose(attributes["perm"]),
    }
    return table[op]()
