"""What acts on a training run besides the optimiser: pruning, distillation, estimators that look at curvature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Moment:
    """Where training stands.

    Attributes:
        step: Optimiser steps done before this one, over all epochs.
        steps: Of the whole run.
        epoch: From 0.
        epochs: Of the whole run.
    """

    step: int
    steps: int
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Batch:
    """One batch, and what the network made of it; logits are (N, classes)."""

    x: Tensor
    y: Tensor
    logits: Tensor


class Technique(Protocol):
    """Made from the network before the optimiser is; the run calls it in this order, and keeps its state."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What it trains besides the network's own."""
        ...

    def loss(self, loss: Tensor, batch: Batch, moment: Moment) -> Tensor:
        """The loss to descend; given the task's, or what the technique before made of it."""
        ...

    def before_step(self, moment: Moment) -> None:
        """Gradients are there, and the optimiser has not moved yet."""
        ...

    def after_step(self, moment: Moment) -> None:
        """The optimiser has moved."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: all that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        ...


Techniques = Sequence[Technique]
