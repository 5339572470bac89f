"""One option a layer, chosen exactly: integer programs for HiGHS, every answer checked in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Option:
    """One way to build one layer.

    Attributes:
        uses: Whole resources, in the order of `Problem.available`.
        area: Millionths of the board, summed over the resources and rounded.
        latency: Cycles from the first input to the last output.
        fill: Cycles from the first input to the first output.
        ii: Cycles between two inferences.
        shared: Resource strategy.
    """

    uses: tuple[int, ...]
    area: int
    latency: int
    fill: int
    ii: int
    shared: bool = False


Rows = tuple[tuple[Option, ...], ...]
Selection = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """Rows of options, of which each gives one.

    Attributes:
        rows: In the order of the design's layers; what is fixed has a single option.
        available: The board's resources.
        overlapped: Layers work at the same time (streams), else one after the other.
        shared: Whether at least one option must be of the Resource strategy.
    """

    rows: Rows
    available: tuple[int, ...]
    overlapped: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Limits:
    """What a selection must keep to; None where it need not.

    Attributes:
        capacity: By resource.
        ii: Cycles.
        latency: Cycles.
    """

    capacity: tuple[int, ...] | None = None
    ii: int | None = None
    latency: int | None = None


@dataclass(frozen=True)
class Totals:
    """A selection, added up."""

    uses: tuple[int, ...]
    area: int
    latency: int
    ii: int
    shared: bool


class Objective(Enum):
    """What an integer program makes smallest."""

    PEAK = "the largest share of a resource"
    AREA = "the sum of all shares"
    LATENCY = "the latency"


def measure(problem: Problem, selection: Selection) -> Totals:
    """Whole-number totals, with the latency as `hwq.cost.laws.dataflow.schedule` defines it."""
    chosen = [row[i] for row, i in zip(problem.rows, selection, strict=True)]
    latency = sum(o.latency for o in chosen)
    if problem.overlapped:
        slowest = max(chosen, key=lambda o: o.latency)
        latency = slowest.latency + sum(o.fill for o in chosen) - slowest.fill
    return Totals(
        uses=tuple(map(sum, zip(*(o.uses for o in chosen), strict=True))),
        area=sum(o.area for o in chosen),
        latency=max(1, latency),
        ii=max(1, *(o.ii for o in chosen)),
        shared=any(o.shared for o in chosen),
    )


def peak(problem: Problem, totals: Totals) -> Fraction:
    """The largest share of a resource; where the board has none, one unit is a whole."""
    shares = zip(totals.uses, problem.available, strict=True)
    return max(Fraction(used, max(available, 1)) for used, available in shares)


def keeps(problem: Problem, limits: Limits, totals: Totals) -> bool:
    """Whether a selection keeps to the limits."""
    within = limits.capacity is None or all(u <= c for u, c in zip(totals.uses, limits.capacity, strict=True))
    timely = (limits.ii is None or totals.ii <= limits.ii) and (
        limits.latency is None or totals.latency <= limits.latency
    )
    return within and timely and (totals.shared or not problem.shared)


def cheapest(problem: Problem, limits: Limits) -> Selection | None:
    """The selection of smallest peak, and among those of smallest area; None if none keeps to the limits.

    The peak found is proven smallest by a program that asks for a smaller one in every resource.
    """
    best = solve(problem, limits, Objective.PEAK)
    while best is not None:
        top = peak(problem, measure(problem, best))
        less = tuple(math.ceil(top * max(a, 1)) - 1 for a in problem.available)
        better = solve(problem, replace(limits, capacity=_smaller(limits, less)), Objective.AREA)
        if better is None:
            no_more = tuple(math.floor(top * max(a, 1)) for a in problem.available)
            return solve(problem, replace(limits, capacity=_smaller(limits, no_more)), Objective.AREA)
        best = better
    return None


def _smaller(limits: Limits, capacity: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(min, limits.capacity or capacity, capacity))


def solve(problem: Problem, limits: Limits, objective: Objective) -> Selection | None:
    """A best selection within the limits, or None; its totals are checked in whole numbers."""
    if min(n for n in (limits.ii, limits.latency, 1) if n is not None) < 1:
        return None  # everything takes a cycle
    timed = limits.latency is not None or objective is Objective.LATENCY
    kept = [_kept(problem, row, limits, timed=timed) for row in problem.rows]
    if not all(kept):
        return None
    rows = tuple(tuple(row[i] for i in some) for row, some in zip(problem.rows, kept, strict=True))
    program = _Program(replace(problem, rows=rows), limits, objective, timed=timed)
    while (found := program.solve()) is not None:
        selection = tuple(some[i] for some, i in zip(kept, found, strict=True))
        if keeps(problem, limits, measure(problem, selection)):
            return selection
        program.forbid(found)  # HiGHS allows a limit to be exceeded by its tolerance; whole numbers do not
    return None


# --- options that cannot matter ------------------------------------------------------------------


def _kept(problem: Problem, row: Sequence[Option], limits: Limits, *, timed: bool) -> list[int]:
    """Indices of the options that alone keep to the limits and that no other one makes useless."""
    capacity = limits.capacity or (math.inf,) * len(problem.available)
    ii, latency = (math.inf if most is None else most for most in (limits.ii, limits.latency))
    able = [
        i
        for i, o in enumerate(row)
        if o.ii <= ii and o.latency <= latency and all(u <= c for u, c in zip(o.uses, capacity, strict=True))
    ]
    keys = np.array([_keys(problem, row[i], timed=timed) for i in able], dtype=np.int64)
    return [i for n, i in enumerate(able) if not _is_dominated(keys, n)]


def _keys(problem: Problem, option: Option, *, timed: bool) -> tuple[int, ...]:
    """An option whose every key is at most another's can stand in for it in any selection.

    In streams the latency is that of the slowest layer and the fills of the others: a layer that gets
    faster can make another one the slowest, and the sum larger. So only equal latencies are compared.
    """
    keys: tuple[int, ...] = (*option.uses, option.area)
    if timed and problem.overlapped:
        keys += (option.latency, -option.latency, option.fill)
    elif timed:
        keys += (option.latency,)
    return (*keys, -int(option.shared)) if problem.shared else keys


def _is_dominated(keys: np.ndarray[Any, np.dtype[np.int64]], n: int) -> bool:
    """By an option that is better in a key, or equal in all and earlier."""
    at_most = (keys <= keys[n]).all(axis=1)
    equal = (keys == keys[n]).all(axis=1)
    equal[n:] = False
    strictly = at_most & (keys < keys[n]).any(axis=1)
    return bool((strictly | equal).any())


# --- the integer program -------------------------------------------------------------------------


@dataclass
class _Matrix:
    """Rows ``lo <= sum of coefficient * column <= hi``."""

    values: list[float] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    lo: list[float] = field(default_factory=list)
    hi: list[float] = field(default_factory=list)

    def add(self, terms: Iterable[tuple[int, float]], lo: float, hi: float) -> None:
        for column, value in terms:
            self.columns.append(column)
            self.values.append(value)
            self.rows.append(len(self.lo))
        self.lo.append(lo)
        self.hi.append(hi)


class _Program:
    """Columns of zero or one: an option is taken; in streams also, it is the slowest. And a share, if sought."""

    def __init__(self, problem: Problem, limits: Limits, objective: Objective, *, timed: bool) -> None:
        self.problem = problem
        sizes = np.cumsum([0, *(len(row) for row in problem.rows)])
        self.columns = [range(a, b) for a, b in pairwise(sizes.tolist())]
        self.size = int(sizes[-1])
        self.share: int | None = None
        self.matrix = _Matrix()
        for columns in self.columns:
            self.matrix.add(((c, 1) for c in columns), 1, 1)
        if problem.shared:
            self.matrix.add(((c, 1) for c, o in self._options() if o.shared), 1, math.inf)
        for r, most in enumerate(limits.capacity or ()):
            self.matrix.add(((c, o.uses[r]) for c, o in self._options()), 0, most)
        latency = self._latency() if timed else []
        if limits.latency is not None:
            self.matrix.add(latency, -math.inf, limits.latency)
        self.cost = self._cost(objective, latency)

    def _options(self) -> Iterator[tuple[int, Option]]:
        for columns, row in zip(self.columns, self.problem.rows, strict=True):
            yield from zip(columns, row, strict=True)

    def _cost(self, objective: Objective, latency: list[tuple[int, float]]) -> dict[int, float]:
        if objective is Objective.LATENCY:
            return dict(latency)
        if objective is Objective.AREA:
            return {c: o.area for c, o in self._options()}
        for r, available in enumerate(self.problem.available):
            uses = [(c, o.uses[r] / max(available, 1)) for c, o in self._options()]
            self.matrix.add([*uses, (self.size, -1)], -math.inf, 0)
        self.share = self.size
        self.size += 1
        return {self.share: 1}

    def _latency(self) -> list[tuple[int, float]]:
        """Terms whose sum is the latency."""
        if not self.problem.overlapped:
            return [(c, o.latency) for c, o in self._options()]
        fills = [(c, float(o.fill)) for c, o in self._options()]
        return fills + [(z, o.latency - o.fill) for z, _, o in self._slowest()]

    def _slowest(self) -> list[tuple[int, int, Option]]:
        """(its column, its row, option) of all that may be the slowest; the first of equals is."""
        rows = self.problem.rows
        least = max(min(o.latency for o in row) for row in rows)
        marks: list[tuple[int, int, Option]] = []
        for n, (columns, row) in enumerate(zip(self.columns, rows, strict=True)):
            for c, o in zip(columns, row, strict=True):
                if o.latency >= least:
                    marks.append((self.size, n, o))
                    self.matrix.add([(self.size, 1), (c, -1)], -1, 0)
                    self.size += 1
        self.matrix.add(((z, 1) for z, _, _ in marks), 1, 1)
        for n, (columns, row) in enumerate(zip(self.columns, rows, strict=True)):
            own = [(c, o.latency) for c, o in zip(columns, row, strict=True)]
            later = [(z, (m > n) - o.latency) for z, m, o in marks]
            self.matrix.add([*own, *later], -math.inf, 0)
        return marks

    def forbid(self, found: Selection) -> None:
        """Exclude one selection."""
        taken = [(columns[i], 1.0) for columns, i in zip(self.columns, found, strict=True)]
        self.matrix.add(taken, 0, len(taken) - 1)

    def solve(self) -> Selection | None:
        """A best selection by HiGHS, or None if there is none."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        m = self.matrix
        cost, whole, top = np.zeros(self.size), np.ones(self.size), np.ones(self.size)
        for column, value in self.cost.items():
            cost[column] += value
        if self.share is not None:
            whole[self.share], top[self.share] = 0, np.inf
        shape = (len(m.lo), self.size)
        table = coo_array((m.values, (m.rows, m.columns)), shape=shape).tocsc()
        result = milp(
            cost,
            integrality=whole,
            bounds=Bounds(0, top),
            constraints=LinearConstraint(table, m.lo, m.hi),
            options={"mip_rel_gap": 0},
        )
        if result.status == 2:
            return None
        if result.status != 0:
            raise AssertionError(f"HiGHS ended without a proof: {result.message}")
        return tuple(int(np.argmax(result.x[c.start : c.stop])) for c in self.columns)
