"""Estimated resources against what the board has."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.report.schema import Band, Estimate, LayerCost
from hwq.report.status import Status

FITS = {
    "yes": ("fits", Status.OK),
    "no": ("does not fit", Status.BAD),
    "uncertain": ("uncertain", Status.UNSURE),
}
_NAMES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18", "uram": "URAM"}


@dataclass(frozen=True)
class Bar:
    """One resource of one design.

    Attributes:
        value: End of the bar, in percent of the drawing's width; likewise `lo`, `hi`, `limit` (the board).
        use: Share of the board, None where the board has none of it.
    """

    name: str
    total: Band
    available: float | None
    use: Band | None
    status: Status
    value: float = 0
    lo: float = 0
    hi: float = 0
    limit: float = 0


@dataclass(frozen=True)
class Design:
    """One estimate, ready to be drawn."""

    estimate: Estimate
    title: str
    facts: tuple[str, ...]
    verdict: str
    status: Status
    bars: tuple[Bar, ...]
    layers: tuple[tuple[LayerCost, float], ...]

    @property
    def limit(self) -> float:
        """Where the whole board ends, in percent of the drawing's width."""
        return max((bar.limit for bar in self.bars), default=0)

    @property
    def outside(self) -> int:
        """Layers that the calibration does not cover."""
        return sum(layer.outside_calibration for layer, _ in self.layers)


def designs(estimates: tuple[Estimate, ...]) -> list[Design]:
    """Every estimate with its bars; a layer comes with its share of the design's LUTs, 0..1."""
    return [_design(estimate) for estimate in estimates]


def _design(estimate: Estimate) -> Design:
    verdict, status = FITS[estimate.fits]
    largest = max((layer.lut.value for layer in estimate.layers if layer.lut is not None), default=0)
    shares = [
        layer.lut.value / largest if layer.lut is not None and largest > 0 else 0 for layer in estimate.layers
    ]
    return Design(
        estimate=estimate,
        title=design_title(estimate),
        facts=_facts(estimate),
        verdict=verdict,
        status=status,
        bars=_bars(estimate),
        layers=tuple(zip(estimate.layers, shares, strict=True)),
    )


def _facts(estimate: Estimate) -> tuple[str, ...]:
    clock = f"{estimate.clock_ns:g}\u00a0ns clock" if estimate.clock_ns else None
    strategy = f"{estimate.strategy} strategy" if estimate.strategy else None
    stage = f"estimate of {estimate.stage}" if estimate.stage else None
    return tuple(fact for fact in (estimate.part, clock, strategy, stage) if fact)


def _bars(estimate: Estimate) -> tuple[Bar, ...]:
    """All bars of a design share one scale, so that the board's limit is one straight line."""
    uses = {name: use_of(estimate, name) for name in _resources(estimate)}
    scale = 1.04 * max([1.0, *(max(use.hi, use.value) for use in uses.values() if use is not None)])
    return tuple(_bar(estimate, name, use, 100 / scale) for name, use in uses.items())


def _resources(estimate: Estimate) -> list[str]:
    """Known resources in their usual order, then others; without those neither needed nor there."""
    order = [
        *(name for name in _NAMES if name in estimate.total),
        *(n for n in estimate.total if n not in _NAMES),
    ]
    return [name for name in order if estimate.total[name].hi > 0 or estimate.available.get(name)]


def _bar(estimate: Estimate, name: str, use: Band | None, width: float) -> Bar:
    label = _NAMES.get(name, name.upper())
    total, available = estimate.total[name], estimate.available.get(name)
    if use is None:
        return Bar(label, total, available, None, Status.BAD if total.value > 0 else Status.UNSURE)
    return Bar(
        label,
        total,
        available,
        use,
        _bar_status(use),
        use.value * width,
        use.lo * width,
        use.hi * width,
        width,
    )


def _bar_status(use: Band) -> Status:
    if use.hi <= 1:
        return Status.OK
    return Status.BAD if use.lo > 1 else Status.UNSURE


def design_title(design: Estimate) -> str:
    """Board and interface, such as `pynq-z2, parallel`."""
    return ", ".join(part for part in (design.board, design.io) if part)


def tightest_resource(design: Estimate) -> tuple[str, Band] | None:
    """The resource with the largest share of the board."""
    uses = {name: use_of(design, name) for name in design.total}
    known = {name: use for name, use in uses.items() if use is not None}
    if not known:
        return None
    name = max(known, key=lambda key: known[key].value)
    return _NAMES.get(name, name.upper()), known[name]


def use_of(design: Estimate, resource: str) -> Band | None:
    """Utilisation as the file gives it, else total over available; None where the board has none."""
    given = design.utilisation.get(resource)
    if given is not None:
        return given
    total, available = design.total.get(resource), design.available.get(resource)
    if total is None or not available:
        return None
    return Band(value=total.value / available, lo=total.lo / available, hi=total.hi / available)
