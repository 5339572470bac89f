"""Counting thresholds: ``y = base + step · #{k : x >= T[c, k]}``; any non-decreasing function."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws.threshold import cost
from hwq.emit.layers import Binary, HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Threshold:
    """Thresholds (channels or 1, levels - 1), non-decreasing along the second axis.

    A threshold at the input's lowest value is always met, one above its highest never.
    """

    thresholds: IntArray
    base: int
    step: int = 1


def infer(params: Threshold, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    channels, levels = params.thresholds.shape
    if channels not in (1, x.shape[-1]):
        raise ValueError(f"thresholds of {channels} channels read a tensor of shape {x.shape}")
    if levels > 1 and (np.diff(params.thresholds, axis=1) < 0).any():
        raise ValueError("thresholds fall along a channel")
    lowest = int((params.thresholds <= x.type.lo).sum(axis=1).min())
    highest = int((params.thresholds <= x.type.hi).sum(axis=1).max())
    ends = (params.base + params.step * lowest, params.base + params.step * highest)
    return x.shape, IntType(min(ends), max(ends))


def run(params: Threshold, x: IntArray) -> IntArray:
    count = np.zeros(x.shape, dtype=np.int64)
    for k in range(params.thresholds.shape[1]):
        count += x >= params.thresholds[:, k]
    return params.base + params.step * count


def emit(params: Threshold, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer; thresholds below the input's interval act as its lowest value, above it as never."""
    table = np.clip(params.thresholds, site.input.type.lo, site.input.type.hi + 1)
    channels, steps = table.shape
    binary = isinstance(site.output.type, Binary)
    attributes = {
        "n_in": prod(site.input.shape),
        "n_chan": channels,
        "n_steps": steps,
        "base": 0 if binary else params.base,
        "step": 1 if binary else params.step,
        "count_t": IntType(0, steps),
    }
    return (own_layer("HwqThreshold", attributes, site, data={"thresholds": table}),)


SPEC = OpSpec(
    "threshold",
    Threshold,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=cost,
    source="FINN MultiThreshold (Umuroglu et al. 2017, sec. 4.2.2)",
)
