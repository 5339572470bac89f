"""A traced float network without batch normalisation, and its ranges balanced between layers."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from hwq.train.tracing import fold_batch_norms, trace

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
# What commutes with a positive factor on every channel.
_HOMOGENEOUS_MODULES = (
    nn.ReLU, nn.Identity, nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
)  # fmt: skip
_HOMOGENEOUS_CALLS = (
    torch.relu, functional.relu, functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d,
    functional.avg_pool2d, functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, "relu",
)  # fmt: skip


def fold(model: nn.Module) -> fx.GraphModule:
    """A traced copy in evaluation mode, batch normalisations folded; every layer has a bias, for corrections."""
    traced = trace(deepcopy(model).eval())
    fold_batch_norms(traced)
    for layer in traced.modules():
        if isinstance(layer, _LAYERS) and layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))
    return traced


@torch.no_grad()
def equalise(traced: fx.GraphModule) -> int:
    """Balance the ranges of neighbouring layers by powers of two, which leaves every float output's bits.

    A layer is paired with the one that alone reads its result, over ReLU and pooling; layers around a
    join, and layers that are called twice, are left alone.

    Source: Nagel et al., Data-Free Quantization through Weight Equalization and Bias Correction (2019).

    Returns:
        How many pairs there were.
    """
    pairs = [(node, other) for node in traced.graph.nodes if (other := _reader(traced, node)) is not None]
    for first, second in pairs:
        _balance(called(traced, first), called(traced, second))
    return len(pairs)


def called(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _calls(traced: fx.GraphModule, node: fx.Node) -> int:
    return sum(n.op == "call_module" and n.target == node.target for n in traced.graph.nodes)


def _reader(traced: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The layer that alone reads a layer's result, with nothing between but what commutes with factors."""
    if not isinstance(called(traced, node), _LAYERS) or _calls(traced, node) != 1:
        return None
    while len(node.users) == 1:
        node = next(iter(node.users))
        module = called(traced, node)
        if isinstance(module, _LAYERS):
            return node if _calls(traced, node) == 1 else None
        if not (isinstance(module, _HOMOGENEOUS_MODULES) or _commutes(node)):
            return None
    return None


def _commutes(node: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method"):
        return False
    if node.target in (torch.flatten, "flatten"):
        return node.args[1:] == (1,)
    return node.target in _HOMOGENEOUS_CALLS


def _balance(first: Any, second: Any) -> None:
    w1, w2, groups = first.weight, second.weight, getattr(second, "groups", 1)
    channels = w1.shape[0]
    inputs = w2.shape[1] * groups if w2.ndim > 2 else w2.shape[1]
    if inputs % channels or channels % groups or (groups > 1 and inputs != channels):
        return
    into = w2.reshape(groups, w2.shape[0] // groups, channels // groups, -1)
    r1, r2 = w1.flatten(1).abs().amax(1), into.abs().amax((1, 3)).flatten()
    useful = (r1 > 0) & (r2 > 0)
    factor = torch.where(useful, (r1 / r2).sqrt().log2().round().exp2(), torch.ones_like(r1))
    w1.div_(factor.reshape(-1, *[1] * (w1.ndim - 1)))
    if first.bias is not None:
        first.bias.div_(factor)
    w2.copy_((into * _per_input(factor, groups)).reshape(w2.shape))


def _per_input(factor: Tensor, groups: int) -> Tensor:
    return factor.reshape(groups, 1, -1, 1)
