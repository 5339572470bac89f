"""The training loop: reproducible and resumable to the bit, and honest about what is best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from torch import nn

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.augment import draw_shifts, shift_images
from hwq.train.data import Dataset, load
from hwq.train.loop import (
    Epoch,
    Run,
    best_epoch,
    count_correct,
    fit,
)
from hwq.train.machine import reproducible
from hwq.train.recipe import Recipe, load_recipe
from hwq.train.technique import Batch, Moment, Technique


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("digits")


def train(
    recipe: Recipe,
    data: Dataset,
    folder: Path,
    stop_at: int | None = None,
    technique: Callable[[nn.Module], Technique] | None = None,
) -> dict[str, torch.Tensor]:
    """Weights after training, or after an interruption at the end of epoch `stop_at`, before it is saved."""

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == stop_at:
            raise KeyboardInterrupt

    with reproducible(recipe.train.threads):
        last = folder / "last.pt"
        run = Run(
            recipe,
            data,
            folder,
            saved=checkpoint.read(last)[0] if last.is_file() else None,
            techniques=lambda model: [technique(model)] if technique else [],
        )
        fit(run, on_epoch=interrupt)
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["digits-w2a2", "digits-w1a1", "digits-mlp-w2a2"])
@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interrupted_run_resumes_to_the_same_bits(
    data: Dataset, tmp_path: Path, name: str, stop_at: int
) -> None:
    recipe = load_recipe(name, ["train.epochs=3", "model.widths=[6, 8]"])
    whole = train(recipe, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "cut", stop_at)
    assert len(checkpoint.read(tmp_path / "cut" / "last.pt")[0]["history"]) == stop_at - 1
    assert same(train(recipe, data, tmp_path / "cut"), whole)
    best = [checkpoint.read(tmp_path / folder / "best.pt")[0] for folder in ("whole", "cut")]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert same(best[0]["model"], best[1]["model"])


class Shaking:
    """A technique with a parameter, a random state and a memory of its own, all of which must be resumed."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.factor = nn.Parameter(torch.ones(()))
        self.random = torch.Generator().manual_seed(7)
        self.calls: list[str] = []

    def parameters(self) -> list[nn.Parameter]:
        return [self.factor]

    def loss(self, loss: torch.Tensor, batch: Batch, moment: Moment) -> torch.Tensor:
        self.calls.append(f"loss {moment.step} of {moment.steps}, {moment.epoch} of {moment.epochs}")
        noise = torch.rand((), generator=self.random)
        return loss * self.factor.abs() + noise * batch.logits.square().mean()

    def before_step(self, _: Moment) -> None:
        assert self.factor.grad is not None
        self.calls.append("before")

    def after_step(self, _: Moment) -> None:
        self.calls.append("after")
        with torch.no_grad():
            self.model.get_parameter("classifier.weight")[0, 0] = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor.detach(), "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor.data.copy_(state["factor"])
        self.random.set_state(state["random"])


