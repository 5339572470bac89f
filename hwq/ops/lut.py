"""``y = values[c, #{k : x >= breaks[c, k]}]``: any function of one integer, as its constant pieces."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from hwq.cost.laws import elementwise as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, narrow, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Lut:
    """Breaks (channels or 1, pieces - 1), non-decreasing along the second axis, and values (channels or 1, pieces).

    Between equal breaks there is an empty piece, whose value never occurs.

    Attributes:
        MAX_ENTRIES: Longer tables are built as comparisons with their breaks.
    """

    MAX_ENTRIES: ClassVar[int] = 1024

    breaks: IntArray
    values: IntArray


def infer(params: Lut, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    breaks, values = params.breaks, params.values
    if {len(breaks), len(values)} - {1, x.shape[-1]} or values.shape[1] != breaks.shape[1] + 1:
        raise ValueError(
            f"a table of breaks {breaks.shape} and values {values.shape} reads a tensor of shape {x.shape}"
        )
    if (breaks[:, 1:] < breaks[:, :-1]).any():
        raise ValueError("breaks fall along a channel")
    lowest = np.full((len(breaks), 1), x.type.lo, dtype=np.int64)
    starts = np.concatenate([lowest, np.maximum(breaks, x.type.lo)], axis=1)
    met = starts <= x.type.hi
    met[:, :-1] &= starts[:, :-1] < breaks
    met = np.broadcast_to(met, (max(len(met), len(values)), met.shape[1]))
    reached = np.broadcast_to(values, met.shape)[met]
    return x.shape, narrow(int(reached.min()), int(reached.max()))


def run(params: Lut, x: IntArray) -> IntArray:
    breaks, values = params.breaks, params.values
    if len(breaks) == len(values) == 1:
        return np.asarray(values[0, np.searchsorted(breaks[0], x, side="right")])
    out = np.empty(x.shape, dtype=np.int64)
    for c in range(x.shape[-1]):
        piece = np.searchsorted(breaks[c % len(breaks)], x[..., c], side="right")
        out[..., c] = values[c % len(values), piece]
    return out


def emit(params: Lut, site: Site) -> tuple[HlsLayer, ...]:
    """A table where the input takes few values, else its constant pieces."""
    interval = site.input.type
    rows = max(len(params.breaks), len(params.values))
    attributes = {"n_in": prod(site.input.shape), "n_chan": rows}
    entries = interval.hi - interval.lo + 1
    if entries <= params.MAX_ENTRIES:
        domain = np.arange(interval.lo, interval.hi + 1)[None, :, None]
        table = run(params, np.broadcast_to(domain, (1, entries, rows)))[0].T
        attributes |= {"n_entries": entries, "lo": interval.lo}
        index = {"index_t": IntType(0, entries - 1)}
        return (own_layer("HwqTable", attributes | index, site, data={"values": table}),)
    # A break beyond the interval acts as its end; where values never occur, they are of no matter.
    breaks = np.clip(params.breaks, interval.lo, interval.hi + 1)
    values = np.clip(params.values, site.output.type.lo, site.output.type.hi)
    data = {
        name: np.broadcast_to(array, (rows, array.shape[1]))
        for name, array in (("breaks", breaks), ("values", values))
    }
    count = {"n_breaks": breaks.shape[1], "count_t": IntType(0, breaks.shape[1])}
    return (own_layer("HwqPieces", attributes | count, site, data=data),)


SPEC = OpSpec(
    "lut",
    Lut,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.lut,
    source="a finite function by its constant pieces",
)
