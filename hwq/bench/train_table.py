"""The results of `hwq bench train` for people: Markdown and a plot."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from hwq.bench.train_experiments import COMPARISONS, GOALS, Comparison, Goal

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """One method on one task, over its seeds; accuracies are fractions, in the order of the seeds."""

    task: str
    method: str
    test: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: float
    epochs: int
    macs: int | None
    zeros: float | None
    csim: int | None

    @property
    def mean(self) -> float:
        """Of the test accuracies."""
        return statistics.mean(self.test)

    @property
    def sd(self) -> float:
        """Of the sample; not a number for one seed."""
        return statistics.stdev(self.test) if len(self.test) > 1 else math.nan

    @property
    def chosen_by(self) -> float:
        """What the best of several methods is chosen by."""
        return statistics.mean(self.validation)


def rows(result: Mapping[str, Any]) -> list[Row]:
    """Methods in the order of the experiments."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in result["runs"]:
        groups.setdefault((run["task"], run["method"]), []).append(run)
    return [_row(task, method, runs) for (task, method), runs in groups.items()]


def _row(task: str, method: str, runs: Sequence[Mapping[str, Any]]) -> Row:
    exact = [run["integers"] for run in runs if run["integers"]]
    compiled = [stage["rows"] for run in runs if run["csim"] for stage in run["csim"].values()]
    return Row(
        task,
        method,
        tuple(_accuracy(run) for run in runs),
        tuple(run["validation_accuracy"] for run in runs),
        statistics.mean(run["seconds"] for run in runs),
        runs[0]["recipe"]["train"]["epochs"],
        round(statistics.mean(e["macs"] for e in exact)) if exact else None,
        statistics.mean(e["zeros"] / e["weights"] for e in exact) if exact else None,
        min(compiled) if compiled else None,
    )


def _accuracy(run: Mapping[str, Any]) -> float:
    """Of the integers, or of a float network."""
    correct = run["integers"]["correct"] if run["integers"] else run["test_correct"]
    return float(correct / run["test_total"])


def markdown(result: Mapping[str, Any]) -> str:
    """What was asked for, comparisons with their noise, and all methods."""
    table = rows(result)
    lines = [
        "# Training",
        "",
        (
            f"`hwq bench train`, hwq {result['hwq']}, {result['machine']}, {result['cores']} cores, Python "
            f"{result['python']}, torch {result['torch']}, Brevitas {result['brevitas']}; {result['workers']} runs "
            "at a time, one thread each. Accuracy is mean ± standard deviation over the seeds, on test rows, of the "
            "integer network (of torch for float ones). Test rows chose nothing: the epoch, and the best of several "
            "methods, are chosen on validation rows. Every low-bit network here equals its integers: torch (but for "
            "certified rounding of its float32) and the engine on 128 test rows, ties and extremes."
        ),
        "",
        *(f"Left out: {task}, since {why}." for task, why in result["left_out"].items()),
        *(f"Failed: {name}." for name in result["failed"]),
        "",
        "![Test accuracy by seed](bench-train.svg)",
        "",
        *_goals(table),
        *_comparisons(table),
        *_all(table),
    ]
    return "\n".join(lines) + "\n"


def _goals(table: Sequence[Row]) -> list[str]:
    lines = ["## Asked for", "", "| what | wanted | best method | reached |", "|---|---|---|---|"]
    lines += [line for goal in GOALS if (line := _goal(goal, table))]
    return [*lines, ""] if len(lines) > 4 else []


def best(goal: Goal, table: Sequence[Row]) -> Row | None:
    """By validation accuracy among the goal's methods; None where none ran."""
    found = [r for r in table if r.task == goal.task and any(fnmatch(r.method, m) for m in goal.methods)]
    return max(found, key=lambda row: row.chosen_by, default=None)


def _goal(goal: Goal, table: Sequence[Row]) -> str:
    row = best(goal, table)
    reference = next((r for r in table if (r.task, r.method) == (goal.task, goal.reference)), None)
    if row is None or (goal.at_least is None and reference is None):
        return ""
    if goal.at_least is not None:
        ok, wanted = row.mean >= goal.at_least, f"≥ {100 * goal.at_least:.4g} %"
        reached = _spread(row.test)
    else:
        assert reference is not None  # noqa: S101  for mypy
        drop = 100 * (reference.mean - row.mean)
        ok, wanted = drop <= (goal.within or 0), f"at most {goal.within:g} points under {goal.reference}"
        reached = f"{drop:.2f} points under ({_spread(row.test)})"
    return f"| {goal.what} | {wanted} | {row.method} | {'' if ok else 'missed: '}{reached} |"


