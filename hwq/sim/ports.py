"""Between real numbers and the graph's integers, exactly: the host side of inputs and outputs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwq.errors import InputError
from hwq.exact import ExactArray, Surd, at, nearest
from hwq.ir import Graph, InputQuantizer, Port, Real
from hwq.rounding import FloatArray, IntArray, boundary, near_boundary, round_float
from hwq.sim import encoding
from hwq.sim.step import storage

_CHUNK = 2**16
_RELATIVE_ERROR = 1e-14
"""Of a float64 evaluation of a handful of operations."""
_TINY = 1e-300
"""More than what an underflow in them loses."""


def check_shape(port: Port, x: np.ndarray[Any, Any]) -> None:
    """Refuse an array that is not rows of the port's shape; its values are not read."""
    wanted = "(batch, " + ", ".join(map(str, port.shape)) + ")"
    if x.ndim != len(port.shape) + 1 or x.shape[1:] != port.shape or not len(x):
        raise InputError(f"input '{port.name}' takes {wanted}, got an array of shape {x.shape}")


def check_input(graph: Graph, port: Port, x: np.ndarray[Any, Any], first_row: int = 0) -> None:
    """Refuse an array that is not what the port takes; its rows count from `first_row`.

    Raises:
        InputError: Wrong shape or dtype, NaN or infinite, or integers outside the interval.
    """
    check_shape(port, x)
    if x.dtype.kind in "iu":
        interval = graph.tensors[port.tensor].type
        if x.min() < interval.lo or x.max() > interval.hi:
            raise InputError(
                f"input '{port.name}': integer codes must lie in {interval.lo}..{interval.hi}, got {x.min()}..{x.max()}"
            )
        if port.quantizer and port.quantizer.bipolar and not np.isin(x, (interval.lo, interval.hi)).all():
            raise InputError(f"input '{port.name}': integer codes must be {interval.lo} or {interval.hi}")
        return
    if x.dtype != np.float32:
        raise InputError(
            f"input '{port.name}' takes float32 (or integer codes), got {x.dtype}: use x.astype(np.float32)"
        )
    if not np.isfinite(x).all():
        row = first_row + int(np.argwhere(~np.isfinite(x))[0][0])
        raise InputError(f"input '{port.name}' holds NaN or infinite values, first in row {row}")


