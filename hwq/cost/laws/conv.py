"""2-D convolutions: a matrix product at every position (nnet_conv2d_*.h, nnet_conv_stream.h)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.product import Product, block_factor, product
from hwq.cost.laws.setting import Setting, banded, built, judged, routed, staged
from hwq.cost.laws.weights import PerArray, matrix_statistics
from hwq.cost.model import ZERO, LayerCost, Value
from hwq.ir import Node, Tensor
from hwq.rounding import IntArray

if TYPE_CHECKING:
    from hwq.emit.layers import Windowed
    from hwq.ops.conv import Conv

_SRL_DEPTH = 32
"""Bits that one LUT holds as a shift register."""
_CSYNTH_SRL_LUT = 32
"""What csynth counts for a shift register of up to 32 words, at 16 and at 32 bits alike (sheet 4)."""
_PLAIN = PerArray()
_PIXEL_OVERHEAD_CYCLES = 7
"""Law L6 at 16 bits and below (11 at 32 bits)."""


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A convolution; groups and dilation are built with zeros, transposed ones read a spread-out tensor."""
    from hwq.ops.conv import is_depthwise

    params: Conv = node.params
    if params.input_dilations != (1, 1):
        (h, w, c), (dh, dw) = x.shape, params.input_dilations
        x = replace(x, shape=((h - 1) * dh + 1, (w - 1) * dw + 1, c))
    if is_depthwise(params):  # built without memories, whatever the strategy
        setting = replace(setting, resource=False)
    core = product(matrix_statistics(built_weight(params)), x.type.bits, out.type.bits, setting)
    return (_stream if setting.stream else _parallel)(node, x, out, core, setting)


def built_weight(params: Conv) -> IntArray:
    """Weights as they are built: with zeros, or (kernel_h, kernel_w, 1, c) for a depthwise convolution."""
    from hwq.ops.conv import is_depthwise, plain_weight

    if is_depthwise(params) or (params.groups == 1 and params.dilations == (1, 1)):
        return params.weight
    return _PLAIN.get(params.weight, (params.groups, params.dilations), lambda: plain_weight(params))


def window_mux_features(out_px: int, window: int, in_bits: int) -> dict[str, float]:
    """Of io_parallel: one input of the multiplexer a position, for every bit of the window."""
    return {"mux_bits": out_px * window * in_bits}


def _parallel(node: Node, x: Tensor, out: Tensor, core: Product, setting: Setting) -> LayerCost:
    """Positions follow each other through one product (hls4ml's default, one partition a position)."""
    params: Conv = node.params
    out_px, window = out.shape[0] * out.shape[1], math.prod(params.weight.shape[:3]) * params.groups
    mux = staged(
        fits()["conv/parallel/mux"].value(window_mux_features(out_px, window, x.type.bits)), "lut", setting
    )
    result_bits = out_px * out.shape[2] * out.type.bits
    ff = staged(judged("registers/ff", bits=result_bits), "ff", setting)
    cycles = out_px * core.ii_cycles
    return built(
        node,
        f"conv/parallel/{core.path}",
        lut=core.lut + mux,
        ff=core.ff + ff,
        dsp=core.dsp,
        bram18=core.bram18,
        latency_cycles=cycles + core.latency_cycles + 1,
        ii_cycles=cycles,
        outside=True,
    )


def padded_size(params: Windowed, x: Tensor) -> tuple[int, int]:
    """Height and width of the input with its padding, which io_stream inserts as pixels."""
    top, left, bottom, right = params.pads
    return x.shape[0] + top + bottom, x.shape[1] + left + right


def stream_cycles(pixels: int, core: Product, setting: Setting) -> int:
    """Law L6, worst case; in Latency with RF = 1 a pixel a cycle and 4 more."""
    if not setting.resource or setting.reuse == 1:
        return pixels * core.ii_cycles + core.latency_cycles + 4
    return pixels * (setting.reuse + _PIXEL_OVERHEAD_CYCLES)


def _stream(node: Node, x: Tensor, out: Tensor, core: Product, setting: Setting) -> LayerCost:
    params: Conv = node.params
    height, width = padded_size(params, x)
    cycles = stream_cycles(height * width, core, setting)
    rows = (params.kernel[0] - 1) * width + params.kernel[1]
    window_bits = math.prod(params.weight.shape[:3]) * params.groups * x.type.bits
    ff = staged(judged("window/ff", bits=window_bits), "ff", setting)
    shared = setting.resource and setting.reuse > 1
    lut = _resource_lut(params, x, out, setting) if shared else core.lut + stream_control(setting)
    return built(
        node,
        f"conv/stream/{core.path}",
        lut=lut + line_buffer_lut(params, x, width, setting),
        ff=core.ff + ff,
        dsp=core.dsp,
        bram18=core.bram18,
        latency_cycles=cycles,
        ii_cycles=cycles,
        fill_cycles=math.ceil(cycles * rows / (height * width)),
        outside=True,
    )


def stream_resource_lut_features(
    n_in: int, n: int, reuse: int, in_bits: int, acc_bits: int
) -> dict[str, float]:
    """Window multiplexer and accumulators of the shared multipliers; the whole layer, line buffers aside."""
    return {"one": 1.0, "in_bits": n_in * in_bits, "acc_bits": block_factor(n, reuse) * acc_bits}


def _resource_lut(params: Conv, x: Tensor, out: Tensor, setting: Setting) -> Value:
    n_in = math.prod(params.weight.shape[:3])
    features = stream_resource_lut_features(
        n_in, params.weight.size, setting.reuse, x.type.bits, out.type.bits
    )
    value = banded(fits()["conv/stream/resource/lut"], features, outside=False)
    return staged(value, "lut", setting, shared=True)


def line_buffer_lut(params: Conv, x: Tensor, width: int, setting: Setting) -> Value:
    """``(kernel_h - 1) * channels`` shift registers of one row each (sheet 4)."""
    count = (params.kernel[0] - 1) * x.shape[2]
    if not count:
        return ZERO
    words = math.ceil(width / _SRL_DEPTH)
    physical = judged("line_buffer/lut", shift_registers=count * x.type.bits * words)
    if setting.synthesised:
        return routed(physical, setting)
    return judged("line_buffer/lut", shift_registers=count * _CSYNTH_SRL_LUT * words).spanning(
        physical.lo, physical.lo
    )
