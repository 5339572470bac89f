"""Post-training quantisation as a stage of a run: after the float network, before the export."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import torch
from torch import nn

from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.data.dataset import Inputs, Labels
from hwq.train.loop import count_correct, predict
from hwq.train.network import build_network
from hwq.train.ptq.quantize import post_train_quantize
from hwq.train.recipe import Recipe


def trained_recipe(recipe: Recipe) -> Recipe:
    """What is trained: where there is [ptq], the float network."""
    return recipe if recipe.ptq is None else msgspec.structs.replace(recipe, quantize=None, ptq=None)


def check(recipe: Recipe, data: Dataset) -> None:
    """Refuse before hours of training what could not be quantised after them.

    Raises:
        InputError: A layer that [ptq] cannot quantise.
    """
    if recipe.ptq is not None:
        with torch.random.fork_rng(devices=[]):
            whole = msgspec.structs.replace(recipe, prune=None)  # its channels are chosen when it is trained
            build_network(whole, data.input_shape, data.classes)


def post_train(recipe: Recipe, data: Dataset, float_path: Path, path: Path) -> dict[str, float]:
    """Quantise the network of one checkpoint into another; accuracies before and after, and the seconds it took.

    Calibration reads training inputs, and no labels.
    """
    if recipe.ptq is None or recipe.quantize is None:
        raise ValueError("the recipe has no post-training quantisation")
    started = time.perf_counter()
    before = checkpoint.load_model(float_path)
    found = post_train_quantize(
        before,
        torch.from_numpy(data.x_train),
        recipe.quantize,
        recipe.ptq,
        input_spec=recipe.input,
        seed=recipe.seed,
    )
    ends = {"input_shape": list(data.input_shape), "classes": data.classes}
    checkpoint.write(path, {**ends, "model": found.state_dict()}, recipe)
    seconds = time.perf_counter() - started
    valid = (data.x_validation, data.y_validation)
    return {
        "validation_accuracy": _accuracy(found, *valid),
        "float_validation_accuracy": _accuracy(before, *valid),
        "float_test_accuracy": _accuracy(before, data.x_test, data.y_test),
        "seconds": round(seconds, 3),
    }


def _accuracy(model: nn.Module, x: Inputs, y: Labels) -> float:
    return count_correct(predict(model, x), y) / len(y)
