"""A design of another toolchain, from its list of layers alone: what `hwq cost evaluate` estimates.

A row describes a design that hls4ml, da4ml or FINN built and that a tool reported on; its laws are those of
`hwq estimate`, on counts instead of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from hwq.cost.design_bands import ANY, banded_value, family
from hwq.cost.fits import Fit, fits
from hwq.cost.laws import dataflow
from hwq.cost.laws.setting import VIVADO_UNCERTAINTY, Setting, built, judged, staged
from hwq.cost.model import LayerCost, Stage, Value
from hwq.cost.row_defaults import SERIES7, ULTRASCALE, VIVADO_FLOW, complete
from hwq.cost.row_layers import layer_cost
from hwq.cost.row_schema import CYCLES, RESOURCES, Layer, Row
from hwq.cost.row_scope import has_guessed_weights, is_outside
from hwq.ir import Node


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


@dataclass(frozen=True)
class Figures:
    """What the laws say of a row, without bands: the row as it was completed, its path, numbers by target."""

    row: Row
    path: str
    outside: bool
    values: dict[str, float]


def figures(row: Row) -> Figures:
    """Resources and cycles of a row, without its results."""
    row = complete(row)
    layers = [layer_cost(layer, _setting(layer, row)) for layer in row.layers]
    style = _style(row)
    layers += _between(row, style)
    values = {name: math.fsum(getattr(c, name).value for c in layers) for name in RESOURCES}
    latency, ii = _schedule(layers, style)
    values |= {"lat_max": latency, "ii_max": ii}
    return Figures(row, _path(row, layers, style), is_outside(row, layers), values)


def estimate_row(row: Row) -> RowEstimate:
    """Figures of a row with the bands that designs of other sources gave."""
    made = figures(row)
    bands = {target: _with_band(value, target, made) for target, value in made.values.items()}
    return RowEstimate(made.row, made.path, made.outside, bands)


def _path(row: Row, layers: list[LayerCost], style: Style) -> str:
    """Names the code path whose designs gave the band."""
    if row.level == "layer":
        return f"{style.value}/{layers[0].path}"
    guessed = " guessed weights" if has_guessed_weights(row) else ""
    return f"{style.value}/{_kind(row)}/{_strategy(row)}{guessed}"


def _kind(row: Row) -> str:
    kinds = [layer.type for layer in row.layers]
    if any("conv" in kind for kind in kinds):
        return "conv"
    return "dense" if any(kind == "dense" or "_fc" in kind for kind in kinds) else kinds[0]


def _with_band(value: float, target: str, made: Figures) -> Value:
    """Between the ends that designs of the path gave; at later stages the spread of the stage's ratio joins."""
    low, high = _band(made, target)
    if made.row.stage != Stage.CSYNTH.value and target in RESOURCES:
        kind = "resource" if "resource" in made.path else "latency"
        ratio = fits()[f"stage/{kind}/{target}"]
        low, high = -math.hypot(low, math.log(ratio.lo)), math.hypot(high, math.log(ratio.hi))
    lo, hi = banded_value(value, target, math.exp(low), math.exp(high))
    return Value(value, lo, hi)


def _band(made: Figures, target: str) -> tuple[float, float]:
    """Logarithms of a band's factors: of the path, else a wider one of its family, else of all designs.

    Of a path of one source, and of one without, it is no narrower than a judgement.
    """
    if made.outside:
        suffix = "/cycles" if target in CYCLES else "/dsp" if target == "dsp" else ""
        return _ends(fits()[f"design/outside{suffix}"])
    names = (made.path, f"family {family(made.path)}", ANY)
    fit = next(fits()[key] for name in names if (key := f"design/{name}/{target}") in fits())
    known = f"design/{made.path}/{target}" in fits()
    low, high = _ends(fit)
    if known and len(fit.sources) > 1:
        return low, high
    wider, least = 1.0 if known else _NEW_PATH, math.log(fits()["design/new path"].coefficients[target])
    return min(low * wider, -least), max(high * wider, least)


_NEW_PATH = 1.25
"""A band of other paths, as a factor in its logarithm, where no design of the path itself is known."""


def _ends(fit: Fit) -> tuple[float, float]:
    return math.log(fit.lo), math.log(fit.hi)


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
    return "resource" if shared else "latency reuse" if folded else "latency"


def _setting(layer: Layer, row: Row) -> Setting:
    series7 = row.family in SERIES7
    kind = "series7" if series7 else "ultrascale" if row.family in ULTRASCALE else "ultrascale_plus"
    timing = fits()[f"timing/{kind}"].coefficients
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
    if row.flow == VIVADO_FLOW:
        return replace(setting, uncertainty=VIVADO_UNCERTAINTY, vitis=False)
    return setting


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
        shared = any(x.strategy == "resource" and (x.rf or 1) > 1 for x in row.layers)
        for layer in row.layers[:-1]:
            depth = (layer.out_h or layer.in_h or 1) * (layer.out_w or layer.in_w or 1)
            lanes = _result_lanes(layer) if "Vivado" in row.flow else 1  # which takes a pixel apart
            bits = _result_bits(layer) // lanes
            lut += lanes * dataflow.fifo_lut(depth, bits)
            ff += lanes * dataflow.fifo_ff(depth, bits, registers=setting.vitis)
            bram += lanes * dataflow.fifo_bram18(depth, bits)
        fit = fits()["fifo/srl/lut"]
        return [built(node, "top/stream", lut=staged(Value(lut, lut * fit.lo, lut * fit.hi), "lut", setting),
                      ff=staged(judged("fifo/ff", ff=ff), "ff", setting),
                      bram18=staged(judged("fifo/bram18", bram18=bram), "bram18", setting, shared=shared))]  # fmt: skip
    if style is Style.DATAFLOW:
        words = sum((x.out_h or 1) * (x.out_w or 1) * _result_bits(x) for x in row.layers[:-1])
        return [built(node, "top/dataflow", ff=staged(judged("registers/ff", bits=words), "ff", setting))]
    return []


_BETWEEN_AND_FIRST = 2
"""Entries of a stream's list of costs that are not followed by another layer: the first, and what lies between."""


def _schedule(layers: list[LayerCost], style: Style) -> tuple[int, int]:
    """(latency, II) in cycles; of streams as HLS tools report it: the slowest task, and a start for each other.

    That is less than a run takes, where layers wait for rows: 1044 cycles at an interval of 1028 for 15 layers.
    """
    ii = max(c.ii_cycles for c in layers)
    if style is Style.STREAM:
        return max(c.latency_cycles for c in layers) + len(layers) - _BETWEEN_AND_FIRST, ii
    return sum(c.latency_cycles for c in layers), ii
