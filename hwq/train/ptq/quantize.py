"""Float network and calibration data in, Brevitas network with constant scales out."""

from __future__ import annotations

from collections.abc import Iterable

import brevitas.nn as qnn
import torch
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Uint8ActPerTensorFloat
from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.ptq.chain import Block, equalize, read_chain
from hwq.train.ptq.learned import learn_rounding
from hwq.train.ptq.rounding import gpfq, gptq, nearest
from hwq.train.ptq.scales import clip_range
from hwq.train.ptq.spec import PtqSpec
from hwq.train.quantize_spec import InputSpec
from hwq.train.quantizers import quant_input


def post_train_quantize(
    float_model: nn.Module, calibration: Tensor | Iterable[Tensor], spec: PtqSpec
) -> nn.Module:
    """Quantise a trained network layer by layer; the float model is left as it is.

    Args:
        float_model: A chain of Linear/Conv1d/Conv2d, BatchNorm, ReLU, max pooling and Flatten modules.
        calibration: Inputs (N, ...), or batches of them; no labels are needed.
        spec: Bits and methods.

    Returns:
        A Brevitas network in evaluation mode; its weights lie on the quantised grid, its scales are constants.

    Raises:
        InputError: Another structure, or no calibration data.
    """
    samples = calibration if isinstance(calibration, Tensor) else _joined(calibration)
    if len(samples) == 0 or not bool(samples.isfinite().all()):
        raise InputError("post-training quantisation needs calibration data, all of it finite")
    blocks = read_chain(float_model)
    if spec.equalize:
        equalize(blocks)
    entry = quant_input(InputSpec(spec.input_bits, spec.input_fraction_bits, spec.input_signed)).eval()
    modules: list[nn.Module] = [entry]
    with torch.no_grad():
        floats, inputs = samples, entry(samples)
    for block in blocks:
        with torch.no_grad():
            floats, inputs = block.prepare(floats), block.prepare(inputs)
        last = block is blocks[-1]
        layer, activation = _quantised(block, floats, inputs, spec, "tensor" if last else spec.weight_scale)
        modules += [*block.before, layer, *([activation] if activation is not None else [])]
        with torch.no_grad():
            floats, inputs = block.activated(block.output(floats)), layer(inputs)
            inputs = inputs if activation is None else activation(inputs)
    return nn.Sequential(*modules).eval()


def _joined(batches: Iterable[Tensor]) -> Tensor:
    parts = list(batches)
    return torch.cat(parts) if parts else torch.empty(0)


def _quantised(
    block: Block, floats: Tensor, inputs: Tensor, spec: PtqSpec, granularity: str
) -> tuple[nn.Module, nn.Module | None]:
    levels = 2 ** (spec.weight_bits - 1) - 1
    weight = block.layer.weight.detach()
    rows = weight.flatten(1) if granularity == "channel" else weight.reshape(1, -1)
    clip = clip_range(rows, levels, spec, signed=True).expand(1 if granularity == "tensor" else len(weight))
    scale = (
        (clip / levels).reshape(-1, *[1] * (weight.ndim - 1)).expand(len(weight), *[1] * (weight.ndim - 1))
    )
    codes = _codes(block, scale, levels, floats, inputs, spec)
    with torch.no_grad():
        baked = codes * scale
        bias = None if block.layer.bias is None else block.layer.bias.detach().clone()
        got, wanted = block.output(inputs, baked), block.output(floats)
        if spec.bias_correction:
            channel = -1 if isinstance(block.layer, nn.Linear) else 1
            error = (wanted - got).movedim(channel, 0).flatten(1).mean(1)
            bias = error if bias is None else bias + error
            got = got + error.reshape(-1, *[1] * (got.ndim - 2 if channel == 1 else 0))
        layer = bake(block.layer, baked, bias, clip, spec.weight_bits)
        return layer, _activation(got, spec) if block.relu else None


def _codes(block: Block, scale: Tensor, levels: int, floats: Tensor, inputs: Tensor, spec: PtqSpec) -> Tensor:
    if spec.method in ("adaround", "qdrop"):
        return learn_rounding(block, scale, levels, floats, inputs, spec)
    weight = block.layer.weight.detach()
    grouped = weight.reshape(block.groups, len(weight) // block.groups, -1)
    steps = scale.reshape(*grouped.shape[:2], 1)
    with torch.no_grad():
        if spec.method == "gptq":
            codes = gptq(grouped, steps, levels, block.columns(inputs))
        elif spec.method == "gpfq":
            codes = gpfq(grouped, steps, levels, block.columns(floats), block.columns(inputs))
        else:
            codes = nearest(grouped, steps, levels)
    return codes.reshape(weight.shape)


def _activation(values: Tensor, spec: PtqSpec) -> nn.Module:
    levels = 2**spec.act_bits - 1
    clip = clip_range(values.relu().reshape(1, -1), levels, spec, signed=False)
    layer: nn.Module = qnn.QuantReLU(
        act_quant=Uint8ActPerTensorFloat,
        bit_width=spec.act_bits,
        scaling_impl_type=ScalingImplType.CONST,
        scaling_init=float(clip),
    )
    return layer.eval()


def bake(layer: nn.Module, weight: Tensor, bias: Tensor | None, clip: Tensor, bits: int) -> nn.Module:
    """A Brevitas layer with constant scales; `clip` has one value, or one an output channel."""
    options = {
        "bias": bias is not None,
        "weight_quant": Int8WeightPerTensorFloat if clip.numel() == 1 else Int8WeightPerChannelFloat,
        "weight_bit_width": bits,
        "weight_scaling_impl_type": ScalingImplType.CONST,
        "weight_scaling_init": float(clip)
        if clip.numel() == 1
        else clip.reshape(-1, *[1] * (weight.ndim - 1)),
    }
    baked: nn.Module
    if isinstance(layer, nn.Linear):
        baked = qnn.QuantLinear(layer.in_features, layer.out_features, **options)
    else:
        kind = qnn.QuantConv2d if isinstance(layer, nn.Conv2d) else qnn.QuantConv1d
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        baked = kind(**{name: getattr(layer, name) for name in names}, **options)
    baked.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), strict=False)
    return baked.eval()
