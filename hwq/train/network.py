"""From a recipe to the network that it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.models import build
from hwq.train.ptq.quantize import prepare
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import QuantizeSpec
from hwq.train.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """Another run's weights by name, and how it was quantised (None: float)."""

    path: Path
    weights: dict[str, Tensor]
    quantised: QuantizeSpec | None


_CALIBRATION_ROWS = 1024


def build_network(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    classes: int,
    start: Start | None = None,
    rows: Tensor | None = None,
) -> nn.Module:
    """The untrained network of a recipe: float, or quantised where it has [quantize].

    Draws from torch's global generator, for the float network's weights alone. With a start, the float
    network gets its weights, so that the weights' quantisers begin from those, and the activations' are
    calibrated on some of `rows`, the training inputs; of a run that was quantised in the same way the
    quantisers are taken over as well.

    Raises:
        InputError: The start's weights do not fit; the message names the layer.
    """
    model = build(recipe.model, input_shape, classes)
    if start is not None:
        _take_over(model, start)
    if recipe.quantize is None:
        return model
    if recipe.ptq is not None:
        return prepare(model, recipe.quantize, input_spec=recipe.input)
    if start is None:
        return quantize(model, recipe.quantize, input_spec=recipe.input)
    if start.quantised == recipe.quantize:
        quantised = quantize(model, recipe.quantize, input_spec=recipe.input)
        quantised.load_state_dict(start.weights)
        return quantised
    some = rows[:_CALIBRATION_ROWS] if rows is not None else None
    return quantize(model, recipe.quantize, calibration=some, input_spec=recipe.input)


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
