"""The moving average of the weights, and that it is what is scored and kept as best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.ema import Ema
from hwq.train.loop import Run, count_correct, fit, predict
from hwq.train.machine import reproducible
from hwq.train.recipe import Recipe


def test_the_average_follows_its_definition_and_the_networks_own_state_comes_back() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    weight = model.get_parameter("0.weight")
    with torch.no_grad():
        weight.fill_(0.0)
    average = Ema(model, 0.5)
    expected = 0.0
    for value, decay in [(1.0, 0.1), (2.0, 2 / 11), (4.0, 3 / 12)]:
        with torch.no_grad():
            weight.fill_(value)
        average.update(model)
        expected = decay * expected + (1 - decay) * value
    with average.applied(model):
        assert weight[0, 0].item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(weight, torch.full((2, 3), 4.0))


def test_batch_statistics_are_averaged_too() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    average = Ema(model, 0.9)
    mean = model.get_buffer("0.running_mean")
    model(torch.full((4, 2), 10.0))
    average.update(model)
    with average.applied(model):
        assert mean.tolist() == pytest.approx([0.9, 0.9])
    assert mean.tolist() == [1.0, 1.0]


def test_the_averaged_network_is_scored_and_is_the_best_checkpoint(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with reproducible():
        run = Run(tiny_recipe("train.epochs=1", "train.ema=0.95"), tiny, tmp_path)
        fit(run)
        best = checkpoint.load_model(tmp_path / "best.pt")
        scored = count_correct(predict(best, tiny.x_validation), tiny.y_validation) / len(tiny.y_validation)
    assert run.history[0].validation_accuracy == scored
    last = checkpoint.read(tmp_path / "last.pt")[0]
    averaged = best.state_dict()
    assert torch.equal(averaged["layers.1.weight"], last["ema"]["average"]["layers.1.weight"])
    assert not torch.equal(averaged["layers.1.weight"], last["model"]["layers.1.weight"])
