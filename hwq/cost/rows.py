"""A design of another toolchain, from its list of layers alone: what `hwq cost evaluate` estimates.

A row describes a design that hls4ml, da4ml or FINN built and that a tool reported on; its laws are those of
`hwq estimate`, on counts instead of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import msgspec

from hwq.cost.fits import fits
from hwq.cost.laws import dataflow
from hwq.cost.laws.setting import VIVADO_UNCERTAINTY, Setting, built, judged, staged
from hwq.cost.model import ZERO, LayerCost, Stage, Value
from hwq.cost.row_layers import layer_cost
from hwq.cost.row_schema import CYCLES, RESOURCES, TARGETS, Layer, Row
from hwq.ir import Node

_UNCERTAINTY = {"hls4ml/Vivado": VIVADO_UNCERTAINTY}


class Style(str, Enum):
    """How a design's layers are tied together."""

    PIPELINE = "pipeline"
    DATAFLOW = "dataflow"
    STREAM = "stream"
    FINN = "finn"
    DISTRIBUTED = "da"
    LAYER = "layer"


@dataclass(frozen=True)
class RowEstimate:
    """What is said of a row, by target; `path` names the code paths that decide it."""

    row: Row
    path: str
    outside: bool
    values: dict[str, Value]


def estimate_row(row: Row) -> RowEstimate:
    """Resources and cycles of a row, without its results.

    Bands are those of designs of the same path, source by source; where there are none, wide ones by judgement.
    """
    row = msgspec.structs.replace(row, layers=_with_channels(row.layers))
    layers = [layer_cost(layer, _setting(layer, row)) for layer in row.layers]
    style = _style(row)
    layers += _between(row, style)
    values = {name: sum((getattr(c, name) for c in layers), ZERO) for name in RESOURCES}
    latency, ii = _schedule(layers, style)
    values |= {"lat_max": Value.exact(latency), "ii_max": Value.exact(ii)}
    path = f"{style.value}/{layers[0].path if row.level == 'layer' else _strategy(row)}"
    outside = row.template != "upstream" or any(c.outside_calibration and _foreign(c) for c in layers)
    outside = outside or not any(f"design/{path}/{t}" in fits() for t in TARGETS)
    return RowEstimate(
        row, path, outside, {t: _with_band(v, path, t, outside=outside) for t, v in values.items()}
    )


def _foreign(cost: LayerCost) -> bool:
    """Kinds of layers of which no design is calibrated."""
    return cost.path.startswith(("unknown", "gru", "conv/parallel"))


def _with_band(value: Value, path: str, target: str, *, outside: bool) -> Value:
    fit = fits().get(f"design/{path}/{target}")
    if outside or fit is None:
        suffix = "/cycles" if target in CYCLES else "/dsp" if target == "dsp" else ""
        fit = fits()[f"design/outside{suffix}"]
    return Value(value.value, math.floor(value.value * fit.lo), math.ceil(value.value * fit.hi))


def _with_channels(layers: list[Layer]) -> list[Layer]:
    """Activations of images that do not say their channels get those of what they read."""
    channels: int | None = None
    found = []
    for given in layers:
        layer = given
        if (
            layer.out_ch is None
            and layer.in_ch is None
            and layer.type in ("activation", "batchnorm", "softmax")
        ):
            layer = msgspec.structs.replace(layer, out_ch=channels)
        channels = layer.out_ch or (channels if layer.type in ("pad", "resize") else layer.n_out)
        found.append(layer)
    return found


def _style(row: Row) -> Style:
    if row.layers[0].type == "da_graph":
        return Style.DISTRIBUTED
    if row.layers[0].type.startswith("finn_"):
        return Style.FINN
    if row.level == "layer":
        return Style.LAYER
    if row.io == "io_stream":
        return Style.STREAM
    return Style.DATAFLOW if row.design_style == "dataflow" else Style.PIPELINE


def _strategy(row: Row) -> str:
    matrices = [layer for layer in row.layers if layer.w is not None or layer.w_bits]
    folded = any((layer.rf or 1) > 1 for layer in matrices)
    shared = any(layer.strategy == "resource" for layer in matrices) and folded
    kinds = "conv" if any("conv" in layer.type for layer in row.layers) else "dense"
    return f"{kinds}/{'resource' if shared else 'latency reuse' if folded else 'latency'}"


