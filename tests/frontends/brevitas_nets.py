"""Small Brevitas networks, each with settled scales and in evaluation mode; `LAYERS` has one a layer variant."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas import quant as bq
from brevitas.inject.enum import (
    BitWidthImplType,
    FloatToIntImplType,
    LearnedRoundImplType,
    ScalingImplType,
)
from brevitas.quant.fixed_point import Int8WeightPerChannelFixedPoint
from torch import nn

Net = tuple[nn.Module, tuple[int, ...]]
Builder = Callable[[], Net]


def settle(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A few training passes, so that scales and BatchNorm statistics are not the initial ones."""
    torch.manual_seed(1)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(16, *shape))
    return model.eval()


def raw_export(model: nn.Module, x: torch.Tensor, path: Path, *, dynamo: bool) -> None:
    """Brevitas's own export of a copy."""
    from brevitas.export import export_qonnx

    options: dict[str, Any] = {"optimize": True, "external_data": False} if dynamo else {"opset_version": 13}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(deepcopy(model), args=x, export_path=str(path), dynamo=dynamo, **options)


def _rounding(kind: FloatToIntImplType, **more: Any) -> dict[str, Any]:
    options = {"weight_quant": bq.Int8WeightPerTensorFloat, "weight_float_to_int_impl_type": kind}
    return options | {"weight_" + name: value for name, value in more.items()}


def adaround(shape: tuple[int, ...]) -> dict[str, Any]:
    return _rounding(
        FloatToIntImplType.LEARNED_ROUND,
        learned_round_impl_type=LearnedRoundImplType.HARD_SIGMOID,
        learned_round_init=torch.randn(*shape),
    )


A2Q = {"weight_quant": bq.Int8AccumulatorAwareWeightQuant, "weight_accumulator_bit_width": 10}
A2Q_PLUS = A2Q | {"weight_quant": bq.Int8AccumulatorAwareZeroCenterWeightQuant}

ROUNDINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "round": lambda: _rounding(FloatToIntImplType.ROUND),
    "floor": lambda: _rounding(FloatToIntImplType.FLOOR),
    "ceil": lambda: _rounding(FloatToIntImplType.CEIL),
    "round_to_zero": lambda: _rounding(FloatToIntImplType.ROUND_TO_ZERO),
    "stochastic": lambda: _rounding(FloatToIntImplType.STOCHASTIC_ROUND),
    "adaround": lambda: adaround((8, 16)),
    "a2q": lambda: dict(A2Q),
    "a2q_plus": lambda: dict(A2Q_PLUS),
}


def identity(bits: int = 6, quant: Any = bq.Int8ActPerTensorFloat, **options: Any) -> nn.Module:
    """An input quantiser."""
    layer: nn.Module = qnn.QuantIdentity(act_quant=quant, bit_width=bits, return_quant_tensor=True, **options)
    return layer


def rounding_net(rounding: str) -> nn.Module:
    """One linear layer whose weights are rounded in the given way, 16 inputs, 8 outputs."""
    torch.manual_seed(0)
    linear = qnn.QuantLinear(
        16, 8, bias=True, bias_quant=bq.Int16Bias, weight_bit_width=4, **ROUNDINGS[rounding]()
    )
    return settle(nn.Sequential(identity(), linear, qnn.QuantReLU(bit_width=4)), (16,))


# --- one layer each ---------------------------------------------------------------------------------


def sequence(shape: tuple[int, ...], *layers: nn.Module) -> Net:
    return settle(nn.Sequential(*layers), shape), shape


def linear(**options: Any) -> nn.Module:
    layer: nn.Module = qnn.QuantLinear(12, 6, **({"bias": False, "weight_bit_width": 4} | options))
    return layer


def conv(c: int = 3, out: int = 4, kernel: int = 3, **options: Any) -> nn.Module:
    layer: nn.Module = qnn.QuantConv2d(c, out, kernel, **({"bias": False, "weight_bit_width": 4} | options))
    return layer


