"""Which layer a loss or gradient that is not finite comes from: the batch again, with hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

_PROXIES = {"weight_quant", "bias_quant", "input_quant", "act_quant", "output_quant"}


def find_not_finite(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> str:
    """Where the first value that is not finite appears, in a sentence that names the layer.

    Runs the batch once more, forward and backward, in the network's present mode.

    Args:
        model: With the weights that it had before the batch.
        x: The batch's inputs.
        loss: From the network's outputs.
    """
    if not _finite(x):
        return "the inputs of the batch are not finite"
    found: list[str] = []
    model.zero_grad()
    hooks = [
        module.register_forward_hook(_watch(name, found))
        for name, module in model.named_modules()
        if _is_layer(name)
    ]
    try:
        value = loss(model(x))
        if not found and not _finite(value):
            found.append("the network's outputs are finite, the loss of them is not")
        if not found:
            torch.autograd.backward(value)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        found.extend(
            f"{_layer(model, name)}: the gradient of its parameter '{name.rpartition('.')[2]}' is not finite"
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and not _finite(parameter.grad)
        )
    return found[0] if found else "no layer's output and no gradient is, when the batch is run once more"


def _is_layer(name: str) -> bool:
    """Whether a module is one that users know, not a part of a Brevitas layer's quantisers."""
    return bool(name) and not _PROXIES.intersection(name.split(".")[1:])


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    """A forward hook: notes the first output that is not finite, and has the outputs' gradients watched."""

    def hook(module: nn.Module, _inputs: Any, outputs: Any) -> None:
        label = f"layer '{name}' ({type(module).__name__})"
        for tensor in _tensors(outputs):
            if not found and not _finite(tensor):
                found.append(f"{label}: {_parameter(module) or 'its output is not finite'}")
            if tensor.requires_grad and tensor.is_floating_point():
                register_multi_grad_hook([tensor], _watch_gradient(label, found))

    return hook


def _watch_gradient(label: str, found: list[str]) -> Callable[[Sequence[Tensor | None]], None]:
    def hook(gradients: Sequence[Tensor | None]) -> None:
        if not found and not all(g is None or _finite(g) for g in gradients):
            found.append(f"{label}: the gradient of its output is not finite")

    return hook


def _parameter(module: nn.Module) -> str:
    for name, parameter in module.named_parameters():
        if not _finite(parameter):
            return f"its parameter '{name}' is not finite"
    return ""


def _layer(model: nn.Module, parameter: str) -> str:
    path = parameter.rpartition(".")[0]
    return f"layer '{path}' ({type(model.get_submodule(path)).__name__})"


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors in a module's result: one, some, or Brevitas's record of value, scale and bits."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, tuple | list):
        for output in outputs:
            yield from _tensors(output)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
