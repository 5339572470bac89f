"""Pooling and reductions: maxima of integers, and sums of integers times an exact fraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

from hwq.errors import UnsupportedModel
from hwq.exact import at
from hwq.ir import Layout
from hwq.lowering.builder import Builder
from hwq.lowering.integers import collected, linear, monotone, placed, rescaled, single
from hwq.lowering.layouts import as_is, axis_in_graph, channels_last, image
from hwq.lowering.pending import Affine
from hwq.lowering.products import file_image, resolve_pads, window
from hwq.lowering.real import RealNode
from hwq.lowering.shapes import _axes as listed_axes
from hwq.lowering.values import Pending, Value
from hwq.ops.argmax import ArgMax
from hwq.ops.global_sum import GlobalSum
from hwq.ops.max_pool import MaxPool
from hwq.ops.sum_pool import SumPool, divisor
from hwq.ops.window import Pads, Pair

Inputs = list[Any]


def _image(builder: Builder, node: RealNode, value: Value | None) -> Pending:
    """An image (H, W, C); a signal is one of height one."""
    x = single(builder, node, value)
    if len(x.shape) not in (2, 3):
        raise UnsupportedModel(node.name, node.op, f"pools a tensor of shape {x.shape}", "pool in 1-D or 2-D")
    return placed(builder, node, x, image(x.shape, last=node.channels_last))


def _windows(node: RealNode, x: Pending) -> tuple[Pair, Pair, Pads, Pair]:
    """Kernel, strides, pads and dilations; a last window that `ceil_mode` adds lies in more padding."""
    axes = len(x.shape) - 1
    if not node.attributes.get("kernel_shape"):
        raise UnsupportedModel(node.name, node.op, "has no kernel_shape", "export the model again")
    kernel, strides, dilations = (window(node, key, axes) for key in ("kernel_shape", "strides", "dilations"))
    size = x.graph_shape[0], x.graph_shape[1]
    pads = list(resolve_pads(node, size, kernel, strides, dilations))
    for i in (0, 1) if node.attributes.get("ceil_mode", 0) else ():
        rest = size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1
        more = -rest % strides[i]
        starts_inside = rest + more < size[i] + pads[i]
        if more and starts_inside:
            pads[i + 2] += more
    return kernel, strides, (pads[0], pads[1], pads[2], pads[3]), dilations


def _made(builder: Builder, node: RealNode, tensor: str, x: Pending, steps: Any) -> Pending:
    shape = file_image(builder.tensors[tensor].shape, len(x.shape), last=node.channels_last)
    return Pending(tensor, shape, *image(shape, last=node.channels_last), steps)


def max_pool(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """The largest integer of a window; a channel that falls is negated first."""
    x = _image(builder, node, inputs[0])
    kernel, strides, pads, dilations = _windows(node, x)
    x = monotone(builder, node, x)
    tensor = builder.add("max_pool", node.name, (x.tensor,), MaxPool(kernel, strides, pads, dilations))
    return _made(builder, node, tensor, x, x.steps)


def global_max(builder: Builder, node: RealNode, inputs: Inputs) -> Pending:
    """Over the whole image."""
    x = monotone(builder, node, _image(builder, node, inputs[0]))
    kernel = x.graph_shape[0], x.graph_shape[1]
    tensor = builder.add("max_pool", node.name, (x.tensor,), MaxPool(kernel, (1, 1)))
    return _made(builder, node, tensor, x, x.steps)


def average_pool(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """The sum of a window over its size, or over the pixels in it that are no padding."""
    x = _image(builder, node, inputs[0])
    kernel, strides, pads, dilations = _windows(node, x)
    count_pads = bool(node.attributes.get("count_include_pad", 0))
    given = resolve_pads(node, (x.graph_shape[0], x.graph_shape[1]), kernel, strides, dilations)
    if count_pads and pads != given:
        cure = "pool with ceil_mode=False, or count_include_pad=False"
        raise UnsupportedModel(node.name, node.op, "ceil_mode adds windows that count padding", cure)
    params = SumPool(kernel, strides, pads, dilations, count_pads or not any(pads))
    if params.count_pads and any(pads):
        x = rescaled(builder, node, x, one_unit=False)
    x, scale, offset = linear(builder, node, x)
    tensor = builder.add("sum_pool", node.name, (x.tensor,), params)
    share = Fraction(1, divisor(params, x.graph_shape))
    factor = collected([at(scale, c) * share for c in range(len(scale))])
    return _made(builder, node, tensor, x, (Affine(factor, offset),))


def global_average(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Over the whole image."""
    rank = len(single(builder, node, inputs[0]).shape)
    axes = range(rank - 1) if node.channels_last else range(1, rank)
    return _reduced(builder, node, inputs[0], list(axes), mean=True, keep=True)


