"""MatMul, Gemm, Conv and ConvTranspose: products of a pending integer tensor with weights, or with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd, at, exact_array, nearest
from hwq.lowering import constants
from hwq.lowering.builder import Builder
from hwq.lowering.integers import MAX_BITS, collected, common_unit, constant, linear, placed, rescaled, single
from hwq.lowering.layouts import as_is, image
from hwq.lowering.pending import Affine, Steps, scale_by, shift_by
from hwq.lowering.real import RealNode
from hwq.lowering.values import Constant, Pending, QuantizedConstant, Value, exact_floats
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.matmul import MatMul
from hwq.ops.window import Pads
from hwq.rounding import IntArray

Inputs = list[Any]


@dataclass(frozen=True)
class Operand:
    """An activation that enters a product: real = unit[group]·mult[channel]·q + offset[channel].

    Attributes:
        value: The tensor.
        unit: One, or one a group of channels.
        mult: Integer factors that go into the weights, one a channel.
        offset: One, or one a channel.
    """

    value: Pending
    unit: ExactArray
    mult: IntArray
    offset: ExactArray


def weights(node: RealNode, value: Value | None) -> QuantizedConstant:
    """A quantised constant."""
    if isinstance(value, Constant):
        cure = "use a layer with a weight quantiser (qnn.QuantLinear, qnn.QuantConv2d)"
        raise UnsupportedModel(node.name, node.op, "its weights are not quantised", cure)
    if not isinstance(value, QuantizedConstant):
        cure = "use constant weights; two computed tensors can only be multiplied by MatMul"
        raise UnsupportedModel(node.name, node.op, "its weights are computed", cure)
    if value.codes.size == 0:
        raise UnsupportedModel(
            node.name, node.op, f"its weight of shape {value.codes.shape} is empty", "check the export"
        )
    return value


def operand(builder: Builder, node: RealNode, x: Pending, groups: int = 1) -> Operand:
    """Scales a channel become one unit a group, and integer factors of the weights."""
    x, scale, offset = linear(builder, node, x)
    channels = x.graph_shape[-1]
    if len(scale) == 1:
        return Operand(x, scale, np.ones(channels, dtype=np.int64), offset)
    if channels % groups:
        raise UnsupportedModel(
            node.name, node.op, f"{groups} groups of {channels} channels", "check the export"
        )
    size = channels // groups
    units, factors = [], []
    for g in range(groups):
        found = common_unit([at(scale, c) for c in range(g * size, (g + 1) * size)])
        if found is None or max(map(abs, found[1])).bit_length() > MAX_BITS:
            cure = "use one scale a tensor for activations that enter a matrix product or convolution"
            raise UnsupportedModel(
                node.name, node.op, "the scales of its input's channels have no common unit", cure
            )
        units.append(found[0])
        factors += found[1]
    return Operand(x, collected(units), np.array(factors, dtype=np.int64), offset)


def _output_scale(node: RealNode, scale: np.ndarray[Any, Any], axis: int) -> ExactArray:
    """The weight scale, one element or one an output channel (`axis`)."""
    rows = np.moveaxis(scale.astype(np.float64), axis, 0).reshape(scale.shape[axis], -1)
    if rows.size and not (rows == rows[:, :1]).all():
        cure = "use one weight scale a tensor or an output channel"
        raise UnsupportedModel(node.name, node.op, "its weight scale varies along the inputs", cure)
    column: ExactArray = rows[:1, 0] if (rows[:, 0] == rows[0, 0]).all() else rows[:, 0]
    return np.array(column)


def _product_steps(x: Operand, weight_scale: ExactArray, columns: IntArray, groups: int) -> Steps:
    """Meaning of the integer sums: ``unit·s_w·acc + s_w·Σ offset·w``; columns are weights (n_in / groups, n_out)."""
    n_out = columns.shape[1]
    many = 1 if len(x.unit) == len(weight_scale) == 1 else n_out
    share = n_out // groups
    gains = [at(x.unit, c // share) * at(weight_scale, c) for c in range(many)]
    factor = nearest(exact_array(gains))
    exact = all(g == float(f) for g, f in zip(gains, factor, strict=True))
    gain = factor if exact else exact_array(gains)
    if all(not Surd.of(v).terms for v in x.offset.tolist()):
        return (scale_by(gain),)
    spread = np.resize(nearest(x.offset), x.value.graph_shape[-1])
    taps = columns.reshape(-1, len(spread) // groups, n_out)
    shifts, hidden = [], np.zeros(n_out)
    for c in range(n_out):
        first = c // share * (len(spread) // groups)
        sums = taps[:, :, c].sum(axis=0)
        if len(x.offset) == 1:
            total = at(x.offset, 0) * int(sums.sum())
        else:
            total = sum((at(x.offset, first + i) * int(s) for i, s in enumerate(sums)), Surd())
        shifts.append(total * at(weight_scale, c))
        part = np.abs(spread[first : first + len(sums)])
        hidden[c] = (np.abs(taps[:, :, c]) * part).sum() * float(at(weight_scale, c))
    return (Affine(gain, exact_array(shifts), hidden),)


def _bias_steps(node: RealNode, bias: Value | None, channels: int) -> Steps:
    if bias is None:
        return ()
    values = constant(node, bias, "bias")
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
    if weight.codes.ndim != 2 or not x.shape or x.shape[-1] != weight.codes.shape[0]:
        reason = f"a {x.shape} activation times a {weight.codes.shape} weight"
        raise UnsupportedModel(node.name, node.op, reason, "use a 2-D weight that fits the last axis")
    if len(x.shape) == 1:
        x = placed(builder, node, x, (x.shape, x.layout))
        rows = weight.codes[x.layout.index()]
    else:
        x = placed(builder, node, x, as_is(x.shape))
        rows = weight.codes
    entry = operand(builder, node, x)
    folded = np.ascontiguousarray(rows * entry.mult[:, None])
    output = builder.add("dense", node.name, (entry.value.tensor,), Dense(folded))
    scale = np.broadcast_to(weight.scale, weight.codes.shape)
    steps = _product_steps(entry, _output_scale(node, scale, 1), rows, 1)
    if gain != 1.0:
        steps = (*steps, scale_by(np.array([gain])))
    steps += _bias_steps(node, bias, rows.shape[1])
    shape = (*x.shape[:-1], rows.shape[1])
    return Pending(output, shape, *as_is(shape), steps, exclusive=True)


def matmul(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """A product with quantised weights on the right or left, or of two computed tensors."""
    first, second = inputs
    if isinstance(first, (Constant, QuantizedConstant)):
        return _from_left(builder, node, weights(node, first), single(builder, node, second))
    if isinstance(second, (Constant, QuantizedConstant)):
        return dense(builder, node, single(builder, node, first), weights(node, second))
    a, b = (single(builder, node, v) for v in inputs)
    if len(a.shape) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        reason = f"a {a.shape} times a {b.shape} tensor"
        raise UnsupportedModel(node.name, node.op, reason, "use matrices with equal leading axes")
    a, b = (placed(builder, node, v, as_is(v.shape)) for v in (a, b))
    a, b = rescaled(builder, node, a, one_unit=True), rescaled(builder, node, b, one_unit=False)
    output = builder.add("matmul", node.name, (a.tensor, b.tensor), MatMul())
    left, right = (v.steps[0].factor for v in (a, b))  # type: ignore[attr-defined]
    unit = collected([at(left, 0) * at(right, c) for c in range(len(right))])
    shape = builder.tensors[output].shape
    return Pending(output, shape, *as_is(shape), (scale_by(unit),))


def _from_left(builder: Builder, node: RealNode, weight: QuantizedConstant, x: Pending) -> Pending:
    """``W @ x`` as ``(xᵀ @ Wᵀ)ᵀ``."""
    from hwq.lowering.shapes import swap_last

    if len(x.shape) < 2:
        raise UnsupportedModel(
            node.name, node.op, "multiplies along the batch axis", "put the weights second"
        )
    turned = weights(node, constants.fold("Transpose", {}, [weight]))
    return swap_last(builder, node, dense(builder, node, swap_last(builder, node, x), turned))


def gemm(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``alpha·x @ W + beta·C``."""
    x, weight = single(builder, node, inputs[0]), weights(node, inputs[1])
    attributes = node.attributes
    if len(x.shape) != 1:
        raise UnsupportedModel(
            node.name, node.op, f"of a tensor of shape {x.shape}", "flatten it before, or use MatMul"
        )
    if attributes.get("transA", 0):
        raise UnsupportedModel(
            node.name, node.op, "transposes the batch axis (transA)", "export without transA"
        )
    if attributes.get("transB", 0):
        weight = weights(node, constants.fold("Transpose", {}, [weight]))
    bias = inputs[2] if len(inputs) > 2 else None
    beta = float(attributes.get("beta", 1.0))
    if isinstance(bias, (Constant, QuantizedConstant)) and beta != 1.0:
        bias = constants.fold("Mul", {}, [bias, Constant(np.array(beta))])
    return dense(builder, node, x, weight, bias, float(attributes.get("alpha", 1.0)))


