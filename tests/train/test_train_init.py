"""`train.init`: a run that begins from another run's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.loop import Run, fit
from hwq.train.machine import reproducible
from hwq.train.recipe import Recipe

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def trained_tiny(tiny: Dataset, tiny_recipe: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a trained w2a2 network."""
    folder = tmp_path_factory.mktemp("first")
    with reproducible():
        fit(Run(tiny_recipe(), tiny, folder))
    return folder / "last.pt"


def test_the_same_network_starts_where_the_other_run_ended(
    tiny: Dataset, tiny_recipe: Make, trained_tiny: Path, tmp_path: Path
) -> None:
    run = Run(tiny_recipe(f"train.init={trained_tiny}"), tiny, tmp_path)
    before = checkpoint.read(trained_tiny)[0]["model"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())
    assert run.history == []


def test_other_bits_take_the_weights_and_fit_their_own_clips_to_weights_and_data(
    tiny: Dataset, tiny_recipe: Make, trained_tiny: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(f"train.init={trained_tiny}", "quantize.weights=4", "quantize.calibration=minmax")
    before, now = checkpoint.read(trained_tiny)[0]["model"], Run(recipe, tiny, tmp_path).model.state_dict()
    untrained = Run(tiny_recipe("quantize.weights=4"), tiny, tmp_path).model.state_dict()
    for name in ("layers.1.weight", "layers.2.running_mean", "classifier.weight"):
        assert torch.equal(now[name], before[name])
    clips = [name for name in now if name.endswith(".clip.value") and not name.startswith("input_quant")]
    assert len(clips) == 5
    for name in clips:
        assert now[name] not in (before[name], untrained[name])


def test_another_shape_is_refused_by_layer(
    tiny: Dataset, tiny_recipe: Make, trained_tiny: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(f"train.init={trained_tiny}", "model.widths=[8, 9]")
    with pytest.raises(InputError) as error:
        Run(recipe, tiny, tmp_path)
    assert "key 'train.init': layer 'layers.4': 'weight' is (9, 8) here, (8, 8) in " in str(error.value)


def test_a_network_with_more_layers_is_refused_by_layer(
    tiny: Dataset, tiny_recipe: Make, trained_tiny: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(f"train.init={trained_tiny}", "model.widths=[8, 8, 8]")
    with pytest.raises(InputError, match=r"has no 'weight' for layer 'layers.7'\n  its layers: classifier, "):
        Run(recipe, tiny, tmp_path)


def test_a_resumed_run_does_not_need_the_start_any_more(
    tiny: Dataset, tiny_recipe: Make, trained_tiny: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start.pt"
    start.write_bytes(trained_tiny.read_bytes())
    recipe = tiny_recipe(f"train.init={start}", "train.epochs=1")
    with reproducible():
        fit(Run(recipe, tiny, tmp_path))
    start.unlink()
    Run(recipe, tiny, tmp_path, saved=checkpoint.read(tmp_path / "last.pt")[0])
    with pytest.raises(InputError, match=r"start\.pt does not exist"):
        Run(recipe, tiny, tmp_path)