def _setting(layer: Layer, row: Row) -> Setting:
    series7 = row.family in ("zynq7", "artix7", "kintex7", "virtex7")
    timing = fits()[f"timing/{'series7' if series7 else 'ultrascale_plus'}"].coefficients
    grade = fits()["timing/speed_grade"].coefficients[f"grade{min(max(row.speed or 2, 1), 3)}"]
    setting = Setting(
        stream=row.io == "io_stream",
        resource=layer.strategy == "resource",
        reuse=layer.rf or 1,
        clock_ns=row.clock_ns or 5.0,
        t_add_ns=timing["t_add_ns"] * grade,
        t_mul_ns=timing["t_mul_ns"] * grade,
        series7=series7,
        stage=Stage(row.stage),
        distributed=layer.strategy == "distributed_arithmetic",
    )
    return replace(setting, uncertainty=_UNCERTAINTY.get(row.flow, setting.uncertainty))


# --- what lies between -----------------------------------------------------------------------------


def _result_lanes(layer: Layer) -> int:
    return layer.out_ch or layer.n_out or layer.in_ch or layer.n_in or 1


def _result_bits(layer: Layer) -> int:
    return (layer.out_bits or layer.acc_bits or layer.in_bits or 16) * _result_lanes(layer)


def _between(row: Row, style: Style) -> list[LayerCost]:
    """Registers, FIFOs, or the shell, as the style has them."""
    node = Node("top", "(top)", (), "", None)
    setting = _setting(row.layers[0], row)
    first = row.layers[0]
    inputs = (first.n_in or (first.in_h or 1) * (first.in_w or 1) * (first.in_ch or 1)) * (
        first.in_bits or 16
    )
    if style is Style.PIPELINE:
        matrices = sum(1 for layer in row.layers if layer.type == "dense")
        if setting.resource and setting.reuse > 1:
            inputs = 0
        if matrices > 1:
            inputs += sum((x.n_out or 0) * (x.acc_bits or 16) for x in row.layers if x.type == "dense")
        return [built(node, "top/pipeline", ff=staged(Value(inputs, 0, 2 * inputs), "ff", setting),
                      latency_cycles=matrices if matrices > 1 else 0)]  # fmt: skip
    if style is Style.STREAM:
        lut = ff = bram = 0.0
        for layer in row.layers[:-1]:
            depth = (layer.out_h or layer.in_h or 1) * (layer.out_w or layer.in_w or 1)
            lanes = _result_lanes(layer) if "Vivado" in row.flow else 1  # which takes a pixel apart
            bits = _result_bits(layer) // lanes
            lut += lanes * dataflow.fifo_lut(depth, bits)
            ff += lanes * dataflow.fifo_ff(depth, bits)
            bram += lanes * dataflow.fifo_bram18(depth, bits)
        fit = fits()["fifo/srl/lut"]
        return [built(node, "top/stream", lut=staged(Value(lut, lut * fit.lo, lut * fit.hi), "lut", setting),
                      ff=staged(judged("fifo/ff", ff=ff), "ff", setting),
                      bram18=staged(judged("fifo/bram18", bram18=bram), "bram18", setting, shared=True))]  # fmt: skip
    if style is Style.DATAFLOW:
        words = sum((x.out_h or 1) * (x.out_w or 1) * _result_bits(x) for x in row.layers[:-1])
        return [built(node, "top/dataflow", ff=staged(judged("registers/ff", bits=words), "ff", setting))]
    return []


def _schedule(layers: list[LayerCost], style: Style) -> tuple[int, int]:
    """(latency, II) in cycles."""
    ii = max(c.ii_cycles for c in layers)
    if style is Style.STREAM:
        slowest = max(layers, key=lambda c: c.latency_cycles)
        return slowest.latency_cycles + sum(c.fill_cycles for c in layers if c is not slowest), ii
    return sum(c.latency_cycles for c in layers), ii