# --- convolutions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """Weights and their scales (out, in / groups, kernel_h, kernel_w), and how they slide."""

    codes: IntArray
    scale: np.ndarray[Any, Any]
    strides: tuple[int, int]
    pads: Pads
    dilations: tuple[int, int]
    groups: int
    input_dilations: tuple[int, int] = (1, 1)


def conv(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """1-D or 2-D; file weights (out, in / groups, kernel...), or channels last (out, kernel..., in / groups)."""
    weight = weights(node, inputs[1])
    x, codes, scale = _operands(builder, node, inputs[0], weight)
    if node.channels_last:
        codes, scale = codes.transpose(0, 3, 1, 2), scale.transpose(0, 3, 1, 2)
    kernel = (codes.shape[2], codes.shape[3])
    strides, dilations = (window(node, key, len(x.shape) - 1) for key in ("strides", "dilations"))
    _check_kernel(node, kernel, len(x.shape) - 1)
    pads = resolve_pads(node, (x.graph_shape[0], x.graph_shape[1]), kernel, strides, dilations)
    groups = _groups(node, codes.shape[0])
    bias = inputs[2] if len(inputs) > 2 else None
    return _convolve(builder, node, x, Kernel(codes, scale, strides, pads, dilations, groups), bias)


def conv_transpose(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """As a convolution of the input with zeros between its elements; file weights (in, out / groups, kernel...)."""
    x, codes, scale = _operands(builder, node, inputs[0], weights(node, inputs[1]))
    axes = len(x.shape) - 1
    kernel = (codes.shape[2], codes.shape[3])
    strides, dilations = (window(node, key, axes) for key in ("strides", "dilations"))
    extra = _pair(node, "output_padding", node.attributes.get("output_padding", [0] * axes), axes, 0)
    _check_kernel(node, kernel, axes)
    groups = _groups(node, codes.shape[0])
    pads = _transposed_pads(node, (x.graph_shape[0], x.graph_shape[1]), kernel, strides, dilations, extra)
    span = tuple(d * (k - 1) for k, d in zip(kernel, dilations, strict=True))
    around = tuple(span[i % 2] - pads[i] + (extra[i - 2] if i > 1 else 0) for i in range(4))
    if min(around) < 0:
        raise UnsupportedModel(node.name, node.op, f"pads {pads} exceed the kernel", "use smaller pads")
    turned = [
        np.flip(a.reshape(groups, -1, *a.shape[1:]).swapaxes(1, 2), (3, 4)).reshape(
            -1, len(a) // groups, *kernel
        )
        for a in (codes, scale)
    ]
    slides = Kernel(
        turned[0], turned[1], (1, 1), (around[0], around[1], around[2], around[3]), dilations, groups, strides
    )
    return _convolve(builder, node, x, slides, inputs[2] if len(inputs) > 2 else None)


def _operands(
    builder: Builder, node: RealNode, value: Value | None, weight: QuantizedConstant
) -> tuple[Pending, IntArray, np.ndarray[Any, Any]]:
    """The image (H, W, C), and codes and scales with four axes: a signal is an image of height one."""
    x = single(builder, node, value)
    codes, scale = weight.codes, np.broadcast_to(weight.scale, weight.codes.shape)
    if len(x.shape) not in (2, 3) or codes.ndim != len(x.shape) + 1:
        reason = f"a {codes.shape} weight on a tensor of shape {x.shape}"
        raise UnsupportedModel(node.name, node.op, reason, "1-D and 2-D convolutions are supported")
    if codes.ndim == 3:
        codes, scale = (np.expand_dims(a, 1 if node.channels_last else 2) for a in (codes, scale))
    return placed(builder, node, x, image(x.shape, last=node.channels_last)), codes, scale


def _groups(node: RealNode, channels: int) -> int:
    groups = node.attributes.get("group", 1)
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise UnsupportedModel(
            node.name, node.op, f"{groups} groups of {channels} channels", "check the export"
        )
    return groups


def _convolve(builder: Builder, node: RealNode, x: Pending, kernel: Kernel, bias: Value | None) -> Pending:
    entry = operand(builder, node, x, kernel.groups)
    padded = any(kernel.pads) or kernel.input_dilations != (1, 1)
    if padded and any(Surd.of(v).terms for v in entry.offset.tolist()):
        whole = rescaled(builder, node, entry.value, one_unit=False)
        entry = operand(builder, node, whole, kernel.groups)
    n_out, per_group = kernel.codes.shape[:2]
    if per_group * kernel.groups != x.graph_shape[-1]:
        reason = f"a {kernel.codes.shape} weight in {kernel.groups} groups on {x.graph_shape[-1]} channels"
        raise UnsupportedModel(node.name, node.op, reason, "check the export")
    spread = entry.mult.reshape(kernel.groups, 1, per_group, 1, 1)
    factors = np.broadcast_to(spread, (kernel.groups, n_out // kernel.groups, per_group, 1, 1))
    folded = (kernel.codes * factors.reshape(n_out, per_group, 1, 1)).transpose(2, 3, 1, 0)
    params = Conv(
        np.ascontiguousarray(folded),
        kernel.strides,
        kernel.pads,
        kernel.dilations,
        kernel.groups,
        kernel.input_dilations,
    )
    output = builder.add("conv", node.name, (entry.value.tensor,), params)
    columns = kernel.codes.transpose(2, 3, 1, 0).reshape(-1, n_out)
    steps = _product_steps(entry, _output_scale(node, kernel.scale, 0), columns, kernel.groups)
    steps += _bias_steps(node, bias, n_out)
    shape = file_image(builder.tensors[output].shape, len(x.shape), last=node.channels_last)
    return Pending(output, shape, *image(shape, last=node.channels_last), steps, exclusive=True)


def file_image(shape: tuple[int, ...], rank: int, *, last: bool) -> tuple[int, ...]:
    """The file's shape of an image (H, W, C), or of a signal if its rank is two."""
    h, w, c = shape
    sizes = (h, w) if rank == 3 else (w,)
    return (*sizes, c) if last else (c, *sizes)


# --- windows -------------------------------------------------------------------------------------


def window(node: RealNode, key: str, axes: int) -> tuple[int, int]:
    """Strides, dilations or kernel as (height, width), one where the file is silent.

    Raises:
        UnsupportedModel: Not as many positive integers as there are axes.
    """
    return _pair(node, key, node.attributes.get(key) or [1] * axes, axes, 1)


def _pair(node: RealNode, key: str, given: Any, axes: int, lowest: int) -> tuple[int, int]:
    values = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if (
        len(values) != axes
        or axes not in (1, 2)
        or not all(isinstance(v, int) and v >= lowest for v in values)
    ):
        kind = "positive" if lowest else "non-negative"
        words = "two" if axes == 2 else "one"
        reason = f"{key} {values[:8]} is not {words} {kind} integer{'s' if axes == 2 else ''}"
        raise UnsupportedModel(node.name, node.op, reason, "use 1-D or 2-D windows")
    return (1 if lowest else 0, values[0]) if axes == 1 else (values[0], values[1])


def _check_kernel(node: RealNode, kernel: tuple[int, int], axes: int) -> None:
    if "kernel_shape" in node.attributes and window(node, "kernel_shape", axes) != kernel:
        reason = f"kernel_shape {tuple(node.attributes['kernel_shape'])} is not that of its weight, {kernel}"
        raise UnsupportedModel(node.name, node.op, reason, "export the model again")


def resolve_pads(
    node: RealNode,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> Pads:
    """Top, left, bottom, right from `pads` or `auto_pad`."""
    if (mode := _auto_pad(node)) == "NOTSET":
        return _given_pads(node)
    if mode == "VALID":
        return 0, 0, 0, 0
    totals = [
        max((-(-size[i] // strides[i]) - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - size[i], 0)
        for i in (0, 1)
    ]
    return _halves(totals, larger_last=mode == "SAME_UPPER")


def _auto_pad(node: RealNode) -> str:
    mode = str(node.attributes.get("auto_pad", "NOTSET"))
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedModel(
            node.name, node.op, f"auto_pad '{mode}'", "use NOTSET, VALID, SAME_UPPER or SAME_LOWER"
        )
    return mode


def _given_pads(node: RealNode) -> Pads:
    pads = tuple(node.attributes.get("pads") or (0, 0, 0, 0))
    if len(pads) == 2:
        pads = (0, pads[0], 0, pads[1])
    if len(pads) != 4 or not all(isinstance(p, int) and p >= 0 for p in pads):
        raise UnsupportedModel(node.name, node.op, f"pads {pads}", "use two pads an axis, none negative")
    return pads[0], pads[1], pads[2], pads[3]


def _halves(totals: list[int], *, larger_last: bool) -> Pads:
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    before, after = (small, large) if larger_last else (large, small)
    return before[0], before[1], after[0], after[1]


def _transposed_pads(
    node: RealNode,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    extra: tuple[int, int],
) -> Pads:
    """Pads of a transposed convolution: given, or from the output's size (ONNX ConvTranspose)."""
    mode, given = _auto_pad(node), node.attributes.get("output_shape")
    if given is None and mode in ("NOTSET", "VALID"):
        return _given_pads(node) if mode == "NOTSET" else (0, 0, 0, 0)
    axes = 1 if size[0] == 1 and given is not None and len(given) == 1 else 2
    wanted = tuple(s * t for s, t in zip(size, strides, strict=True))
    if given is not None:
        wanted = _pair(node, "output_shape", given, axes, 1)
    full = [strides[i] * (size[i] - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    return _halves(
        [max(f - w, 0) for f, w in zip(full, wanted, strict=True)], larger_last=mode == "SAME_UPPER"
    )


HANDLERS: dict[str, Callable[[Builder, RealNode, Inputs], Value]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
}