def reduction(*, mean: bool) -> Callable[[Builder, RealNode, Inputs], Value]:
    """ReduceMean, ReduceSum: axes as attribute or input."""

    def handle(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
        x = single(builder, node, inputs[0])
        rank = len(x.shape)
        axes = listed_axes(node, inputs, rank)
        if not axes:
            if node.attributes.get("noop_with_empty_axes", 0):
                return x
            raise UnsupportedModel(node.name, node.op, "reduces the batch too", "name the axes to reduce")
        return _reduced(builder, node, x, axes, mean=mean, keep=bool(node.attributes.get("keepdims", 1)))

    return handle


def _reduced(
    builder: Builder, node: RealNode, value: Value | None, axes: list[int], *, mean: bool, keep: bool
) -> Pending:
    x = single(builder, node, value)
    if any(axis_in_graph(x.shape, x.placed, a) is None for a in range(len(x.shape))):
        x = placed(builder, node, x, channels_last(x.shape))
    x, scale, offset = linear(builder, node, x)
    found = [axis_in_graph(x.shape, x.placed, a) for a in axes]
    where = tuple(sorted({a for a in found if a is not None}))
    if len(x.graph_shape) - 1 in where and max(len(scale), len(offset)) > 1:
        x = rescaled(builder, node, x, one_unit=True)
        x, scale, offset = linear(builder, node, x)
    tensor = builder.add("global_sum", node.name, (x.tensor,), GlobalSum(where))
    count = prod(x.shape[a] for a in set(axes))
    if mean:
        scale = collected([at(scale, c) * Fraction(1, count) for c in range(len(scale))])
    else:
        offset = collected([at(offset, c) * count for c in range(len(offset))])
    shape = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    shape = shape if keep else tuple(s for i, s in enumerate(shape) if i not in axes)
    view = tuple(1 if x.layout.axes.index(i) in where else s for i, s in enumerate(x.layout.view))
    graph_shape = builder.tensors[tensor].shape
    return Pending(tensor, shape, graph_shape, Layout(view, x.layout.axes), (Affine(scale, offset),))


def reduce_max(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Over the whole image."""
    x = single(builder, node, inputs[0])
    rank = len(x.shape)
    axes = sorted(listed_axes(node, inputs, rank))
    if rank not in (2, 3) or axes != list(range(1, rank)):
        reason = f"takes the maximum of {x.shape} over the axes {[a + 1 for a in axes]}"
        raise UnsupportedModel(node.name, node.op, reason, "take it over all of height and width")
    made = global_max(builder, node, [x])
    return made if node.attributes.get("keepdims", 1) else replace(made, shape=made.shape[:1])


def argmax(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Position of the largest element along an axis; the lowest of equal ones."""
    x = single(builder, node, inputs[0])
    rank = len(x.shape)
    axis = node.attributes.get("axis", 0)
    if axis not in (rank, -1):
        raise UnsupportedModel(
            node.name, node.op, f"along axis {axis} of {x.shape}", "take it along the last axis"
        )
    if node.attributes.get("select_last_index", 0):
        raise UnsupportedModel(
            node.name, node.op, "takes the last of equal elements", "use select_last_index=0"
        )
    x, scale, offset = linear(builder, node, placed(builder, node, x, as_is(x.shape)))
    if max(len(scale), len(offset)) > 1 or at(scale, 0).sign() <= 0:
        x = rescaled(builder, node, x, one_unit=True, max_bits=60)
    tensor = builder.add("argmax", node.name, (x.tensor,), ArgMax())
    shape = (*x.shape[:-1], 1)
    placed_shape = as_is(shape)
    kept = shape if node.attributes.get("keepdims", 1) else shape[:-1]
    return Pending(tensor, kept, *placed_shape, ())


HANDLERS: dict[str, Callable[[Builder, RealNode, Inputs], Value]] = {
    "ArgMax": argmax,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "MaxPool": max_pool,
    "ReduceMax": reduce_max,
    "ReduceMean": reduction(mean=True),
    "ReduceSum": reduction(mean=False),
}
