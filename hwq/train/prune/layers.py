"""The layers whose weights can become zeros, and those where a zero would not stay one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer as QuantWBIOL
from torch import Tensor, nn

from hwq.errors import InputError

Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d


@dataclass(frozen=True)
class Target:
    """A layer whose weights are pruned."""

    name: str
    layer: Layer

    @property
    def weight(self) -> nn.Parameter:
        """Read from the layer each time: loading a state dict may replace it."""
        weight: nn.Parameter = self.layer.weight  # type: ignore[assignment]
        return weight

    @property
    def quantised(self) -> bool:
        """Whether a Brevitas quantiser works on the weights."""
        return is_quantised(self.layer)


def is_quantised(layer: nn.Module) -> bool:
    """Whether a Brevitas quantiser works on this layer's weights."""
    return isinstance(layer, QuantWBIOL) and bool(layer.weight_quant.is_quant_enabled)


def find_layers(model: nn.Module) -> list[Target]:
    """Every layer with a weight matrix or kernel, a shared weight once, in the model's order."""
    seen: set[int] = set()
    found = []
    for name, module in model.named_modules():
        if isinstance(module, Layer) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            found.append(Target(name, module))
    return found


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a layer's name is, or fits, one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(names: Iterable[str], patterns: Iterable[str], key: str) -> None:
    """Refuse a pattern that fits no layer.

    Raises:
        InputError: Naming the pattern and the layers that there are.
    """
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise InputError(f"{key}: no layer fits '{pattern}'\n  layers: {', '.join(known)}")


def check_zeros_stay(targets: Iterable[Target]) -> None:
    """Refuse layers whose quantiser makes something else of a zero among other weights, by trying it.

    Raises:
        InputError: For binary weights, where a pruned one would become plus or minus the scale, and for
            quantisers that subtract a mean.
    """
    for target in targets:
        if not target.quantised:
            continue
        made = _of_zeros(target)
        if bool((made != 0).any()):
            binary = not needs_input(target.layer) and int(target.layer.weight_quant.bit_width()) == 1  # type: ignore[operator, union-attr]
            raise InputError(_refusal(target.name, float(made.flatten()[0]), binary=binary))


@torch.no_grad()
def _of_zeros(target: Target) -> Tensor:
    """What the quantiser makes of one zero in each output's weights, which are else all of one size."""
    probe = target.weight.abs().max().expand(target.weight.shape).flatten(1).clone()
    probe[:, 0] = 0
    weight = probe.reshape(target.weight.shape)
    of_input = (torch.tensor(8.0), False) if needs_input(target.layer) else ()  # any width will do
    made = target.layer.weight_quant.tensor_quant(weight, *of_input)[0]  # type: ignore[operator, union-attr]
    value: Tensor = made.flatten(1)[:, 0]
    return value


def _refusal(name: str, value: float, *, binary: bool) -> str:
    reason = "binary weights have no zero" if binary else "it shifts all weights of an output"
    cure = "ternary weights" if binary else "another kind of weight quantiser"
    return (
        f"layer '{name}': its weight quantiser makes {value:g} of a pruned weight, because {reason}\n"
        f"  cure: {cure}, channel pruning ([prune.channels]), or list the layer in prune.ignore"
    )


def needs_input(layer: nn.Module) -> bool:
    """Whether the weight quantiser also wants the layer's input, as accumulator-aware ones do."""
    return bool(layer.weight_quant.requires_quant_input)  # type: ignore[union-attr]


@torch.no_grad()
def integers(target: Target) -> Tensor:
    """The weights' integers as the quantiser makes them now; of a float layer, its weights.

    Raises:
        InputError: The quantiser needs the layer's input.
    """
    if not target.quantised:
        return target.weight.detach()
    if needs_input(target.layer):
        raise InputError(
            f"layer '{target.name}': its weight integers depend on its input\n"
            '  cure: another prune.importance than "hardware", or list the layer in prune.ignore'
        )
    whole: Tensor = target.layer.quant_weight().int()  # type: ignore[operator]
    return whole


def as_matrix(target: Target, weight: Tensor) -> Tensor:
    """A weight as (inputs of one product, outputs), as the integer graph has it; groups side by side."""
    if isinstance(target.layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return weight.transpose(0, 1).flatten(1).T
    return weight.flatten(1).T
