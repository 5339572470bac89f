"""Fast exact encoders: float32 inputs to integers by comparisons, or by float operations proven once a graph.

The exact map from float32 to a code is monotone in each channel, and so is every chain of IEEE operations with
constants: a chain that agrees at each step of the exact map, and just below it, agrees everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwq.exact import Surd, at
from hwq.ir import Graph, InputQuantizer, Layout, Port
from hwq.rounding import FloatArray, IntArray, round_float
from hwq.sim.step import Array, storage

_FEW = 4
_SOME = 32
"""Levels whose comparisons still cost less than the general way."""
_MOST = 2**12
"""Steps, of all channels together, that are worth exact arithmetic."""
_BLOCK = 2**16
_INFINITE = 0x7F800000
"""Key of the float32 infinity; the key below it is the largest number's."""

Encoder = Callable[[Array], Array]
Exact = Callable[[InputQuantizer, FloatArray], IntArray]
_ENCODERS: WeakKeyDictionary[Graph, dict[str, Encoder | None]] = WeakKeyDictionary()


def encoder(graph: Graph, port: Port, exact: Exact) -> Encoder | None:
    """(finite float32 (N, *file shape)) -> integers of the port's tensor; None where there is no fast way.

    Args:
        graph: Keeps its encoders.
        port: An input.
        exact: Integers of float32 values held as float64, channels last; slow, but always right.
    """
    known = _ENCODERS.setdefault(graph, {})
    if port.tensor not in known:
        known[port.tensor] = _encoder(graph, port, port.quantizer, exact) if port.quantizer else None
    return known[port.tensor]


def _encoder(graph: Graph, port: Port, quantizer: InputQuantizer, exact: Exact) -> Encoder | None:
    tensor = graph.tensors[port.tensor]
    spread = _Spread(port.layout, tensor.shape[-1] if tensor.shape else 1)
    kind = storage(tensor.type)
    slopes, shifts = _line(quantizer)
    if _shifts_only(quantizer, slopes, shifts):
        return _chain(quantizer, np.float64, spread, kind)
    count = 1 if quantizer.bipolar else quantizer.hi - quantizer.lo
    if count * len(slopes) > _MOST:
        return None
    steps = first_floats(quantizer, exact)
    if count > _FEW:
        for number in (np.float32, np.float64):
            if _proven(quantizer, number, steps):
                return _chain(quantizer, number, spread, kind)
    return _compares(quantizer, steps, spread, kind) if count <= _SOME else None


def _line(quantizer: InputQuantizer) -> tuple[list[Surd], list[Surd]]:
    """Slope and shift of each channel: its code is ``slope·x + shift``, limited and rounded."""
    channels = range(max(len(quantizer.scale), len(quantizer.offset), len(quantizer.step)))
    slopes = [at(quantizer.scale, c) / at(quantizer.step, c) for c in channels]
    shifts = [at(quantizer.offset, c) / at(quantizer.step, c) + quantizer.zero for c in channels]
    return slopes, shifts


def _shifts_only(quantizer: InputQuantizer, slopes: list[Surd], shifts: list[Surd]) -> bool:
    """Whether each code is a float32 times a power of two, rounded: float64 holds that, and its half-integers."""
    far = max(-quantizer.lo, quantizer.hi) > 2**24
    if quantizer.bipolar or far or any(s.terms for s in shifts) or not all(s.is_rational for s in slopes):
        return False
    parts = [n for s in slopes for n in (abs(s.rational().numerator), s.rational().denominator)]
    return all(0 < n < 2**500 and not n & (n - 1) for n in parts)


@dataclass(frozen=True)
class Steps:
    """Where the codes rise.

    Attributes:
        signs: float32 (C,), -1 where the codes fall as x rises.
        first: float32 (K, C): the smallest ``sign·x`` of each level above the lowest; infinite if none has it.
    """

    signs: Array
    first: Array


def first_floats(quantizer: InputQuantizer, exact: Exact) -> Steps:
    """The steps of a quantiser, by bisection over all float32 numbers in their order."""
    slopes, _ = _line(quantizer)
    signs = np.array([s.sign() if s.terms else 1 for s in slopes], dtype=np.float32)
    levels = [1] if quantizer.bipolar else range(quantizer.lo + 1, quantizer.hi + 1)
    wanted = np.array(levels, dtype=np.int64)[:, None] - quantizer.zero
    low = np.full((len(wanted), len(signs)), 1 - _INFINITE, dtype=np.int64)
    high = np.full_like(low, _INFINITE)
    with np.errstate(over="ignore", invalid="ignore"):
        while (low < high).any():
            middle = np.minimum((low + high) >> 1, _INFINITE - 1)
            reached = exact(quantizer, (_float(middle) * signs).astype(np.float64)) >= wanted
            low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
    return Steps(signs, _float(high))


