"""How many weights are zero where it counts: in the integers."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from hwq.train.prune.layers import find_layers, integers


@dataclass(frozen=True)
class Sparsity:
    """Zeros among the weights of a layer, or of a network."""

    zeros: int
    weights: int

    @property
    def share(self) -> float:
        """0 is dense, 1 is empty."""
        return self.zeros / self.weights if self.weights else 0.0

    def to_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {**asdict(self), "share": round(self.share, 6)}


def sparsity(model: nn.Module, example: Tensor | None = None) -> dict[str, Sparsity]:
    """By layer name: zeros among the integers of quantised layers, among the floats of others.

    Args:
        model: The network; a copy of it runs where an example is given.
        example: An input (N, ...), which accumulator-aware layers need.
    """
    used = {} if example is None else _used(model, example)
    found = {}
    for target in find_layers(model):
        values = used[target.name] if target.name in used else integers(target).cpu().numpy()
        found[target.name] = Sparsity(int((values == 0).sum()), values.size)
    return found


def _used(model: nn.Module, example: Tensor) -> dict[str, npt.NDArray[np.int64]]:
    """The integers of a forward pass."""
    from hwq.frontends.brevitas import run_parameters  # it imports the training loop

    parameters = run_parameters(deepcopy(model).cpu().eval(), [example.cpu()])
    return {p.layer: p.integers() for p in parameters if p.kind == "weight"}


def total(layers: dict[str, Sparsity]) -> Sparsity:
    """Of the whole network."""
    return Sparsity(sum(s.zeros for s in layers.values()), sum(s.weights for s in layers.values()))


def sparsity_json(model: nn.Module, example: Tensor) -> dict[str, Any]:
    """The entry "sparsity" of metrics.json."""
    layers = sparsity(model, example)
    return {"total": total(layers).to_json(), "layers": {name: s.to_json() for name, s in layers.items()}}
