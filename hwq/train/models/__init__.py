"""From a recipe's model section to a torch module."""

from __future__ import annotations

from torch import nn

from hwq.errors import InputError
from hwq.train.models.convnet import ConvNet
from hwq.train.models.mlp import Mlp
from hwq.train.recipe import ConvNetSpec, Recipe


def build(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The untrained network of a recipe, for inputs of this shape; draws from torch's global generator."""
    if isinstance(recipe.model, ConvNetSpec):
        if len(input_shape) != 3:
            raise InputError(
                f"key 'model.kind': a convnet needs inputs (C, H, W), the data's are {input_shape}"
            )
        return ConvNet(recipe.model, recipe.input, input_shape, classes)
    return Mlp(recipe.model, recipe.input, input_shape, classes)
