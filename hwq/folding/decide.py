"""A folding: the choice for a target, what binds it, and why a target cannot be met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from hwq.cost.advice import NAMES
from hwq.cost.assemble import budget, estimate
from hwq.cost.model import RESOURCES, Estimate, Stage
from hwq.errors import CheckFailed
from hwq.folding.selection import Limits
from hwq.folding.space import Choice, FitRule, Space, Way, fastest, least, shortest
from hwq.folding.target import Target
from hwq.hardware import HardwareConfig, Io, matrix_shape
from hwq.ir import Graph


@dataclass(frozen=True)
class Search:
    """What was searched."""

    config: HardwareConfig
    spaces: list[Space]
    target: Target
    fit: FitRule
    stage: Stage

    @property
    def capacity(self) -> tuple[int, ...]:
        """Of the board, by resource."""
        return tuple(budget(self.config.board).values())

    @property
    def asked(self) -> Limits:
        """The target's limits, whatever the board holds."""
        return self.target.limits(self.config.clock_ns)

    def combinations(self) -> int:
        """Designs that were chosen from."""
        return max(prod(len(row) for row in space.ways) for space in self.spaces)


def fold(
    graph: Graph, base: HardwareConfig, spaces: list[Space], target: Target, fit: FitRule, stage: Stage
) -> HardwareConfig:
    """The best configuration for a target, with the decision.

    Raises:
        CheckFailed: The target cannot be met, or nothing fits; with the best that can be reached.
    """
    search = Search(base, spaces, target, fit, stage)
    within = replace(search.asked, capacity=search.capacity)
    choice = fastest(spaces, within) if target == Target() else least(spaces, within)
    if choice is None:
        raise CheckFailed(_refusal(search))
    chosen = {w.node.name: w for w in choice.ways() if matrix_shape(w.node)}
    config = replace(
        base,
        strategy={name: w.strategy for name, w in chosen.items()},
        reuse={name: w.reuse for name, w in chosen.items()},
    )
    made = estimate(graph, config, stage)
    held, counted = (made.latency_cycles, made.ii_cycles), (choice.totals.latency, choice.totals.ii)
    if held != counted:
        raise AssertionError(f"the design is estimated at {held} cycles, folding counted {counted}")
    return replace(config, folding=_record(search, choice, made))


def _record(search: Search, choice: Choice, made: Estimate) -> dict[str, Any]:
    """For the manifest and the table; without times and paths, so that equal designs give equal bytes."""
    return {
        "target": {"fps": search.target.fps, "latency_us": search.target.latency_us},
        "fit": search.fit.value,
        "stage": search.stage.value,
        "layers": [_layer(search, way) for way in choice.ways() if matrix_shape(way.node)],
        "combinations": search.combinations(),
        "proven_optimal": True,  # `hwq.folding.selection.solve` returns nothing else
        "latency_cycles": made.latency_cycles,
        "ii_cycles": made.ii_cycles,
        "latency_us": made.latency_us,
        "inferences_per_second": made.inferences_per_second,
        "utilisation": {r: made.total[r].share(made.available[r])["value"] for r in RESOURCES},
        "fits": made.fits.value,
        "binds": _binds(search, choice),
    }


def _layer(search: Search, way: Way) -> dict[str, Any]:
    options = max(len(row) for s in search.spaces for row in s.ways if row[0].node is way.node)
    return {
        "name": way.node.name,
        "strategy": way.strategy.value,
        "reuse": way.reuse,
        "options": options,
        **{r: getattr(way.cost, r).whole()["value"] for r in ("lut", "ff", "dsp", "bram18")},
        "latency_cycles": way.cost.latency_cycles,
        "ii_cycles": way.cost.ii_cycles,
    }


# --- what binds ------------------------------------------------------------------------------------


