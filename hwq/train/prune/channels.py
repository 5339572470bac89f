"""Structured pruning: whole channels of a float network, wherever they are used.

torch-pruning finds which channels of which layers hang together (residual sums, depthwise convolutions,
flattening) and how important they are; how many go is decided here, by the multiplications that hwq's own
integer graph will do.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import cross_entropy

from hwq.errors import InputError, ToolMissing
from hwq.train.prune.layers import check_patterns, find_layers, is_quantised, matches
from hwq.train.prune.spec import ChannelSpec

Plan = dict[str, list[int]]
"""Shape of the first parameter of each layer, by name: enough to build the narrow network again."""

_HALVINGS = 10
_BATCH = 256


def prune_channels(
    model: nn.Module,
    example: Tensor,
    spec: ChannelSpec,
    data: tuple[Tensor, Tensor] | None = None,
) -> tuple[nn.Module, Plan]:
    """A copy of a trained float network with fewer channels, and the plan by which `narrow` repeats it.

    Args:
        model: Float, traceable by torch.fx; left as it is.
        example: An input (1, ...).
        spec: How many multiplications stay, and by which importance.
        data: Training inputs and labels, for importance "taylor".

    Raises:
        InputError: A quantised layer, a pattern that fits no layer, or a target out of reach.
        ToolMissing: torch-pruning is not installed.
    """
    _check(model, spec, data)
    example, budget = example[:1], math.floor(spec.macs * count_macs(model, example[:1]))
    fixed = outputs(model) | {t.name for t in find_layers(model) if matches(t.name, spec.ignore)}
    low, high = 0.0, 1 - spec.smallest
    found = _without(model, example, spec, fixed, high, data)
    if count_macs(found, example) > budget:
        raise InputError(
            f"key 'prune.channels.macs': {count_macs(found, example)} multiplications are left where every "
            f"layer keeps {spec.smallest:.0%} of its channels, and {budget} were asked for\n"
            "  cure: lower prune.channels.smallest or multiple_of, ignore fewer layers, or raise macs"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        candidate = _without(model, example, spec, fixed, middle, data)
        if count_macs(candidate, example) > budget:
            low = middle
        else:
            high, found = middle, candidate
    return found, plan_of(found)


def narrow(model: nn.Module, plan: Mapping[str, Iterable[int]]) -> nn.Module:
    """Give the layers of a network as first built the shapes of a plan, in place; their weights are not set.

    Raises:
        InputError: The plan has a layer that the network has not.
    """
    modules = dict(model.named_modules())
    for name, shape in plan.items():
        if name not in modules:
            raise InputError(f"the plan of channels names layer '{name}', which the network does not have")
        _resize(modules[name], tuple(shape))
    return model


def plan_of(model: nn.Module) -> Plan:
    """Shapes of all layers whose parameters follow their channels."""
    return {name: list(m.weight.shape) for name, m in model.named_modules() if _has_channels(m)}


def plan_of_state(model: nn.Module, state: Mapping[str, Tensor]) -> Plan:
    """The plan of the network that a state dict is of; `model` is the float network as first built.

    A batch normalisation that was folded into the layer before it is in no state, and as wide as that layer.
    """
    named = {name: m for name, m in model.named_modules() if _has_channels(m)}
    plan = {name: list(state[key].shape) for name in named if (key := f"{name}.weight") in state}
    for node in fx.symbolic_trace(model).graph.nodes:
        before = str(node.args[0].target) if node.op == "call_module" and node.args else ""
        if str(node.target) in named.keys() - plan.keys() and before in plan:
            plan[str(node.target)] = [_outputs(named[before], plan[before])]
    return plan


def _outputs(layer: nn.Module, shape: list[int]) -> int:
    """Output channels of a layer whose weight has that shape."""
    return shape[1] * layer.groups if isinstance(layer, _TRANSPOSED) else shape[0]


def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiplications of one inference, as `hwq.ops.macs` counts them in the integer graph."""
    counted: list[int] = []

    def count(layer: Any, _: Any, out: Tensor) -> None:
        places = math.prod(out.shape[1:]) // layer.weight.shape[0]
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            places = -(-math.prod(out.shape[2:]) // math.prod(layer.stride))
        counted.append(places * layer.weight.numel())

    handles = [target.layer.register_forward_hook(count) for target in find_layers(model)]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(example[:1])
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return sum(counted)


def outputs(model: nn.Module) -> set[str]:
    """Layers whose outputs are the network's, through whatever has no weights in between."""
    traced = fx.symbolic_trace(model)
    names = {target.name for target in find_layers(model)}
    waiting = [node for node in traced.graph.nodes if node.op == "output"]
    seen, found = set(waiting), set[str]()
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node.op == "call_module" and str(node.target) in names:
                found.add(str(node.target))
            elif node not in seen:
                seen.add(node)
                waiting.append(node)
    return found


def _check(model: nn.Module, spec: ChannelSpec, data: tuple[Tensor, Tensor] | None) -> None:
    if find_spec("torch_pruning") is None:
        raise ToolMissing("channel pruning needs torch-pruning, not installed here: pip install 'hwq[train]'")
    layers = find_layers(model)
    quantised = next((t.name for t in layers if is_quantised(t.layer)), None)
    if quantised is not None:
        raise InputError(
            f"layer '{quantised}' is quantised already\n"
            "  cure: prune channels of the float network, then quantise it (hwq.train.quantize)"
        )
    check_patterns([t.name for t in layers], spec.ignore, "key 'prune.channels.ignore'")
    if spec.importance == "taylor" and data is None:
        raise InputError(
            "importance 'taylor' needs training data: prune_channels(model, x, spec, data=(x, y))"
        )


def _without(
    model: nn.Module,
    example: Tensor,
    spec: ChannelSpec,
    fixed: set[str],
    share: float,
    data: tuple[Tensor, Tensor] | None,
) -> nn.Module:
    """A copy in which each group of coupled channels has lost that share of them, the least important ones."""
    import torch_pruning

    copied = deepcopy(model).eval()
    for parameter in copied.parameters():
        parameter.requires_grad = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        if data is not None and spec.importance == "taylor":
            importance = torch_pruning.importance.GroupTaylorImportance()
        pruner = torch_pruning.pruner.BasePruner(
            copied,
            example,
            importance=importance,
            pruning_ratio=0.0,  # of layers without a ratio of their own
            pruning_ratio_dict=_ratios(copied, spec, fixed, share),
            ignored_layers=[copied.get_submodule(name) for name in sorted(fixed)],
        )
        if data is not None and spec.importance == "taylor":
            _accumulate_gradients(copied, data, spec.samples)
        pruner.step()
    copied.zero_grad(set_to_none=True)
    return copied.train(model.training)


def _ratios(model: nn.Module, spec: ChannelSpec, fixed: set[str], share: float) -> dict[nn.Module, float]:
    """By layer, so that exactly the wanted number of channels goes: half of one less, against rounding."""
    ratios: dict[nn.Module, float] = {}
    for target in find_layers(model):
        layer = target.layer
        width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        if target.name not in fixed and (removed := width - _kept(width, spec, share)):
            ratios[layer] = (removed - 0.5) / width
    return ratios


def _kept(width: int, spec: ChannelSpec, share: float) -> int:
    """Channels that stay of a layer which is to lose a share of them."""
    kept = max(width * (1 - share), width * spec.smallest, 1)
    return min(width, math.ceil(round(kept, 6) / spec.multiple_of) * spec.multiple_of)


def _accumulate_gradients(model: nn.Module, data: tuple[Tensor, Tensor], samples: int) -> None:
    """Of the mean loss over the first samples, in evaluation mode."""
    x, y = (part[:samples] for part in data)
    model.zero_grad()
    for start in range(0, len(x), _BATCH):
        part = slice(start, start + _BATCH)
        loss = cross_entropy(model(x[part]), y[part], reduction="sum") / len(x)
        torch.autograd.backward(loss)


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


def _has_channels(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, *_NORMS, *_CONVS, *_TRANSPOSED)) and module.weight is not None


