"""Sum over a window, channels last, padding with zeros; an average is it over `divisor`."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod

import numpy as np

from hwq.cost.laws import pool as law
from hwq.emit.layers import HlsLayer, Site, own_layer, window_attributes
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, narrow, no_macs
from hwq.ops.window import Pads, Pair, out_size, windows
from hwq.rounding import IntArray


@dataclass(frozen=True)
class SumPool:
    """Window, strides and pads in (height, width).

    Without `count_pads`, a sum of n pixels inside the image is multiplied by L / n, where L is the least
    common multiple of all such n, so that the mean over those pixels is the same fraction everywhere.
    """

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    count_pads: bool = True


def divisor(params: SumPool, shape: tuple[int, ...]) -> int:
    """What the result on a tensor of this shape is to be divided by to give the mean.

    Raises:
        ValueError: The window does not fit, or the least common multiple is beyond 62 bits.
    """
    if params.count_pads:
        return prod(params.kernel)
    return prod(_multiple(counts) for counts in pixels(params, shape))


def pixels(params: SumPool, shape: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """How many rows, and columns, of each window lie inside the image: (out_h,) and (out_w,)."""
    size = out_size((shape[0], shape[1]), params.kernel, params.strides, params.pads, params.dilations)
    return _inside(params, 0, shape[0], size[0]), _inside(params, 1, shape[1], size[1])


def _inside(params: SumPool, axis: int, size: int, positions: int) -> IntArray:
    step = params.dilations[axis]
    first = np.arange(positions) * params.strides[axis] - params.pads[axis]
    lowest = np.maximum(-(first // step), 0)
    highest = np.minimum((size - 1 - first) // step, params.kernel[axis] - 1)
    return np.asarray(np.maximum(highest - lowest + 1, 0))


def _multiple(counts: IntArray) -> int:
    result = 1
    for count in np.unique(counts).tolist():
        result = lcm(result, count)
        if not 0 < result < 2**62:
            raise ValueError(
                "a window would hold only padding"
                if not count
                else "the least common multiple of the windows' pixels is beyond 62 bits"
            )
    return result


def infer(params: SumPool, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if len(x.shape) != 3:
        raise ValueError(f"pools a tensor of shape {x.shape}, not (height, width, channels)")
    rows, columns = pixels(params, x.shape)
    shape = bounded((len(rows), len(columns), x.shape[2]))
    if not params.count_pads:
        total = divisor(params, x.shape)
        return shape, narrow(total * x.type.lo, total * x.type.hi)
    fewest, most = int(rows.min()) * int(columns.min()), int(rows.max()) * int(columns.max())
    lo = min(fewest * x.type.lo, most * x.type.lo)
    return shape, narrow(lo, max(fewest * x.type.hi, most * x.type.hi))


def weights(params: SumPool, shape: tuple[int, ...]) -> IntArray:
    """What the sum at each position is multiplied by, (out_h, out_w, 1); all ones with `count_pads`."""
    rows, columns = pixels(params, shape)
    if params.count_pads:
        return np.ones((len(rows), len(columns), 1), dtype=np.int64)
    return (_multiple(rows) // rows)[:, None, None] * (_multiple(columns) // columns)[:, None]


def run(params: SumPool, x: IntArray) -> IntArray:
    view = windows(x, params.kernel, params.strides, params.pads, params.dilations)
    total: IntArray = view.sum(axis=(4, 5)) * weights(params, x.shape[1:])
    return total


def emit(params: SumPool, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: hls4ml's average divides, and wants the window equal to the stride in io_stream."""
    rows, columns = pixels(params, site.input.shape)
    factors = {
        name: np.ones_like(counts) if params.count_pads else _multiple(counts) // counts
        for name, counts in (("row_factor", rows), ("column_factor", columns))
    }
    attributes = window_attributes(params, site) | {"maximum": False}
    return (own_layer("HwqPool", attributes, site, data=factors),)


SPEC = OpSpec(
    "sum_pool",
    SumPool,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.cost,
    source="ONNX AveragePool, before its division",
)
