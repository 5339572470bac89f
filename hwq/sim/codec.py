"""Fast forms of the host's two conversions, float32 to integers and integers to float64, each proven once a graph."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwq.exact import at
from hwq.ir import Graph, InputQuantizer, Port, Real
from hwq.rounding import FloatArray, boundary, round_float
from hwq.sim.step import Array, storage

_FEW = 4
_MOST = 2**12
"""Thresholds, or table entries, that are worth exact arithmetic."""
_BLOCK = 2**16

Encoder = Callable[[Array], Array]
_ENCODERS: WeakKeyDictionary[Graph, dict[str, Encoder | None]] = WeakKeyDictionary()
_TABLES: WeakKeyDictionary[Graph, dict[str, FloatArray | None]] = WeakKeyDictionary()


def encoder(graph: Graph, port: Port) -> Encoder | None:
    """(finite float32 of any shape) -> integers of the port's tensor; None where the general way must be gone."""
    known = _ENCODERS.setdefault(graph, {})
    if port.tensor not in known:
        quantizer, kind = port.quantizer, storage(graph.tensors[port.tensor].type)
        known[port.tensor] = _encoder(quantizer, kind) if quantizer else None
    return known[port.tensor]


def decode_table(graph: Graph, port: Port, real: Real) -> FloatArray | None:
    """The nearest float64 of each code of the port's interval, (channels or 1, codes); None if there are many."""
    known = _TABLES.setdefault(graph, {})
    if port.name not in known:
        interval, channels = graph.tensors[port.tensor].type, max(len(real.scale), len(real.offset))
        span = range(interval.lo, interval.hi + 1)
        rows = [(at(real.scale, c), at(real.offset, c)) for c in range(channels)]
        small = channels * len(span) <= _MOST
        known[port.name] = np.array([[float(a * q + b) for q in span] for a, b in rows]) if small else None
    return known[port.name]


def _encoder(quantizer: InputQuantizer, kind: type) -> Encoder | None:
    if max(len(quantizer.scale), len(quantizer.offset), len(quantizer.step)) > 1:
        return None
    step = at(quantizer.step, 0)
    slope, shift = at(quantizer.scale, 0) / step, at(quantizer.offset, 0) / step + quantizer.zero
    if not slope.is_rational or not shift.is_rational or slope.rational() <= 0:
        return None
    if not quantizer.bipolar and quantizer.hi - quantizer.lo > _MOST:
        return None
    levels = [1] if quantizer.bipolar else list(range(quantizer.lo + 1, quantizer.hi + 1))
    edges = [(Fraction(0), True) if quantizer.bipolar else boundary(quantizer.rounding, k) for k in levels]
    thresholds = np.array([_first((e - shift.rational()) / slope.rational(), closed=c) for e, c in edges])
    if quantizer.bipolar or len(levels) <= _FEW:
        return _compares(quantizer, thresholds, kind)
    chains = (
        _chain(quantizer, thresholds, t(float(slope)), t(float(shift)), kind)
        for t in (np.float32, np.float64)
    )
    return next(filter(None, chains), None)


def _first(edge: Fraction, *, closed: bool) -> np.float32:
    """The smallest float32 that is at or, unless closed, above an edge; infinite if there is none."""
    with np.errstate(over="ignore"):
        x: np.float32 = (
            np.float32(float(edge)) if abs(edge) < 1e300 else np.float32(inf if edge > 0 else -inf)
        )
    while x > -inf and (Fraction(float(x)) >= edge if x < inf else True):
        x = np.nextafter(x, np.float32(-inf))
    x = max(x, np.finfo(np.float32).min)
    while x < inf and (Fraction(float(x)) < edge or (Fraction(float(x)) == edge and not closed)):
        x = np.nextafter(x, np.float32(inf))
    return x


def _compares(quantizer: InputQuantizer, thresholds: Array, kind: type) -> Encoder:
    step = 2 if quantizer.bipolar else 1
    base = -1 if quantizer.bipolar else quantizer.lo
    first: Array = np.array(base - quantizer.zero).astype(kind)

    def encode(x: Array) -> Array:
        codes = np.full(x.shape, first)
        for threshold in thresholds:
            met = (x >= threshold).view(np.uint8)
            np.add(codes, met * np.uint8(step) if step > 1 else met, out=codes, casting="unsafe")
        return codes

    return encode


def _chain(
    quantizer: InputQuantizer, thresholds: Array, m: np.floating[Any], b: np.floating[Any], kind: type
) -> Encoder | None:
    """``round(clip(x·m + b))`` in the type of m, if it gives the right code at every threshold and just below it."""
    lo, hi, zero = (type(m)(x) for x in (quantizer.lo, quantizer.hi, quantizer.zero))

    def codes(x: Array) -> Array:
        y = x * m
        y += b
        np.clip(y, lo, hi, out=y)
        return np.asarray(round_float(quantizer.rounding, y) - zero)

    if (
        not np.isfinite(thresholds).all()
        or max(abs(quantizer.hi), abs(quantizer.lo), abs(quantizer.zero)) > 2**20
    ):
        return None
    level = np.arange(quantizer.lo + 1, quantizer.hi + 1) - quantizer.zero
    below = np.nextafter(thresholds, np.float32(-inf))
    with np.errstate(over="ignore"):
        right = (codes(thresholds) == level).all() and (codes(below) == level - 1).all()
    if not right:
        return None

    def encode(x: Array) -> Array:
        flat = x.reshape(-1)
        out: Array = np.empty(x.size, dtype=kind)
        with np.errstate(over="ignore"):
            for i in range(0, x.size, _BLOCK):
                out[i : i + _BLOCK] = codes(flat[i : i + _BLOCK])
        return np.asarray(out.reshape(x.shape))

    return encode
