"""Weights that an optimiser rounds: AdaRound, QDrop and AdaQuant, over a layer, a block or the network.

Sources: Nagel et al., Up or Down? Adaptive Rounding (2020); Li et al., BRECQ (2021); Wei et al., QDrop
(2022); Hubara et al., Improving Post Training Neural Quantization (2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from hwq.train.ptq import quantisers
from hwq.train.ptq.blocks import Block, evaluate
from hwq.train.ptq.spec import PtqSpec
from hwq.train.quantizers import TensorQuant

_STRETCH, _OFFSET = 1.2, -0.1
_REGULARISER, _WARMUP, _BETA = 0.01, 0.2, (20.0, 2.0)
_SCALE_RATE, _BIAS_RATE = 0.1, 0.1


@dataclass(frozen=True)
class Start:
    """From where a layer's integers start: `codes` of some rounding, and the float weights in steps."""

    codes: Tensor
    steps: Tensor


class _Layer:
    """A layer whose integers are learned: freely (AdaQuant), or each up or down (AdaRound)."""

    def __init__(self, module: Any, levels: int, start: Start, *, free: bool) -> None:
        self.module, self.levels, self.free = module, levels, free
        self.scale = quantisers.weight_scale(module)
        self.bias = module.bias.detach().clone()
        self.growth = torch.zeros_like(self.scale)  # logarithm of what the scale is multiplied by
        if free:
            self.floor, self.values = torch.zeros(()), start.codes.clone()
        else:
            near = start.codes + (start.steps - start.codes).clamp(-0.499, 0.499)
            self.floor = near.floor().clamp(-levels, levels - 1)
            up = (near - self.floor - _OFFSET) / _STRETCH
            self.values = torch.logit(up.clamp(1e-4, 1 - 1e-4))

    def up(self) -> Tensor:
        """How far each weight is from its lower neighbour, 0..1."""
        return (torch.sigmoid(self.values) * _STRETCH + _OFFSET).clamp(0, 1)

    def codes(self) -> Tensor:
        if not self.free:
            return self.floor + self.up()
        return _round(self.values.clamp(-self.levels, self.levels))

    @torch.no_grad()
    def hard(self) -> Tensor:
        return self.codes() if self.free else self.floor + (self.up() >= 0.5)

    def __call__(self, x: Tensor) -> Tensor:
        weight = self.codes() * (self.scale * self.growth.exp())
        return quantisers.apply(self.module, x, weight, self.bias)


class _Activation:
    """An activation whose scale is learned, and which lets values through unquantised at random."""

    def __init__(self, module: Any, quantiser: TensorQuant, drop: float, generator: torch.Generator) -> None:
        self.quantiser = quantiser
        self.function = module.act_quant.fused_activation_quant_proxy.activation_impl
        self.scale = quantisers.activation_scale(quantiser)
        self.growth = torch.zeros_like(self.scale)
        self.drop, self.generator = drop, generator

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        codes = self.quantiser.quantiser.codes
        scale = self.scale * self.growth.exp()
        quantised = _round((y / scale).clamp(codes.low, codes.high)) * scale
        if self.drop == 0:
            return quantised
        return torch.where(torch.rand(y.shape, generator=self.generator) < self.drop, y, quantised)


def reconstruct(
    network: fx.GraphModule,
    block: Block,
    starts: Mapping[str, Start],
    floats: Tensor,
    inputs: Tensor,
    target: Tensor,
    spec: PtqSpec,
    generator: torch.Generator,
) -> None:
    """Learn the integers of the layers in `starts` so that the block makes of `inputs` what is `target`.

    AdaRound and AdaQuant read the quantised network's inputs; QDrop reads a random mixture of those and
    the float network's, drawn anew each step. Scales and biases that were learned are set as well.
    """
    layers, activations = _learners(network, block, starts, spec, generator)
    optimiser = torch.optim.Adam(_groups(layers, activations, spec))
    rates = [group["lr"] for group in optimiser.param_groups]
    measure = _measure(spec, target)
    for step in range(spec.steps):
        done = step / spec.steps
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (1 + math.cos(math.pi * done)) / 2
        rows = torch.randint(len(inputs), (min(spec.batch, len(inputs)),), generator=generator)
        x = inputs[rows]
        if spec.method == "qdrop":
            x = torch.where(torch.rand(x.shape, generator=generator) < spec.drop, floats[rows], x)
        loss = measure(evaluate(network, block, x, {**layers, **activations}), target[rows])
        if spec.method != "adaquant":
            loss = loss + sum(_penalty(layer.up(), done) for layer in layers.values())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    _set(layers, activations)


def _learners(
    network: fx.GraphModule,
    block: Block,
    starts: Mapping[str, Start],
    spec: PtqSpec,
    generator: torch.Generator,
) -> tuple[dict[str, _Layer], dict[str, _Activation]]:
    layers, activations = {}, {}
    for node in block.nodes:
        name = str(node.target)
        module = network.get_submodule(name) if node.op == "call_module" else None
        if name in starts:
            levels = quantisers.weight_levels(module)
            layers[name] = _Layer(module, levels, starts[name], free=spec.method == "adaquant")
        elif (quantiser := quantisers.activation_quant(name, module)) is not None:
            drop = spec.drop if spec.method == "qdrop" else 0.0
            activations[name] = _Activation(module, quantiser, drop, generator)
    return layers, activations


def _groups(
    layers: Mapping[str, _Layer], activations: Mapping[str, _Activation], spec: PtqSpec
) -> list[dict[str, Any]]:
    """What the method learns: integers always; AdaQuant weight scales and biases, QDrop and it activations'."""
    free = spec.method == "adaquant"
    scales = [
        layer.growth for layer in layers.values()
        if free and not quantisers.has_power_of_two(layer.module)
    ]  # fmt: skip
    scales += [
        a.growth for a in activations.values() if spec.method != "adaround" and not a.quantiser.power_of_two
    ]
    groups = [
        ([layer.values for layer in layers.values()], 1.0),
        (scales, _SCALE_RATE),
        ([layer.bias for layer in layers.values() if free], _BIAS_RATE),
    ]
    return [
        {"params": [t.requires_grad_() for t in tensors], "lr": spec.learning_rate * factor}
        for tensors, factor in groups
        if tensors
    ]


def _measure(spec: PtqSpec, target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared error summed over one sample; of the whole network's logits the Kullback-Leibler divergence."""
    if spec.learned_unit == "network" and target.ndim == 2 and target.shape[1] > 1:
        return lambda got, wanted: functional.kl_div(
            got.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True
        )
    return lambda got, wanted: functional.mse_loss(got, wanted) * got[0].numel()


def _round(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def _penalty(up: Tensor, done: float) -> Tensor:
    if done < _WARMUP:
        return torch.zeros(())
    beta = _BETA[0] + (_BETA[1] - _BETA[0]) * (done - _WARMUP) / (1 - _WARMUP)
    return _REGULARISER * (1 - (2 * up - 1).abs().pow(beta)).sum()


@torch.no_grad()
def _set(layers: Mapping[str, _Layer], activations: Mapping[str, _Activation]) -> None:
    for name, layer in layers.items():
        if layer.growth.requires_grad:
            scale = layer.scale * layer.growth.exp()
            quantisers.set_scale(layer.module.weight_quant.tensor_quant, scale, layer.levels)
        quantisers.set_weights(name, layer.module, layer.hard(), layer.bias)
    for activation in activations.values():
        if activation.growth.requires_grad:
            scale = activation.scale * activation.growth.exp()
            quantisers.set_scale(activation.quantiser, scale, activation.quantiser.steps)
