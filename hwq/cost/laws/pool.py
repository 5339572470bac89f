"""Max pooling (nnet_pooling.h, nnet_pooling_stream.h)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.dense import stream_control
from hwq.cost.laws.setting import Setting, banded, built, judged, staged
from hwq.cost.model import LayerCost, Value
from hwq.ir import Node, Tensor

if TYPE_CHECKING:
    from hwq.ops.max_pool import MaxPool


def cost(node: Node, x: Tensor, out: Tensor, setting: Setting) -> LayerCost:
    """A max pool."""
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
    params: MaxPool = node.params
    window = params.kernel[0] * params.kernel[1]
    fit = fits()["max_pool/parallel/lut"]
    outside = not fit.holds(in_bits=x.type.bits, kernel_h=params.kernel[0], kernel_w=params.kernel[1])
    features = parallel_lut_features(math.prod(out.shape), window, x.type.bits)
    lut = banded(fit, features, outside=outside)
    depth = setting.chained(setting.t_add_ns * math.log2(max(window, 2)))
    bits = math.prod(out.shape) * out.type.bits
    ff = staged(Value(bits * depth, 0, bits * (2 * depth + 1)), "ff", setting)
    return built(
        node,
        "max_pool/parallel",
        lut=staged(lut, "lut", setting),
        ff=ff,
        latency_cycles=depth,
        outside=outside,
    )


def _stream(node: Node, x: Tensor, setting: Setting) -> LayerCost:
    params: MaxPool = node.params
    pixels = x.shape[0] * x.shape[1]
    fit = fits()["max_pool/stream/lut"]
    lut = banded(fit, stream_lut_features(x.shape[2], params.kernel, x.shape[1], x.type.bits), outside=True)
    window_bits = math.prod(params.kernel) * x.shape[2] * x.type.bits
    cycles = (2 if setting.series7 else 1) * pixels + 4
    rows = (params.kernel[0] - 1) * x.shape[1] + params.kernel[1]

    return built(
        node,
        "max_pool/stream",
        lut=staged(lut, "lut", setting) + stream_control(setting).scaled(0, 0, 1),
        ff=staged(judged("max_pool/stream/ff", window_bits=window_bits), "ff", setting),
        latency_cycles=cycles,
        ii_cycles=cycles,
        fill_cycles=math.ceil(cycles * rows / pixels),
        outside=True,
    )