def _comparisons(table: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for comparison in COMPARISONS:
        found = {r.method: r for r in table if r.task == comparison.task}
        if (
            len(names := [m for m in comparison.methods if m in found]) > 1
            and names[0] == comparison.methods[0]
        ):
            lines += _comparison(comparison, [found[name] for name in names])
    return lines


def _comparison(comparison: Comparison, found: Sequence[Row]) -> list[str]:
    first, *others = found
    lines = [
        f"## {comparison.title}",
        "",
        f"Points against {first.method}, {comparison.task}, with the 95 % interval.",
        "",
    ]
    lines += ["| method | test % | points | verdict |", "|---|---|---|---|"]
    lines.append(f"| {first.method} | {_spread(first.test)} | | |")
    clear = 0
    for row in others:
        points, half = difference(first.test, row.test)
        verdict = judge(points, half)
        clear += verdict in ("better", "worse")
        band = f" ± {half:.2f}" if math.isfinite(half) else ""
        lines.append(f"| {row.method} | {_spread(row.test)} | {points:+.2f}{band} | {verdict} |")
    return [*lines, "", _conclusion(len(others), clear), ""]


def _conclusion(compared: int, clear: int) -> str:
    if clear == 0:
        return "None of these differences is larger than its noise: no ranking follows."
    if clear == compared:
        return "Each of these differences is larger than its noise."
    return f"{clear} of {compared} differences are larger than their noise; the others are no ranking."


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Points that the second is ahead, and half the 95 % interval of Welch's test; not a number for one seed.

    >>> points, half = difference([0.80, 0.82, 0.81], [0.85, 0.84, 0.86])
    >>> round(points, 2), round(half, 2)
    (4.0, 2.27)
    """
    points = 100 * (statistics.mean(second) - statistics.mean(first))
    if min(len(first), len(second)) < 2:
        return points, math.nan
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    if sum(parts) == 0:
        return points, 0.0
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (first, second), strict=True))
    from scipy.stats import t  # takes a second

    return points, float(100 * math.sqrt(sum(parts)) * t.ppf((1 + _CONFIDENCE) / 2, freedom))


def judge(points: float, half: float) -> str:
    """Whether a difference is more than noise."""
    if not math.isfinite(half):
        return "one seed: no verdict"
    if abs(points) <= half:
        return "within noise"
    return "better" if points > 0 else "worse"


def _all(table: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for task in dict.fromkeys(row.task for row in table):
        lines += [
            f"## {task}",
            "",
            "| method | seeds | test % | validation % | epochs | s a run | MACs | zeros | C++ |",
        ]
        lines.append("|---" * 9 + "|")
        lines += [_line(row) for row in table if row.task == task]
        lines.append("")
    if any(row.csim for row in table):
        lines.append("C++: rows on which the compiled C++ of the first seed's network equals the integers.")
    return lines


def _line(row: Row) -> str:
    macs = "" if row.macs is None else f"{row.macs:,}"
    zeros = "" if row.zeros is None else f"{100 * row.zeros:.1f} %"
    return (
        f"| {row.method} | {len(row.test)} | {_spread(row.test)} | {100 * row.chosen_by:.2f} | {row.epochs} "
        f"| {row.seconds:.0f} | {macs} | {zeros} | {row.csim or ''} |"
    )


def _spread(values: Sequence[float]) -> str:
    mean = 100 * statistics.mean(values)
    return f"{mean:.2f}" + (f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def plot(result: Mapping[str, Any]) -> str:
    """Test accuracy of each seed, a panel a task, as SVG."""
    from matplotlib.figure import Figure

    table = rows(result)
    tasks = list(dict.fromkeys(row.task for row in table))
    sizes = [sum(row.task == task for row in table) for task in tasks]
    height = 0.22 * sum(sizes) + 0.8 * max(1, len(tasks))
    figure = Figure(figsize=(9, height), layout="constrained")
    for axes, task in zip(_panels(figure, sizes), tasks, strict=True):
        for place, row in enumerate(r for r in table if r.task == task):
            axes.plot(
                [100 * v for v in row.test], [place] * len(row.test), "o", color="#1f6feb", alpha=0.6, ms=4
            )
            axes.plot(100 * row.mean, place, "|", color="#24292f", ms=9)
        axes.set_yticks(range(len(shown := [r.method for r in table if r.task == task])), shown, fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="x", color="#d0d7de", linewidth=0.5)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"{task}, test accuracy (%), one dot a seed", fontsize=9, loc="left")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _panels(figure: Any, sizes: Sequence[int]) -> list[Any]:
    if not sizes:
        return []
    ratios = [size + 2 for size in sizes]
    return list(figure.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0])
