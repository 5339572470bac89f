"""The quantised layers of hwq's own networks, each one exportable to QONNX without loss.

Brevitas's defaults are changed in three places. Weight scales are learned, from a start at the mean
plus some standard deviations of the magnitudes. Activation scales are learned from a stated start,
not from statistics of the first 300 steps: a checkpoint then holds the whole state. One-bit
activations are bipolar, because QONNX has no one-bit unsigned quantiser in Brevitas's exporter (it
writes BipolarQuant for any one-bit quantiser, signed or not).
"""

from __future__ import annotations

from typing import Any

import brevitas.nn as qnn
from brevitas.inject.enum import ScalingImplType, StatsOp
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hwq.train.quantize_spec import InputSpec

# Largest representable value at the start, in standard deviations: about the clipping point of least
# squared error for a uniform quantiser of a half-normal variable.
_CLIP = {2: 2.0, 3: 2.5, 4: 3.0, 5: 3.4, 6: 3.8, 7: 4.2, 8: 4.5}

_BINARY_WEIGHT_SCALE = 0.1


def quant_input(spec: InputSpec) -> nn.Module:
    """The input quantiser: a constant power-of-two scale, so inputs on the grid pass unchanged."""
    quantizer = Int8ActPerTensorFixedPoint if spec.signed else Uint8ActPerTensorFixedPoint
    magnitude_bits = spec.bits - 1 if spec.signed else spec.bits
    layer: nn.Module = qnn.QuantIdentity(
        act_quant=quantizer,
        bit_width=spec.bits,
        scaling_impl_type=ScalingImplType.CONST,
        scaling_init=2.0 ** (magnitude_bits - spec.fraction_bits),
    )
    return layer


def quant_activation(bits: int) -> nn.Module:
    """Sign to −1, +1 at one bit; otherwise ReLU to unsigned codes with one learned scale a tensor."""
    layer: nn.Module
    if bits == 1:
        layer = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst, scaling_init=1.0)
    else:
        layer = qnn.QuantReLU(
            act_quant=Uint8ActPerTensorFloat,
            bit_width=bits,
            scaling_impl_type=ScalingImplType.PARAMETER,
            scaling_init=_CLIP[bits],
        )
    return layer


def quant_layer(layer: nn.Module, bits: int, scale: str) -> nn.Module:
    """The quantised form of a Linear or Conv2d with its weights; a bias stays in float, folded exactly later."""
    options = {"bias": layer.bias is not None, **_weight_quant(bits, scale)}
    made: nn.Module
    if isinstance(layer, nn.Linear):
        made = qnn.QuantLinear(layer.in_features, layer.out_features, **options)
    else:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        made = qnn.QuantConv2d(**{name: getattr(layer, name) for name in names}, **options)
    made.weight, made.bias = layer.weight, layer.bias
    return _with_scale(made)


def _with_scale(layer: Any) -> nn.Module:
    """Brevitas sets a learned scale when it is first used; use it now, so that every state dict has it."""
    layer.quant_weight()
    found: nn.Module = layer
    return found


def _weight_quant(bits: int, scale: str) -> dict[str, object]:
    if bits == 1:
        return {
            "weight_quant": SignedBinaryWeightPerTensorConst,
            "weight_scaling_const": _BINARY_WEIGHT_SCALE,
        }
    quantizer = Int8WeightPerChannelFloat if scale == "channel" else Int8WeightPerTensorFloat
    return {
        "weight_quant": quantizer,
        "weight_bit_width": bits,
        "weight_scaling_impl_type": ScalingImplType.PARAMETER_FROM_STATS,
        "weight_scaling_stats_op": StatsOp.MEAN_SIGMA_STD,
        "weight_sigma": _CLIP[bits],
    }
