"""What `hwq verify` finds: records, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hwq import __version__
from hwq.certificates import Certificate
from hwq.errors import CheckFailed

MAX_CERTIFICATES = 100


@dataclass(frozen=True)
class Divergence:
    """The first value of a stage that differs without a certificate; `index` is in the graph's layout."""

    tensor: str
    layer: str
    row: int
    index: tuple[int, ...]
    expected: str
    got: str
    why: str


@dataclass
class StageResult:
    """One stage held against the integers."""

    name: str
    rows: int = 0
    tensors: int = 0
    values: int = 0
    different: int = 0
    certified: int = 0
    argmax_flips: int = 0
    argmax_certified: int = 0
    seconds: float = 0.0
    first: Divergence | None = None
    per_tensor: dict[str, tuple[int, int]] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)
    against: str = "integers"

    @property
    def uncertified(self) -> int:
        """Differences that nothing explains."""
        return self.different - self.certified

    @property
    def ok(self) -> bool:
        """Whether the stage is equal but for certified differences."""
        return self.uncertified == 0 and self.argmax_flips == self.argmax_certified and self.values > 0

    def add(self, other: StageResult, first_row: int) -> None:
        """Take in the result of more rows of the same stage; `first_row` is the place of their first."""
        for name in ("rows", "values", "different", "certified", "argmax_flips", "argmax_certified"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds += other.seconds
        self.tensors = max(self.tensors, other.tensors)
        if self.first is None and other.first is not None:
            self.first = replace(other.first, row=other.first.row + first_row)
        for tensor, (different, certified) in other.per_tensor.items():
            before = self.per_tensor.get(tensor, (0, 0))
            self.per_tensor[tensor] = before[0] + different, before[1] + certified
        room = MAX_CERTIFICATES - len(self.certificates)
        self.certificates += [replace(c, row=c.row + first_row) for c in other.certificates[:room]]

    def to_json(self) -> dict[str, Any]:
        """As in verify.json."""
        keys = (
            "name",
            "against",
            "rows",
            "tensors",
            "values",
            "different",
            "certified",
            "argmax_flips",
            "argmax_certified",
            "seconds",
        )
        plain = {k: getattr(self, k) for k in keys}
        first = asdict(self.first) if self.first else None
        return {**plain, "uncertified": self.uncertified, "ok": self.ok, "first": first}


@dataclass(frozen=True)
class LayerTies:
    """How often the inputs hit an exact rounding tie at one quantiser."""

    tensor: str
    layer: str
    values: int
    ties: int


@dataclass(frozen=True)
class Verification:
    """What `hwq verify` found."""

    model: str
    inputs: Mapping[str, int]
    stages: tuple[StageResult, ...]
    layers: tuple[LayerTies, ...]
    argmax_ties: int
    accuracy: float | None = None

    @property
    def ok(self) -> bool:
        """Whether every stage is."""
        return all(s.ok for s in self.stages)

    def raise_if_failed(self) -> None:
        """Raise `CheckFailed` with the first divergence of the first stage that failed."""
        bad = next((s for s in self.stages if not s.ok), None)
        if bad is None:
            return
        if bad.first is None:
            raise CheckFailed(f"stage '{bad.name}' compared no values")
        f = bad.first
        raise CheckFailed(
            f"stage '{bad.name}' differs from the integers in {bad.uncertified} values; first at layer '{f.layer}', "
            f"tensor '{f.tensor}', row {f.row}, index {f.index}: expected {f.expected}, got {f.got} ({f.why})"
        )

    def to_json(self) -> dict[str, Any]:
        """As in verify.json."""
        layers = [
            {
                **asdict(layer),
                "different": {s.name: s.per_tensor.get(layer.tensor, (0, 0))[0] for s in self.stages},
                "certified": {s.name: s.per_tensor.get(layer.tensor, (0, 0))[1] for s in self.stages},
            }
            for layer in self.layers
        ]
        certificates = [asdict(c) for s in self.stages for c in s.certificates][:MAX_CERTIFICATES]
        return {
            "hwq": __version__,
            "model": self.model,
            "ok": self.ok,
            "inputs": {**self.inputs, "total": sum(self.inputs.values())},
            "stages": [s.to_json() for s in self.stages],
            "layers": layers,
            "ties": {"quantiser_values": sum(t.ties for t in self.layers), "argmax_rows": self.argmax_ties},
            "certificates": [
                {**c, "distance": f"{c['distance']:.3g}", "bound": f"{c['bound']:.3g}"} for c in certificates
            ],
            "accuracy": {"integers": self.accuracy},
        }
