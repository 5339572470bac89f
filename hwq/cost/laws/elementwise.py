"""Tables, sums and products of tensors, argmax (our layers, hwq_lut.h, hwq_join.h, hwq_argmax.h, hwq_matmul.h)."""

from __future__ import annotations

import math
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from hwq.cost.fits import fits
from hwq.cost.laws.setting import Setting, dsp_blocks, judged, staged
from hwq.cost.laws.threshold import capped, comparator_lut, lane_cost, table_lut
from hwq.cost.laws.weights import live_comparators, multipliers
from hwq.cost.model import ZERO, LayerCost, Value
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.add import Add
    from hwq.ops.lut import Lut


def lanes_of(tensor: Tensor, setting: Setting) -> int:
    """Elements at work at once: all in io_parallel, a pixel's in io_stream."""
    return tensor.shape[-1] if setting.stream else prod(tensor.shape)


def lut(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A table of LUTs; where it is large, comparators and a smaller table behind them."""
    params: Lut = node.params
    lanes = lanes_of(x, setting)
    plain = judged("table/lut", table=lanes * table_lut(x.type.bits, out.type.bits))
    entries = x.type.hi - x.type.lo + 1
    rows, breaks = params.breaks.shape
    count = live_comparators(params.breaks, x.type.lo, x.type.hi) * (lanes // rows)
    pieces = comparator_lut(count, lanes, x.type, out.type, setting)
    pieces += judged("table/lut", table=lanes * table_lut(breaks.bit_length(), out.type.bits))
    need = plain if entries <= params.MAX_ENTRIES else capped(pieces, round(plain.value))
    depth = setting.chained(setting.t_add_ns * (1 + math.log2(breaks + 1)))
    return lane_cost(node, f"lut k={breaks + 1}", need, out, lanes, depth, setting)


def add(node: Node, x: Tensor, out: Tensor, setting: Setting, *others: Tensor) -> LayerCost:
    """Constant multipliers as shifts and adds, and an adder a tensor and element."""
    params: Add = node.params
    lanes = lanes_of(out, setting)
    adders = wide = 0
    for tensor, values in zip((x, *others), params.mult, strict=True):
        mult = multipliers(np.ascontiguousarray(values))
        adders += lanes + max(0, mult.digits - values.size) * (lanes // values.size)
        wide = max(wide, tensor.type.bits + mult.bits)
    features = {"adder_bits": float(adders * max(wide, out.type.bits)), "round_bits": 0.0}
    need = staged(fits()["requant/lut"].value(features), "lut", setting)
    depth = setting.chained(setting.t_add_ns * (2 + math.log2(1 + len(others))))
    return lane_cost(node, "add", need, out, lanes, depth, setting)


def mul(node: Node, x: Tensor, out: Tensor, setting: Setting, *others: Tensor) -> LayerCost:
    """One multiplier an element."""
    lanes = lanes_of(out, setting)
    need, dsp = multiplier_cost(lanes, x.type.bits, others[0].type.bits, setting)
    depth = setting.chained(setting.t_mul_ns if dsp.value else 2 * setting.t_add_ns)
    return lane_cost(node, "mul", need, out, lanes, depth, setting, dsp)


def matmul(node: Node, x: Tensor, out: Tensor, setting: Setting, *others: Tensor) -> LayerCost:
    """All products of a row at once in io_stream, of the tensors in io_parallel; and their adder trees."""
    terms = x.shape[-1]
    lanes = lanes_of(out, setting)
    need, dsp = multiplier_cost(lanes * terms, x.type.bits, others[0].type.bits, setting)
    adders = {"adder_bits": float(lanes * (terms - 1) * out.type.bits), "round_bits": 0.0}
    need += staged(fits()["requant/lut"].value(adders), "lut", setting)
    depth = setting.chained(setting.t_mul_ns + setting.t_add_ns * math.log2(max(terms, 2)))
    return lane_cost(node, "matmul", need, out, lanes, depth, setting, dsp)


def multiplier_cost(count: int, a_bits: int, b_bits: int, setting: Setting) -> tuple[Value, Value]:
    """LUTs and DSP blocks of products of two variables."""
    blocks = dsp_blocks(a_bits, b_bits)
    if blocks:
        return ZERO, staged(Value(count * blocks, 0, count * blocks), "dsp", setting)
    value = judged("dense/resource/lut/extra", adder_bits=0.0, product_bits=float(count * a_bits * b_bits))
    return staged(value, "lut", setting), ZERO


def argmax(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A comparator and two multiplexers for each element but the first of its pixel, one after the other."""
    pixels = lanes_of(x, setting) // x.shape[-1]
    count = pixels * (x.shape[-1] - 1)
    features = {"comparator_bits": count * (2.0 * x.type.bits + out.type.bits), "comparators": float(count)}
    need = staged(fits()["threshold/lut"].value(features), "lut", setting)
    depth = setting.chained(setting.t_add_ns * x.shape[-1])
    return lane_cost(node, "argmax", need, out, max(pixels, 1), depth, setting)
