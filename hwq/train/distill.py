"""Knowledge distillation: a float teacher's outputs and features as further targets of a low-bit student.

::

    teaching = Distillation(student, teacher, DistillSpec(temperature=4), example=x[:2])
    optimizer = AdamW([*student.parameters(), *teaching.parameters()])
    ...
    loss = teaching.loss(cross_entropy(logits, y), Batch(x, y, logits), moment)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import torch
from brevitas.quant_tensor import QuantTensor
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.distill_losses import adapter, attention_loss, hint_loss, logits_loss, relation_loss
from hwq.train.distill_spec import EMA, DistillSpec, LayerSpec
from hwq.train.recipe import Recipe, nearest
from hwq.train.technique import Batch, Moment

_LOSSES = {"hint": hint_loss, "attention": attention_loss, "relation": relation_loss}


class Distillation:
    """A `Technique`; the student's layers are watched by hooks, in training mode only, until `close`.

    Args:
        student: The network that is trained.
        teachers: Networks for the same inputs (float, as they come from the data) and classes; several are an
            ensemble. None is the moving average of the student. They are put in evaluation mode.
        spec: Losses; its own `teacher` is not read here.
        example: Some inputs (N, ...), of which only shapes matter.

    Raises:
        InputError: Other classes, or a layer that does not exist, does not run, or has features that do not fit.
    """

    def __init__(
        self,
        student: nn.Module,
        teachers: nn.Module | Sequence[nn.Module] | None,
        spec: DistillSpec,
        example: Tensor,
    ) -> None:
        self.student, self.spec = student, spec
        self.ema = deepcopy(student) if teachers is None else None
        given = [teachers] if isinstance(teachers, nn.Module) else list(teachers or [])
        device = example.device
        self.teachers = [t.to(device).eval() for t in (given if self.ema is None else [self.ema])]
        if not self.teachers:
            raise InputError(
                "distillation needs a teacher: give a network, or None for the student's moving average"
            )
        sources = sorted({layer.teacher for layer in spec.layers.values()})
        self.adapters = self._adapters(example, sources).to(device)
        self._mine: dict[str, Tensor] = {}
        self._theirs: dict[str, Tensor] = {}
        self._hooks = [_watch(student, name, self._mine, when_training=True) for name in spec.layers]
        self._hooks += [_watch(self.teachers[0], name, self._theirs) for name in sources]

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the adapters; they are no part of the network."""
        return list(self.adapters.parameters())

    def loss(self, loss: Tensor, batch: Batch, moment: Moment) -> Tensor:  # noqa: ARG002  the protocol's
        """The task's loss and the teacher's; the student has just seen `batch.x`."""
        with torch.no_grad():
            taught = [teacher(batch.x) for teacher in self.teachers]
        alpha = self.spec.alpha
        total = (1 - alpha) * loss
        if alpha:
            total = total + alpha * logits_loss(batch.logits, taught, self.spec.temperature)
        for index, (name, layer) in enumerate(self.spec.layers.items()):
            total = total + layer.weight * self._layer_loss(index, name, layer)
        self._mine.clear()
        self._theirs.clear()
        return total

    def before_step(self, moment: Moment) -> None:
        """Nothing."""

    @torch.no_grad()
    def after_step(self, moment: Moment) -> None:
        """Move the mean teacher towards the student: weights by the decay, statistics as they are."""
        if self.ema is None:
            return
        decay = min(self.spec.ema_decay, (moment.step + 1) / (moment.step + 10))
        weights, buffers = dict(self.student.named_parameters()), dict(self.student.named_buffers())
        for name, mean in self.ema.named_parameters():
            mean.lerp_(weights[name], 1 - decay)
        for name, statistic in self.ema.named_buffers():
            statistic.copy_(buffers[name])

    def state_dict(self) -> dict[str, Any]:
        """Adapters, and the mean teacher where there is one."""
        mean = {} if self.ema is None else {"ema": self.ema.state_dict()}
        return {"adapters": self.adapters.state_dict(), **mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.adapters.load_state_dict(state["adapters"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])

    def close(self) -> None:
        """Take the hooks away from student and teacher."""
        for hook in self._hooks:
            hook.remove()

    def _layer_loss(self, index: int, name: str, layer: LayerSpec) -> Tensor:
        if name not in self._mine:
            raise InputError(
                f"distillation: the student's layer '{name}' has not run in training mode\n"
                "  cure: call the student on the batch, in training mode, before `loss`"
            )
        mine, theirs = self._mine[name], self._theirs[layer.teacher]
        return _LOSSES[layer.loss](self.adapters[index](mine), theirs)

    def _adapters(self, example: Tensor, sources: Sequence[str]) -> nn.ModuleList:
        """For the shapes that the layers have on the example; they draw from torch's global generator."""
        names = list(self.spec.layers)
        logits, mine = _run_once(self.student, example, names, "student")
        theirs: dict[str, Tensor] = {}
        for number, teacher in enumerate(self.teachers):
            found, features = _run_once(teacher, example, [] if number else sources, "teacher")
            theirs |= features
            if found.ndim != 2 or found.shape != logits.shape:
                raise InputError(
                    f"the teacher's outputs for {len(example)} inputs are {tuple(found.shape)}, the student's "
                    f"{tuple(logits.shape)}\n  cure: a teacher of the same classes, with outputs (N, classes)"
                )
        layers = self.spec.layers.items()
        return nn.ModuleList([_adapter(n, layer, mine[n], theirs[layer.teacher]) for n, layer in layers])


def from_recipe(recipe: Recipe, student: nn.Module, example: Tensor) -> Distillation | None:
    """What a recipe's [distill] asks for; None without that section.

    Args:
        recipe: Of the student; the teacher must have been trained on the same rows.
        student: The network to train.
        example: Some inputs of the data.

    Raises:
        InputError: A teacher that cannot be read, was trained on other data, or does not fit.
    """
    spec = recipe.distill
    if spec is None:
        return None
    if EMA in spec.teachers:
        return Distillation(student, None, spec, example)
    return Distillation(student, [_teacher(Path(path), recipe) for path in spec.teachers], spec, example)


def _teacher(path: Path, student: Recipe) -> nn.Module:
    """The network of a checkpoint, or of a run's folder: its best epoch."""
    place = path / "checkpoints" / "best.pt" if path.is_dir() else path
    _, recipe = checkpoint.read(place)
    ours, theirs = (msgspec.structs.replace(r.data, path="", hint="", shift=0) for r in (student, recipe))
    for field in msgspec.structs.fields(type(ours)):
        mine, its = getattr(ours, field.name), getattr(theirs, field.name)
        if mine != its:
            raise InputError(
                f"key 'distill.teacher': {place} was trained with data.{field.name} = {its!r}, the student has "
                f"{mine!r}\n  cure: a teacher of the same data, split and scale; else it has seen rows held out here"
            )
    return checkpoint.load_model(place)


def _watch(
    model: nn.Module, name: str, into: dict[str, Tensor], *, when_training: bool = False
) -> RemovableHandle:
    """Keep a module's output; a closure, so that copies of the model share it and stay copyable."""

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if module.training or not when_training:
            into[name] = output.value if isinstance(output, QuantTensor) else output

    return model.get_submodule(name).register_forward_hook(keep)


@torch.no_grad()
def _run_once(
    model: nn.Module, example: Tensor, names: Sequence[str], who: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and features in evaluation mode; the model's mode stays."""
    known = [name for name, _ in model.named_modules() if name]
    for name in names:
        if name not in known:
            raise InputError(f"distillation: the {who} has no layer '{name}'{nearest(name, known)}")
    features: dict[str, Tensor] = {}
    hooks = [_watch(model, name, features) for name in names]
    before = model.training
    output: Tensor = model.eval()(example)
    model.train(before)
    for hook in hooks:
        hook.remove()
    for name in names:
        if not isinstance(features.get(name), Tensor) or features[name].ndim < 2:
            raise InputError(
                f"distillation: the {who}'s layer '{name}' gives no features (N, F), (N, C, L) or (N, C, H, W)"
            )
    return output, features


def _adapter(name: str, layer: LayerSpec, mine: Tensor, theirs: Tensor) -> nn.Module:
    """What makes the student's features comparable; refused where the loss has no meaning for them."""
    pair = f"layers '{name}' {tuple(mine.shape)} and '{layer.teacher}' {tuple(theirs.shape)}"
    if layer.loss != "relation" and mine.ndim != theirs.ndim:
        raise InputError(
            f'distillation: {pair} have different axes\n  cure: loss "relation", or other layers'
        )
    if layer.loss == "attention" and mine.ndim == 2:
        raise InputError(
            f'distillation: {pair} have no places to attend to\n  cure: loss "hint" or "relation"'
        )
    return adapter(mine, theirs) if layer.loss == "hint" else nn.Identity()
