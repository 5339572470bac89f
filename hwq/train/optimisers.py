"""Optimisers by name, with the quantisers' parameters in a group of their own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from hwq.errors import ToolMissing
from hwq.train.train_spec import TrainSpec

_QUANTISER = ".tensor_quant."  # where Brevitas keeps what a quantiser learns: scale, clip, bit width


def make_optimiser(
    spec: TrainSpec, model: nn.Module, more: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's parameters and, as weights without decay, `more`.

    Raises:
        ToolMissing: adamw8bit without bitsandbytes.
    """
    groups = parameter_groups(spec, model, more)
    if spec.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov, foreach=True
        )
    if spec.optimiser == "adamw8bit":
        return _adamw_8bit(groups, spec.learning_rate)
    kind = torch.optim.AdamW if spec.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=spec.learning_rate, fused=True)


def parameter_groups(
    spec: TrainSpec, model: nn.Module, more: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Groups of parameters, each with its weight decay and `factor`, which multiplies the schedule's rate.

    Matrices and kernels decay; biases, batch normalisation and the quantisers do not.
    """
    decayed, plain, quantisers = [], list(more), []
    for name, parameter in model.named_parameters():
        if is_quantiser(name):
            quantisers.append(parameter)
        elif name.endswith("weight") and parameter.ndim > 1:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    groups = [(decayed, spec.weight_decay, 1.0), (plain, 0.0, 1.0), (quantisers, 0.0, spec.quantiser_rate)]
    return [
        {"params": list(params), "weight_decay": decay, "factor": factor}
        for params, decay, factor in groups
        if params
    ]


def is_quantiser(name: str) -> bool:
    """Whether a parameter of this name belongs to a quantiser: a scale, a clip, a bit width.

    >>> is_quantiser("layers.2.weight_quant.tensor_quant.scaling_impl.value"), is_quantiser("layers.2.weight")
    (True, False)
    """
    return _QUANTISER in name


def set_rate(optimiser: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """The next step's learning rate, times each group's factor, and momentum (None leaves it)."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
        if momentum is not None:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum


def _adamw_8bit(groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    """AdamW whose moments are 8-bit codes in blocks (Dettmers et al. 2022), from bitsandbytes.

    Tensors below 4096 values keep float32 moments: bitsandbytes's own limit.
    """
    if find_spec("bitsandbytes") is None:
        raise ToolMissing(
            "train.optimiser = 'adamw8bit' needs bitsandbytes, not installed here: pip install 'hwq[8bit]'"
        )
    from bitsandbytes.optim import AdamW8bit  # takes a second, and prints

    made: torch.optim.Optimizer = AdamW8bit(groups, lr=rate)
    return made
