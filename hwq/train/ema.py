"""A moving average of the weights, scored and exported in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """The average of every floating-point tensor of a network's state, batch statistics included.

    The decay rises with the count of updates, min(decay, (1 + n) / (10 + n)), so that the first weights,
    which are random, do not stay in it (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.average = {name: tensor.detach().clone() for name, tensor in _state(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the network's present state."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        state = _state(model)
        torch._foreach_lerp_(list(self.average.values()), [state[name] for name in self.average], 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The network with the averaged state inside, with its own after."""
        own = {name: tensor.detach().clone() for name, tensor in _state(model).items()}
        _copy(self.average, model)
        try:
            yield
        finally:
            _copy(own, model)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: all that a resumed run needs."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.updates = state["updates"]
        for name, tensor in self.average.items():
            tensor.copy_(state["average"][name])


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Live tensors, not copies; Brevitas puts new parameters in place of some when a state is loaded."""
    return {name: t for name, t in model.state_dict(keep_vars=True).items() if t.is_floating_point()}


@torch.no_grad()
def _copy(state: dict[str, Tensor], model: nn.Module) -> None:
    for name, tensor in _state(model).items():
        tensor.copy_(state[name])
