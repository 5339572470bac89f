"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hwq.boards import Board
from hwq.doctor import Finding
from hwq.results import Verification

_NOTHING = 1e9
"""The share of what a board does not have."""

if TYPE_CHECKING:
    from hwq.board_ranking import Ranked
    from hwq.cost.evaluate import Score
    from hwq.cost.row_files import Reading
    from hwq.cost.rows import RowEstimate

_STYLE: dict[str, Any] = {
    "title_justify": "left",
    "caption_justify": "left",
    "box": SIMPLE_HEAD,
    "pad_edge": False,
}


def lower_table(summary: Mapping[str, Any]) -> Table:
    """Per-layer table of a lowered network."""
    table = Table(title=f"{summary['model']}: integer graph", **_STYLE)
    for name in ("layer", "op", "shape", "types", "requantisation", "MACs", "ties"):
        table.add_column(name, justify="right" if name in ("MACs", "ties") else "left", overflow="fold")
    for row in summary["layers"]:
        table.add_row(
            row["name"],
            row["op"],
            "×".join(map(str, row["shape"])),
            _types(row),
            row["form"] or "",
            f"{row['macs']:,}" if row["macs"] else "",
            "" if row["ties"] is None else f"{row['ties']:,}",
        )
    proofs = sum(row["proof_checks"] or 0 for row in summary["layers"])
    total = (
        f"{summary['macs']:,} MACs, {summary['parameters']:,} weights, lowered in {summary['seconds']:.2f} s"
    )
    proven = f"requantisations proven equal at {proofs:,} boundary points"
    ties = "ties: thresholds that a reachable integer meets exactly"
    table.caption = "\n".join([total, f"{proven}; {ties}", *(f"note: {n}" for n in summary["notes"])])
    return table


def plan_table(plan: Mapping[str, Any], model: str) -> Table:
    """How the simulator runs a network."""
    table = Table(title=f"{model}: {plan['engine']} engine", **_STYLE)
    for name in ("layers", "ops", "method", "largest partial sum", "MACs", "bytes a row"):
        numbers = name in ("largest partial sum", "MACs", "bytes a row")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for step in plan["steps"]:
        first, *rest = step["nodes"]
        names = f"{first} … {rest[-1]}" if rest else first
        bound = "" if step["bound"] is None else f"{step['bound']:,}"
        work = f"{step['macs']:,}" if step["macs"] else ""
        table.add_row(names, " ".join(step["ops"]), step["method"], bound, work, f"{step['bytes']:,}")
    table.caption = (
        f"{plan['macs']:,} MACs a row; {plan['rows']:,} rows run in chunks of {plan['chunk_rows']} on "
        f"{plan['workers']} threads, each with one BLAS thread; {plan['engine']}: {plan['reason']}"
    )
    return table


def _types(row: Mapping[str, Any]) -> str:
    """Input, weight and output types; for an accumulator its proven interval too."""
    if row["accumulator_bits"] is None:
        return f"{row['in_type']} → {row['out_type']}"
    return f"{row['in_type']} · {row['weight_bits']} bit → {row['out_type']} [{row['lo']}, {row['hi']}]"


def input_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line an input and output."""
    lines = [
        f"input  {p['name']} {tuple(p['shape'])}: {p['type']} {p['lo']}..{p['hi']} ({p['quantizer']})"
        for p in summary["inputs"]
    ]
    return lines + [f"output {p['name']} {tuple(p['shape'])}: {p['type']}" for p in summary["outputs"]]


def verify_table(result: Verification) -> Table:
    """Stages against the integers."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.inputs.items())
    table = Table(title=f"{result.model}: every stage against the integers ({kinds} rows)", **_STYLE)
    for name in (
        "stage",
        "rows",
        "tensors",
        "values",
        "different",
        "certified",
        "argmax flips",
        "time",
        "verdict",
    ):
        table.add_column(name, justify="left" if name in ("stage", "verdict") else "right")
    for s in result.stages:
        verdict = "[green]equal[/]" if s.ok and not s.different else "[yellow]equal but for certified[/]"
        counts = (s.rows, s.tensors, s.values, s.different, s.certified)
        flips = f"{s.argmax_flips:,}" + (f" ({s.argmax_certified:,} ties)" if s.argmax_flips else "")
        table.add_row(
            s.name,
            *(f"{c:,}" for c in counts),
            flips,
            f"{s.seconds:.1f} s",
            verdict if s.ok else "[red]DIFFERENT[/]",
        )
    ties = sum(t.ties for t in result.layers)
    accuracy = "" if result.accuracy is None else f"; accuracy of the integers {100 * result.accuracy:.2f} %"
    at_quantisers = f"exact ties: {ties:,} values at quantisers"
    table.caption = f"{at_quantisers}, {result.argmax_ties:,} rows at the final argmax{accuracy}"
    return table


