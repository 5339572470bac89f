"""The quantisers of a network as post-training quantisation sees them: integers, scale, and how to set it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.proxy.quant_proxy import QuantProxyFromInjector
from torch import Tensor, fx, nn
from torch.nn import functional

from hwq.errors import InputError
from hwq.train.quantization import INPUT
from hwq.train.quantizers import TensorQuant
from hwq.train.scaling import WeightClip

_LAYERS = (qnn.QuantLinear, qnn.QuantConv1d, qnn.QuantConv2d)
_TRANSPOSED = (qnn.QuantConvTranspose1d, qnn.QuantConvTranspose2d)
_CURE = "  cure: train it quantised, which is [quantize] without [ptq]"


def float_twin(quantised: fx.GraphModule, original: fx.GraphModule) -> fx.GraphModule:
    """The same graph over the same nodes, with every quantiser off; activations that clip do so as before."""
    twin = deepcopy(quantised)
    for module in twin.modules():
        if isinstance(module, QuantProxyFromInjector):
            module.disable_quant = True
    for name, module in original.named_modules():
        if isinstance(module, nn.Hardtanh):  # ReLU6 is one
            twin.set_submodule(name, module)
    return twin


def is_layer(module: object) -> bool:
    """Whether it is a layer whose weights are quantised."""
    return isinstance(module, _LAYERS)


def activation_quant(name: str, module: object) -> TensorQuant | None:
    """The quantiser of an activation; None where it is none, or the network's input's."""
    proxy = getattr(module, "act_quant", None)
    fused = getattr(proxy, "fused_activation_quant_proxy", None)
    found = getattr(fused, "tensor_quant", None)
    return found if isinstance(found, TensorQuant) and not name.startswith(INPUT) else None


def check(name: str, module: Any) -> None:
    """Refuse what cannot be found after training.

    Raises:
        InputError: One bit, a transposed convolution, or a scale that cannot be set.
    """
    if isinstance(module, _TRANSPOSED):
        raise InputError(
            f"layer '{name}': transposed convolutions cannot be quantised after training yet\n{_CURE}"
        )
    if not is_layer(module):
        fused = getattr(getattr(module, "act_quant", None), "fused_activation_quant_proxy", None)
        quantiser = getattr(fused, "tensor_quant", None)
        if isinstance(quantiser, TensorQuant) and quantiser.quantiser.codes.bipolar:
            raise InputError(f"layer '{name}': one-bit activations cannot be found after training\n{_CURE}")
        return
    quantiser = module.weight_quant.tensor_quant
    if quantiser.quantiser.codes.bipolar:
        raise InputError(f"layer '{name}': binary weights cannot be found after training\n{_CURE}")
    if isinstance(quantiser.clip, WeightClip) or quantiser.accumulator is not None:
        raise InputError(
            f"layer '{name}': a scale from statistics, or a bound of the accumulator, leaves nothing to set\n"
            "  cure: weight_scale_source = 'learned' without accumulator_bits, or [quantize] without [ptq]"
        )


def apply(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The float product of a layer with another weight and bias."""
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    kind: Any = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Conv1d
    found: Tensor = kind._conv_forward(layer, x, weight, bias)  # noqa: SLF001
    return found


def weight_levels(layer: Any) -> int:
    """The largest integer of a layer's weights, −levels .. levels."""
    return int(2 ** (int(layer.quant_weight().bit_width) - 1) - 1)


def weight_scale(layer: Any) -> Tensor:
    """One value, or one a channel along the first axis of the weights; positive."""
    found: Tensor = layer.quant_weight().scale.detach().clone()
    return found


def has_power_of_two(layer: Any) -> bool:
    """Whether a layer's scale is restricted to powers of two."""
    return bool(layer.weight_quant.tensor_quant.power_of_two)


@torch.no_grad()
def activation_scale(quantiser: TensorQuant) -> Tensor:
    """A positive scalar."""
    found: Tensor = quantiser(torch.zeros(1))[1].clone()
    return found


@torch.no_grad()
def set_scale(quantiser: TensorQuant, scale: Tensor, levels: int) -> None:
    """Set a quantiser's scale: one value, or one a channel."""
    clip: Any = quantiser.clip
    clip.set((scale * levels).reshape(clip.value.shape))


@torch.no_grad()
def set_weights(name: str, layer: Any, codes: Tensor, bias: Tensor | None) -> None:
    """Put a layer's weights on its grid.

    Raises:
        InputError: The layer's quantiser makes something else of them.
    """
    layer.weight.copy_(codes * weight_scale(layer))
    if bias is not None:
        layer.bias.copy_(bias)
    if not torch.equal(layer.quant_weight().int(float_datatype=True), codes):
        raise InputError(
            f"layer '{name}': its quantiser does not round weights to the nearest integer\n{_CURE}"
        )
