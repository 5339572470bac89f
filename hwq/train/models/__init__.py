"""From a recipe's model section to a torch module."""

from __future__ import annotations

from torch import nn

from hwq.train.models.convnet import ConvNet
from hwq.train.models.mlp import Mlp
from hwq.train.recipe import ConvNetSpec, Recipe


def build(recipe: Recipe, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The untrained network of a recipe, for images (C, H, W); draws from torch's global generator."""
    if isinstance(recipe.model, ConvNetSpec):
        return ConvNet(recipe.model, recipe.input, input_shape, classes)
    return Mlp(recipe.model, recipe.input, input_shape, classes)