def _resize(layer: Any, shape: tuple[int, ...]) -> None:
    """Set the weight's shape, and all that follows from it."""
    if isinstance(layer, _NORMS):
        layer.num_features = shape[0]
        rows = ["weight", "bias", "running_mean", "running_var"]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
        rows = ["bias"]
    else:
        _resize_conv(layer, shape)
        rows = ["bias"]
    for name in rows:
        old = getattr(layer, name)
        if old is not None:
            width = layer.out_channels if isinstance(layer, (*_CONVS, *_TRANSPOSED)) else shape[0]
            _replace(layer, name, (width,))
    _replace(layer, "weight", shape)


def _resize_conv(layer: Any, shape: tuple[int, ...]) -> None:
    """A depthwise convolution keeps its number of outputs a group, another one its groups."""
    first, second = shape[:2]
    if layer.groups > 1 and layer.groups == layer.in_channels:
        inner = second if isinstance(layer, _TRANSPOSED) else layer.out_channels // layer.groups
        layer.groups = first if isinstance(layer, _TRANSPOSED) else first // inner
    if isinstance(layer, _TRANSPOSED):
        layer.in_channels, layer.out_channels = first, second * layer.groups
    else:
        layer.in_channels, layer.out_channels = second * layer.groups, first


def _replace(layer: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    old = getattr(layer, name)
    if tuple(old.shape) == shape:
        return
    new = torch.zeros(shape, dtype=old.dtype, device=old.device)
    setattr(layer, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)
