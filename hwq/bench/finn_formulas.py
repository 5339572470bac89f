"""FINN's published estimates on the measured designs: products alone, each as a matrix-vector unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median
from typing import Any

from hwq.cost.evaluate import error
from hwq.cost.row_flows import mvau_of
from hwq.cost.row_schema import Row
from hwq.cost.rows import RowEstimate

TARGETS = ("lut", "dsp", "bram18", "lat_max", "ii_max")
"""FINN has no flip-flops."""


@dataclass(frozen=True)
class Comparison:
    """Mean over the sources of their median errors, on the same designs."""

    stage: str
    flow: str
    target: str
    rows: int
    hwq: float
    finn: float


def has_products(row: Row) -> bool:
    """Whether FINN's formulas say anything of a design: of whole ones with dense or convolution layers."""
    if row.unit_kind == "inner":
        return False
    return any(layer.type == "dense" or "conv" in layer.type or "mvau" in layer.type for layer in row.layers)


def estimate(row: Row) -> dict[str, float]:
    """Sums over the units; latency as FINN gives it without FIFOs, interval of the slowest."""
    units = [
        mvau_of(layer)
        for layer in row.layers
        if layer.type == "dense" or "conv" in layer.type or "mvau" in layer.type
    ]
    return {
        "lut": sum(u.lut for u in units),
        "dsp": sum(u.dsp for u in units),
        "bram18": sum(u.bram18 for u in units),
        "lat_max": sum(u.cycles for u in units),
        "ii_max": max(u.cycles for u in units),
    }


def compare(estimates: Sequence[RowEstimate]) -> list[Comparison]:
    """By stage, flow and target."""
    chosen = [e for e in estimates if has_products(e.row)]
    found = []
    for (stage, flow), members in groupby(sorted(chosen, key=_group), key=_group):
        rows = list(members)
        for target in TARGETS:
            known = [e for e in rows if getattr(e.row, target) is not None]
            if known:
                ours = _macro(known, target, [e.values[target].value for e in known])
                theirs = _macro(known, target, [estimate(e.row)[target] for e in known])
                found.append(Comparison(stage, flow, target, len(known), ours, theirs))
    return found


def _group(e: RowEstimate) -> tuple[str, str]:
    return e.row.stage, e.row.flow.split("/")[0].split("-")[0]


def _macro(known: Sequence[RowEstimate], target: str, values: Sequence[float]) -> float:
    by_source: dict[str, list[float]] = {}
    for e, value in zip(known, values, strict=True):
        by_source.setdefault(e.row.source, []).append(error(value, float(getattr(e.row, target))))
    return fmean(median(errors) for errors in by_source.values())


def lines(comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """A table in Markdown."""
    made = ["| stage | flow | target | designs | hwq, source left out | FINN's formulas |", "|---" * 6 + "|"]
    made += [
        f"| {c['stage']} | {c['flow']} | {c['target']} | {c['rows']:,} "
        f"| {100 * c['hwq']:.1f} % | {100 * c['finn']:.1f} % |"
        for c in comparisons
    ]
    return made