def folding_parts(folding: Mapping[str, Any] | None) -> list[Table | str]:
    """The choices of `hwq.folding`, what binds and what was proven; nothing without a folding."""
    if folding is None:
        return []
    fps, latency_us = folding["target"]["fps"], folding["target"]["latency_us"]
    aim = (
        f"{fps:,g} inferences per second"
        if fps
        else f"{latency_us:g} µs"
        if latency_us
        else "fastest that fits"
    )
    table = Table(title=f"folding for {aim}", **_STYLE)
    for name in ("layer", "strategy", "reuse", "of", "LUT", "FF", "DSP", "BRAM18", "cycles", "II"):
        table.add_column(name, justify="left" if name in ("layer", "strategy") else "right")
    keys = ("reuse", "options", "lut", "ff", "dsp", "bram18", "latency_cycles", "ii_cycles")
    for row in folding["layers"]:
        table.add_row(row["name"], row["strategy"], *(f"{row[k]:,}" for k in keys))
    band = "" if folding["fits"] == "yes" else "; the upper ends of the bands do not fit: synthesise to know"
    return [
        table,
        f"binds: {folding['binds']}",
        (
            f"proven best of {folding['combinations']:,} designs; fits by the estimates' {folding['fit']} "
            f"({folding['stage']}){band}"
        ),
    ]


def boards_table(known: Sequence[Board]) -> Table:
    """All boards, one a line."""
    table = Table(title="boards", **_STYLE)
    for name in ("name", "title", "part", "LUT", "FF", "DSP", "BRAM18", "URAM", "clock"):
        table.add_column(name, justify="left" if name in ("name", "title", "part") else "right")
    for b in known:
        counts = (b.lut, b.ff, b.dsp, b.bram18, b.uram)
        table.add_row(b.name, b.title, b.part, *(f"{c:,}" for c in counts), f"{b.clock_mhz:g} MHz")
    return table


def ranking_table(ranked: Sequence[Ranked]) -> Table:
    """Boards from the best to the last; shares are of what the board has."""
    table = Table(title="boards, best first", **_STYLE)
    for name in ("board", "part", "fits"):
        table.add_column(name)
    for name in ("inferences/s", "latency", "clock", "LUT", "FF", "DSP", "BRAM18"):
        table.add_column(name, justify="right")
    for r in ranked:
        content = r.to_json()
        if r.estimate is None:
            table.add_row(r.board.name, r.board.part, f"[red]no[/]: {r.reason}")
            continue
        colour = {"yes": "green", "no": "red"}.get(r.fits, "yellow")
        shares = [content["utilisation"][k]["value"] for k in ("lut", "ff", "dsp", "bram18")]
        table.add_row(
            r.board.name,
            r.board.part,
            f"[{colour}]{r.fits}[/]",
            f"{content['inferences_per_second']:,.0f}",
            f"{content['latency_us']:,.1f} us",
            f"{content['clock_ns']:g} ns",
            *(f"{100 * share:,.0f} %" if share < _NOTHING else "none" for share in shares),
        )
    return table


def board_table(board: Board) -> Table:
    """One board, with the source of each number."""
    table = Table(title=f"{board.title} ({board.part})", **_STYLE)
    for name in ("number", "value", "source"):
        table.add_column(name, overflow="fold")
    for key, source in board.sources.items():
        table.add_row(key, str(getattr(board, key, "")), source)
    return table


def doctor_table(findings: Sequence[Finding]) -> Table:
    """What is installed."""
    table = Table(title="hwq doctor", **_STYLE)
    for name in ("", "part", "found", "makes possible", "if missing"):
        table.add_column(name, overflow="fold")
    for f in findings:
        table.add_row(
            "[green]✓[/]" if f.found else "[yellow]–[/]",
            f.name,
            f.found,
            f.enables,
            "" if f.found else f.cure,
        )
    return table


