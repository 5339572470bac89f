"""The techniques that a recipe's sections ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from hwq.train.distill import from_recipe
from hwq.train.prune.pruner import Pruner
from hwq.train.quantiser_schedule import schedules
from hwq.train.recipe import Recipe
from hwq.train.technique import Technique


def techniques(recipe: Recipe, input_shape: tuple[int, ...]) -> Callable[[nn.Module], Sequence[Technique]]:
    """What makes them from the network, once it stands on its device with the weights that it starts from."""

    def make(model: nn.Module) -> list[Technique]:
        device = next(model.parameters()).device
        example = torch.zeros(2, *input_shape, device=device)
        made: list[Technique] = []
        if (teaching := from_recipe(recipe, model, example)) is not None:
            made.append(teaching)  # first: it weighs the task's loss, which the others only add to
        made += schedules(model, recipe.quantize, recipe.seed)
        if recipe.prune is not None:
            made.append(Pruner(model, recipe.prune, example=example))
        return made

    return make
