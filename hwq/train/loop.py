"""Training, reproducible to the bit and resumable to the bit.

Everything random in an epoch is drawn from generators seeded by (seed, epoch), and the rate is a
function of the step number; so the state after an epoch is the weights, their average, the optimiser's
moments and what the techniques keep, and `last.pt` holds all of it. The count of threads is part of
the recipe, because sums in another order are other sums.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from hwq.train.batches import epoch_seed, training_rows
from hwq.train.data import Dataset
from hwq.train.diagnose import find_not_finite
from hwq.train.distributed import Replicas, check_batch, share_batch_norm
from hwq.train.ema import Ema
from hwq.train.machine import autocast, choose_device, jit_enabled
from hwq.train.network import build_network
from hwq.train.optimisers import make_optimiser, set_rate
from hwq.train.prune.pruner import Pruner
from hwq.train.recipe import Recipe
from hwq.train.schedules import learning_rate, momentum
from hwq.train.technique import Batch, Moment, Technique

_EVAL_BATCH = 512
ALONE = Replicas()


class Epoch(msgspec.Struct, frozen=True):
    """What one epoch did; loss and train accuracy are means over its own (shifted) training batches.

    Attributes:
        settled: Whether it ended with all weights pruned that should be; others are not results of the run.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    validation_loss: float
    learning_rate: float
    settled: bool = True


class Run:
    """The state of one training run: exactly what `last.pt` holds.

    Args:
        recipe: What to train.
        data: The images; their shape and class count fix the network's ends.
        folder: Where `last.pt` and `best.pt` go.
        saved: Content of a `last.pt` to go on from.
        techniques: Makes what acts on the run, from the network.
        replicas: The processes that train together.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        folder: Path,
        *,
        saved: dict[str, Any] | None = None,
        techniques: Callable[[nn.Module], Sequence[Technique]] = lambda _: (),
        replicas: Replicas = ALONE,
    ) -> None:
        spec = recipe.train
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.folder, self.replicas = recipe, data, folder, replicas
        self.device = choose_device(spec, replicas.local_rank)
        check_batch(spec.batch_size, len(data.x_train), replicas.count)
        start = None if saved is not None or not spec.init else checkpoint.read_start(Path(spec.init))
        model = build_network(
            recipe, data.input_shape, data.classes, start, data, trained=saved and saved["model"]
        )
        if saved is not None:
            checkpoint.check_machine(saved, self.machine)
            model.load_state_dict(saved["model"])  # before the optimiser: Brevitas makes new scale parameters
        self.model = share_batch_norm(model, self.device, replicas.count).to(self.device)
        self.forward = torch.compile(self.model) if spec.compile else self.model
        self.techniques = list(techniques(self.model))
        self.pruner = next((t for t in self.techniques if isinstance(t, Pruner)), None)
        added = [p for technique in self.techniques for p in technique.parameters()]
        self.trained = [*self.model.parameters(), *added]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=spec.precision == "float16")
        self.forget()
        self.rows = training_rows(recipe, data, self.device, replicas)
        self.history: list[Epoch] = []
        self.seconds = 0.0
        if saved is not None:
            self._restore(saved)

    @property
    def machine(self) -> dict[str, Any]:
        """What changes the bits of a result, and is not in the recipe."""
        return {"device": self.device.type, "replicas": self.replicas.count, "jit": jit_enabled()}

    def forget(self) -> None:
        """Begin the optimiser and the average anew, from the network's present weights."""
        spec = self.recipe.train
        added = [p for technique in self.techniques for p in technique.parameters()]
        self.optimiser = make_optimiser(spec, self.model, added)
        self.ema = Ema(self.model, spec.ema) if spec.ema else None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network as it is scored and exported inside: with averaged weights, if the recipe has them."""
        with self.ema.applied(self.model) if self.ema else nullcontext():
            if self.pruner and self.ema:
                self.pruner.constrain(self.model)
            yield

    def save(self) -> None:
        """Write `best.pt` where the last epoch is the best, then `last.pt`: so a cut loses nothing."""
        if self.replicas.rank:
            return
        common = {
            "input_shape": list(self.data.input_shape),
            "classes": self.data.classes,
            "epoch": len(self.history),
        }
        if self.history and best_epoch(self.history) is self.history[-1]:
            with self.averaged():
                content = {**common, "model": self.model.state_dict()}
                checkpoint.write(self.folder / "best.pt", content, self.recipe)
        content = {
            **common,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict() if self.ema else {},
            "techniques": [technique.state_dict() for technique in self.techniques],
            "machine": self.machine,
            "history": msgspec.to_builtins(self.history),
            "seconds": self.seconds,
        }
        checkpoint.write(self.folder / "last.pt", content, self.recipe)

    def _restore(self, saved: dict[str, Any]) -> None:
        """All but the weights, which must be there before the optimiser is made."""
        self.optimiser.load_state_dict(saved["optimiser"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.load_state_dict(saved["ema"])
        for technique, state in zip(self.techniques, saved["techniques"], strict=True):
            technique.load_state_dict(state)
        self.history = msgspec.convert(saved["history"], list[Epoch])
        self.seconds = saved["seconds"]


def fit(
    run: Run, progress: Progress | None = None, on_epoch: Callable[[Epoch], None] = lambda _: None
) -> list[Epoch]:
    """Train from the run's state to the recipe's last epoch; `on_epoch` is called before each checkpoint.

    Raises:
        InputError: The loss or a gradient is no longer finite.
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
    """Highest validation accuracy; among equals the lowest validation loss, then the earliest.

    Only among those at whose end pruning was over; before there are such, the last.
    """
    results = [epoch for epoch in history if epoch.settled] or history[-1:]
    return min(results, key=lambda e: (-e.validation_accuracy, e.validation_loss, e.epoch))


