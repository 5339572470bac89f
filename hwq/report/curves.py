"""Training curves as points of an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwq.report.schema import Metrics

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 30


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in the drawing's units, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve as an SVG point list; `dots` are drawn where there are too few points for a line."""

    name: str
    style: str
    points: str
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """One plot with its axes."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    best: float | None
    best_label: str


Series = list[tuple[int, float]]


def charts(metrics: Metrics) -> list[Chart]:
    """Accuracy and loss by epoch, as far as they were recorded."""
    epochs = metrics.epochs
    validation = [(e.epoch, 100 * e.validation_accuracy) for e in epochs if e.validation_accuracy is not None]
    train = [(e.epoch, 100 * e.train_accuracy) for e in epochs if e.train_accuracy is not None]
    loss = [(e.epoch, e.loss) for e in epochs if e.loss is not None and math.isfinite(e.loss)]
    plots = [
        ("Accuracy, %", [("validation", "strong", validation), ("training", "soft", train)], ".2f"),
        ("Training loss", [("loss", "strong", loss)], ".4g"),
    ]
    return [
        _chart(title, [(name, style, s) for name, style, s in series if s], metrics.best_epoch, digits)
        for title, series, digits in plots
        if any(s for _, _, s in series)
    ]


def _chart(title: str, series: list[tuple[str, str, Series]], best: int | None, digits: str) -> Chart:
    xs = [x for _, _, points in series for x, _ in points]
    ys = [y for _, _, points in series for _, y in points]
    x_lo, x_hi = min(xs), max(xs)
    y_marks = _round_marks(min(ys), max(ys), 5)
    y_lo, y_hi = min(y_marks[0], *ys), max(y_marks[-1], *ys)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_lo) / (x_hi - x_lo) if x_hi > x_lo else 0.5
        up = (y - y_lo) / (y_hi - y_lo) if y_hi > y_lo else 0.5
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    return Chart(
        title=title,
        lines=tuple(_line(name, style, s, [place(x, y) for x, y in s], digits) for name, style, s in series),
        x_ticks=tuple(Tick(place(x, y_lo)[0], f"{x:g}") for x in _whole_marks(x_lo, x_hi)),
        y_ticks=tuple(Tick(place(x_lo, y)[1], f"{y:g}") for y in y_marks),
        best=place(best, y_lo)[0] if best is not None and x_lo <= best <= x_hi else None,
        best_label=f"best epoch {best}",
    )


def _line(name: str, style: str, series: Series, places: list[tuple[float, float]], digits: str) -> Line:
    points = " ".join(f"{x},{y}" for x, y in places)
    dots = tuple(places) if len(places) <= 2 else ()
    return Line(name, style, points, dots, format(series[-1][1], digits))


def _round_marks(lo: float, hi: float, about: int) -> list[float]:
    """Marks at multiples of 1, 2 or 5 times a power of ten that enclose lo..hi.

    >>> _round_marks(83.1, 97.4, 5)
    [80.0, 85.0, 90.0, 95.0, 100.0]
    """
    step = _round_step(hi - lo, about) if hi > lo else max(abs(lo), 1.0) / 10
    first, last = math.floor(lo / step + 1e-9), math.ceil(hi / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _whole_marks(lo: int, hi: int) -> Sequence[int]:
    step = max(1, round(_round_step(hi - lo, 6))) if hi > lo else 1
    return range(-(-lo // step) * step, hi + 1, step)


def _round_step(span: float, about: int) -> float:
    power = float(10 ** math.floor(math.log10(span / about)))
    return next(m * power for m in (1, 2, 5, 10) if m * power * about >= span)
