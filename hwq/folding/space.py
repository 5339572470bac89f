"""All ways to build the layers of a design, and the best combination of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction

from hwq.cost.assemble import between, budget, has_positions, layer_cost, setting_at
from hwq.cost.laws.dataflow import TopStyle
from hwq.cost.model import RESOURCES, LayerCost, Stage
from hwq.folding.selection import (
    Limits,
    Objective,
    Option,
    Problem,
    Selection,
    Totals,
    cheapest,
    measure,
    peak,
    solve,
)
from hwq.hardware import (
    HardwareConfig,
    Io,
    Strategy,
    check_reuse,
    default_strategy,
    matrix_shape,
    reuse_choices,
)
from hwq.ir import Graph, Node

CHOSEN_BY_DEFAULT = (Strategy.LATENCY, Strategy.RESOURCE)
"""Distributed arithmetic only where the user allows it: no measured design stands behind its law."""
_MILLION = 1_000_000


class FitRule(str, Enum):
    """What of the estimates must fit the board: their values, or the upper ends of their bands."""

    VALUE = "value"
    BAND = "band"


@dataclass(frozen=True)
class Way:
    """One way to build one node, with what it costs."""

    node: Node
    strategy: Strategy
    reuse: int
    cost: LayerCost


@dataclass(frozen=True)
class Space:
    """The choices of a design whose top function hls4ml makes in one style.

    Attributes:
        ways: By node; what lies between the layers is the problem's last row.
    """

    ways: tuple[tuple[Way, ...], ...]
    problem: Problem


@dataclass(frozen=True)
class Choice:
    """A selection in a space."""

    space: Space
    selection: Selection

    @property
    def totals(self) -> Totals:
        """Added up."""
        return measure(self.space.problem, self.selection)

    def need(self) -> tuple[Fraction, int]:
        """Peak and area: what is made smallest."""
        return peak(self.space.problem, self.totals), self.totals.area

    def ways(self) -> list[Way]:
        """The chosen way of every node."""
        return [row[i] for row, i in zip(self.space.ways, self.selection, strict=False)]


# --- the best of all spaces ------------------------------------------------------------------------


def least(made: Sequence[Space], limits: Limits) -> Choice | None:
    """What needs least within the limits."""
    found = ((space, cheapest(space.problem, limits)) for space in made)
    return min(
        (Choice(s, picked) for s, picked in found if picked is not None), key=Choice.need, default=None
    )


def shortest(made: Sequence[Space], limits: Limits) -> Choice | None:
    """What has the shortest latency within the limits, and of that what needs least."""
    found = ((space, solve(space.problem, limits, Objective.LATENCY)) for space in made)
    latencies = [measure(s.problem, picked).latency for s, picked in found if picked is not None]
    return least(made, replace(limits, latency=min(latencies))) if latencies else None


def fastest(made: Sequence[Space], limits: Limits) -> Choice | None:
    """What has the fewest cycles between inferences within the limits, then the shortest latency, then least."""
    rates = sorted({o.ii for space in made for row in space.problem.rows for o in row})
    low, high = 0, len(rates)
    while low < high:  # a larger interval never makes a design impossible
        middle = (low + high) // 2
        within = replace(limits, ii=max(1, rates[middle]))
        possible = any(solve(s.problem, within, Objective.AREA) is not None for s in made)
        low, high = (low, middle) if possible else (middle + 1, high)
    return shortest(made, replace(limits, ii=max(1, rates[low]))) if low < len(rates) else None


# --- the ways --------------------------------------------------------------------------------------


def spaces(
    graph: Graph,
    base: HardwareConfig,
    fixed: Mapping[str, int],
    styles: Mapping[str, Sequence[Strategy]],
    fit: FitRule,
    stage: Stage,
) -> list[Space]:
    """The choices of every layer; a parallel design without positions may be a pipeline or a dataflow.

    Args:
        graph: What is built.
        base: Board, clock and interface.
        fixed: Reuse factors that are given.
        styles: Strategies that are allowed, by layer; ``""`` for those not named.
        fit: Which end of the estimates is used.
        stage: Of the estimates.
    """
    ways = tuple(
        tuple(
            Way(node, how, reuse, layer_cost(graph, node, setting_at(base, stage, how, reuse)))
            for how, reuse in _pairs(graph, base.io, node, fixed, styles)
        )
        for node in graph.nodes
    )
    available = tuple(budget(base.board).values())
    made = []
    for style, rows, shared in _tops(graph, base.io, ways):
        options = [tuple(_option(w.cost, w.strategy, available, fit) for w in row) for row in rows]
        options.append((_option(between(graph, base, stage, style), Strategy.LATENCY, available, fit),))
        if all(options):
            made.append(Space(rows, Problem(tuple(options), available, style is TopStyle.STREAM, shared)))
    return made


def _tops(
    graph: Graph, io: Io, ways: tuple[tuple[Way, ...], ...]
) -> Iterator[tuple[TopStyle, tuple[tuple[Way, ...], ...], bool]]:
    """(style, ways in it, whether one must be of the Resource strategy), as `hwq.cost.assemble.top_style`."""
    if io is Io.STREAM:
        yield TopStyle.STREAM, ways, False
    elif any(has_positions(graph, n) for n in graph.nodes):
        yield TopStyle.DATAFLOW, ways, False
    else:
        unrolled = tuple(tuple(w for w in row if w.strategy is not Strategy.RESOURCE) for row in ways)
        yield TopStyle.PIPELINE, unrolled, False
        yield TopStyle.DATAFLOW, ways, True


def _pairs(
    graph: Graph, io: Io, node: Node, fixed: Mapping[str, int], styles: Mapping[str, Sequence[Strategy]]
) -> Iterable[tuple[Strategy, int]]:
    if not matrix_shape(node):
        return [(Strategy.LATENCY, 1)]
    allowed = styles.get(node.name, styles.get("", CHOSEN_BY_DEFAULT))
    if node.name in fixed:
        reuse = fixed[node.name]
        how = allowed[0] if len(allowed) == 1 else default_strategy(reuse)
        check_reuse(graph, node, reuse, io, how)
        return [(how, reuse)]
    return [
        (how, r) for how in allowed for r in reuse_choices(graph, node, io, how) if _tells(how, r, allowed)
    ]


def _tells(how: Strategy, reuse: int, allowed: Sequence[Strategy]) -> bool:
    """Resource without reuse is Latency by another name."""
    return how is not Strategy.RESOURCE or reuse > 1 or Strategy.LATENCY not in allowed


def _option(cost: LayerCost, how: Strategy, available: tuple[int, ...], fit: FitRule) -> Option:
    """Resources rounded up: a layer has no fraction of a LUT."""
    values = (getattr(cost, r) for r in RESOURCES)
    uses = tuple(math.ceil(v.hi if fit is FitRule.BAND else v.value) for v in values)
    area = sum(Fraction(_MILLION * u, max(a, 1)) for u, a in zip(uses, available, strict=True))
    return Option(
        uses, round(area), cost.latency_cycles, cost.fill_cycles, cost.ii_cycles, how is Strategy.RESOURCE
    )