def encode(graph: Graph, port: Port, x: np.ndarray[Any, Any], first_row: int = 0) -> np.ndarray[Any, Any]:
    """Integers (N, *graph shape) of a checked input (N, *file shape): float32, or codes already.

    They come in the smallest integer type that holds the port's interval.
    """
    check_input(graph, port, x, first_row)
    tensor = graph.tensors[port.tensor]
    kind = storage(tensor.type)
    if x.dtype.kind in "iu":
        return port.layout.to_graph(x, tensor.shape).astype(kind)
    if port.quantizer is None:
        raise InputError(f"input '{port.name}' has no quantiser: give integer codes")
    if fast := encoding.encoder(graph, port, quantize):
        return port.layout.to_graph(fast(x), tensor.shape)
    moved = port.layout.to_graph(x, tensor.shape)
    codes: np.ndarray[Any, Any] = np.empty(moved.shape, dtype=kind)
    rows = max(1, _CHUNK // max(1, moved[0].size))
    for i in range(0, len(moved), rows):
        codes[i : i + rows] = quantize(port.quantizer, moved[i : i + rows].astype(np.float64))
    return codes


def quantize(quantizer: InputQuantizer, x: FloatArray) -> IntArray:
    """Exact integers of float32 values held as float64; channels are the last axis."""
    scale, offset, step = nearest(quantizer.scale), nearest(quantizer.offset), nearest(quantizer.step)
    product, shift = x * (scale / step), offset / step
    z = product + shift + quantizer.zero
    error = _RELATIVE_ERROR * (np.abs(product) + np.abs(shift) + abs(quantizer.zero)) + _TINY
    if quantizer.bipolar:
        codes = np.where(z >= 0, 1, -1).astype(np.int64)
        unsure = np.abs(z) <= error
    else:
        clamped = np.clip(z, quantizer.lo, quantizer.hi)
        codes = round_float(quantizer.rounding, clamped).astype(np.int64)
        within = (z > quantizer.lo - 1 - error) & (z < quantizer.hi + 1 + error)
        unsure = within & near_boundary(quantizer.rounding, clamped, error + _RELATIVE_ERROR)
    _settle(quantizer, x, codes, unsure)
    return codes - quantizer.zero


def _settle(quantizer: InputQuantizer, x: FloatArray, codes: IntArray, unsure: np.ndarray[Any, Any]) -> None:
    """Decide the values near a boundary exactly, each distinct (channel, value) once."""
    where = np.nonzero(unsure)
    if not len(where[0]):
        return
    many = max(len(quantizer.scale), len(quantizer.offset), len(quantizer.step)) > 1
    channel = where[-1] if many else np.zeros(len(where[0]), dtype=np.int64)
    pairs, back = np.unique(np.stack([channel.astype(np.float64), x[where]]), axis=1, return_inverse=True)
    exact = [exact_code(quantizer, float(v), int(c)) for c, v in pairs.T]
    codes[where] = np.array(exact, dtype=np.int64)[back]


def count_ties(graph: Graph, port: Port, x: np.ndarray[Any, Any]) -> int:
    """How many float32 inputs (N, *file shape) lie exactly on a rounding boundary of the input quantiser."""
    quantizer = port.quantizer
    if quantizer is None:
        return 0
    moved = port.layout.to_graph(x, graph.tensors[port.tensor].shape).astype(np.float64)
    many = max(len(quantizer.scale), len(quantizer.offset), len(quantizer.step)) > 1
    columns = moved.reshape(-1, moved.shape[-1]) if many else moved.reshape(-1, 1)
    total = 0
    for c in range(columns.shape[1]):
        values, counts = np.unique(columns[:, c], return_counts=True)
        total += sum(int(n) for v, n in zip(values, counts, strict=True) if _is_tie(quantizer, float(v), c))
    return total


def _is_tie(quantizer: InputQuantizer, x: float, channel: int) -> bool:
    z = real_quotient(quantizer, x, channel)
    if quantizer.bipolar:
        return z == 0
    code = exact_code(quantizer, x, channel)
    near = (k for k in (code, code + 1) if quantizer.lo < k <= quantizer.hi)
    return any(z == boundary(quantizer.rounding, k)[0] for k in near)


def real_quotient(quantizer: InputQuantizer, x: float, channel: int) -> Surd:
    """``(scale·x + offset)/step + zero``, exactly."""
    value = at(quantizer.scale, channel) * Fraction(x) + at(quantizer.offset, channel)
    return value / at(quantizer.step, channel) + quantizer.zero


def exact_code(quantizer: InputQuantizer, x: float, channel: int) -> int:
    """The code of one value before the zero point is subtracted."""
    z = real_quotient(quantizer, x, channel)
    if quantizer.bipolar:
        return 1 if z.sign() >= 0 else -1
    low, high = quantizer.lo, quantizer.hi
    while low < high:
        middle = (low + high + 1) // 2
        edge, inclusive = boundary(quantizer.rounding, middle)
        sign = (z - edge).sign()
        low, high = (middle, high) if sign > 0 or (sign == 0 and inclusive) else (low, middle - 1)
    return low


def decode(real: Real, codes: IntArray) -> FloatArray:
    """The correctly rounded float64 of ``scale[c]·q + offset[c]``; channels are the last axis."""
    scale, offset = real.scale, real.offset
    if _rounds_once(scale, offset, max(-int(codes.min(initial=0)), int(codes.max(initial=0)))):
        return np.asarray(codes * scale.astype(np.float64) + offset)
    many = max(len(scale), len(offset)) > 1
    flat = codes.reshape(-1, codes.shape[-1]) if many else codes.reshape(-1, 1)
    out = np.empty(flat.shape)
    for c in range(flat.shape[1]):
        values, back = np.unique(flat[:, c], return_inverse=True)
        a, b = at(scale, c), at(offset, c)
        out[:, c] = np.array([float(a * int(q) + b) for q in values])[back]
    return out.reshape(codes.shape)


def _rounds_once(scale: ExactArray, offset: ExactArray, largest: int) -> bool:
    """Whether ``scale·q + offset`` in float64 is rounded only at its end, for magnitudes of q up to `largest`."""
    if object in (scale.dtype, offset.dtype) or largest >= 2**53:
        return False
    if not offset.any():
        return True
    mantissas = (np.frexp(scale)[0] * 2.0**53).astype(np.int64)
    lowest = int(np.bitwise_or.reduce(mantissas))
    bits = 53 - ((lowest & -lowest).bit_length() - 1) if lowest else 0
    return bits + largest.bit_length() <= 53 and bool((np.abs(scale) < 1e290).all())


def decode_output(graph: Graph, port: Port, codes: IntArray) -> FloatArray:
    """Real output (N, *file shape), correctly rounded."""
    real = graph.meaning(port)
    if real is None:
        raise InputError(f"output '{port.name}' has no real meaning: ask for codes")
    table = decode_table(graph, port, real)
    if table is None:
        return np.asarray(port.layout.to_file(decode(real, codes), port.shape))
    index = codes - graph.tensors[port.tensor].type.lo
    values = table[0][index] if len(table) == 1 else table[np.arange(len(table)), index]
    return np.asarray(port.layout.to_file(values, port.shape))


_TABLES: WeakKeyDictionary[Graph, dict[str, FloatArray | None]] = WeakKeyDictionary()
_MOST_ENTRIES = 2**12


def decode_table(graph: Graph, port: Port, real: Real) -> FloatArray | None:
    """The nearest float64 of each code of the port's interval, (channels or 1, codes); None if there are many."""
    known = _TABLES.setdefault(graph, {})
    if port.name not in known:
        interval, channels = graph.tensors[port.tensor].type, max(len(real.scale), len(real.offset))
        span = range(interval.lo, interval.hi + 1)
        lines = [(at(real.scale, c), at(real.offset, c)) for c in range(channels)]
        small = channels * len(span) <= _MOST_ENTRIES
        known[port.name] = np.array([[float(a * q + b) for q in span] for a, b in lines]) if small else None
    return known[port.name]


def apply_epilogue(port: Port, y: FloatArray) -> FloatArray:
    """The float operator that the file has behind an output, on the host; not exact, and not in hardware."""
    if not port.epilogue:
        raise InputError(f"output '{port.name}' has no epilogue: leave --epilogue away")
    if port.epilogue == "Sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * y)))
    if port.epilogue == "Tanh":
        return np.asarray(np.tanh(y))
    shifted = y - y.max(axis=port.epilogue_axis, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=port.epilogue_axis, keepdims=True))
    return np.asarray(log_softmax if port.epilogue == "LogSoftmax" else np.exp(log_softmax))


