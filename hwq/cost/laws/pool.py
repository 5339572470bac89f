"""Pooling (nnet_pooling.h, nnet_pooling_stream.h, hwq_pool.h) and sums over axes (hwq_global_sum.h)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.conv import padded_size
from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.setting import Setting, banded, built, judged, staged
from hwq.cost.model import LayerCost, Value
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.max_pool import MaxPool
    from hwq.ops.sum_pool import SumPool


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A pool; an addition takes about the LUTs of a comparison with selection."""
    return _stream(node, x, setting) if setting.stream else _parallel(node, x, out, setting)


def parallel_lut_features(outputs: int, window: int, in_bits: int) -> dict[str, float]:
    """Comparisons with selection, one fewer than the window holds, for every output."""
    return {"compare_bits": outputs * (window - 1) * in_bits}


def stream_lut_features(channels: int, kernel: tuple[int, int], width: int, in_bits: int) -> dict[str, float]:
    """Window, line buffers and control (sheet 6)."""
    return {
        "window_bits": channels * kernel[0] * kernel[1] * in_bits,
        "line_bits": (kernel[0] - 1) * channels * in_bits * math.ceil(width / 32),
        "one": 1.0,
    }


def _parallel(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    params: MaxPool | SumPool = node.params
    window = params.kernel[0] * params.kernel[1]
    fit = fits()["max_pool/parallel/lut"]
    outside = node.op != "max_pool" or not fit.holds(
        in_bits=x.type.bits, kernel_h=params.kernel[0], kernel_w=params.kernel[1]
    )
    features = parallel_lut_features(math.prod(out.shape), window, out.type.bits)
    lut = banded(fit, features, outside=outside)
    depth = setting.chained(setting.t_add_ns * math.log2(max(window, 2)))
    bits = math.prod(out.shape) * out.type.bits
    ff = staged(Value(bits * depth, 0, bits * (2 * depth + 1)), "ff", setting)
    return built(
        node,
        f"{node.op}/parallel",
        lut=staged(lut, "lut", setting),
        ff=ff,
        latency_cycles=depth,
        outside=outside,
    )


def _stream(node: Node, x: Tensor, setting: Setting) -> LayerCost:
    params: MaxPool | SumPool = node.params
    height, width = padded_size(params, x)
    pixels = height * width
    span = [(k - 1) * d + 1 for k, d in zip(params.kernel, params.dilations, strict=True)]
    fit = fits()["max_pool/stream/lut"]
    lut = banded(fit, stream_lut_features(x.shape[2], (span[0], span[1]), width, x.type.bits), outside=True)
    window_bits = math.prod(span) * x.shape[2] * x.type.bits
    cycles = (2 if setting.series7 else 1) * pixels + 4
    rows = (span[0] - 1) * width + span[1]
    return built(
        node,
        f"{node.op}/stream",
        lut=staged(lut, "lut", setting) + stream_control(setting).scaled(0, 0, 1),
        ff=staged(judged("max_pool/stream/ff", window_bits=window_bits), "ff", setting),
        latency_cycles=cycles,
        ii_cycles=cycles,
        fill_cycles=math.ceil(cycles * rows / pixels),
        outside=True,
    )


def global_sum(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """An adder for each element at once, and in io_stream a register for each element of the result."""
    lanes = x.shape[-1] if setting.stream else math.prod(x.shape)
    features = {"adder_bits": float(lanes * out.type.bits), "round_bits": 0.0}
    lut = staged(fits()["requant/lut"].value(features), "lut", setting)
    bits = math.prod(out.shape) * out.type.bits
    depth = setting.chained(setting.t_add_ns * math.log2(max(math.prod(x.shape), 2)))
    if not setting.stream:
        ff = staged(Value(bits * depth, 0, bits * (2 * depth + 1)), "ff", setting)
        return built(
            node, "global_sum/parallel", lut=lut, ff=ff, latency_cycles=depth, ii_cycles=1, outside=True
        )
    read, written = math.prod(x.shape[:-1]), math.prod(out.shape[:-1])
    return built(
        node,
        "global_sum/stream",
        lut=lut + stream_control(setting),
        ff=staged(judged("registers/ff", bits=bits), "ff", setting),
        latency_cycles=read + written + 4,
        ii_cycles=read + written + 4,
        fill_cycles=read + 3,
        outside=True,
    )
