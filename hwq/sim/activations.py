"""Requantisation of float accumulators, each way with its proof.

IEEE operations are monotone, so a chain of them that gives the right level at every threshold T and at T - 1 gives
it everywhere between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwq.ir import IntType, Node, Tensor
from hwq.ops import OPS
from hwq.ops.requant import Requant
from hwq.rounding import BoolArray, FloatArray, IntArray
from hwq.sim.levels import Levels, levels
from hwq.sim.packing import scratch
from hwq.sim.step import Array, number_type, storage

_FEW = 4
_SOME = 24
_TABLE = 2**21
_FAR = 1e12
_BLOCK = 4096
"""Elements a row of constants is tiled to: the inner loop of a compare."""


@dataclass(frozen=True)
class Activation:
    """A function of accumulators.

    Attributes:
        apply: (values (rows, channels), which it may overwrite; out (rows, channels)).
        dtype: Of `out`.
        number: Of `values`.
        method: How, for people.
    """

    apply: Callable[[Array, Array], None]
    dtype: Any
    number: Any
    method: str

    def requantise(self, values: Array, out: Array) -> None:
        """As `apply`, of values of any number type."""
        if values.dtype != self.number:
            given, values = values, scratch.get("values", values.shape, self.number)
            np.copyto(values, given, casting="unsafe")
        self.apply(values, out)


def integers(interval: IntType) -> Activation:
    """Accumulators as they are."""
    number = number_type(max(abs(interval.lo), abs(interval.hi)))
    return Activation(
        lambda v, out: np.copyto(out, v, casting="unsafe"), storage(interval), number, "accumulators kept"
    )


Bounds = tuple[IntArray, IntArray]
"""Smallest and largest value that occurs, a channel."""


def activation(node: Node, source: Tensor, out: Tensor, bounds: Bounds | None = None) -> Activation:
    """The fastest proven form of a threshold, requant or lut node on values of float32, or float64 if they need it.

    Args:
        node: Of one of these ops.
        source: What it reads.
        out: What it makes.
        bounds: Of what it reads, where known closer than the tensor's interval.
    """
    kind, number = storage(out.type), number_type(max(abs(source.type.lo), abs(source.type.hi) + 1))
    table = levels(node, source.type)
    if table is None or number is np.int64:
        return _general(node, source, kind, number)
    if table.count <= _FEW:
        return Activation(_compares(table, kind, number), kind, number, f"{table.count} compares")
    if table.step == 1:
        ends = tuple(
            end[:, None] for end in bounds or (np.full(1, source.type.lo), np.full(1, source.type.hi))
        )
        table = replace(table, thresholds=np.clip(table.thresholds, ends[0], ends[1] + 1))
        for precision in (np.float32, np.float64) if number is np.float32 else (np.float64,):
            if affine := _affine(node, table, (ends[0], ends[1]), kind, precision):
                points = f"proven at {2 * table.thresholds.size} points"
                return Activation(affine, kind, precision, f"{np.dtype(precision).name} affine, {points}")
    if (source.type.hi - source.type.lo + 1) * source.shape[-1] > _TABLE and table.count <= _SOME:
        return Activation(_compares(table, kind, number), kind, number, f"{table.count} compares")
    return _general(node, source, kind, number)


# --- compares -------------------------------------------------------------------------------------


def _tiled(values: Array, channels: int, dtype: Any) -> Callable[[Array], list[tuple[Array, Array]]]:
    """Rows of constants for arrays (rows, channels): pairs of a long-rowed view and what goes with it."""
    if len(values) == 1:
        return lambda v: [(v.reshape(-1), values.astype(dtype)[0])]
    rows = max(1, _BLOCK // channels)
    row = values.astype(dtype)
    long = np.tile(row, rows)

    def split(v: Array) -> list[tuple[Array, Array]]:
        if len(v) < rows:
            return [(v, row)]
        whole = len(v) // rows * rows
        parts = [(v[:whole].reshape(-1, rows * channels), long), (v[whole:], row)]
        return [(part, constants) for part, constants in parts if len(part)]

    return split


def _compares(table: Levels, kind: Any, number: Any) -> Callable[[Array, Array], None]:
    channels = len(table.thresholds)
    rows = [_tiled(table.thresholds[:, k], channels, number) for k in range(table.count)]
    thresholds = np.ascontiguousarray(table.thresholds.T).astype(number)
    codes_of = (table.base + table.step * np.arange(table.count + 1)).astype(kind)

    def apply(values: Array, out: Array) -> None:
        if len(values) == 1:
            out[0] = codes_of[np.add.reduce(values >= thresholds, axis=0, dtype=np.intp)]
            return
        met = scratch.get("met", out.shape, np.bool_)
        codes = scratch.get("codes", out.shape, np.uint8)
        if not rows:
            out[...] = table.base
            return
        for k, row in enumerate(rows):
            target = codes.view(np.bool_) if k == 0 else met
            for (v, threshold), (o, _) in zip(row(values), row(target), strict=True):
                np.greater_equal(v, threshold, out=o)
            if k:
                np.add(codes, met.view(np.uint8), out=codes)
        _place(codes, out, table, kind)

    return apply


def _place(count: Array, out: Array, table: Levels, kind: Any) -> None:
    """Out = base + step · count, in integers that may wrap around on the way: a count fits only without a sign."""
    np.copyto(out.view(f"u{out.itemsize}"), count, casting="unsafe")
    if table.step != 1:
        np.multiply(out, np.array(table.step).astype(kind), out=out)
    if table.base:
        np.add(out, np.array(table.base).astype(kind), out=out)


# --- multiply and add -----------------------------------------------------------------------------


def _affine(
    node: Node, table: Levels, bounds: Bounds, kind: Any, precision: Any
) -> Callable[[Array, Array], None] | None:
    """``clip(round(v·m + b))`` in one precision, if it can be proven."""
    params = node.params
    if isinstance(params, Requant) and params.low is None:
        scale = 2.0**-params.shift
        rint = params.half_even and params.shift > 0
        slack = 0.0 if rint else 0.5
        slope, offset = params.mult * scale, (params.add + slack) * scale - table.base
    else:
        rint = False
        slope, offset = fit_line(table, bounds)
    m, b = slope.astype(precision), offset.astype(precision)
    if not _proven(table, bounds, m, b, rint=rint):
        return None
    return _multiply_add(table, m, b, kind, rint=rint)


def fit_line(table: Levels, bounds: Bounds) -> tuple[FloatArray, FloatArray]:
    """(m, b) a channel whose floor steps as near the middle of the thresholds' gaps as a line can.

    ``m·T_k + b >= k > m·(T_k - 1) + b``; in u = 1/m the room for b is concave, so its best is found by thirds.
    """
    thresholds = table.thresholds.astype(np.float64)
    k = np.arange(1, table.count + 1)
    met, missed = _reachable(table, bounds)
    inside = met & missed
    first = np.where(inside, thresholds, np.inf).min(axis=1)
    last = np.where(inside, thresholds, -np.inf).max(axis=1)
    first, last = (np.where(inside.any(axis=1), x, 0) for x in (first, last))
    between = np.maximum(inside.sum(axis=1) - 1, 1)
    span = (bounds[1] - bounds[0])[:, 0] + 2.0
    low = np.maximum(last - first - 1, 0) / between
    high = np.where(inside.sum(axis=1) > 1, (last - first + 1) / between, span)

    def room(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        d = thresholds - u[:, None] * k
        lowest = np.where(missed, d, -np.inf).max(axis=1) - 1
        highest = np.where(met, d, np.inf).min(axis=1)
        return np.maximum(lowest, -_FAR), np.minimum(highest, _FAR)

    for _ in range(60):
        third = (high - low) / 3
        a, b = low + third, high - third
        (a_lo, a_hi), (b_lo, b_hi) = room(a), room(b)
        better = a_hi - a_lo > b_hi - b_lo
        low, high = np.where(better, low, a), np.where(better, b, high)
    u = np.maximum((low + high) / 2, 1 / _FAR)
    d_lo, d_hi = room(u)
    return 1 / u, -(d_lo + d_hi) / 2 / u


def _reachable(table: Levels, bounds: Bounds) -> tuple[BoolArray, BoolArray]:
    """(channels, K): whether some value meets the threshold, and whether some value misses it."""
    return table.thresholds <= bounds[1], table.thresholds > bounds[0]


def _proven(table: Levels, bounds: Bounds, m: Array, b: Array, *, rint: bool) -> bool:
    """Whether the chain gives at least k at T_k, and less at T_k - 1, where these can occur."""
    level = np.arange(1, table.count + 1)
    chain = np.rint if rint else np.floor
    at, before = (chain((table.thresholds - d).astype(m.dtype) * m[:, None] + b[:, None]) for d in (0, 1))
    met, missed = _reachable(table, bounds)
    return bool((m >= 0).all() and ((at >= level) | ~met).all() and ((before < level) | ~missed).all())


def _multiply_add(
    table: Levels, m: Array, b: Array, kind: Any, *, rint: bool
) -> Callable[[Array, Array], None]:
    channels = max(len(m), len(b))
    m, b = np.broadcast_to(m, channels), np.broadcast_to(b, channels)
    if (m == m[0]).all() and (b == b[0]).all():
        m, b = m[:1], b[:1]
    slope, offset = _tiled(m, channels, m.dtype), _tiled(b, channels, b.dtype)
    top = m.dtype.type(table.count)

    def apply(values: Array, out: Array) -> None:
        for (part, a), (_, c) in zip(slope(values), offset(values), strict=True):
            np.multiply(part, a, out=part)
            np.add(part, c, out=part)
        if rint:
            np.rint(values, out=values)
        np.clip(values, 0, top, out=values)
        _place(values, out, table, kind)

    return apply


# --- tables, and the meaning itself ---------------------------------------------------------------


def _general(node: Node, source: Tensor, kind: Any, number: Any) -> Activation:
    """A table over the interval if it is small, else the op's own integer meaning."""
    run, interval, channels = OPS[node.op].run, source.type, source.shape[-1]
    span = interval.hi - interval.lo + 1
    if span * channels > _TABLE:

        def meaning(values: Array, out: Array) -> None:
            np.copyto(out, run(node.params, values), casting="unsafe")

        return Activation(meaning, kind, np.int64, "int64")
    domain = np.broadcast_to(np.arange(interval.lo, interval.hi + 1)[:, None], (span, channels))
    columns = run(node.params, domain).T
    if (columns == columns[0]).all():
        columns = columns[:1]
    table = np.ascontiguousarray(columns).ravel().astype(kind)
    first = np.arange(len(columns), dtype=np.int64) * span - interval.lo

    def apply(values: Array, out: Array) -> None:
        np.take(table, values.astype(np.int64) + first, out=out, mode="wrap")

    return Activation(apply, kind, number, f"table of {table.size}")
