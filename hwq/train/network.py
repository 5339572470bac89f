"""From a recipe to the network that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.data import Dataset
from hwq.train.models import build
from hwq.train.prune.channels import narrow, plan_of_state, prune_channels
from hwq.train.ptq.quantize import prepare
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import QuantizeSpec
from hwq.train.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """Another run's weights by name, how it was quantised (None: float), and whether its channels were pruned."""

    path: Path
    weights: dict[str, Tensor]
    quantised: QuantizeSpec | None
    narrowed: bool = False


_CALIBRATION_ROWS = 1024


def build_network(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    classes: int,
    start: Start | None = None,
    data: Dataset | None = None,
    *,
    trained: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """The untrained network of a recipe: float, or quantised where it has [quantize].

    Draws from torch's global generator, for the float network's weights alone. With a start, the float
    network gets its weights, so that the weights' quantisers begin from those, and the activations' are
    calibrated on some of the training inputs; of a run that was quantised in the same way the quantisers
    are taken over as well.

    Where channels are pruned, it is the float network with the start's weights that is pruned, by `data`;
    or the widths are those of `trained`, the state of a network that this recipe has made before.

    Raises:
        InputError: The start's weights do not fit; the message names the layer.
    """
    model = build(recipe.model, input_shape, classes)
    fewer = recipe.prune is not None and recipe.prune.channels is not None
    if fewer and trained is not None:
        narrow(model, plan_of_state(model, trained))
    if start is not None:
        if start.narrowed:
            narrow(model, plan_of_state(model, start.weights))
        _take_over(model, start)
    if fewer and trained is None:
        model = _with_fewer_channels(model, recipe, start, data)
    if recipe.quantize is None:
        return model
    if recipe.ptq is not None:
        return prepare(model, recipe.quantize, input_spec=recipe.input)
    if start is None:
        return quantize(model, recipe.quantize, input_spec=recipe.input)
    if start.quantised == recipe.quantize and not fewer:
        quantised = quantize(model, recipe.quantize, input_spec=recipe.input)
        quantised.load_state_dict(start.weights)
        return quantised
    some = None if data is None else torch.from_numpy(data.x_train[:_CALIBRATION_ROWS])
    return quantize(model, recipe.quantize, calibration=some, input_spec=recipe.input)


def _with_fewer_channels(
    model: nn.Module, recipe: Recipe, start: Start | None, data: Dataset | None
) -> nn.Module:
    if start is None or data is None or recipe.prune is None or recipe.prune.channels is None:
        raise InputError(
            "key 'prune.channels': the weights of a network that was not trained do not say which channels matter\n"
            "  cure: train the same recipe with quantize=none and prune=none, and give its checkpoint as train.init"
        )
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    return prune_channels(model, x[:1], recipe.prune.channels, (x, y))[0]


def _take_over(model: nn.Module, start: Start) -> None:
    state: dict[str, Any] = model.state_dict()
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        given = start.weights.get(name)
        if given is None:
            known = ", ".join(
                sorted({key.rpartition(".")[0] for key in start.weights if ".tensor_quant." not in key})
            )
            raise InputError(
                f"key 'train.init': {start.path} has no '{parameter}' for layer '{layer}'\n"
                f"  its layers: {known}\n  cure: a checkpoint of the same [model]"
            )
        if given.shape != tensor.shape:
            raise InputError(
                f"key 'train.init': layer '{layer}': '{parameter}' is {tuple(tensor.shape)} here, "
                f"{tuple(given.shape)} in {start.path}\n  cure: a checkpoint of the same [model] and data"
            )
    model.load_state_dict({name: start.weights[name] for name in state})
