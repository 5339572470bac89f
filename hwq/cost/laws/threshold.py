"""Counting thresholds: comparators and a sum of their results (our own layer, hwq_threshold.h)."""

from __future__ import annotations

import math
from math import prod
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.laws.weights import live_comparators
from hwq.cost.model import ZERO, LayerCost, Value
from hwq.ir import IntType, Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.threshold import Threshold

_LUT_INPUTS = 6


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """Every element has its own comparators in io_parallel, every channel in io_stream."""
    params: Threshold = node.params
    rows, steps = params.thresholds.shape
    lanes = x.shape[-1] if setting.stream else prod(x.shape)
    comparators = live_comparators(params.thresholds, x.type.lo, x.type.hi) * (lanes // rows)
    lut = comparator_lut(comparators, lanes, x.type, out.type, setting)
    delay = setting.t_add_ns * (1 + math.log2(steps + 1))
    return lane_cost(node, f"threshold k={steps}", lut, out, lanes, setting.chained(delay), setting)


def comparator_lut(count: int, lanes: int, kind: IntType, result: IntType, setting: Setting) -> Value:
    """Comparators with constants and a population count; synthesis never needs more than the plain table."""
    fit = fits()["threshold/lut"]
    value = staged(fit.value({"comparator_bits": count * kind.bits, "comparators": count}), "lut", setting)
    if not setting.synthesised:
        return value
    return capped(value, lanes * table_lut(kind.bits, result.bits))


def capped(value: Value, table: int) -> Value:
    """No more than the LUTs of the plain table, which synthesis finds by itself."""
    if table >= value.value:
        return value
    plain = judged("table/lut", table=table)
    return Value(plain.value, min(value.lo, plain.lo), min(value.hi, plain.hi))


def table_lut(in_bits: int, out_bits: int) -> int:
    """LUTs that hold any function of `in_bits` inputs, without the multiplexers' own cost beyond 8 inputs.

    >>> table_lut(4, 2), table_lut(8, 2)
    (2, 8)
    """
    return out_bits << max(0, in_bits - _LUT_INPUTS)


def lane_cost(
    node: Node,
    path: str,
    lut: Value,
    out: Tensor,
    lanes: int,
    depth: int,
    setting: Setting,
    dsp: Value = ZERO,
) -> LayerCost:
    """An element-wise layer of equal lanes, a word a cycle; `depth` stages, `lut` and `dsp` of all lanes."""
    bits = lanes * out.type.bits
    words = prod(out.shape) // lanes if setting.stream else 1
    ff = staged(Value(bits * depth, 0, bits * (2 * depth + 1)), "ff", setting)
    latency = words + 3 if setting.stream else depth
    return built(
        node,
        f"{path}/{'stream' if setting.stream else 'parallel'}",
        lut=lut + (stream_control(setting) if setting.stream else ZERO),
        ff=ff,
        dsp=dsp,
        latency_cycles=latency,
        ii_cycles=latency if setting.stream else 1,
        fill_cycles=3 if setting.stream else 0,
        outside=True,
    )
