"""Layers that other flows than hls4ml build: FINN's matrix-vector units, da4ml's adder graphs."""

from __future__ import annotations

import math

from hwq.cost.fits import fits
from hwq.cost.laws.mvau import EMBEDDED_WORDS, Mvau
from hwq.cost.laws.setting import Setting, built, dsp_blocks, judged, routed
from hwq.cost.model import LayerCost, Value
from hwq.cost.row_schema import Layer
from hwq.ir import Node


def _node(layer: Layer) -> Node:
    return Node(layer.type, layer.type, (), "", None)


def distributed(layer: Layer, _setting: Setting) -> LayerCost:
    """da4ml states its cost in LUTs, and the bits of its pipeline registers."""
    cost = layer.da_cost or 0.0
    lut = Value(cost, 0.35 * cost, 1.1 * cost)
    bits = layer.da_reg_bits or 0.0
    return built(
        _node(layer),
        "distributed",
        lut=lut,
        ff=Value(bits, 0, bits),
        outside=False,
    )


def mvau(layer: Layer, setting: Setting) -> LayerCost:
    """FINN's matrix-vector unit with what stands around it: window generator, FIFOs, width converters, shell."""
    unit = mvau_of(layer)
    lut = fits()["finn/mvau/lut"].value(
        {"units": 1.0, "bit_products": float(unit.bit_products), "windows": float("conv" in layer.type)}
    )
    ff = judged("finn/mvau/ff", lut=lut.value)
    width = unit.simd * unit.weight_bits * unit.pe
    dsp = fits()["finn/mvau/dsp"].value({"units": 1.0, "windows": float("conv" in layer.type)})
    bram = math.ceil(unit.words / 512) * math.ceil(width / 36) if unit.words > EMBEDDED_WORDS else 0
    return built(
        _node(layer), "finn/mvau", lut=routed(lut, setting), ff=routed(ff, setting), dsp=dsp,
        bram18=Value(bram, 0.5 * bram, 2 * bram), latency_cycles=unit.cycles, ii_cycles=unit.cycles,
    )  # fmt: skip


def mvau_of(layer: Layer) -> Mvau:
    """The unit that a layer of FINN states; of hls4ml's, the one with as many multipliers."""
    weight_bits, in_bits = layer.w_bits or 1, layer.in_bits or 1
    if layer.type.startswith("finn"):
        return Mvau(
            layer.mw or 1, layer.mh or 1, layer.pe or 1, layer.simd or 1, weight_bits, in_bits, layer.out_bits or 1,
            layer.vectors or 1,
        )  # fmt: skip
    conv = "conv" in layer.type
    mw = (layer.kh or 1) * (layer.kw or 1) * (layer.in_ch or 1) if conv else layer.n_in or 1
    mh = (layer.out_ch if conv else layer.n_out) or 1
    multipliers = math.ceil(mw * mh / (layer.rf or 1))
    simd = min(mw, multipliers)
    return Mvau(
        mw, mh, max(1, multipliers // simd), simd, weight_bits, in_bits, layer.out_bits or 16,
        (layer.out_h or 1) * (layer.out_w or 1) if conv else 1, dsp_blocks(in_bits, weight_bits) > 0,
    )  # fmt: skip
