"""More elements around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, axes_of, numbered, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, narrow, no_macs
from hwq.rounding import IntArray

MODES = ("constant", "reflect", "edge")


@dataclass(frozen=True)
class Pad:
    """For each axis (without batch) how many elements come before and after; modes as `numpy.pad` has them.

    A reflection takes fewer elements than the axis has.
    """

    pads: tuple[tuple[int, int], ...]
    value: int = 0
    mode: str = "constant"


def infer(params: Pad, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if params.mode not in MODES:
        raise ValueError(f"pads in mode '{params.mode}'; there are {', '.join(MODES)}")
    if len(params.pads) != len(x.shape) or any(len(p) != 2 or min(p) < 0 for p in params.pads):
        raise ValueError(f"pads {params.pads} on a tensor of shape {x.shape}")
    most = [max(p) for p in params.pads]
    if params.mode == "reflect" and any(p >= s > 0 for p, s in zip(most, x.shape, strict=True) if p):
        raise ValueError(f"reflects {params.pads} of a tensor of shape {x.shape}")
    shape = bounded(tuple(s + p[0] + p[1] for s, p in zip(x.shape, params.pads, strict=True)))
    if params.mode != "constant" or not any(most):
        return shape, x.type
    return shape, narrow(min(x.type.lo, params.value), max(x.type.hi, params.value))


def run(params: Pad, x: IntArray) -> IntArray:
    widths: Any = ((0, 0), *params.pads)
    if not any(map(any, params.pads)):  # the value need not fit the type of x
        return x
    if params.mode == "constant":
        return np.pad(x, widths, constant_values=params.value)
    return np.pad(x, widths, mode="reflect" if params.mode == "reflect" else "edge")


def emit(params: Pad, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: hls4ml pads with zeros only."""
    before = [0] * (4 - len(params.pads)) + [p[0] for p in params.pads]
    fill = params.value if params.mode == "constant" and any(map(any, params.pads)) else 0
    return (pad_layer(site, site.output, before, fill=fill, mode=MODES.index(params.mode)),)


def pad_layer(
    site: Site,
    output: Tensor,
    before: Sequence[int],
    *,
    fill: int = 0,
    mode: int = 0,
    every: Sequence[int] = (1, 1, 1, 1),
    suffix: str = "",
) -> HlsLayer:
    """A HwqPad on the node's input; four numbers each of elements before, and of distances between neighbours."""
    attributes = {
        **numbered("in", axes_of(site.input.shape, site)),
        **numbered("out", axes_of(output.shape, site)),
        **numbered("before", before),
        **numbered("every", every),
        "mode": mode,
        "fill": fill,
    }
    return own_layer("HwqPad", attributes, site, output=output, suffix=suffix)


SPEC = OpSpec("pad", Pad, infer, run, no_macs, emit=emit, cost=law.pad, source="ONNX Pad")
