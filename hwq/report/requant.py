"""Which exactly equal form each requantisation took, and how large its proof is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hwq.report.schema import Layer, Lower


@dataclass(frozen=True)
class Requantisation:
    """All layers that requantise.

    Attributes:
        kinds: Forms without their sizes, with how often each was chosen, the commonest first.
        checks: Boundaries at which equality was checked.
        ties: Thresholds at which an exact tie is reachable.
    """

    layers: tuple[Layer, ...]
    kinds: tuple[tuple[str, int], ...]
    checks: int
    ties: int


def summarise(lower: Lower) -> Requantisation | None:
    """None when no layer requantises."""
    layers = tuple(layer for layer in lower.layers if layer.form is not None and layer.op != "add")
    if not layers:
        return None
    kinds = Counter((layer.form or "").split(",")[0] for layer in layers)
    return Requantisation(
        layers=layers,
        kinds=tuple(kinds.most_common()),
        checks=sum(layer.proof_checks or 0 for layer in layers),
        ties=sum(layer.ties or 0 for layer in layers),
    )
