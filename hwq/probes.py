"""Inputs that random data hardly ever holds: rounding ties, and what drives accumulators to their ends."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.errors import InputError
from hwq.exact import at
from hwq.ir import Graph, InputQuantizer, Port
from hwq.rounding import IntArray, boundary

Float32 = np.ndarray[Any, np.dtype[np.float32]]


def random_rows(graph: Graph, rows: int, seed: int = 0) -> dict[str, Float32]:
    """Uniform codes of every input, as float32 in the file's own shape."""
    rng = np.random.default_rng(seed)
    return from_codes(graph, {p.tensor: random_codes(graph, p, rng, rows) for p in graph.inputs})


def random_codes(graph: Graph, port: Port, rng: np.random.Generator, rows: int) -> IntArray:
    """Uniform codes (rows, *graph shape) of one input, among those that its quantiser makes."""
    tensor = graph.tensors[port.tensor]
    if port.quantizer and port.quantizer.bipolar:
        return rng.choice(np.array([tensor.type.lo, tensor.type.hi]), (rows, *tensor.shape))
    return rng.integers(tensor.type.lo, tensor.type.hi + 1, (rows, *tensor.shape), dtype=np.int64)


def tie_rows(graph: Graph, rows: int, seed: int = 0) -> dict[str, Float32]:
    """Inputs on (or, where float32 has no such number, next to) the input quantiser's rounding boundaries."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for port in graph.inputs:
        quantizer = _quantizer(port)
        shape = graph.tensors[port.tensor].shape
        first = min(quantizer.lo + 1, quantizer.hi)
        level = rng.integers(first, quantizer.hi + 1, (rows, *shape), dtype=np.int64)
        drawn[port.name] = _to_file(port, _at_levels(quantizer, level, edges=True))
    return drawn


def from_codes(graph: Graph, codes: Mapping[str, IntArray]) -> dict[str, Float32]:
    """The float32 inputs, in the file's own shape, nearest to the middle of what is quantised to these codes."""
    drawn = {}
    for port in graph.inputs:
        quantizer = _quantizer(port)
        x = _at_levels(quantizer, codes[port.tensor] + quantizer.zero, edges=False)
        drawn[port.name] = _to_file(port, x)
    return drawn


def _quantizer(port: Port) -> InputQuantizer:
    if port.quantizer is None:
        raise InputError(f"input '{port.name}' has no quantiser: give integer codes")
    return port.quantizer


def _to_file(port: Port, x: Float32) -> Float32:
    return np.asarray(port.layout.to_file(x, port.shape), dtype=np.float32)


def _at_levels(quantizer: InputQuantizer, level: IntArray, *, edges: bool) -> Float32:
    """The float32 nearest to the input at which each code begins (`edges`), or at its middle."""
    many = max(len(quantizer.scale), len(quantizer.offset), len(quantizer.step))
    out = np.empty(level.shape, dtype=np.float32)
    for c in range(many):
        where = (..., slice(c, c + 1)) if many > 1 else (...,)
        values, back = np.unique(level[where], return_inverse=True)
        points = [_preimage(quantizer, int(k), c, edges=edges) for k in values]
        out[where] = np.array(points, dtype=np.float32)[back].reshape(level[where].shape)
    return out


def _preimage(quantizer: InputQuantizer, level: int, channel: int, *, edges: bool) -> float:
    """The x with ``(scale·x + offset)/step + zero`` equal to a code, or to the boundary below it."""
    place = Fraction(level)
    if edges:
        place = Fraction(0) if quantizer.bipolar else boundary(quantizer.rounding, level)[0]
    real = at(quantizer.step, channel) * (place - quantizer.zero) - at(quantizer.offset, channel)
    gain = at(quantizer.scale, channel)
    return float(real / gain) if gain != 0 else 0.0
