"""What estimators and learned quantisers need of a training run: a schedule, curvature, penalties."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hwq.train.quantize_spec import QuantizeSpec
from hwq.train.quantizers import TensorQuant
from hwq.train.technique import Batch, Moment, Technique

_DEVIATIONS = 3.0
_LARGEST_DELTA = 1.0


class QuantiserSchedule:
    """A `Technique`: it moves the parameters of gradient estimators, and adds the penalties of `QuantizeSpec`.

    reste: o rises linearly from 1 to `reste_power`. ewgs-hessian: every `ewgs_every` steps δ becomes
    Tr(H) / (N · 3 · deviation of the gradient), H by one Hutchinson probe of each quantiser's values (Lee,
    Kim & Ham 2021, eqs. 9 to 11); below 0 it is 0. learned_bits: `bit_penalty` times the mean bits a weight.
    PACT: `clip_decay` times the squared clipping points.

    Args:
        model: Made by `hwq.train.quantize`, from `spec`.
        spec: That says how much.
        seed: Draws the probes.
    """

    def __init__(self, model: nn.Module, spec: QuantizeSpec, seed: int = 0) -> None:
        self.spec, self.seed = spec, seed
        self.quantisers = {name: m for name, m in model.named_modules() if isinstance(m, TensorQuant)}
        self.weights = {
            name: quantiser
            for name, quantiser in self.quantisers.items()
            if quantiser.learned_bits is not None
        }
        self.sizes = {
            name: model.get_parameter(name.removesuffix("_quant.tensor_quant")).numel()
            for name in self.weights
        }
        self.values: dict[str, tuple[Tensor, float]] = {}
        for name in self._using("ewgs-hessian"):
            self.quantisers[name].register_forward_hook(
                lambda module, _, outputs, name=name: self._note(module, name, outputs)
            )

    @property
    def needed(self) -> bool:
        """Whether it would do anything."""
        penalties = bool(self.spec.clip_decay or (self.spec.bit_penalty and self.weights))
        return penalties or bool(self._using("ewgs-hessian") or self._using("reste"))

    def parameters(self) -> Iterable[nn.Parameter]:
        """None of its own."""
        return ()

    def loss(self, loss: Tensor, batch: Batch, moment: Moment) -> Tensor:
        """The task's with penalties; a δ that is measured counts from the next step on."""
        del batch
        if self.values and moment.step % self.spec.ewgs_every == 0:
            self._measure(loss, moment.step)
        self.values.clear()
        return self._penalised(loss)

    def before_step(self, moment: Moment) -> None:
        """Nothing."""

    def after_step(self, moment: Moment) -> None:
        """Sharpen ReSTE for the next step."""
        done = (moment.step + 1) / moment.steps
        for name in self._using("reste"):
            _set(self.quantisers[name], power=1 + (self.spec.reste_power - 1) * done)

    def state_dict(self) -> dict[str, Any]:
        """The parameters that move: δ and o by quantiser."""
        moving = [*self._using("ewgs-hessian"), *self._using("reste")]
        estimators = {name: self.quantisers[name].quantiser.estimator for name in moving}
        return {name: {"delta": e.delta, "power": e.power} for name, e in estimators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name, parameters in state.items():
            _set(self.quantisers[name], **parameters)

    def _using(self, estimator: str) -> list[str]:
        return [name for name, q in self.quantisers.items() if q.quantiser.estimator.name == estimator]

    def _note(self, module: nn.Module, name: str, outputs: tuple[Tensor, ...]) -> None:
        if module.training and outputs[0].requires_grad:
            self.values[name] = outputs[0], float(outputs[1].detach().mean())

    def _measure(self, loss: Tensor, step: int) -> None:
        values = [value for value, _ in self.values.values()]
        gradients = torch.autograd.grad(loss, values, create_graph=True, allow_unused=True)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        for (name, (value, scale)), gradient in zip(self.values.items(), gradients, strict=True):
            if gradient is None or not gradient.requires_grad:
                continue
            probe = torch.randint(0, 2, value.shape, generator=generator).to(value) * 2 - 1
            (curved,) = torch.autograd.grad(gradient, value, probe, retain_graph=True, allow_unused=True)
            if curved is not None:
                trace, spread = (probe * curved).mean(), _DEVIATIONS * gradient.std()
                delta = float((trace / spread.clamp_min(1e-30)).detach()) * scale
                _set(self.quantisers[name], delta=min(max(delta, 0.0), _LARGEST_DELTA))

    def _penalised(self, loss: Tensor) -> Tensor:
        if self.spec.bit_penalty and self.weights:
            bits = sum(
                (q.bits() * self.sizes[name] for name, q in self.weights.items()), start=loss.new_zeros(())
            )
            loss = loss + self.spec.bit_penalty * bits / sum(self.sizes.values())
        if self.spec.clip_decay:
            for quantiser in self.quantisers.values():
                if quantiser.quantiser.clip_only:
                    loss = loss + self.spec.clip_decay * quantiser.clip(loss).square().sum()
        return loss


def schedules(model: nn.Module, spec: QuantizeSpec | None, seed: int) -> list[Technique]:
    """The schedule, where the network's quantisers have use for one."""
    found = [QuantiserSchedule(model, spec, seed)] if spec is not None else []
    return [schedule for schedule in found if schedule.needed]


def _set(quantiser: TensorQuant, **parameters: float) -> None:
    rounding = quantiser.quantiser
    quantiser.quantiser = replace(rounding, estimator=replace(rounding.estimator, **parameters))  # type: ignore[arg-type]
