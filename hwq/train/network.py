"""From a recipe to the network that it trains."""

from __future__ import annotations

from torch import nn

from hwq.train.models import build
from hwq.train.quantize import quantize
from hwq.train.recipe import Recipe


def build_network(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The untrained network of a recipe: float, or quantised where it has [quantize].

    Draws from torch's global generator, for the float network's weights alone.
    """
    model = build(recipe.model, input_shape, classes)
    if recipe.quantize is None:
        return model
    return quantize(model, recipe.quantize, input_spec=recipe.input)