def out8() -> nn.Module:
    layer: nn.Module = qnn.QuantIdentity(act_quant=bq.Int8ActPerTensorFloat, bit_width=8)
    return layer


def relu(bits: int = 4, **options: Any) -> nn.Module:
    layer: nn.Module = qnn.QuantReLU(bit_width=bits, return_quant_tensor=True, **options)
    return layer


class LearnedScale(bq.Int8WeightPerTensorFloat):  # type: ignore[misc]
    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS


class LearnedScalePerChannel(bq.Int8WeightPerChannelFloat):  # type: ignore[misc]
    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS


class LearnedBits(bq.Int8WeightPerTensorFloat):  # type: ignore[misc]
    bit_width_impl_type = BitWidthImplType.PARAMETER


class LearnedActBits(bq.Uint8ActPerTensorFloat):  # type: ignore[misc]
    bit_width_impl_type = BitWidthImplType.PARAMETER


class Residual(nn.Module):
    """x + conv(x) of tensors with one scale."""

    def __init__(self, eltwise: bool) -> None:
        super().__init__()
        self.first, self.conv = identity(5), conv(3, 3, padding=1)
        self.shared = identity(5)
        self.add = (
            qnn.QuantEltwiseAdd(
                input_quant=bq.Int8ActPerTensorFloat, output_quant=bq.Int8ActPerTensorFloat,
                input_bit_width=5, output_bit_width=5, return_quant_tensor=True,
            )
            if eltwise else None
        )  # fmt: skip
        self.relu, self.last = relu(), conv(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.add is not None:
            x = self.first(x)
            total = self.add(x, self.conv(x))
        else:
            x = self.shared(x)
            total = x + self.shared(self.conv(x))
        result: torch.Tensor = self.last(self.relu(total))
        return result


IMAGE = (3, 8, 8)

LAYERS: dict[str, Builder] = {
    "per_channel_w4_int16_bias": lambda: sequence(
        IMAGE, identity(),
        conv(weight_quant=bq.Int8WeightPerChannelFloat, bias=True, bias_quant=bq.Int16Bias), relu(),
    ),
    "power_of_two_w4a4_int32_bias": lambda: sequence(
        (12,), identity(4, bq.Int8ActPerTensorFixedPoint),
        linear(weight_quant=bq.Int8WeightPerTensorFixedPoint, bias=True, bias_quant=bq.Int32Bias),
        relu(act_quant=bq.Uint8ActPerTensorFixedPoint),
    ),
    "learned_scale_w2": lambda: sequence(
        (12,), identity(), linear(weight_quant=LearnedScale, weight_bit_width=2), relu()
    ),
    "learned_scale_w2_per_channel": lambda: sequence(
        (12,), identity(), linear(weight_quant=LearnedScalePerChannel, weight_bit_width=2), relu()
    ),
    "decoupled": lambda: sequence(
        (12,), identity(), linear(weight_quant=bq.Int4WeightPerTensorFloatDecoupled), relu()
    ),
    "ternary": lambda: sequence(
        (12,), identity(8, bq.SignedTernaryActPerTensorConst, scaling_init=1.0),
        linear(weight_quant=bq.SignedTernaryWeightPerTensorConst, weight_scaling_init=0.125), out8(),
    ),
    "binary": lambda: sequence(
        (12,), identity(1, bq.SignedBinaryActPerTensorConst, scaling_init=1.0),
        linear(weight_quant=bq.SignedBinaryWeightPerTensorConst, weight_bit_width=1, weight_scaling_init=0.1),
        qnn.QuantIdentity(act_quant=bq.SignedBinaryActPerTensorConst, scaling_init=1.0),
    ),
    "asymmetric_activations": lambda: sequence(
        IMAGE, identity(6, bq.ShiftedUint8ActPerTensorFloat), conv(padding=1), relu()
    ),
    "asymmetric_weights": lambda: sequence(
        IMAGE, identity(), conv(weight_quant=bq.ShiftedUint8WeightPerTensorFloat), relu()
    ),
    "learned_bit_width": lambda: sequence(
        (12,), identity(), linear(weight_quant=LearnedBits),
        relu(act_quant=LearnedActBits),
    ),
    "max_pool_trunc_avg_pool": lambda: sequence(
        IMAGE, identity(), conv(padding=1), relu(), nn.MaxPool2d(2),
        qnn.TruncAvgPool2d(2, bit_width=4), conv(4, 2, 2),
    ),
    "trunc_adaptive_avg_pool": lambda: sequence(
        IMAGE, identity(), conv(padding=1), relu(), qnn.TruncAdaptiveAvgPool2d(1, bit_width=4), conv(4, 2, 1)
    ),
    "residual": lambda: (settle(Residual(eltwise=False), IMAGE), IMAGE),
    "eltwise_add": lambda: (settle(Residual(eltwise=True), IMAGE), IMAGE),
    "sigmoid": lambda: sequence((12,), identity(), linear(), qnn.QuantSigmoid(bit_width=4)),
    "tanh": lambda: sequence((12,), identity(), linear(), qnn.QuantTanh(bit_width=4)),
    "depthwise_batch_norm": lambda: sequence(
        IMAGE, identity(), conv(3, 3, groups=3, padding=1), nn.BatchNorm2d(3), relu()
    ),
    "hard_tanh_floor": lambda: sequence(
        (12,), identity(), linear(),
        qnn.QuantHardTanh(
            bit_width=4, min_val=-1.0, max_val=1.0, float_to_int_impl_type=FloatToIntImplType.FLOOR
        ),
    ),
    "conv_transpose": lambda: sequence(
        IMAGE, identity(), qnn.QuantConvTranspose2d(3, 2, 3, stride=2, bias=False, weight_bit_width=4), relu()
    ),
    "conv1d": lambda: sequence(
        (3, 12), identity(), qnn.QuantConv1d(3, 4, 3, bias=False, weight_bit_width=4), relu()
    ),
    "leaky_relu": lambda: sequence((12,), identity(), linear(), nn.LeakyReLU(0.1), out8()),
    "a2q": lambda: sequence((12,), identity(), linear(**A2Q), relu()),
    "a2q_plus": lambda: sequence((12,), identity(), linear(**A2Q_PLUS), relu()),
}  # fmt: skip


def convnet(bits: int, first: dict[str, Any], rest: dict[str, Any], act: dict[str, Any]) -> Net:
    """Two convolutions with BatchNorm, a pool and a classifier."""
    return sequence(
        IMAGE, identity(6), conv(3, 4, weight_bit_width=bits, **first), nn.BatchNorm2d(4), relu(4, **act),
        nn.MaxPool2d(2), conv(4, 4, weight_bit_width=bits, **rest), nn.BatchNorm2d(4), relu(4, **act),
        nn.Flatten(), qnn.QuantLinear(4, 5, bias=False, weight_bit_width=bits),
    )  # fmt: skip


NETS: dict[str, Builder] = {
    "a2q": lambda: convnet(6, A2Q, A2Q, {}),
    "adaround": lambda: convnet(4, adaround((4, 3, 3, 3)), adaround((4, 4, 3, 3)), {}),
    "learned_bits": lambda: convnet(
        4, {"weight_quant": LearnedBits}, {"weight_quant": LearnedBits}, {"act_quant": LearnedActBits}
    ),
    "power_of_two": lambda: convnet(
        4, {"weight_quant": bq.Int8WeightPerTensorFixedPoint},
        {"weight_quant": Int8WeightPerChannelFixedPoint}, {"act_quant": bq.Uint8ActPerTensorFixedPoint},
    ),
}  # fmt: skip
