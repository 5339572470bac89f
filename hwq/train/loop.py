"""Quantisation-aware training on the CPU: reproducible to the bit, and resumable to the bit.

Everything random is drawn from a generator seeded by (seed, epoch), and the learning rate is a
function of the step number; so the state after an epoch is the weights, the optimiser's moments and
torch's own random state, and `last.pt` holds all of it. One thread, because sums in another order
are other sums.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress, TaskID
from torch import nn
from torch.nn.functional import cross_entropy

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.augment import flip_images
from hwq.train.data import Dataset
from hwq.train.network import build_network
from hwq.train.recipe import DataSpec, Recipe, TrainSpec

_EVAL_BATCH = 512


class Epoch(msgspec.Struct, frozen=True):
    """What one epoch did; loss and train accuracy are means over its own (shifted) training batches."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    validation_loss: float
    learning_rate: float


class Run:
    """The state of one training run: exactly what `last.pt` holds.

    Args:
        recipe: What to train.
        data: The images; their shape and class count fix the network's ends.
        folder: Where `last.pt` and `best.pt` go.
    """

    def __init__(self, recipe: Recipe, data: Dataset, folder: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.folder = recipe, data, folder
        self.model = build_network(recipe, data.input_shape, data.classes)
        self.optimizer = torch.optim.AdamW(_groups(self.model, recipe.train))
        self.history: list[Epoch] = []
        self.seconds = 0.0

    def save(self) -> None:
        """Write `best.pt` where the last epoch is the best, then `last.pt`: so a cut loses nothing."""
        ends = {"input_shape": list(self.data.input_shape), "classes": self.data.classes}
        if self.history and best_epoch(self.history) is self.history[-1]:
            content = {**ends, "epoch": len(self.history), "model": self.model.state_dict()}
            checkpoint.write(self.folder / "best.pt", content, self.recipe)
        content = {
            **ends,
            "epoch": len(self.history),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "history": msgspec.to_builtins(self.history),
            "seconds": self.seconds,
        }
        checkpoint.write(self.folder / "last.pt", content, self.recipe)

    def restore(self, content: dict[str, Any]) -> None:
        """Take over the state of a `last.pt`.

        Brevitas builds new scale parameters while it loads a state dict, so the optimiser of the old
        ones would train nothing: it is made anew before its own state comes in.
        """
        self.model.load_state_dict(content["model"])
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.recipe.train))
        self.optimizer.load_state_dict(content["optimizer"])
        self.history = msgspec.convert(content["history"], list[Epoch])
        self.seconds = content["seconds"]
        torch.set_rng_state(content["rng"])


def fit(
    run: Run, progress: Progress | None = None, on_epoch: Callable[[Epoch], None] = lambda _: None
) -> list[Epoch]:
    """Train from the run's state to the recipe's last epoch; `on_epoch` is called before each checkpoint.

    Raises:
        InputError: The loss is no longer finite.
    """
    total = run.recipe.train.epochs
    task = None
    if progress:
        task = progress.add_task("epoch", total=total, completed=len(run.history), numbers="")
    if not run.history:
        run.save()
    for index in range(len(run.history), total):
        started = time.perf_counter()
        epoch = _train_epoch(run, index)
        run.history.append(epoch)
        run.seconds += time.perf_counter() - started
        on_epoch(epoch)
        run.save()
        _show(progress, task, epoch)
    return run.history


def best_epoch(history: list[Epoch]) -> Epoch:
    """Highest validation accuracy; among equals the lowest validation loss, then the earliest."""
    return min(history, key=lambda e: (-e.validation_accuracy, e.validation_loss, e.epoch))


