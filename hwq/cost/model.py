"""Records of an estimate: a value with its band, a layer's cost, a whole design on a board."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from hwq.cost.energy import Energy, energy

if TYPE_CHECKING:
    from rich.console import Group

RESOURCES = ("lut", "ff", "dsp", "bram18", "uram")


class Stage(str, Enum):
    """Whose numbers are estimated: the HLS tool's own estimate, or what synthesis or routing leave of it."""

    CSYNTH = "csynth"
    POST_SYNTH = "post_synth"
    POST_ROUTE = "post_route"


class Fits(str, Enum):
    """Whether a design fits its board: every band below its budget, one wholly above it, or neither."""

    YES = "yes"
    NO = "no"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Value:
    """A number and the band it should lie in, in the unit of what it counts."""

    value: float
    lo: float
    hi: float

    @staticmethod
    def exact(number: float) -> Value:
        """A number that its law determines.

        >>> Value.exact(3)
        Value(value=3, lo=3, hi=3)
        """
        return Value(number, number, number)

    def __add__(self, other: Value) -> Value:
        """Ends add: the errors of layers of one kind are not independent."""
        return Value(self.value + other.value, self.lo + other.lo, self.hi + other.hi)

    def scaled(self, value: float, lo: float, hi: float) -> Value:
        """Each part times its own factor."""
        return Value(self.value * value, self.lo * lo, self.hi * hi)

    def spanning(self, lo: float, hi: float) -> Value:
        """With a band that also holds `lo` and `hi`."""
        return Value(self.value, min(self.lo, lo), max(self.hi, hi))

    def whole(self) -> dict[str, int]:
        """As counts: the value rounded, the band rounded outwards.

        >>> Value(2.4, 1.2, 3.1).whole()
        {'value': 2, 'lo': 1, 'hi': 4}
        """
        return {"value": round(self.value), "lo": math.floor(self.lo), "hi": math.ceil(self.hi)}

    def share(self, budget: int) -> dict[str, float]:
        """As fractions of a budget; of nothing, 0 if nothing is needed and 1e9 otherwise."""
        parts = (self.value, self.lo, self.hi)
        value, lo, hi = (round(p / budget, 6) if budget else (1e9 if p else 0.0) for p in parts)
        return {"value": value, "lo": lo, "hi": hi}


ZERO = Value(0, 0, 0)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one node costs.

    Attributes:
        name: The node's.
        op: Its operation, or ``top`` for what belongs to no node.
        path: The code path whose law was used, as ``dense/latency/parallel``.
        latency_cycles: From its first input to its last output, worst case.
        ii_cycles: Between the starts of two inferences.
        outside_calibration: No measured design stands behind the law here; its band is a judgement.
        fill_cycles: From its first input to its first output.
    """

    name: str
    op: str
    path: str
    lut: Value
    ff: Value
    dsp: Value
    bram18: Value
    uram: Value
    latency_cycles: int
    ii_cycles: int
    outside_calibration: bool
    fill_cycles: int = 0

    def to_json(self) -> dict[str, Any]:
        """The layer's entry in the estimate's JSON."""
        return {
            "name": self.name,
            "op": self.op,
            "path": self.path,
            **{r: getattr(self, r).whole() for r in ("lut", "ff", "dsp", "bram18")},
            "latency_cycles": self.latency_cycles,
            "ii_cycles": self.ii_cycles,
            "outside_calibration": self.outside_calibration,
        }


def total(layers: Iterable[LayerCost]) -> dict[str, Value]:
    """Sum of every resource over the layers."""
    rows = tuple(layers)
    return {r: sum((getattr(row, r) for row in rows), ZERO) for r in RESOURCES}


def verdict(needs: Mapping[str, Value], available: Mapping[str, int]) -> Fits:
    """Yes if every band ends within its budget, no if one begins beyond it, otherwise uncertain."""
    if any(needs[r].lo > available[r] for r in RESOURCES):
        return Fits.NO
    return Fits.YES if all(needs[r].hi <= available[r] for r in RESOURCES) else Fits.UNCERTAIN


@dataclass(frozen=True)
class Estimate:
    """A design on a board.

    Attributes:
        board: Its name.
        io: ``parallel`` or ``stream``.
        layers: In the graph's order; what belongs to no node comes last.
        total: By resource.
        available: By resource, the board's.
        bottleneck: What limits the design, in words.
        cure: What to do about it.
    """

    board: str
    part: str
    clock_ns: float
    stage: Stage
    io: str
    strategy: str
    layers: tuple[LayerCost, ...]
    total: Mapping[str, Value]
    available: Mapping[str, int]
    latency_cycles: int
    ii_cycles: int
    bottleneck: str
    cure: str

    def table(self) -> Group:
        """For ``rich.print``: layers, totals with bands and bars, the verdict."""
        from hwq.cost.render import table

        return table(self)

    @property
    def fits(self) -> Fits:
        """Whether the design fits its board."""
        return verdict(self.total, self.available)

    @property
    def latency_us(self) -> float:
        """From the first input to the last output, at the target clock, in microseconds."""
        return self.latency_cycles * self.clock_ns / 1000

    @property
    def inferences_per_second(self) -> float:
        """With inputs that never wait, at the target clock."""
        return 1e9 / (self.ii_cycles * self.clock_ns)

    @property
    def energy(self) -> Energy:
        """With inputs that never wait."""
        lut = self.total["lut"]
        return energy(self.board, self.ii_cycles, self.clock_ns, (lut.lo, lut.hi), self.total["dsp"].value)

    def to_json(self) -> dict[str, Any]:
        """For machines; counts are whole numbers, utilisations are fractions."""
        return {
            "board": self.board,
            "part": self.part,
            "clock_ns": self.clock_ns,
            "stage": self.stage.value,
            "io": self.io,
            "strategy": self.strategy,
            "layers": [row.to_json() for row in self.layers],
            "total": {r: self.total[r].whole() for r in RESOURCES},
            "available": dict(self.available),
            "utilisation": {r: self.total[r].share(self.available[r]) for r in RESOURCES},
            "latency_cycles": self.latency_cycles,
            "ii_cycles": self.ii_cycles,
            "latency_us": self.latency_us,
            "inferences_per_second": self.inferences_per_second,
            "energy": self.energy.to_json(),
            "fits": self.fits.value,
            "bottleneck": self.bottleneck,
            "cure": self.cure,
        }
