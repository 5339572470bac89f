"""The recipe's section [prune]: what a run of it keeps, reports and goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import hwq
from hwq.errors import InputError
from hwq.frontends.brevitas import load_model
from hwq.ops import macs
from hwq.train import TrainResult
from hwq.train.data.dataset import Dataset
from hwq.train.job import run_job
from hwq.train.loop import Epoch, Run, best_epoch, fit
from hwq.train.prune import sparsity
from hwq.train.prune.zeros import total
from hwq.train.recipe import Recipe, load_recipe
from hwq.train.techniques import techniques

FAST = ("train.epochs=4", "model.widths=[12, 8]", "train.learning_rate=0.02", "quantize.weights=4")
SPARSE = ("prune.sparsity=0.8", "prune.every=5", "prune.start=0.1", "prune.end=0.5")


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    out = tmp_path_factory.mktemp("sparse") / "run"
    return run_job("digits-mlp-w2a2", out, overrides=[*FAST, *SPARSE], quiet=True)


def test_the_exported_network_has_the_zeros_and_metrics_say_how_many(sparse: TrainResult) -> None:
    entry = json.loads(sparse.metrics.read_text())["sparsity"]
    graph = hwq.load(str(sparse.model))
    weights = [node.params.weight for node in graph.nodes if node.op == "dense"]
    assert [layer["zeros"] for layer in entry["layers"].values()] == [int((w == 0).sum()) for w in weights]
    assert entry["total"]["share"] >= 0.8
    assert entry["total"]["zeros"] == sum(int((w == 0).sum()) for w in weights)


def test_an_epoch_before_the_last_mask_is_never_the_best(sparse: TrainResult) -> None:
    assert sparse.best_epoch >= 2
    dense = Epoch(1, 0.1, 0.9, 0.99, 0.1, 0.1, settled=False)
    final = Epoch(2, 0.2, 0.8, 0.80, 0.2, 0.1)
    assert best_epoch([dense]) is dense
    assert best_epoch([dense, final]) is final
    assert best_epoch([dense, final, Epoch(3, 0.2, 0.8, 0.85, 0.2, 0.1)]).epoch == 3


def test_resuming_gives_the_same_file(sparse: TrainResult, tmp_path: Path) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    overrides = [*FAST, *SPARSE]
    with pytest.raises(KeyboardInterrupt):
        run_job("digits-mlp-w2a2", tmp_path / "run", overrides=overrides, quiet=True, on_epoch=interrupt)
    resumed = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=overrides, quiet=True, resume=True)
    assert sparse.model is not None
    assert resumed.model is not None
    assert resumed.model.read_bytes() == sparse.model.read_bytes()


@pytest.fixture
def trains(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> Callable[..., tuple[Run, list[Epoch]]]:
    def train(*overrides: str) -> tuple[Run, list[Epoch]]:
        recipe = tiny_recipe("quantize.weights=3", "prune.every=2", *overrides)
        run = Run(recipe, tiny, tmp_path, techniques=techniques(recipe, tiny.input_shape))
        return run, fit(run)

    return train


@pytest.mark.parametrize(
    "method",
    [
        "prune.method=rigl",
        "prune.importance=movement",
        "prune.importance=taylor",
        "prune.importance=hardware",
    ],
)
def test_every_kind_of_pruning_ends_at_its_target(
    trains: Callable[..., tuple[Run, list[Epoch]]], tmp_path: Path, method: str
) -> None:
    trains("prune.sparsity=0.75", method)
    assert total(sparsity(load_model(tmp_path / "best.pt"))).share >= 0.75


def test_averaged_weights_are_pruned_too(
    trains: Callable[..., tuple[Run, list[Epoch]]], tmp_path: Path
) -> None:
    trains("prune.sparsity=0.75", "train.ema=0.99")
    model = load_model(tmp_path / "best.pt")
    weights = [p for name, p in model.named_parameters() if name.endswith(".weight") and p.ndim > 1]
    assert sum(int((w == 0).sum()) for w in weights) >= 0.75 * sum(w.numel() for w in weights)


def test_every_round_of_the_lottery_has_its_own_schedule_and_optimiser(
    trains: Callable[..., tuple[Run, list[Epoch]]],
) -> None:
    run, history = trains(
        "prune.sparsity=0.75", "prune.method=lottery", "prune.rounds=2", "train.epochs=6", "prune.start=0.2"
    )
    rates = [epoch.learning_rate for epoch in history]
    assert rates[:2] == rates[2:4] == rates[4:]
    assert [epoch.settled for epoch in history] == [False] * 4 + [True] * 2
    steps = {int(state["step"]) for state in run.optimiser.state_dict()["state"].values()}
    assert steps == {2 * run.rows.count}
    assert best_epoch(history).epoch >= 5


def test_epochs_that_the_rounds_do_not_divide_are_refused() -> None:
    overrides = ["prune.sparsity=0.5", "prune.method=lottery", "train.epochs=10"]
    with pytest.raises(
        InputError, match=r"train.epochs \(10\) must be a multiple of prune.rounds \+ 1 \(4\)"
    ):
        load_recipe("digits-w2a2", overrides)


def test_unknown_keys_of_the_section_name_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown key 'prune.sparsty'; did you mean 'prune.sparsity'"):
        load_recipe("digits-w2a2", ["prune.sparsty=0.5"])
    with pytest.raises(
        InputError, match=r"unknown key 'prune.channels.mac'; did you mean 'prune.channels.macs'"
    ):
        load_recipe("digits-w2a2", ["prune.channels.mac=0.5"])


# --- channels -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A float network to start from."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return run_job("digits-mlp-w2a2", out, overrides=[*FAST[:3], "quantize=none"], quiet=True)


def channel_overrides(whole: TrainResult) -> list[str]:
    return [*FAST, f"train.init={whole.checkpoint}", "prune.channels.macs=0.5", "train.epochs=2"]


def test_a_run_prunes_channels_of_the_start_and_is_rebuilt_from_its_checkpoint(
    whole: TrainResult, tmp_path: Path
) -> None:
    result = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=channel_overrides(whole), quiet=True)
    entry = json.loads(result.metrics.read_text())["macs"]
    graph = hwq.load(str(result.model))
    assert entry["kept"] == sum(macs(graph, node) for node in graph.nodes if node.op == "dense")
    assert entry["whole"] == 64 * 12 + 12 * 8 + 8 * 10
    assert 0.3 * entry["whole"] < entry["kept"] <= 0.5 * entry["whole"]
    x = torch.rand(2, 1, 8, 8)
    assert load_model(result.checkpoint)(x).shape == (2, 10)
    hwq.verify(graph, stages=["torch", "qonnx", "numpy"], checkpoint=result.checkpoint).raise_if_failed()
    again = run_job(
        "digits-mlp-w2a2",
        tmp_path / "next",
        overrides=[*channel_overrides(whole)[:-1], f"train.init={result.checkpoint}", "train.epochs=1"],
        quiet=True,
    )
    assert json.loads(again.metrics.read_text())["macs"]["kept"] <= 0.5 * entry["kept"]


def test_resuming_needs_no_start_and_gives_the_same_file(whole: TrainResult, tmp_path: Path) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    overrides = channel_overrides(whole)
    straight = run_job("digits-mlp-w2a2", tmp_path / "a", overrides=overrides, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        run_job("digits-mlp-w2a2", tmp_path / "b", overrides=overrides, quiet=True, on_epoch=interrupt)
    resumed = run_job("digits-mlp-w2a2", tmp_path / "b", overrides=overrides, quiet=True, resume=True)
    assert straight.model is not None
    assert resumed.model is not None
    assert resumed.model.read_bytes() == straight.model.read_bytes()


def test_folded_batch_normalisation_is_rebuilt_as_wide_as_its_layer(
    whole: TrainResult, tmp_path: Path
) -> None:
    overrides = [*channel_overrides(whole), "quantize.batch_norm=fold", "train.epochs=1"]
    result = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=overrides, quiet=True)
    assert load_model(result.checkpoint)(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_channels_of_an_untrained_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"key 'prune.channels': .* not trained .*\n  cure: .*train.init"):
        run_job("digits-mlp-w2a2", tmp_path / "run", overrides=[*FAST, "prune.channels.macs=0.5"], quiet=True)
