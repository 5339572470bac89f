"""A trained float network and calibration data in, the quantised network with the same graph out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwq.errors import InputError
from hwq.train.ptq import quantisers
from hwq.train.ptq.blocks import Block, chunks, evaluate, evaluate_all, single, split, whole
from hwq.train.ptq.columns import columns
from hwq.train.ptq.fold import called, equalise, fold
from hwq.train.ptq.learned import Start, reconstruct
from hwq.train.ptq.rounding import gpfq, gptq, nearest
from hwq.train.ptq.scales import find_scale
from hwq.train.ptq.spec import PtqSpec
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import InputSpec, QuantizeSpec

_VALUES = 1 << 18
_DEFAULT = PtqSpec()


def prepare(
    float_model: nn.Module,
    quantize_spec: QuantizeSpec,
    *,
    input_spec: InputSpec | None = None,
) -> fx.GraphModule:
    """The network that post-training quantisation sets: batch normalisations folded, every layer with a bias.

    Raises:
        InputError: A layer that is binary or ternary, or that cannot be quantised at all.
    """
    return _quantised(fold(float_model), quantize_spec, input_spec)


def _quantised(
    folded: fx.GraphModule, quantize_spec: QuantizeSpec, input_spec: InputSpec | None
) -> fx.GraphModule:
    found: Any = quantize(folded, quantize_spec, input_spec=input_spec).eval()
    network: fx.GraphModule = found
    for name, module in network.named_modules():
        quantisers.check(name, module)
    return network


def post_train_quantize(
    float_model: nn.Module,
    calibration: Tensor | Iterable[Tensor],
    quantize_spec: QuantizeSpec,
    spec: PtqSpec = _DEFAULT,
    *,
    input_spec: InputSpec | None = None,
    seed: int = 0,
) -> fx.GraphModule:
    """Quantise a trained network without training it again; the float model is left as it is.

    Args:
        float_model: Any network that `hwq.train.quantize` can quantise, of one input and one result.
        calibration: Inputs (N, ...), or batches of them; no labels are needed.
        quantize_spec: Bits and kinds of scales, at least 2 bits.
        spec: Methods.
        input_spec: Type of the input's codes; without it the input is taken to be on a grid already.
        seed: Draws samples, batches and drops.

    Returns:
        The quantised network in evaluation mode; its weights lie on the quantised grid.

    Raises:
        InputError: A layer that cannot be quantised so (binary, ternary), or no calibration data.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = _samples(calibration, spec, generator)
    folded = fold(float_model)
    if spec.equalize:
        equalise(folded)
    network = _quantised(folded, quantize_spec, input_spec)
    _Work(network, folded, spec, generator).run(samples)
    return network.requires_grad_().eval()


def _samples(calibration: Tensor | Iterable[Tensor], spec: PtqSpec, generator: torch.Generator) -> Tensor:
    parts = [calibration] if isinstance(calibration, Tensor) else list(calibration)
    samples = torch.cat(parts) if parts else torch.empty(0)
    if len(samples) == 0 or not bool(samples.isfinite().all()):
        raise InputError("post-training quantisation needs calibration data, all of it finite")
    if len(samples) <= spec.samples:
        return samples
    return samples[torch.randperm(len(samples), generator=generator)[: spec.samples]]


