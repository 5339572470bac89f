"""MatMul, Gemm and Conv: products of a pending integer tensor and quantised weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd, at, exact_array, nearest
from hwq.lowering.builder import Builder
from hwq.lowering.pending import Affine, Steps, compose, scale_by, shift_by
from hwq.lowering.real import RealNode
from hwq.lowering.values import (
    Constant,
    Pending,
    QuantizedConstant,
    Raw,
    Shape,
    Value,
    channels_last,
    exact_floats,
)
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.window import Pads
from hwq.rounding import IntArray

QUANTIZE_CURE = "put a quantiser (QuantIdentity, QuantReLU) before it"


def operands(node: RealNode, x: Value, weight: Value) -> tuple[Pending, QuantizedConstant]:
    """Check that a product has a quantised activation and a quantised constant weight."""
    if isinstance(x, Raw):
        cure = "state the grid of the input, for example --input-type fixed<16,6>, or " + QUANTIZE_CURE
        raise UnsupportedModel(node.name, node.op, f"reads the unquantised network input '{x.port}'", cure)
    if not isinstance(x, Pending):
        raise UnsupportedModel(
            node.name, node.op, "its first operand is a constant", "put the constant second"
        )
    if isinstance(weight, Constant):
        cure = "use a layer with a weight quantiser (qnn.QuantLinear, qnn.QuantConv2d)"
        raise UnsupportedModel(node.name, node.op, "its weights are not quantised", cure)
    if not isinstance(weight, QuantizedConstant):
        cure = "only products with constant weights are supported"
        raise UnsupportedModel(node.name, node.op, "it multiplies two computed tensors", cure)
    if weight.codes.size == 0:
        raise UnsupportedModel(
            node.name, node.op, f"its weight of shape {weight.codes.shape} is empty", "check the export"
        )
    return x, weight


def input_scale(node: RealNode, x: Pending) -> tuple[Surd, Surd]:
    """Exact scale and offset of an activation that enters a product; one for all channels."""
    affine = compose(x.steps)
    if affine is None:
        raise UnsupportedModel(
            node.name, node.op, "its input passes a non-linear operator unquantised", QUANTIZE_CURE
        )
    scale, offset = affine
    if len(scale) > 1 or len(offset) > 1:
        cure = "use per-tensor scales for activations that enter a matrix product or convolution"
        raise UnsupportedModel(
            node.name, node.op, "its input has a scale or offset of its own a channel", cure
        )
    return at(scale, 0), at(offset, 0)


def _output_scale(node: RealNode, weight: QuantizedConstant, axis: int) -> ExactArray:
    """The weight scale, one element or one an output channel (`axis`)."""
    scale = np.broadcast_to(weight.scale, weight.codes.shape).astype(np.float64)
    rows = np.moveaxis(scale, axis, 0).reshape(scale.shape[axis], -1)
    if rows.size and not (rows == rows[:, :1]).all():
        cure = "use one weight scale a tensor or an output channel"
        raise UnsupportedModel(node.name, node.op, "its weight scale varies along the inputs", cure)
    column: ExactArray = rows[:1, 0] if (rows[:, 0] == rows[0, 0]).all() else rows[:, 0]
    return np.array(column)


def _product_steps(scale: Surd, offset: Surd, weight_scale: ExactArray, columns: IntArray) -> Steps:
    """Real meaning of the integer sums: ``scale·s_w·acc + offset·s_w·Σw``; columns are (n_in, n_out) weights."""
    gains = [scale * Surd.of(float(s)) for s in weight_scale]
    factor = nearest(exact_array(gains))
    exact_floats = all(g == float(f) for g, f in zip(gains, factor, strict=True))
    gain = factor if exact_floats else exact_array(gains)
    if offset == 0:
        return (scale_by(gain),)
    shifts = [offset * at(weight_scale, c) * int(s) for c, s in enumerate(columns.sum(axis=0))]
    hidden = abs(float(offset)) * nearest(weight_scale) * np.abs(columns).sum(axis=0)
    return (Affine(gain, exact_array(shifts), hidden),)


def _bias_step(node: RealNode, bias: Value | None, channels: int) -> Steps:
    if bias is None:
        return ()
    if not isinstance(bias, (Constant, QuantizedConstant)):
        raise UnsupportedModel(node.name, node.op, "its bias is computed", "use a constant bias")
    values = bias.exact() if isinstance(bias, QuantizedConstant) else bias.values
    flat = values.ravel() if values.dtype == object else exact_floats(values.ravel())
    last = values.shape[-1] if values.ndim else 1
    if flat is None or flat.size not in (1, channels) or flat.size != last or values.ndim > 2:
        raise UnsupportedModel(
            node.name, node.op, f"bias of shape {values.shape} for {channels} channels", "fix the shape"
        )
    return (shift_by(flat),)


def dense(
    builder: Builder,
    node: RealNode,
    x: Pending,
    weight: QuantizedConstant,
    bias: Value | None = None,
    gain: float = 1.0,
) -> Pending:
    """``gain · x @ W + bias`` with W (n_in, n_out) in file order."""
    scale, offset = input_scale(node, x)
    if weight.codes.ndim != 2 or not x.shape or x.shape[-1] != weight.codes.shape[0]:
        reason = f"a {x.shape} activation times a {weight.codes.shape} weight"
        raise UnsupportedModel(node.name, node.op, reason, "use a 2-D weight that fits the last axis")
    if len(x.shape) > 1 and x.layout.axes != tuple(range(len(x.layout.axes))):
        cure = "flatten before the matrix product"
        raise UnsupportedModel(node.name, node.op, f"a matrix product over the last axis of {x.shape}", cure)
    rows = weight.codes[x.layout.index()] if len(x.shape) == 1 else weight.codes
    output = builder.add("dense", node.name, (x.tensor,), Dense(np.ascontiguousarray(rows)))
    steps = _product_steps(scale, offset, _output_scale(node, weight, 1), weight.codes)
    if gain != 1.0:
        steps = (*steps, scale_by(np.array([gain])))
    steps += _bias_step(node, bias, rows.shape[1])
    shape = (*x.shape[:-1], rows.shape[1])
    layout = channels_last(shape)[1] if len(shape) == 1 else type(x.layout)(shape, tuple(range(len(shape))))
    return Pending(output, shape, builder.tensors[output].shape, layout, steps, exclusive=True)


def conv(
    builder: Builder, node: RealNode, x: Pending, weight: QuantizedConstant, bias: Value | None
) -> Pending:
    """2-D convolution, file weights (out, in / groups, kernel_h, kernel_w)."""
    if len(x.shape) != 3 or weight.codes.ndim != 4:
        reason = f"a {len(x.shape) - 1}-D convolution"
        raise UnsupportedModel(node.name, node.op, reason, "only 2-D convolutions are supported so far")
    scale, offset = input_scale(node, x)
    kernel = (weight.codes.shape[2], weight.codes.shape[3])
    attributes = node.attributes
    strides, dilations = tuple(attributes.get("strides", (1, 1))), tuple(attributes.get("dilations", (1, 1)))
    check_window(node, kernel, strides, dilations)
    if tuple(attributes.get("kernel_shape", kernel)) != kernel:
        reason = f"kernel_shape {tuple(attributes['kernel_shape'])} is not that of its weight, {kernel}"
        raise UnsupportedModel(node.name, node.op, reason, "export the model again")
    pads = resolve_pads(node, (x.shape[1], x.shape[2]), kernel, strides, dilations)
    if offset != 0 and any(pads):
        cure = "quantise the activation with a zero point instead, or do without padding"
        raise UnsupportedModel(node.name, node.op, "pads an activation whose zero is no integer code", cure)
    params = Conv(
        np.ascontiguousarray(weight.codes.transpose(2, 3, 1, 0)),
        strides,
        pads,
        dilations,
        attributes.get("group", 1),
    )
    output = builder.add("conv", node.name, (x.tensor,), params)
    h, w, channels = builder.tensors[output].shape
    steps = _product_steps(
        scale, offset, _output_scale(node, weight, 0), weight.codes.reshape(len(weight.codes), -1).T
    )
    steps += _bias_step(node, bias, channels)
    shape = (channels, h, w)
    return Pending(output, shape, (h, w, channels), channels_last(shape)[1], steps, exclusive=True)


def check_window(node: RealNode, *pairs: tuple[Any, ...]) -> None:
    """Kernel, strides and dilations are two positive integers each.

    Raises:
        UnsupportedModel: Naming the node.
    """
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
            reason = f"kernel, strides or dilations {pair} are not two positive integers"
            raise UnsupportedModel(node.name, node.op, reason, "use 2-D windows")


def resolve_pads(node: RealNode, size: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> Pads:
    """Top, left, bottom, right from `pads` or `auto_pad`."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = tuple(node.attributes.get("pads", (0, 0, 0, 0)))
        if len(pads) != 4 or not all(isinstance(p, int) and p >= 0 for p in pads):
            raise UnsupportedModel(node.name, node.op, f"pads {pads}", "use four pads, none negative")
        return pads[0], pads[1], pads[2], pads[3]
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedModel(
            node.name, node.op, f"auto_pad '{mode}'", "use NOTSET, VALID, SAME_UPPER or SAME_LOWER"
        )
    before, after = [0, 0], [0, 0]
    for i in (0, 1):
        span = dilations[i] * (kernel[i] - 1) + 1
        total = max((-(-size[i] // strides[i]) - 1) * strides[i] + span - size[i], 0)
        small, large = total // 2, total - total // 2
        before[i], after[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    return before[0], before[1], after[0], after[1]