def _float(keys: IntArray) -> Array:
    """The float32 at a place in their order; 0 is 0.0."""
    size = np.abs(keys).astype(np.uint32).view(np.float32)
    return np.asarray(np.where(keys < 0, -size, size))


def _constants(quantizer: InputQuantizer, number: Any) -> tuple[Array, Array]:
    """Slopes and shifts (C,) as float32 or float64."""
    slopes, shifts = (np.array([float(v) for v in part]) for part in _line(quantizer))
    with np.errstate(over="ignore"):
        return slopes.astype(number), shifts.astype(number)


def _rounded(quantizer: InputQuantizer, x: Array, m: Array, b: Array, y: Array) -> Array:
    """``round(clip(x·m + b)) - zero`` in the type of m, in the buffer y."""
    np.multiply(x, m, out=y)
    np.add(y, b, out=y)
    np.clip(y, m.dtype.type(quantizer.lo), m.dtype.type(quantizer.hi), out=y)
    codes = round_float(quantizer.rounding, y)
    return np.asarray(codes - m.dtype.type(quantizer.zero) if quantizer.zero else codes)


def _proven(quantizer: InputQuantizer, number: Any, steps: Steps) -> bool:
    """Whether the chain reaches each level at the exact map's step, and not just below it."""
    m, b = _constants(quantizer, number)
    if not (np.isfinite(m).all() and np.isfinite(b).all()) or not _small(quantizer):
        return False
    largest = np.finfo(np.float32).max
    at_step = np.minimum(steps.first, largest)
    level = np.arange(quantizer.lo + 1, quantizer.hi + 1)[:, None] - quantizer.zero
    with np.errstate(over="ignore"):
        below = np.maximum(np.nextafter(steps.first, np.float32(-np.inf)), -largest)
        met, missed = (
            _rounded(quantizer, x * steps.signs, m, b, np.empty(x.shape, number)) >= level
            for x in (at_step, below)
        )
    return bool((met | (steps.first > largest)).all() and (~missed | (steps.first <= -largest)).all())


def _small(quantizer: InputQuantizer) -> bool:
    """Whether float32 holds every code and zero point, and their differences."""
    return max(abs(quantizer.lo), abs(quantizer.hi), abs(quantizer.zero)) <= 2**20


class _Spread:
    """Per-channel constants laid over rows in the file's order, over enough of them to fill a block."""

    def __init__(self, layout: Layout, channels: int) -> None:
        index = layout.index()
        self.channel = np.empty(len(index), dtype=np.int64)
        self.channel[index] = np.arange(len(index)) % channels
        self.times = max(1, _BLOCK // max(1, len(index)))
        self.block = self.times * len(index)

    def __call__(self, values: Array) -> Array:
        """(C,) -> (block,); one value for all stays one."""
        return values if len(values) == 1 else np.tile(values[self.channel], self.times)


def _chain(quantizer: InputQuantizer, number: Any, spread: _Spread, kind: type) -> Encoder:
    m, b = (spread(v) for v in _constants(quantizer, number))

    def encode(x: Array) -> Array:
        flat = x.reshape(-1)
        out: Array = np.empty(x.size, dtype=kind)
        buffer = np.empty(min(spread.block, x.size), dtype=number)
        with np.errstate(over="ignore"):
            for i in range(0, x.size, spread.block):
                part = flat[i : i + spread.block]
                n = len(part)
                out[i : i + n] = _rounded(quantizer, part, m[:n], b[:n], buffer[:n])
        return np.asarray(out.reshape(x.shape))

    return encode


def _compares(quantizer: InputQuantizer, steps: Steps, spread: _Spread, kind: type) -> Encoder:
    rise, base = (2, -1) if quantizer.bipolar else (1, quantizer.lo)
    first: Array = np.array(base - quantizer.zero).astype(kind)
    rows = [spread(row) for row in steps.first]
    signs = None if (steps.signs > 0).all() else spread(steps.signs)

    def encode(x: Array) -> Array:
        flat = x.reshape(-1)
        out: Array = np.empty(x.size, dtype=kind)
        for i in range(0, x.size, spread.block):
            part, codes = flat[i : i + spread.block], out[i : i + spread.block]
            n = len(part)
            if signs is not None:
                part = part * signs[:n]
            count = np.zeros(n, dtype=np.uint8)
            for row in rows:
                np.add(count, (part >= row[:n]).view(np.uint8), out=count)
            np.copyto(codes, count, casting="unsafe")
            if rise > 1:
                np.multiply(codes, kind(rise), out=codes)
            np.add(codes, first, out=codes)
        return np.asarray(out.reshape(x.shape))

    return encode