def predict(model: nn.Module, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Outputs of a model in evaluation mode for images (N, C, H, W)."""
    model.eval()
    with torch.no_grad():
        parts = [model(torch.from_numpy(x[i : i + _EVAL_BATCH])) for i in range(0, len(x), _EVAL_BATCH)]
    return torch.cat(parts).numpy()


def count_correct(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> int:
    """How many rows have their largest logit at the label; ties go to the lowest index."""
    return int((logits.argmax(axis=1) == labels).sum())


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread and deterministic kernels inside; the caller's torch settings and random state after."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=strict)


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """The rate of step 0 ≤ `step` < `steps`: a linear rise, then half a cosine down to zero.

    >>> spec = TrainSpec(epochs=1, learning_rate=0.1, warmup=0.25)
    >>> [round(learning_rate(spec, step, 8), 4) for step in range(8)]
    [0.05, 0.1, 0.1, 0.0933, 0.075, 0.05, 0.025, 0.0067]
    """
    rise = round(spec.warmup * steps)
    if step < rise:
        return spec.learning_rate * (step + 1) / rise
    if spec.schedule == "constant":
        return spec.learning_rate
    return spec.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def shift_images(x: torch.Tensor, pixels: int, generator: torch.Generator) -> torch.Tensor:
    """Move every image (N, C, H, W) by its own −pixels..+pixels in both directions; zeros come in."""
    if pixels == 0:
        return x
    count, channels, height, width = x.shape
    padded = nn.functional.pad(x, (pixels,) * 4)
    offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + offsets[0])[:, None, :, None]
    columns = (torch.arange(width) + offsets[1])[:, None, None, :]
    return padded[
        torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None], rows, columns
    ]


def _groups(model: nn.Module, spec: TrainSpec) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only, not for scales, biases and batch normalisation."""
    named = list(model.named_parameters())
    decayed = [p for name, p in named if name.endswith(".weight") and p.ndim > 1]
    rest = [p for name, p in named if not (name.endswith(".weight") and p.ndim > 1)]
    return [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def _epoch_batches(run: Run, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The epoch's shuffled, shifted batches, without an incomplete last one (batch norm needs several)."""
    generator = torch.Generator().manual_seed(run.recipe.seed * 1_000_003 + index)
    spec: DataSpec = run.recipe.data
    x, y = torch.from_numpy(run.data.x_train), torch.from_numpy(run.data.y_train)
    x = shift_images(x, spec.shift, generator)
    x = flip_images(x, generator) if spec.flip else x
    order = torch.randperm(len(x), generator=generator)
    size = min(run.recipe.train.batch_size, len(x))
    return [(x[part], y[part]) for part in torch.split(order, size) if len(part) == size]


def _train_epoch(run: Run, index: int) -> Epoch:
    spec = run.recipe.train
    batches = _epoch_batches(run, index)
    run.model.train()
    loss_sum, correct, seen, rate = 0.0, 0, 0, 0.0
    for number, (x, y) in enumerate(batches):
        rate = learning_rate(spec, index * len(batches) + number, spec.epochs * len(batches))
        loss, logits = _step(run, x, y, rate)
        loss_sum += loss * len(x)
        correct += int((logits.argmax(dim=1) == y).sum())
        seen += len(x)
    if not math.isfinite(loss_sum):
        raise InputError(
            f"training diverged in epoch {index + 1}: the loss is {loss_sum}\n"
            f"  cure: lower train.learning_rate (now {spec.learning_rate}) or raise train.warmup"
        )
    accuracy, loss_validation = _validate(run)
    return Epoch(index + 1, loss_sum / seen, correct / seen, accuracy, loss_validation, rate)


def _step(run: Run, x: torch.Tensor, y: torch.Tensor, rate: float) -> tuple[float, torch.Tensor]:
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    logits = run.model(x)
    loss = cross_entropy(logits, y, label_smoothing=run.recipe.train.label_smoothing)
    torch.autograd.backward(loss)
    run.optimizer.step()
    return float(loss.detach()), logits.detach()


def _validate(run: Run) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the validation part."""
    logits, labels = predict(run.model, run.data.x_validation), run.data.y_validation
    loss = float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))
    return count_correct(logits, labels) / len(labels), loss


def _show(progress: Progress | None, task: TaskID | None, epoch: Epoch) -> None:
    if progress is not None and task is not None:
        numbers = f"train {epoch.train_accuracy:.1%}  validation {epoch.validation_accuracy:.1%}"
        progress.update(task, advance=1, numbers=f"loss {epoch.loss:.3f}  {numbers}")
