"""Reshape and Flatten: of raw inputs, and of integer tensors whose channels lie last."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.lowering.builder import Builder
from hwq.lowering.pending import channels
from hwq.lowering.products import QUANTIZE_CURE
from hwq.lowering.real import RealNode
from hwq.lowering.values import Flow, Pending, Raw, Shape, channels_last
from hwq.ops.reshape import Reshape
from hwq.ops.transpose import Transpose


def sizes(node: RealNode, shape: Shape, wanted: list[int]) -> Shape:
    """The new shape, without batch, of a Reshape of a tensor of `shape`.

    Raises:
        UnsupportedModel: It states a batch size, mixes the batch with other axes, or does not fit.
    """
    if any(s < -1 for s in wanted) or wanted.count(-1) > 1 or len(wanted) > 16:
        raise UnsupportedModel(node.name, node.op, f"reshapes to {wanted[:16]}", "use sizes, 0, and one -1")
    if 0 in wanted and node.attributes.get("allowzero", 0):
        raise UnsupportedModel(
            node.name, node.op, "makes an empty tensor (allowzero)", "leave allowzero away"
        )
    new = [(1, *shape)[i] if s == 0 else s for i, s in enumerate(wanted)]
    total, (batch, rest) = prod(shape), (new[0] if new else 1, new[1:])
    if batch not in (1, -1):
        cure = "state the batch as -1, 0 or 1: x.flatten(1), or x.reshape(x.shape[0], -1)"
        raise UnsupportedModel(node.name, node.op, f"reshapes to {tuple(wanted)}, a batch of {batch}", cure)
    if -1 in rest and -prod(rest) > 0:
        rest[rest.index(-1)] = total // -prod(rest)
    if not rest or prod(rest) != total:
        reason = f"reshapes {shape} to {tuple(wanted)}, which mixes the batch with other axes"
        raise UnsupportedModel(node.name, node.op, reason, "keep the batch as the first axis")
    return tuple(rest)


def to_shape(builder: Builder, node: RealNode, flow: Flow, shape: Shape) -> Flow:
    """The same numbers in the same (file) order under another shape, without batch."""
    if shape == flow.shape:
        return flow
    if isinstance(flow, Raw):
        if channels(flow.steps) > 1:
            raise UnsupportedModel(
                node.name, node.op, "reshapes after per-channel constants", "reshape first"
            )
        graph_shape, layout = channels_last(shape)
        return replace(flow, shape=shape, graph_shape=graph_shape, layout=layout)
    if len(shape) == 1:
        output = builder.add("reshape", node.name, (flow.tensor,), Reshape(shape))
        index = np.arange(shape[0]) % flow.graph_shape[-1]
        steps = tuple(s.take(index) for s in flow.steps)
        return replace(flow, tensor=output, shape=shape, graph_shape=shape, steps=steps, exclusive=False)
    return _rearranged(builder, node, flow, shape)


def _rearranged(builder: Builder, node: RealNode, flow: Pending, shape: Shape) -> Flow:
    """Back to the file's order, then to the new shape with its channels last."""
    if channels(flow.steps) > 1:
        raise UnsupportedModel(
            node.name, node.op, "reshapes a tensor with per-channel constants", QUANTIZE_CURE
        )
    tensor = flow.tensor
    moved = tuple(flow.layout.view[a] for a in flow.layout.axes)
    tensor = builder.add("reshape", f"{node.name}.unfold", (tensor,), Reshape(moved))
    back = tuple(int(a) for a in np.argsort(flow.layout.axes))
    tensor = builder.add("transpose", f"{node.name}.file_order", (tensor,), Transpose(back))
    tensor = builder.add("reshape", node.name, (tensor,), Reshape(shape))
    graph_shape, layout = channels_last(shape)
    tensor = builder.add("transpose", f"{node.name}.channels_last", (tensor,), Transpose(layout.axes))
    return replace(flow, tensor=tensor, shape=shape, graph_shape=graph_shape, layout=layout, exclusive=False)