def predict(model: nn.Module, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Outputs of a model in evaluation mode for images (N, C, H, W), computed where its parameters are."""
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [
            model(torch.from_numpy(x[i : i + _EVAL_BATCH]).to(device)) for i in range(0, len(x), _EVAL_BATCH)
        ]
    return torch.cat(parts).cpu().numpy()


def count_correct(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> int:
    """How many rows have their largest logit at the label; ties go to the lowest index."""
    return int((logits.argmax(axis=1) == labels).sum())


def _train_epoch(run: Run, index: int) -> Epoch:
    spec, replicas = run.recipe.train, run.replicas
    torch.manual_seed(epoch_seed(run.recipe.seed, index) * replicas.count + replicas.rank)
    run.model.train()
    count, loss_sum, rate = run.rows.count, 0.0, 0.0
    cycle = spec.epochs * count // (run.pruner.cycles if run.pruner else 1)
    moment = Moment(index * count, spec.epochs * count, index, spec.epochs)
    if run.pruner and run.pruner.before_epoch(moment):
        run.forget()
    seen = torch.zeros(2)  # correct rows, all rows
    for number, (x, y) in enumerate(run.rows.epoch(index)):
        moment = Moment(index * count + number, spec.epochs * count, index, spec.epochs)
        rate = learning_rate(spec, moment.step % cycle, cycle)
        set_rate(run.optimiser, rate, momentum(spec, moment.step % cycle, cycle))
        loss, logits = _step(run, x, y, moment)
        loss_sum += loss
        seen += torch.tensor([int((logits.argmax(dim=1) == y).sum()), len(y)])
    _settle_replicas(run, seen)
    with run.averaged():
        accuracy, loss_validation = _validate(run)
    settled = run.pruner is None or run.pruner.settled(moment)
    train_accuracy = float(seen[0] / seen[1])
    return Epoch(index + 1, loss_sum / count, train_accuracy, accuracy, loss_validation, rate, settled)


def _step(run: Run, x: torch.Tensor, y: torch.Tensor, moment: Moment) -> tuple[float, torch.Tensor]:
    """One step of the optimiser; the loss is the mean over all replicas, the logits are this one's."""
    run.optimiser.zero_grad()
    with autocast(run.recipe.train, run.device):
        logits = run.forward(x).float()
    loss = _loss(run, x, y, logits, moment)
    torch.autograd.backward(run.scaler.scale(loss))
    value = _mean_loss(run, loss)
    gradients = [p.grad for p in run.trained if p.grad is not None]
    run.scaler.unscale_(run.optimiser)
    norm = nn.utils.get_total_norm(gradients)
    if not math.isfinite(value) or not (run.scaler.is_enabled() or bool(norm.isfinite())):
        raise InputError(_divergence(run, x, y, value, moment))
    if limit := run.recipe.train.clip_gradient:
        nn.utils.clip_grads_with_norm_(run.trained, limit, norm)
    for technique in run.techniques:
        technique.before_step(moment)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    for technique in run.techniques:
        technique.after_step(moment)
    if run.ema:
        run.ema.update(run.model)
    return value, logits.detach()


def _loss(run: Run, x: torch.Tensor, y: torch.Tensor, logits: torch.Tensor, moment: Moment) -> torch.Tensor:
    loss = cross_entropy(logits, y, label_smoothing=run.recipe.train.label_smoothing)
    batch = Batch(x, y, logits)
    for technique in run.techniques:
        loss = technique.loss(loss, batch, moment)
    return loss


def _mean_loss(run: Run, loss: torch.Tensor) -> float:
    """The loss over all replicas, whose gradients become the same: their mean."""
    mean = loss.detach().reshape(1).clone()
    run.replicas.average([mean, *(p.grad for p in run.trained if p.grad is not None)])
    return float(mean)


def _settle_replicas(run: Run, seen: torch.Tensor) -> None:
    """One set of running statistics for all replicas after an epoch, and the proof that the rest is one."""
    if run.replicas.count == 1:
        return
    buffers = [b for b in run.model.buffers() if b.is_floating_point()]
    if run.ema:
        names = {name for name, _ in run.model.named_buffers()}
        buffers += [tensor for name, tensor in run.ema.average.items() if name in names]
    run.replicas.average([seen, *buffers])
    run.replicas.check_equal(run.model.state_dict().items())


def _divergence(run: Run, x: torch.Tensor, y: torch.Tensor, value: float, moment: Moment) -> str:
    spec = run.recipe.train
    where = find_not_finite(run.model, x, lambda outputs: _loss(run, x, y, outputs.float(), moment))
    step = moment.step - moment.epoch * run.rows.count + 1
    found = "a gradient is not finite" if math.isfinite(value) else f"the loss is {value}"
    return (
        f"training diverged in epoch {moment.epoch + 1}, step {step}: {found}\n  {where}\n"
        f"  cure: lower train.learning_rate (now {spec.learning_rate:g}), raise train.warmup "
        f"(now {spec.warmup:g}), or set train.clip_gradient"
    )


def _validate(run: Run) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the validation part."""
    logits, labels = predict(run.model, run.data.x_validation), run.data.y_validation
    loss = float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))
    return count_correct(logits, labels) / len(labels), loss


def _show(progress: Progress | None, task: TaskID | None, epoch: Epoch) -> None:
    if progress is not None and task is not None:
        numbers = f"train {epoch.train_accuracy:.1%}  validation {epoch.validation_accuracy:.1%}"
        progress.update(task, advance=1, numbers=f"loss {epoch.loss:.3f}  {numbers}")