class _Work:
    """One network being set, with its float twin over the same graph."""

    def __init__(
        self, network: fx.GraphModule, folded: fx.GraphModule, spec: PtqSpec, generator: torch.Generator
    ) -> None:
        self.network, self.spec, self.generator = network.requires_grad_(False), spec, generator
        self.floating = quantisers.float_twin(network, folded)
        self.starts: dict[str, Start] = {}
        self.layers = {
            str(node.target) for node in network.graph.nodes if quantisers.is_layer(called(network, node))
        }

    def run(self, samples: Tensor) -> None:
        """Activations from float values, then block by block in topological order."""
        network = whole(self.network.graph)
        self.calibrate_activations(network, samples)
        floats = inputs = samples
        for block in split(network, self.is_layer):
            target = evaluate_all(self.floating, block, floats)
            done = self.starts.copy()
            self.round_layers(block, floats, inputs)
            if self.spec.learned and self.spec.learned_unit != "network":
                fresh = {name: s for name, s in self.starts.items() if name not in done}
                self.learn(block, fresh, floats, inputs, target)
            floats, inputs = target, evaluate_all(self.network, block, inputs)
        if self.spec.learned and self.spec.learned_unit == "network":
            reconstruct(
                self.network, network, self.starts, samples, samples, floats, self.spec, self.generator
            )

    def is_layer(self, node: fx.Node) -> bool:
        return node.op == "call_module" and node.target in self.layers

    def is_activation(self, node: fx.Node) -> bool:
        return getattr(called(self.network, node), "act_quant", None) is not None

    @torch.no_grad()
    def calibrate_activations(self, block: Block, samples: Tensor) -> None:
        """Each activation's scale, from the float values of all places where it is used."""
        seen: dict[str, list[Tensor]] = {}
        parts = chunks(samples)

        def see(node: fx.Node, value: Tensor) -> None:
            if quantisers.activation_quant(str(node.target), called(self.network, node)) is not None:
                some = _some(value.flatten(), _VALUES // len(parts), self.generator)
                seen.setdefault(str(node.target), []).append(some)

        for part in parts:
            evaluate(self.floating, block, part, see=see)
        for name, values in seen.items():
            quantiser: Any = quantisers.activation_quant(name, self.network.get_submodule(name))
            codes, pot = quantiser.quantiser.codes, quantiser.power_of_two
            scale = find_scale(torch.cat(values)[None], codes.low, codes.high, self.spec, power_of_two=pot)
            quantisers.set_scale(quantiser, scale, quantiser.steps)

    def round_layers(self, block: Block, floats: Tensor, inputs: Tensor) -> None:
        """Scales, integers and biases of a block's layers in order, each from what those before it give."""
        for node in block.nodes:
            name = str(node.target)
            if not self.is_layer(node) or name in self.starts:
                continue
            before, layer = block.upto(node), self.network.get_submodule(name)
            wanted_x = evaluate_all(self.floating, before, floats)
            found_x = evaluate_all(self.network, before, inputs)
            self.starts[name] = self.round(name, layer, wanted_x, found_x)
            self.correct(name, wanted_x, found_x)

    @torch.no_grad()
    def round(self, name: str, layer: Any, floats: Tensor, inputs: Tensor) -> Start:
        spec, levels = self.spec, quantisers.weight_levels(layer)
        weight, shape = layer.weight.detach().clone(), quantisers.weight_scale(layer).shape
        rows = weight.flatten(1) if shape.numel() > 1 else weight.reshape(1, -1)
        pot = quantisers.has_power_of_two(layer)
        scale = find_scale(rows, -levels, levels, spec, power_of_two=pot)
        quantisers.set_scale(layer.weight_quant.tensor_quant, scale, levels)
        scale = quantisers.weight_scale(layer)
        groups = getattr(layer, "groups", 1)
        grouped = weight.reshape(groups, len(weight) // groups, -1)
        steps = scale.expand(len(weight), *[1] * (weight.ndim - 1)).reshape(*grouped.shape[:2], 1)
        method = spec.start if spec.learned else spec.method
        if method == "nearest":
            codes = nearest(grouped, steps, levels)
        elif method == "gptq":
            codes = gptq(grouped, steps, levels, *columns(layer, [inputs], self.generator))
        else:
            codes = gpfq(grouped, steps, levels, *columns(layer, [floats, inputs], self.generator))
        codes = codes.reshape(weight.shape)
        quantisers.set_weights(name, layer, codes, None)
        return Start(codes, weight / scale)

    @torch.no_grad()
    def correct(self, name: str, floats: Tensor, inputs: Tensor) -> None:
        """Take a layer's mean output error from its bias."""
        found: Any = self.network.get_submodule(name)
        wanted: Any = self.floating.get_submodule(name)
        if not self.spec.bias_correction or found.bias is None:
            return
        axis = -1 if isinstance(found, nn.Linear) else 1
        error, count = torch.zeros(len(found.bias), dtype=torch.double), 0
        for x, q in zip(chunks(floats), chunks(inputs), strict=True):
            part = (wanted(x) - found(q)).movedim(axis, 0).flatten(1).double()
            error, count = error + part.sum(1), count + part.shape[1]
        found.bias += (error / count).to(found.bias.dtype)

    def learn(
        self, block: Block, fresh: dict[str, Start], floats: Tensor, inputs: Tensor, target: Tensor
    ) -> None:
        """A learned method on a block, or on each of its layers, then bias correction again."""
        nodes = [node for node in block.nodes if str(node.target) in fresh]
        if self.spec.learned_unit == "block" and nodes:
            reconstruct(self.network, block, fresh, floats, inputs, target, self.spec, self.generator)
        for node in nodes:
            before, alone = block.upto(node), single(block, node, self.is_activation)
            wanted_x = evaluate_all(self.floating, before, floats)
            found_x = evaluate_all(self.network, before, inputs)
            name = str(node.target)
            if self.spec.learned_unit == "layer":
                wanted_y = evaluate_all(self.floating, alone, wanted_x)
                reconstruct(
                    self.network,
                    alone,
                    {name: fresh[name]},
                    wanted_x,
                    found_x,
                    wanted_y,
                    self.spec,
                    self.generator,
                )
            if self.spec.method != "adaquant":
                self.correct(name, wanted_x, found_x)


def _some(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` of the values, drawn at random, and the two extremes."""
    if len(values) <= count:
        return values
    drawn = values[torch.randint(len(values), (count,), generator=generator)]
    return torch.cat([drawn, values.min()[None], values.max()[None]])
