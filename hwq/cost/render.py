"""An estimate as Rich tables: one of the layers, one of the totals against the board."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hwq.cost.model import RESOURCES, Estimate, Fits, LayerCost, Value

_TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18", "uram": "URAM"}
_COLOURS = {Fits.YES: "green", Fits.NO: "red", Fits.UNCERTAIN: "yellow"}
_BAR_CELLS = 24


def table(estimate: Estimate) -> Group:
    """Layers, totals with their bands and bars, and the verdict."""
    return Group(layer_table(estimate), total_table(estimate), verdict_text(estimate))


def number(count: float) -> str:
    """With thin separators.

    >>> number(1234567.4)
    '1,234,567'
    """
    return f"{round(count):,}"


def banded(value: Value) -> str:
    """A value with its band; alone where the law is exact.

    >>> banded(Value(100, 53, 187)), banded(Value(0, 0, 0))
    ('100 (53 – 187)', '0')
    """
    whole = value.whole()
    if whole["lo"] == whole["hi"]:
        return number(value.value)
    return f"{whole['value']:,} ({whole['lo']:,} – {whole['hi']:,})"


def layer_table(estimate: Estimate) -> Table:
    """One line a layer; those outside calibration are marked."""
    table = Table(
        title=f"Layers, {estimate.stage.value.replace('_', '-')}, value (band)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("layer", "code path"):
        table.add_column(heading, overflow="fold")
    for heading in ("LUT", "FF", "DSP", "BRAM18", "cycles", "II"):
        table.add_column(heading, justify="right")
    for row in estimate.layers:
        table.add_row(row.name, _path(row), *_counts(row), number(row.latency_cycles), number(row.ii_cycles))
    if any(row.outside_calibration for row in estimate.layers):
        table.caption = "* no measured design stands behind the law here: the band is a judgement"
        table.caption_justify = "left"
    return table


def _path(row: LayerCost) -> str:
    return f"{row.path} *" if row.outside_calibration else row.path


def _counts(row: LayerCost) -> list[str]:
    return [banded(getattr(row, r)) for r in RESOURCES if r != "uram"]


def total_table(estimate: Estimate) -> Table:
    """Needs against the board, with a bar: solid to the band's lower end, light to its upper."""
    table = Table(
        title=f"{estimate.board} ({estimate.part})", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("resource")
    for heading in ("needed (band)", "available", "used"):
        table.add_column(heading, justify="right")
    table.add_column("0 to 100 %", no_wrap=True)
    for resource in RESOURCES:
        need, available = estimate.total[resource], estimate.available[resource]
        share = need.share(available)
        used = f"{share['value']:.1%}" if available else "–"
        table.add_row(_TITLES[resource], banded(need), number(available), used, bar(share["lo"], share["hi"]))
    return table


def bar(lo: float, hi: float) -> Text:
    """A bar of the band over the budget; it ends red where the band does not end within it."""
    solid = round(min(lo, 1) * _BAR_CELLS)
    light = max(0, round(min(hi, 1) * _BAR_CELLS) - solid)
    colour = "red" if lo > 1 else "yellow" if hi > 1 else "green"
    rest = _BAR_CELLS - solid - light
    return Text.assemble(("█" * solid, colour), ("▒" * light, colour), ("·" * rest, "dim"))


def verdict_text(estimate: Estimate) -> Text:
    """Speed, whether it fits, what limits it and what to do."""
    latency, ii = number(estimate.latency_cycles), number(estimate.ii_cycles)
    speed = (
        f"{latency} cycles = {estimate.latency_us:.3g} µs latency, an inference every {ii} cycles = "
        f"{number(estimate.inferences_per_second)} per second at {1000 / estimate.clock_ns:g} MHz "
        f"({estimate.io}, {estimate.strategy})\n{estimate.energy.text()}\n"
    )
    return Text.assemble(
        speed,
        "fits: ",
        (estimate.fits.value, f"bold {_COLOURS[estimate.fits]}"),
        f"\nlimit: {estimate.bottleneck}\nnext:  {estimate.cure}",
    )
