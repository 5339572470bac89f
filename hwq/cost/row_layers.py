"""The laws of `hwq estimate` on a row's layers: on counts instead of weights, and on kinds that hwq never builds."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np

from hwq.cost.fits import fits
from hwq.cost.laws import conv, pool
from hwq.cost.laws.product import Product, product
from hwq.cost.laws.setting import Setting, banded, built, dsp_blocks, judged, staged
from hwq.cost.laws.weights import WeightStatistics, csd_digits
from hwq.cost.model import ZERO, LayerCost, Value
from hwq.cost.row_flows import distributed, mvau
from hwq.cost.row_schema import Layer, Weights
from hwq.ir import Node

_MAX_EXPECTED_BITS = 10
"""Weights of unknown values use so many of their bits: 16-bit ones with 6 before the point are below one half."""
_STANDARD_BITS = 16
_GUESSED_LANES = 4


def layer_cost(layer: Layer, setting: Setting) -> LayerCost:
    """What a layer costs, by its kind."""
    kind = layer.type
    if kind == "dense":
        return _dense(layer, setting)
    if "conv" in kind and not kind.startswith("finn"):
        return _conv(layer, setting)
    if kind.startswith("pooling"):
        return _pool(layer, setting)
    if kind.startswith("finn_mvau"):
        return mvau(layer, setting)
    make = {
        "activation": _activation,
        "softmax": _softmax,
        "batchnorm": _batchnorm,
        "pad": _move,
        "resize": _move,
        "concat": _merge,
        "merge": _merge,
        "gru": _gru,
        "bidir_gru": _gru,
        "da_graph": distributed,
    }.get(kind, _unknown)
    return make(layer, setting)


def _node(layer: Layer) -> Node:
    return Node(layer.type, layer.type, (), "", None)


def _weights(layer: Layer, n_in: int, n_out: int) -> WeightStatistics:
    """Counted where the row has counts, else what uniform random weights of the width have on average."""
    n, bits = n_in * n_out, layer.w_bits or 16
    w = layer.w or Weights()
    levels = np.arange(-(1 << (min(bits, _MAX_EXPECTED_BITS) - 1)), 1 << (min(bits, _MAX_EXPECTED_BITS) - 1))
    nz = min(n, w.nz if w.nz is not None else round(n * (1 - 1 / len(levels))))
    if w.u2 is not None and w.u3 is not None:
        u2, u3 = w.u2, w.u3
    else:
        appears = -np.expm1(n_out * nz / n * np.log1p(-1 / len(levels)))
        digits = csd_digits(levels)
        u2, u3 = (round(n_in * float(appears) * int((digits >= d).sum())) for d in (2, 3))
        u3 = u3 if w.csd_ge3 is None else min(u3, w.csd_ge3)
    u2 = min(u2, nz)
    csd = w.csd if w.csd is not None else 3 * nz
    return WeightStatistics(n_in, n_out, bits, nz, u2, min(u3, u2), max(0, csd - n_out))


def _core(layer: Layer, n_in: int, n_out: int, setting: Setting) -> Product:
    return product(_weights(layer, n_in, n_out), layer.in_bits or 16, layer.acc_bits or 16, setting)


def _matrix(layer: Layer) -> tuple[int, int]:
    """Rows and columns; one that is not said follows from the number of weights."""
    weights = (layer.w.n if layer.w else None) or 1
    n_in = layer.n_in or max(1, weights // (layer.n_out or weights))
    return n_in, layer.n_out or max(1, weights // n_in)


def _dense(layer: Layer, setting: Setting) -> LayerCost:
    n_in, n_out = _matrix(layer)
    core = _core(layer, n_in, n_out, setting)
    extra = ZERO
    cycles, ii, fill = core.latency_cycles, core.ii_cycles, 0
    if setting.stream:
        extra = staged(judged("stream/control/lut", layers=1), "lut", setting)
        cycles += 1
        ii = _task_interval(core.ii_cycles, cycles, setting)
        fill = cycles
    return built(
        _node(layer), f"dense/{core.path.split()[0]}", lut=core.lut + extra, ff=core.ff, dsp=core.dsp,
        bram18=core.bram18, latency_cycles=cycles, ii_cycles=ii, fill_cycles=fill, outside=core.outside,
    )  # fmt: skip


def _task_interval(pipelined: int, cycles: int, setting: Setting) -> int:
    """Of a streaming task of one word: Vitis HLS starts it again when it has ended, Vivado HLS pipelines it."""
    return cycles + 1 if setting.vitis else pipelined


def _sizes(layer: Layer) -> tuple[int, int, int, int]:
    """Height, width, positions of the result, and taps of the window; one-dimensional ones have height 1."""
    height, width = layer.in_h or 1, layer.in_w or layer.n_in or 1
    out = (layer.out_h or 1) * (layer.out_w or 1)
    return height, width, out, (layer.kh or layer.ph or 1) * (layer.kw or layer.pw or 1)


def _conv(layer: Layer, setting: Setting) -> LayerCost:
    depthwise = layer.type.startswith("depthwise")
    height, width, out, taps = _sizes(layer)
    channels, filters = layer.in_ch or 1, layer.out_ch or layer.in_ch or 1
    in_bits = layer.in_bits or 16
    n_in = taps * (1 if depthwise else channels)
    core = _core(layer, n_in, filters, replace(setting, resource=setting.resource and not depthwise))
    shared = setting.resource and setting.reuse > 1 and not depthwise
    lut, ff, fill = core.lut, core.ff, 0
    if setting.stream:
        pixels = height * width
        overhead = 11 if in_bits >= 32 else 7
        cycles = (
            pixels * (setting.reuse + overhead)
            if shared
            else pixels * core.ii_cycles + core.latency_cycles + 4
        )
        shifts = ((layer.kh or 1) - 1) * channels
        window = taps * channels * in_bits
        lines = shifts * 32 * math.ceil(width / 32)
        if shared:
            lut = _shared_lut(core, n_in, n_in * filters, layer, setting)
            features = {
                "one": 1.0, "window_bits": float(window), "shift_registers": float(shifts),
                "multipliers": n_in * filters / setting.reuse,
                "multiplier_bits": n_in * filters / setting.reuse * in_bits,
            }  # fmt: skip
            ff = staged(fits()["conv/stream/resource/ff"].value(features), "ff", setting, shared=True)
        else:
            lut += staged(judged("stream/control/lut", layers=1), "lut", setting)
            ff += staged(judged("window/ff", bits=window + _SHIFT_FF * shifts), "ff", setting)
        lut += staged(judged("line_buffer/lut", shift_registers=lines), "lut", setting)
        ii = cycles
        rows = ((layer.kh or 1) - 1) * width + (layer.kw or 1)
        fill = math.ceil(cycles * rows / max(pixels, 1))
    else:
        positions = min(out, layer.n_partitions or out)
        copies = math.ceil(out / positions)
        mux = conv.window_mux_features(out, taps * channels, in_bits)
        lut = lut.scaled(copies, copies, copies) + staged(
            fits()["conv/parallel/mux"].value(mux), "lut", setting
        )
        ff = ff.scaled(copies, copies, copies)
        core = replace(core, dsp=core.dsp.scaled(copies, copies, copies))
        ii = positions * (core.ii_cycles + (_SHARED_POSITION_CYCLES if shared else 0))
        cycles = ii + core.latency_cycles + 1
    path = f"conv/{'stream' if setting.stream else 'parallel'}/{core.path.split()[0]}"
    return built(
        _node(layer), path, lut=lut, ff=ff, dsp=core.dsp, bram18=core.bram18, latency_cycles=cycles, ii_cycles=ii,
        fill_cycles=fill, outside=not setting.stream or core.outside,
    )  # fmt: skip


_SHARED_POSITION_CYCLES = 7
_SHIFT_FF = 64
"""Of one shift register of a line buffer in HLS reports (sheet 4)."""
_WIDE_BITS = 32


def _shared_lut(core: Product, n_in: int, n: int, layer: Layer, setting: Setting) -> Value:
    """Of a streaming convolution: the dense core of 16 bits and fewer; at 32 bits reports have no multiplexer."""
    if (layer.in_bits or 16) < _WIDE_BITS:
        return core.lut + staged(judged("stream/control/lut", layers=2), "lut", setting)
    features = {"one": 1.0, "taps": float(n_in), "multipliers": n / setting.reuse}
    return staged(fits()["conv/stream/resource/wide/lut"].value(features), "lut", setting, shared=True)


def _pool(layer: Layer, setting: Setting) -> LayerCost:
    height, width, out, taps = _sizes(layer)
    channels, bits = layer.in_ch or layer.out_ch or 1, layer.in_bits or 16
    kernel = (layer.ph or layer.kh or 1, layer.pw or layer.kw or 1)
    if not setting.stream:
        mean = layer.op == "avg"
        lut = banded(
            fits()["max_pool/parallel/lut"],
            pool.parallel_lut_features(out * channels, taps, bits),
            outside=mean,
        )
        if mean:
            lut = lut.scaled(*(_MEAN_POOL_SHARE,) * 3)
        return built(_node(layer), "pool/parallel", lut=staged(lut, "lut", setting), latency_cycles=0)
    lut = banded(
        fits()["max_pool/stream/lut"], pool.stream_lut_features(channels, kernel, width, bits), outside=True
    )
    cycles = (2 if setting.series7 else 1) * height * width + 4
    ff = judged("max_pool/stream/ff", window_bits=taps * channels * bits)
    return built(
        _node(layer), "pool/stream", lut=staged(lut, "lut", setting), ff=staged(ff, "ff", setting),
        latency_cycles=cycles, ii_cycles=cycles, fill_cycles=math.ceil(cycles * kernel[0] / max(height, 1)),
    )  # fmt: skip


def _lanes(layer: Layer, setting: Setting) -> tuple[int, int]:
    """Elements at work at once, and words one after the other."""
    elements = layer.n_in or (layer.out_h or 1) * (layer.out_w or 1) * (layer.out_ch or layer.in_ch or 1)
    if not setting.stream:
        return elements, 1
    lanes = min(elements, layer.out_ch or layer.in_ch or _GUESSED_LANES)
    return lanes, max(1, elements // lanes)


_MEAN_POOL_SHARE = 0.56
"""An adder is a comparison without its selection: .51 to .68 of a maximum's LUTs in 8 reports."""
_VITIS_TABLES = 2
"""Memories of a softmax in Vitis HLS 2022.2 over those of Vivado HLS: 8 for 4, two reports."""
_TABLES = ("sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "exponential", "hard_tanh")


def _activation(layer: Layer, setting: Setting) -> LayerCost:
    """ReLU of one width: a comparison with zero; of a narrower one also the saturation. Tables: a ROM for two lanes."""
    lanes, words = _lanes(layer, setting)
    act, in_bits = layer.act or "relu", layer.in_bits or 16
    out_bits = layer.out_bits or in_bits
    table = act in _TABLES
    kind = (
        "table"
        if table
        else "linear"
        if act in ("linear", "leaky_relu")
        else "narrow"
        if out_bits < in_bits
        else "relu"
    )
    fit = fits()[f"activation/{kind}/lut"]
    lut = staged(fit.value({"lane_bits": float(lanes * in_bits)}), "lut", setting)
    dsp = ZERO
    if act in ("leaky_relu", "prelu", "thresholded_relu"):
        blocks = 0 if in_bits <= _STANDARD_BITS else 2 * lanes
        dsp = staged(Value(blocks, 0, lanes * dsp_blocks(in_bits, in_bits)), "dsp", setting)
    bram = (
        math.ceil(lanes / 2) * math.ceil((layer.table_bits or 18) * (layer.table_size or 1024) / 18432)
        if table
        else 0
    )
    depth = (2 if table else 0) + (setting.series7 and table)
    ff = Value.exact(lanes * out_bits * depth)
    if setting.stream:
        lut += staged(judged("activation/stream/lut", layers=1), "lut", setting)
        if words > 1:
            ff += Value(2 * lanes * out_bits + 70, lanes * out_bits, 4 * lanes * out_bits + 100)
    latency = depth + setting.stream
    if words > 1:
        latency = words + (4 if in_bits > _STANDARD_BITS else 3)
    return built(
        _node(layer), f"activation/{kind}", lut=lut, ff=staged(ff, "ff", setting), dsp=dsp,
        bram18=staged(Value(bram, 0, 2 * bram), "bram18", setting),
        latency_cycles=latency, ii_cycles=_lane_interval(words, latency, setting),
        fill_cycles=min(latency, 3) if setting.stream else 0,
    )  # fmt: skip


def _lane_interval(words: int, latency: int, setting: Setting) -> int:
    if not setting.stream:
        return 1
    return latency if words > 1 else _task_interval(1, latency, setting)


def _softmax(layer: Layer, setting: Setting) -> LayerCost:
    """The stable form: a table of exponentials for two lanes, one of inverses, a multiplier a lane.

    Folded, a table answers two lanes every cycle of its interval (9 designs of RF 1 to 128).
    """
    lanes, words = _lanes(layer, setting)
    latency = 13 if setting.series7 else 4
    tables = math.ceil(lanes / 2 / (layer.rf or 1)) + 1
    if setting.vitis:
        tables *= _VITIS_TABLES
    lut = fits()["softmax/lut"].value({"lanes": float(lanes)})
    ff = Value(lanes * 16.0 * latency, 100, lanes * 300.0)
    cycles = words - 1 + latency + (3 if setting.stream else 0)
    return built(
        _node(layer), "softmax", lut=staged(lut, "lut", setting), ff=staged(ff, "ff", setting),
        dsp=staged(Value(lanes, lanes, lanes), "dsp", setting),
        bram18=staged(Value(tables, tables, 2 * tables), "bram18", setting),
        latency_cycles=cycles, ii_cycles=cycles if setting.stream else 1, fill_cycles=latency,
    )  # fmt: skip


def _batchnorm(layer: Layer, setting: Setting) -> LayerCost:
    lanes, words = _lanes(layer, setting)
    bits = layer.in_bits or 16
    blocks = lanes * dsp_blocks(bits, layer.w_bits or bits)
    lut = judged("requant/lut", adder_bits=float(lanes * (layer.acc_bits or bits)), round_bits=0.0)
    ff = Value(lanes * bits, 0, 3 * lanes * bits)
    cycles = words + 4 if setting.stream else 1
    return built(
        _node(layer), "batchnorm", lut=staged(lut, "lut", setting), ff=staged(ff, "ff", setting),
        dsp=staged(Value(blocks, 0, blocks), "dsp", setting),
        latency_cycles=cycles, ii_cycles=cycles if setting.stream else 1, fill_cycles=4 if setting.stream else 0,
    )  # fmt: skip


def _move(layer: Layer, setting: Setting) -> LayerCost:
    """Padding and resizing: a word of the result a cycle."""
    if not setting.stream:
        return built(_node(layer), "move/parallel")
    pixels = (layer.out_h or layer.in_h or 1) * (layer.out_w or layer.in_w or 1)
    bits = (layer.out_ch or layer.in_ch or 1) * (layer.in_bits or 16)
    lut = judged("stream/control/lut", layers=1)
    return built(
        _node(layer), "move/stream", lut=staged(lut, "lut", setting),
        ff=staged(Value(2 * bits + 70, bits, 6 * bits + 200), "ff", setting),
        latency_cycles=pixels + 4, ii_cycles=pixels + 4, fill_cycles=4,
    )  # fmt: skip


def _merge(layer: Layer, setting: Setting) -> LayerCost:
    lanes, words = _lanes(layer, setting)
    bits = lanes * (layer.in_bits or 16)
    adders = 0 if layer.type == "concat" else bits
    lut = judged("requant/lut", adder_bits=float(adders), round_bits=0.0)
    cycles = words + 3 if setting.stream else 0
    ff = Value(bits, 0, 3 * bits) if setting.stream else ZERO
    return built(
        _node(layer), layer.type, lut=staged(lut, "lut", setting), ff=staged(ff, "ff", setting),
        latency_cycles=cycles, ii_cycles=max(1, cycles), fill_cycles=3 if setting.stream else 0, outside=True,
    )  # fmt: skip


def _gru(layer: Layer, setting: Setting) -> LayerCost:
    """Two products a step for three gates, step after step; no design of it is calibrated."""
    state, steps = layer.n_state or layer.n_out or 1, layer.n_seq or 1
    both = 2 if layer.type.startswith("bidir") else 1
    cores = [_core(_both_products(layer), n, 3 * state, setting) for n in (layer.n_in or 1, state)]
    step = sum(c.latency_cycles for c in cores) + 6
    tables = both * 2 * math.ceil(state / 2)
    return built(
        _node(layer), "gru",
        lut=sum((c.lut for c in cores), ZERO).scaled(both, 0.2 * both, 5 * both),
        ff=sum((c.ff for c in cores), ZERO).scaled(both, 0.2 * both, 5 * both),
        dsp=sum((c.dsp for c in cores), Value.exact(3 * state)).scaled(both, 0.2 * both, 3 * both),
        bram18=sum((c.bram18 for c in cores), Value.exact(tables)).scaled(both, 0, 5 * both),
        latency_cycles=steps * step, ii_cycles=steps * step, fill_cycles=steps * step, outside=True,
    )  # fmt: skip


def _both_products(layer: Layer) -> Layer:
    """Without counts: they are of both products together."""
    return msgspec.structs.replace(layer, w=None)


def _unknown(layer: Layer, setting: Setting) -> LayerCost:
    """A layer of its author's: a word an element, and nothing known of its logic."""
    lanes, words = _lanes(layer, setting)
    bits = lanes * (layer.in_bits or 16)
    return built(
        _node(layer), f"unknown/{layer.type}", lut=Value(2 * bits, 0, 20 * bits), ff=Value(bits, 0, 20 * bits),
        latency_cycles=words, ii_cycles=words, outside=True,
    )  # fmt: skip
