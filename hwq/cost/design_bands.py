"""Bands of whole designs: how far reports of other sources lay from the estimates, by code path.

Each source is estimated by laws fitted without it. A path of few sources says little of the next one, so its band is a
quantile of a mixture: every source of the path counts one, other sources with its family (paths built alike) together
one, and all other sources together a half, or one where there is no such family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from hwq.cost.fits import Basis, Fit, using
from hwq.cost.measured import designs, leaving_out
from hwq.cost.model import Stage
from hwq.cost.row_schema import TARGETS

OFFSET = {"lut": 16.0, "ff": 32.0, "dsp": 1.0, "bram18": 1.0, "lat_max": 1.0, "ii_max": 1.0}
"""Added to reported and estimated numbers before their ratio: one block or cycle more is no ratio of infinity."""
ANY = "any"
_TAIL = {"lut": 0.1, "ff": 0.08, "dsp": 0.12, "bram18": 0.12, "lat_max": 0.14, "ii_max": 0.12}
"""Share of the mixture beyond each end; chosen so that four of five reports of unseen sources lie inside."""
_LEAST = 1.02
"""No band is narrower to either side: sources that agreed to the last block say little of the next one."""
_PATH, _FAMILY, _ANY = 1.0, 1.0, 0.5


@dataclass(frozen=True)
class Residual:
    """Reported over estimated, of one target of one design whose source was left out."""

    source: str
    path: str
    target: str
    ratio: float


def family(path: str) -> str:
    """Paths that are built alike.

    >>> family("pipeline/dense/latency reuse"), family("layer/dense/latency"), family("layer/activation/relu")
    ('unrolled', 'unrolled', 'elementwise')
    >>> family("stream/conv/resource"), family("layer/conv/stream/resource"), family("finn/conv/latency")
    ('stream shared', 'stream shared', 'finn')
    """
    parts = path.split("/")
    if parts[0] in ("finn", "da"):
        return parts[0]
    if not {"dense", "conv"} & set(parts):
        return "elementwise"
    shared = any(part.startswith("resource") for part in parts)
    if "stream" in parts:
        return "stream shared" if shared else "stream unrolled"
    return "shared" if shared else "unrolled"


def design_bands(laws: Callable[[], Mapping[str, Fit]]) -> dict[str, Fit]:
    """Bands by path, by family and of all; `laws` gives the fits without the sources that are left out."""
    found = residuals(laws)
    made = {}
    for target, group in groupby(sorted(found, key=lambda r: r.target), key=lambda r: r.target):
        rows = list(group)
        names = {r.path for r in rows} | {f"family {family(r.path)}" for r in rows} | {ANY}
        for name in sorted(names):
            made[f"design/{name}/{target}"] = _band(name, target, rows)
    return made


def residuals(laws: Callable[[], Mapping[str, Fit]]) -> list[Residual]:
    """Of every design in scope that is not left out; of hls4ml's only what the HLS tool said."""
    from hwq.cost.rows import figures

    found = []
    for source, rows in groupby(sorted(designs(), key=lambda d: d.source), key=lambda d: d.source):
        with leaving_out(source):
            fitted = laws()
        with using(fitted):
            for row in rows:
                if row.stage != Stage.CSYNTH.value and row.flow.startswith("hls4ml"):
                    continue
                estimated = figures(row)
                if estimated.outside:
                    continue
                for target in TARGETS:
                    if (real := getattr(row, target)) is not None:
                        value = estimated.values[target]
                        ratio = (real + OFFSET[target]) / (value + OFFSET[target])
                        found.append(Residual(source, estimated.path, target, ratio))
    return found


def _band(name: str, target: str, rows: list[Residual]) -> Fit:
    own = [r for r in rows if r.path == name]
    kind = name.removeprefix("family ") if name.startswith("family ") else family(name) if own else None
    near = [r for r in rows if family(r.path) == kind]
    lo, hi = _quantiles(_mixture(own, near, rows), _TAIL[target])
    chosen = own or near or rows
    sources = sorted({r.source for r in chosen})
    ratios = {s: np.array([r.ratio for r in chosen if r.source == s]) for s in sources}
    inside = [lo <= r.ratio <= hi for r in chosen]
    return Fit(
        coefficients={"offset": OFFSET[target]},
        lo=_round(lo),
        hi=_round(hi),
        basis=Basis.MEASURED,
        source="whole designs by code path: (real + offset) over (estimated + offset), its source left out of the laws",
        points=len(chosen),
        sources={s: len(r) for s, r in ratios.items()},
        median_ape={s: _round(float(np.median(np.abs(1 / r - 1)))) for s, r in ratios.items()},
        method=f"a mixture without {_TAIL[target]:.0%} at each end: sources of the path, its family, all others",
        coverage=_round(sum(inside) / len(inside)),
    )


def _mixture(
    own: list[Residual], near: list[Residual], rows: list[Residual]
) -> list[tuple[list[Residual], float]]:
    """What a band is made of: the path's own designs, and those of other sources with its family or with all."""
    sources = {r.source for r in own}
    near, rows = ([r for r in given if r.source not in sources] for given in (near, rows))
    parts = [(own, _PATH * len(sources)), (near, _FAMILY), (rows, _ANY if near else _FAMILY)]
    return [(part, share) for part, share in parts if part]


def _quantiles(parts: Iterable[tuple[list[Residual], float]], tail: float) -> tuple[float, float]:
    """The tails of weighted ratios: in every part all sources have the same say."""
    ratio, weight = [], []
    for rows, share in parts:
        counts: dict[str, int] = {}
        for r in rows:
            counts[r.source] = counts.get(r.source, 0) + 1
        ratio += [r.ratio for r in rows]
        weight += [share / len(counts) / counts[r.source] for r in rows]
    order = np.argsort(ratio)
    ordered, sums = np.array(ratio)[order], np.cumsum(np.array(weight)[order])
    places = np.searchsorted(sums, np.array([tail, 1 - tail]) * sums[-1])
    lo, hi = (float(ordered[min(p, len(ordered) - 1)]) for p in places)
    return min(lo, 1 / _LEAST), max(hi, _LEAST)


def _round(value: float) -> float:
    return float(f"{value:.5g}")


def banded_value(value: float, target: str, lo: float, hi: float) -> tuple[int, int]:
    """Ends of a band in counts, to the nearest; the value lies inside.

    >>> banded_value(3, "dsp", 0.5, 1.25), banded_value(0, "dsp", 1.0, 1.0), banded_value(285, "bram18", 0.98, 1.02)
    ((1, 4), (0, 0), (279, 291))
    """
    offset = OFFSET[target]
    low, high = (value + offset) * lo - offset, (value + offset) * hi - offset
    return max(0, min(round(low), math.floor(value))), max(round(high), math.ceil(value))