VARIANTS: dict[str, tuple[str, ...]] = {
    "adamw": ("train.weight_decay=0.01", "train.ema=0.9", "train.schedule=one-cycle"),
    "adam": ("train.weight_decay=0.01", "train.clip_gradient=0.1", "train.quantiser_rate=0.1"),
    "sgd": ("train.optimiser=sgd", "train.nesterov=true", "train.schedule=one-cycle"),
    "adamw8bit": ("model.widths=[64, 128]", "train.ema=0.9"),
    "bfloat16": ("train.precision=bfloat16",),
    "threads": ("train.threads=2", "model.widths=[256]"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_optimiser_schedule_average_and_technique_resumes_to_the_same_bits(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes, of the extra hwq[8bit], is not installed")
    kind = () if name in ("bfloat16", "threads", "sgd") else (f"train.optimiser={name}",)
    recipe = tiny_recipe(*kind, *VARIANTS[name])
    whole = train(recipe, tiny, tmp_path / "whole", technique=Shaking)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tiny, tmp_path / "cut", 3, technique=Shaking)
    assert same(train(recipe, tiny, tmp_path / "cut", technique=Shaking), whole)
    contents = [checkpoint.read(tmp_path / folder / "last.pt")[0] for folder in ("whole", "cut")]
    for content in contents:
        del content["seconds"]
    assert equal(*contents)
    plain = train(tiny_recipe(), tiny, tmp_path / "plain", technique=Shaking)
    assert not same(plain, whole)


def test_a_technique_is_called_around_every_step_and_its_parameters_are_trained(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with reproducible():
        run = Run(tiny_recipe("train.epochs=2"), tiny, tmp_path, techniques=lambda model: [Shaking(model)])
        fit(run)
    (technique,) = run.techniques
    assert isinstance(technique, Shaking)
    assert technique.calls[:3] == ["loss 0 of 12, 0 of 2", "before", "after"]
    assert technique.calls[-3:] == ["loss 11 of 12, 1 of 2", "before", "after"]
    assert len(technique.calls) == 3 * 12
    assert technique.factor.item() != 1.0
    assert run.model.get_parameter("classifier.weight")[0, 0] == 0


def test_a_run_on_another_machine_is_not_resumed(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train(tiny_recipe("train.epochs=1"), tiny, tmp_path)
    saved = checkpoint.read(tmp_path / "last.pt")[0]
    saved["machine"]["replicas"] = 2
    with pytest.raises(
        InputError, match=r"would not be the uninterrupted one\n  replicas: 2 before, 1 now\n"
    ):
        Run(tiny_recipe("train.epochs=1"), tiny, tmp_path, saved=saved)


def equal(a: Any, b: Any) -> bool:
    """Nested tables, lists and tensors, to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def test_another_seed_gives_other_weights(fast: tuple[str, ...], data: Dataset, tmp_path: Path) -> None:
    runs = [
        train(load_recipe("digits-w2a2", [*fast, f"seed={seed}"]), data, tmp_path / str(seed))
        for seed in (0, 1)
    ]
    assert not same(*runs)


def test_the_callers_torch_settings_come_back(fast: tuple[str, ...], data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    threads = torch.get_num_threads()
    train(load_recipe("digits-w2a2", [*fast, "train.epochs=1"]), data, tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_learns(data: Dataset, tmp_path: Path) -> None:
    recipe = load_recipe("digits-w2a2", ["train.epochs=4"])
    with reproducible():
        history = fit(Run(recipe, data, tmp_path))
    assert history[-1].loss < history[0].loss
    assert history[-1].validation_accuracy > 0.6


def test_a_loss_that_is_not_finite_stops_the_run_with_a_cure(
    fast: tuple[str, ...], data: Dataset, tmp_path: Path
) -> None:
    with reproducible():
        run = Run(load_recipe("digits-w2a2", fast), data, tmp_path)
        classifier = run.model.get_submodule("classifier")
        assert isinstance(classifier, QuantLinear)
        classifier.weight.data.fill_(float("nan"))
        with pytest.raises(
            InputError,
            match=r"diverged in epoch 1, step 1: the loss is nan\n"
            r"  layer 'classifier' \(QuantLinear\): its parameter 'weight' is not finite\n"
            r"  cure: lower train.learning_rate",
        ):
            fit(run)


def test_the_best_epoch_is_by_accuracy_then_loss_then_age() -> None:
    def epoch(number: int, accuracy: float, loss: float) -> Epoch:
        return Epoch(number, 0.0, 0.0, accuracy, loss, 0.0)

    history = [epoch(1, 0.8, 0.1), epoch(2, 0.9, 0.5), epoch(3, 0.9, 0.4), epoch(4, 0.9, 0.4)]
    assert best_epoch(history).epoch == 3


def test_ties_of_logits_go_to_the_lowest_index() -> None:
    logits = np.array([[1, 3, 3], [2, 2, 2], [0, 0, 1]], dtype=np.float32)
    assert count_correct(logits, np.array([1, 0, 2])) == 3
    assert count_correct(logits, np.array([2, 1, 2])) == 1


def test_shifts_move_whole_images_by_at_most_the_given_pixels() -> None:
    x = torch.zeros(200, 2, 5, 5)
    x[:, 0, 2, 2], x[:, 1, 2, 2] = 1.0, 2.0
    moved = shift_images(x, draw_shifts(200, 1, torch.Generator().manual_seed(0)), 1)
    rows, columns = torch.nonzero(moved[:, 0] == 1, as_tuple=True)[1:]
    assert len(rows) == 200
    assert torch.equal(moved[:, 1], 2 * moved[:, 0])
    assert {(int(r), int(c)) for r, c in zip(rows, columns, strict=True)} == {
        (r, c) for r in (1, 2, 3) for c in (1, 2, 3)
    }
    assert torch.equal(shift_images(x, draw_shifts(200, 0, torch.Generator()), 0), x)


def test_shifted_in_pixels_are_zero() -> None:
    offsets = draw_shifts(100, 1, torch.Generator().manual_seed(0))
    moved = shift_images(torch.ones(100, 1, 3, 3), offsets, 1)
    assert set(moved.sum(dim=(1, 2, 3)).tolist()) == {4.0, 6.0, 9.0}


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt cannot be read as a checkpoint"):
        checkpoint.read(path)


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt is not a checkpoint written by hwq train"):
        checkpoint.read(tmp_path / "other.pt")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"format": Path}, tmp_path / "code.pt")
    with pytest.raises(InputError, match=r"code\.pt cannot be read as a checkpoint"):
        checkpoint.read(tmp_path / "code.pt")
