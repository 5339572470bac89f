"""`hwq cost evaluate`: estimates of given designs beside what their tools reported, source by source.

Medians are of a source's rows, then averaged over the sources: rows are never pooled, because one source may hold
most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import fmean, median
from typing import Any

from hwq.cost.fits import using
from hwq.cost.model import Value
from hwq.cost.row_files import Reading
from hwq.cost.row_schema import TARGETS, Row
from hwq.cost.rows import RowEstimate, estimate_row

_CLOSE = (0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Score:
    """Of one target at one stage, over the rows for which it is known.

    Attributes:
        medians: Median absolute percentage error of each source, as a fraction.
        macro: Their mean.
        within: Share of the rows within 10, 20 and 50 %.
        within_one: Share of the rows that are exact or off by one.
        coverage: Share of the rows inside their band.
        width: Median upper end of the bands over their lower end, where that is not 0.
    """

    stage: str
    group: str
    target: str
    rows: int
    medians: dict[str, float]
    macro: float
    within: tuple[float, float, float]
    within_one: float
    coverage: float
    width: float


def evaluate(rows: Iterable[Row]) -> list[RowEstimate]:
    """An estimate of every row."""
    return [estimate_row(row) for row in rows]


def held_out() -> list[RowEstimate]:
    """Estimates of the measured designs that hwq ships, each from fits without its source.

    What was set by hand (`hwq.cost.judgements`) saw all of them, so the errors are those of the fits only.
    """
    from hwq.cost.calibrate import calibrate
    from hwq.cost.measured import designs, leaving_out

    rows = designs()
    found = []
    for source in sorted({row.source for row in rows}):
        with leaving_out(source):
            fitted = calibrate()
        with using(fitted):
            found += evaluate(row for row in rows if row.source == source)
    return found


def to_json(estimates: Iterable[RowEstimate], reading: Reading | None = None) -> dict[str, Any]:
    """For machines: by row, the values with their bands; and what of the file was not used."""
    return {
        "rows": [
            {
                "id": e.row.id,
                "stage": e.row.stage,
                "path": e.path,
                "outside_calibration": e.outside,
                **{t: _band(e.values[t]) for t in TARGETS},
            }
            for e in estimates
        ],
        "not_estimated": [asdict(r) for r in reading.refused] if reading else [],
        "ignored": [asdict(i) for i in reading.ignored] if reading else [],
    }


def _band(value: Value) -> dict[str, float]:
    return {k: round(float(getattr(value, k)), 2) for k in ("value", "lo", "hi")}


def error(value: float, real: float) -> float:
    """Absolute error relative to the real number; of 0, 0 if the value rounds to it and 1 otherwise.

    >>> error(11, 10), error(0.2, 0), error(3, 0)
    (0.1, 0.0, 1.0)
    """
    return abs(value - real) / real if real else float(round(value) != 0)


def scores(estimates: Sequence[RowEstimate]) -> list[Score]:
    """By stage, group and target; parts of layers are in none. Groups are hls4ml's own templates, and all others."""
    known = [e for e in estimates if e.row.unit_kind != "inner"]
    key = _group
    found = []
    for (stage, group), members in groupby(sorted(known, key=key), key=key):
        chosen = list(members)
        for target in TARGETS:
            rows = [e for e in chosen if getattr(e.row, target) is not None]
            if rows:
                found.append(_score(stage, group, target, rows))
    return found


@dataclass(frozen=True)
class Flags:
    """How well the flag of designs outside the calibrated paths warns.

    Attributes:
        share: Of the designs that carry it.
        misses: Numbers that are wrong by more than half.
        misses_flagged: Share of them on designs that carry it.
    """

    share: float
    misses: int
    misses_flagged: float


def flags(estimates: Sequence[RowEstimate]) -> Flags:
    """Over all designs but parts of layers."""
    known = [e for e in estimates if e.row.unit_kind != "inner"]
    missed = [
        e.outside
        for e in known
        for target in TARGETS
        if (real := getattr(e.row, target)) is not None
        and error(e.values[target].value, float(real)) > _CLOSE[-1]
    ]
    share = fmean(e.outside for e in known) if known else 0.0
    return Flags(share, len(missed), fmean(missed) if missed else 1.0)


def _group(e: RowEstimate) -> tuple[str, str]:
    own = "hls4ml's templates" if e.row.template == "upstream" else "other templates"
    return e.row.stage, own if e.row.flow.startswith("hls4ml") or not e.row.flow else e.row.flow


def _score(stage: str, group: str, target: str, rows: Sequence[RowEstimate]) -> Score:
    pairs = [(e, e.values[target], float(getattr(e.row, target))) for e in rows]
    errors = [error(v.value, real) for _, v, real in pairs]
    by_source: dict[str, list[float]] = {}
    for (e, _, _), err in zip(pairs, errors, strict=True):
        by_source.setdefault(e.row.source, []).append(err)
    medians = {source: median(found) for source, found in sorted(by_source.items())}
    widths = [v.hi / v.lo for _, v, _ in pairs if v.lo > 0]
    ten, twenty, fifty = (sum(err <= limit for err in errors) / len(errors) for limit in _CLOSE)
    return Score(
        stage,
        group,
        target,
        len(rows),
        medians,
        fmean(medians.values()),
        (ten, twenty, fifty),
        sum(abs(round(v.value) - real) <= 1 for _, v, real in pairs) / len(pairs),
        sum(v.lo <= real <= v.hi for _, v, real in pairs) / len(pairs),
        median(widths) if widths else 1.0,
    )
