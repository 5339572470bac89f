"""A float network as a chain of blocks: modules without weights, a linear or convolution layer, a ReLU."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from hwq.errors import InputError

Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_PASSIVE = (nn.Flatten, nn.MaxPool1d, nn.MaxPool2d)
_IGNORED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_CURE = "write it as a chain of Linear/Conv1d/Conv2d, BatchNorm, ReLU, MaxPool and Flatten modules"


@dataclass
class Block:
    """One layer: `before` runs on its input (shape N, ...), `relu` says whether a ReLU follows."""

    name: str
    layer: Layer
    before: list[nn.Module] = field(default_factory=list)
    relu: bool = False

    def prepare(self, x: Tensor) -> Tensor:
        """Flattening and pooling in front of the layer."""
        for module in self.before:
            x = module(x)
        return x

    def output(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """The layer's output before the ReLU, with its own or another weight."""
        layer, w = self.layer, self.layer.weight if weight is None else weight
        if isinstance(layer, nn.Linear):
            return functional.linear(x, w, layer.bias)
        convolve = functional.conv2d if isinstance(layer, nn.Conv2d) else functional.conv1d
        return convolve(x, w, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def activated(self, x: Tensor) -> Tensor:
        """After the ReLU, if there is one."""
        return functional.relu(x) if self.relu else x

    def columns(self, x: Tensor) -> Tensor:
        """The layer's inputs as rows of a matrix product: (groups, samples, weights of one output)."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return x.reshape(1, -1, layer.in_features)
        if isinstance(layer, nn.Conv1d):
            x, pad = x[:, :, None], (0, *layer.padding)
            flat = functional.unfold(
                x, (1, *layer.kernel_size), (1, *layer.dilation), pad, (1, *layer.stride)
            )
        else:
            flat = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        samples, rows, places = flat.shape
        grouped = flat.reshape(samples, layer.groups, rows // layer.groups, places)
        return grouped.permute(1, 0, 3, 2).reshape(layer.groups, samples * places, -1)

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for a linear layer."""
        return 1 if isinstance(self.layer, nn.Linear) else self.layer.groups


def read_chain(model: nn.Module) -> list[Block]:
    """Trace a copy of the network in evaluation mode and fold its batch normalisations.

    Raises:
        InputError: A branch, or an operation outside the chain; the message names it.
    """
    traced = fx.symbolic_trace(deepcopy(model).eval())
    blocks: list[Block] = []
    waiting: list[nn.Module] = []
    for node in traced.graph.nodes:
        if node.op != "output" and len(node.users) != 1:
            raise InputError(f"node '{node.name}' has {len(node.users)} uses, not one\n  cure: {_CURE}")
        if node.op == "call_module":
            _append(blocks, waiting, str(node.target), traced.get_submodule(str(node.target)))
        elif node.op not in ("placeholder", "output"):
            raise InputError(f"node '{node.name}' ({node.op}) is not a module\n  cure: {_CURE}")
    _check(blocks, waiting)
    return blocks


def _append(blocks: list[Block], waiting: list[nn.Module], name: str, module: nn.Module) -> None:
    last = blocks[-1] if blocks and not waiting else None
    if isinstance(module, Layer):
        if isinstance(module, nn.Conv1d | nn.Conv2d) and (
            module.padding_mode != "zeros" or isinstance(module.padding, str)
        ):
            raise InputError(f"layer '{name}': padding must be numbers of zeros")
        blocks.append(Block(name, module, list(waiting)))
        waiting.clear()
    elif isinstance(module, _NORMS) and last is not None and not last.relu:
        fuse = fuse_linear_bn_eval if isinstance(last.layer, nn.Linear) else fuse_conv_bn_eval
        last.layer = fuse(last.layer, module)  # type: ignore[type-var]
    elif isinstance(module, nn.ReLU) and last is not None:
        last.relu = True
    elif isinstance(module, _PASSIVE):
        waiting.append(module)
    elif not isinstance(module, _IGNORED):
        raise InputError(f"layer '{name}': {type(module).__name__} is not supported here\n  cure: {_CURE}")


def _check(blocks: list[Block], waiting: list[nn.Module]) -> None:
    if not blocks or waiting:
        raise InputError(f"the network must end in a linear or convolution layer\n  cure: {_CURE}")
    for block in blocks[:-1]:
        if not block.relu:
            raise InputError(f"layer '{block.name}' has no ReLU after it\n  cure: {_CURE}")


@torch.no_grad()
def equalize(blocks: list[Block]) -> None:
    """Balance the ranges of neighbouring layers by powers of two, which leaves every float output's bits.

    Source: Nagel et al., Data-Free Quantization through Weight Equalization and Bias Correction (2019).
    """
    for first, second in pairwise(blocks):
        if second.groups != 1:
            continue
        w1, w2 = first.layer.weight, second.layer.weight
        into = w2.reshape(w2.shape[0], w1.shape[0], -1)
        r1, r2 = w1.flatten(1).abs().amax(1), into.abs().amax((0, 2))
        useful = (r1 > 0) & (r2 > 0)
        factor = torch.where(useful, (r1 / r2).sqrt().log2().round().exp2(), torch.ones_like(r1))
        w1.div_(factor.reshape(-1, *[1] * (w1.ndim - 1)))
        if first.layer.bias is not None:
            first.layer.bias.div_(factor)
        w2.copy_((into * factor[None, :, None]).reshape(w2.shape))
