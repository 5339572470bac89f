"""Requantisation: multiply by a constant, add, shift with rounding, saturate (our layer, hwq_requant.h)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.setting import Setting, dsp_blocks, staged
from hwq.cost.laws.threshold import capped, lane_cost, table_lut
from hwq.cost.laws.weights import multipliers
from hwq.cost.model import LayerCost, Value
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.requant import Requant


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """Every element has its own lane in io_parallel, every channel in io_stream.

    Of two slopes both are computed; a comparison with the pivot and a multiplexer choose.
    """
    params: Requant = node.params
    lanes = x.shape[-1] if setting.stream else prod(x.shape)
    slopes = [params.mult] if params.low is None else [params.mult, params.low.mult]
    adders, dsp, blocks, wide = 0, 0, 0, 0
    for values in slopes:
        mult, repeats = multipliers(values), lanes // values.size
        each = dsp_blocks(x.type.bits, mult.bits)
        dsp += mult.wide * repeats * each
        blocks += each
        wide = max(wide, x.type.bits + mult.bits)
        adders += lanes + (0 if each else max(0, mult.digits - values.size) * repeats)
    features: dict[str, float] = {
        "adder_bits": adders * wide + (len(slopes) - 1) * lanes * (wide + x.type.bits),
        "round_bits": lanes * (wide + 2 * out.type.bits),
    }
    lut = _lut(features, lanes, x, out, setting)
    depth = setting.chained((setting.t_mul_ns if dsp else setting.t_add_ns) + 3 * setting.t_add_ns)
    exact = staged(Value(dsp, 0, lanes * blocks), "dsp", setting)
    return lane_cost(node, "requant", lut, out, lanes, depth, setting, exact)


def _lut(features: dict[str, float], lanes: int, x: Tensor, out: Tensor, setting: Setting) -> Value:
    value = staged(fits()["requant/lut"].value(features), "lut", setting)
    return capped(value, lanes * table_lut(x.type.bits, out.type.bits)) if setting.synthesised else value