def off_grid(quantizer: InputQuantizer, x: np.ndarray[Any, Any]) -> int:
    """How many float32 inputs are not the float32 nearest to a number of a stated grid."""
    step = nearest(quantizer.step)
    codes = np.clip(np.rint(x.astype(np.float64) / step), quantizer.lo, quantizer.hi)
    return int(((codes * step).astype(np.float32) != x).sum())


def _dyadic(real: Real) -> bool:
    """Whether all values are multiples of a power of two."""
    return real.scale.dtype != object and bool((np.frexp(real.scale)[0] == 0.5).all())


def on_stated_grid(graph: Graph, port: Port, x: FloatArray) -> FloatArray:
    """Inputs as the model with its stated grid sees them; others come back as they are.

    Values are rounded to the grid and saturated, and moved toward zero where float32 does not hold the result. On a
    grid that float32 has no numbers of, such as multiples of 1/255, they are the nearest float32.
    """
    real = graph.tensors[port.tensor].real
    if port.quantizer is None or not port.quantizer.stated or real is None:
        return x
    y = x.astype(np.float32)
    if not _dyadic(real):
        exact = port.layout.to_file(decode(real, encode(graph, port, y)), port.shape)
        return np.asarray(exact.astype(np.float32))
    while True:
        exact = port.layout.to_file(decode(real, encode(graph, port, y)), port.shape)
        nearest_float = exact.astype(np.float32)
        if (nearest_float == y).all() and (nearest_float == exact).all():
            return np.asarray(y)
        inward = np.nextafter(nearest_float, np.float32(0))
        y = np.where(np.abs(nearest_float.astype(np.float64)) > np.abs(exact), inward, nearest_float)