def _binds(search: Search, choice: Choice) -> str:
    """What keeps the design from being faster, or smaller."""
    if search.target == Target():
        return _binds_speed(search, choice)
    smallest = least(search.spaces, Limits(capacity=search.capacity))
    if smallest is not None and smallest.need() == choice.need():
        return f"nothing: this is the smallest design, and it meets the target; {_largest(search, choice)}"
    asked, totals = search.asked, choice.totals
    if asked.ii is not None:
        return (
            f"the target: {_slowest(choice)} takes {totals.ii:,} of the {asked.ii:,} cycles that it allows; "
            f"{_largest(search, choice)}"
        )
    return (
        f"the target: the latency is {totals.latency:,} of the {asked.latency:,} cycles that it allows; "
        f"{_largest(search, choice)}"
    )


def _binds_speed(search: Search, choice: Choice) -> str:
    faster = least(search.spaces, Limits(ii=choice.totals.ii - 1))
    if faster is None:
        return f"{_slowest(choice)}: an II of {choice.totals.ii:,} is its least on any board"
    return (
        f"the board: an inference every {faster.totals.ii:,} cycles instead of {choice.totals.ii:,} "
        f"would need {_largest(search, faster)}"
    )


def _slowest(choice: Choice) -> str:
    ways = choice.ways()
    return f"'{max(ways, key=lambda w: w.cost.ii_cycles).node.name}'" if ways else "the design"


def _largest(search: Search, choice: Choice) -> str:
    """The resource of which most is used, with its share."""
    used = list(zip(RESOURCES, choice.totals.uses, search.capacity, strict=True))
    name, count, available = max(used, key=lambda u: u[1] / max(u[2], 1))
    share = f"{count / available:.0%} of the {available:,}" if available else f"{count:,} of 0"
    return f"{share} {NAMES[name]}s of the board"


# --- why not ---------------------------------------------------------------------------------------


def _refusal(search: Search) -> str:
    board, rule = search.config.board.name, f"by the {_FIT[search.fit]} of the {search.stage.value} estimates"
    free = least(search.spaces, search.asked)
    if search.target == Target():
        needs = "no legal design exists" if free is None else f"the smallest needs {_largest(search, free)}"
        return f"no choice of strategy and reuse fits {board} {rule}: {needs}; {_cure(search)}"
    if free is None:
        return (
            f"{search.target} cannot be met on any board at {search.config.clock_ns:g} ns: {_bound(search)}"
        )
    return (
        f"{search.target} cannot be met on {board} {rule}: the smallest design that meets it needs "
        f"{_largest(search, free)}; {_best(search)}; lower the target, or {_cure(search)}"
    )


_FIT = {FitRule.VALUE: "values", FitRule.BAND: "upper ends"}


def _cure(search: Search) -> str:
    stream = "use --io stream, " if search.config.io is Io.PARALLEL else "use "
    return f"{stream}fewer bits or channels, or a larger board"


def _bound(search: Search) -> str:
    """The best that the structure allows, whatever it costs."""
    cure = "shorten the clock period, lower the target, or use fewer pixels"
    if search.target.latency_us is not None:
        quickest = shortest(search.spaces, Limits())
        least_cycles = quickest.totals.latency if quickest else 0
        return f"the shortest latency is {least_cycles:,} cycles = {_us(search, least_cycles)}; {cure}"
    quickest = fastest(search.spaces, Limits())
    cycles = quickest.totals.ii if quickest else 1
    layer = _slowest(quickest) if quickest else "the design"
    return f"{layer} takes {cycles:,} cycles at the least, {_rate(search, cycles)}; {cure}"


def _best(search: Search) -> str:
    """The best that fits the board."""
    within = Limits(capacity=search.capacity)
    if search.target.latency_us is not None:
        best = shortest(search.spaces, within)
        said = best and f"{best.totals.latency:,} cycles = {_us(search, best.totals.latency)}"
    else:
        best = fastest(search.spaces, within)
        said = best and f"an inference every {best.totals.ii:,} cycles, {_rate(search, best.totals.ii)}"
    return f"the best that fits is {said}" if said else "nothing fits, however slow"


def _rate(search: Search, ii_cycles: int) -> str:
    return f"{1e9 / (ii_cycles * search.config.clock_ns):,.0f} per second"


def _us(search: Search, cycles: int) -> str:
    return f"{cycles * search.config.clock_ns / 1000:.4g} µs"