def synth_tables(record: Mapping[str, Any]) -> list[Any]:
    """Steps with their times, what was reached, and the estimate beside the tool."""
    steps = Table(title="synthesis", **_STYLE)
    for name in ("step", "time", "tool"):
        steps.add_column(name, justify="right" if name == "time" else "left")
    for name, done in record["steps"].items():
        steps.add_row(name, f"{done['seconds']:.0f} s", f"{done['tool']} {done['version']}".strip())
    shown: list[Any] = [steps]
    reports = record["reports"]
    if timing := reports.get("timing"):
        shown.append(
            f"timing  {timing['reached_ns']:.3f} ns of {timing['period_ns']:g} ns ({timing['reached_mhz']:.0f} MHz)"
        )
    if power := reports.get("power"):
        shown.append(f"power   {power['total_w']:.3f} W (confidence {power['confidence']})")
    if record["comparison"]:
        shown.append(_comparison(record["comparison"]))
    return shown


def _comparison(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="estimate and tool", **_STYLE)
    for name in ("layer", "quantity", "estimate", "band", "tool", "report", "inside"):
        table.add_column(name, justify="right" if name in ("estimate", "band", "tool") else "left")
    for row in rows:
        inside = {None: "no counterpart", True: "yes", False: "[bold]no[/]"}[row["inside"]]
        tool = "" if row["tool"] is None else f"{row['tool']:,}"
        table.add_row(
            row["layer"],
            row["quantity"],
            f"{row['estimate']:,.0f}",
            f"{row['lo']:,.0f}–{row['hi']:,.0f}",
            tool,
            row["stage"],
            inside,
        )
    return table


def score_tables(
    scores: Sequence[Score], estimates: Sequence[RowEstimate], reading: Reading | None = None
) -> list[Any]:
    """Errors and bands by stage and target, which designs are outside the calibrated paths, and what was not used."""
    tables: list[Any] = []
    for (stage, group), rows in groupby(scores, key=lambda s: (s.stage, s.group)):
        table = Table(title=f"{stage}, {group}", **_STYLE)
        for name in (
            "target",
            "rows",
            "mean of sources",
            "in 10 %",
            "20 %",
            "50 %",
            "+-1",
            "in band",
            "width",
        ):
            table.add_column(name, justify="left" if name == "target" else "right")
        medians = Table(title="median error by source", **_STYLE)
        medians.add_column("source")
        errors: dict[str, list[str]] = {}
        for s in rows:
            shares = [f"{100 * x:.0f} %" for x in (*s.within, s.within_one, s.coverage)]
            table.add_row(s.target, f"{s.rows:,}", f"{100 * s.macro:.1f} %", *shares, f"{s.width:.2f}x")
            medians.add_column(s.target, justify="right")
            for source, error in s.medians.items():
                errors.setdefault(source, []).append(f"{100 * error:.1f} %")
        for source, cells in errors.items():
            medians.add_row(source, *cells)
        tables += [table, medians]
    from hwq.cost.evaluate import flags

    flagged, found = sorted({e.path for e in estimates if e.outside}), flags(estimates)
    tables.append(
        f"outside the calibrated paths: {100 * found.share:.0f} % of {len(estimates):,} designs, "
        f"{100 * found.misses_flagged:.0f} % of {found.misses:,} numbers that are wrong by more than half"
    )
    tables += [f"  {path}" for path in flagged]
    return tables + (_unused(reading) if reading else [])


_LISTED = 20


def _unused(reading: Reading) -> list[str]:
    """Rows and fields of a file that were not used; of many the first."""
    lines = [f"not estimated: row {r.id}: {r.reason}" for r in reading.refused]
    lines += [f"ignored: row {i.id}: {i.field}: {i.reason}" for i in reading.ignored]
    more = len(lines) - _LISTED
    return lines[:_LISTED] + ([f"and {more:,} more that were not used"] if more > 0 else [])


def fit_table(fits: Mapping[str, Any]) -> Table:
    """Every fit with its points, its error and its band."""
    table = Table(title="laws and bands", **_STYLE)
    for name in ("fit", "points", "sources", "error", "band", "covers"):
        table.add_column(name, justify="left" if name == "fit" else "right")
    for name, fit in fits.items():
        errors = fit["median_ape"].values()
        mean = f"{100 * sum(errors) / len(errors):.1f} %" if errors else ""
        covers = "" if fit["coverage"] is None else f"{100 * fit['coverage']:.0f} %"
        points = f"{fit['points']:,}" if fit["points"] else "structural"
        table.add_row(
            name, points, str(len(fit["sources"]) or ""), mean, f"{fit['lo']:.2f}-{fit['hi']:.2f}", covers
        )
    return table
