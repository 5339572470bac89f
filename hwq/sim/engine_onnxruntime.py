"""The optional int8 engine: runs of layers as one onnxruntime session each, exactly; NumPy runs the rest.

A convolution and its requantisation are one QLinearConv on uint8 codes (value + zero point), which computes
``saturate(rint(float32(acc + bias[c]) · scale[c]) + zero point)``. That this gives the right level is proven at every
boundary with the same float32 arithmetic, and the kernel itself is asked for every one of them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from hwq.errors import ToolMissing
from hwq.ir import Graph, IntType, Node, Tensor
from hwq.ops.concat import Concat
from hwq.ops.conv import Conv, channel_bounds
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.reshape import Reshape
from hwq.ops.spec import product_bounds
from hwq.ops.transpose import Transpose
from hwq.rounding import IntArray
from hwq.sim.activations import Bounds, fit_line
from hwq.sim.levels import Levels, levels
from hwq.sim.step import Array, Step, ordered, requantiser, storage

_PAIR_LIMIT = 32767
"""Kernels without VNNI add two products of uint8 and int8 in int16, and saturate."""
_EXACT = 2**24
_NEAR = 8


@dataclass(frozen=True)
class _Layer:
    """A product and its requantisation as QLinearConv computes it.

    Attributes:
        weight: (kernel_h, kernel_w, c_in / groups, c_out), multiplied by `gain` to refine the bias.
        bias: (c_out,).
        scale: float32 (c_out,).
        gain: What the weights were multiplied by.
        edges: Accumulators (c_out, 2 K) before the gain at which the kernel must give `expected`.
        expected: Levels (c_out, 2 K) of 0..top, before saturation at the top.
        base: Value of level 0.
        top: Highest level.
    """

    weight: IntArray
    bias: IntArray
    scale: Array
    gain: int
    edges: IntArray
    expected: IntArray
    base: int
    top: int


@dataclass(frozen=True)
class _Part:
    """Consecutive nodes that become ONNX nodes together."""

    nodes: tuple[Node, ...]
    add: Callable[[_Builder], None]
    layer: _Layer | None = None
    product: bool = False


def segments(graph: Graph, kept: frozenset[str]) -> tuple[Step, ...]:
    """The runs of nodes that onnxruntime does better than NumPy.

    Raises:
        ToolMissing: There is no onnxruntime.
    """
    _onnxruntime()
    parts = _parts(graph, kept)
    layers = [p.layer for p in parts if p and p.layer]
    if layers and not _probed(layers):
        parts = [None if p and p.layer else p for p in parts]
    runs: list[list[_Part]] = [[]]
    for part in parts:
        if part is None:
            runs.append([])
        else:
            runs[-1].append(part)
    return tuple(_step(graph, run, kept) for run in runs if any(p.product for p in run))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolMissing("the int8 engine needs onnxruntime: pip install onnxruntime") from error
    return onnxruntime


def zero_point(interval: IntType) -> int | None:
    """What is added to values to make uint8 codes; None if they do not fit."""
    zero = max(-interval.lo, 0)
    return zero if interval.hi + zero <= 255 else None


# --- which nodes, and with which numbers ----------------------------------------------------------


def _parts(graph: Graph, kept: frozenset[str]) -> list[_Part | None]:
    """In the order of the nodes; None where NumPy does better."""
    parts: list[_Part | None] = []
    taken: set[str] = set()
    for node in ordered(graph, kept):
        if node.name not in taken:
            part = _part(graph, node, kept)
            taken |= {n.name for n in part.nodes} if part else set()
            parts.append(part)
    return parts


def _part(graph: Graph, node: Node, kept: frozenset[str]) -> _Part | None:
    source, out = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    if any(zero_point(graph.tensors[t].type) is None for t in node.inputs):
        return None
    if isinstance(node.params, Dense | Conv):
        if following := requantiser(graph, node, kept):
            layer = solve(node, following, source, out)
            if layer and zero_point(graph.tensors[following.output].type) is not None:
                return _quantised(graph, node, following, layer)
        return _plain_dense(graph, node) if isinstance(node.params, Dense) else None
    zeros = {zero_point(graph.tensors[t].type) for t in (*node.inputs, node.output)}
    if len(zeros) > 1 or not isinstance(node.params, MaxPool | Reshape | Transpose | Concat):
        return None
    return _Part((node,), lambda builder: builder.move(node, out))


def _as_conv(params: Dense | Conv) -> Conv:
    return params if isinstance(params, Conv) else Conv(params.weight[None, None])


def solve(node: Node, following: Node, source: Tensor, out: Tensor) -> _Layer | None:
    """QLinearConv's numbers for a product and its requantisation, proven; None where there are none."""
    params, table, zero = _as_conv(node.params), levels(following, out.type), zero_point(source.type)
    if table is None or zero is None or params.input_dilations != (1, 1) or not 0 < table.count <= 255:
        return None
    if table.step != 1 and (table.count > 1 or table.step < 1):
        return None
    pair = product_bounds(params.weight[0, 0], source.type) if isinstance(node.params, Dense) else None
    lo, hi = (end[:, None] for end in pair or channel_bounds(params, source.type))
    thresholds = np.clip(np.broadcast_to(table.thresholds, (len(lo), table.count)), lo, hi + 1)
    largest = int(np.abs(params.weight).max(initial=1))
    limit = min(127, _PAIR_LIMIT // (2 * max(source.type.hi + zero, 1)))
    room = _EXACT // 2 // max(int(np.abs(hi).max()), int(np.abs(lo).max()), 1)
    for gain in sorted({1, max(1, min(limit // largest, room))}, reverse=True):
        if largest * gain > limit:
            return None
        if table.count == 1:
            bias, scale = gain * (1 - thresholds[:, 0]), np.full(len(lo), table.step, np.float32)
        else:
            bias, scale = _line(replace(table, thresholds=thresholds), gain, lo, hi)
        layer = _proof(params.weight * gain, bias, scale, gain, thresholds, (lo, hi), table)
        if layer:
            return layer
    return None


def _line(table: Levels, gain: int, lo: IntArray, hi: IntArray) -> tuple[IntArray, Array]:
    """Integer bias and float32 scale a channel.

    With u = 1 / scale, ``gain·(T_k - 1) + bias < (k - 1/2)·u <= gain·T_k + bias``: of the integers around the bias of
    the best real line, the one that leaves u the most room.
    """
    m, b = fit_line(table, (lo, hi))
    bias = np.rint(gain * (b - 0.5) / m).astype(np.int64)[:, None] + np.arange(-_NEAR, _NEAR + 1)
    k = np.arange(1, table.count + 1) - 0.5
    thresholds = table.thresholds[:, None, :]
    top, bottom = ((gain * (thresholds - d) + bias[:, :, None]) / k for d in (0, 1))
    most = np.where(thresholds <= hi[:, None], top, np.inf).min(axis=2)
    least = np.where(thresholds > lo[:, None], bottom, 0).max(axis=2)
    most = np.minimum(most, np.maximum(2 * least, _EXACT))
    best = (most - least).argmax(axis=1)[:, None]
    u = (np.take_along_axis(most, best, 1) + np.take_along_axis(least, best, 1))[:, 0] / 2
    return np.take_along_axis(bias, best, 1)[:, 0], (1 / np.maximum(u, 1e-30)).astype(np.float32)


def _proof(
    weight: IntArray,
    bias: IntArray,
    scale: Array,
    gain: int,
    thresholds: IntArray,
    bounds: Bounds,
    table: Levels,
) -> _Layer | None:
    """The layer, if float32 gives at least level k at T_k and less at T_k - 1 wherever these occur."""
    (lo, hi), step = bounds, table.step
    level = step * np.arange(1, thresholds.shape[1] + 1)
    at, before = (kernel(gain * (thresholds - d) + bias[:, None], scale[:, None]) for d in (0, 1))
    met, missed = thresholds <= hi, thresholds > lo
    if ((at < level) & met).any() or ((before > level - step) & missed).any():
        return None
    edges = np.concatenate([np.minimum(thresholds, hi), np.maximum(thresholds - 1, lo)], axis=1)
    expected = kernel(gain * edges + bias[:, None], scale[:, None])
    if max(int(np.abs(gain * edges + bias[:, None]).max()), int(np.abs(bias).max())) >= 2**30:
        return None
    return _Layer(weight, bias, scale, gain, edges, expected, table.base, int(level[-1]))


def kernel(acc: IntArray, scale: Array) -> IntArray:
    """What QLinearConv makes of an accumulator with its bias, before the zero point, saturated to 0..255."""
    with np.errstate(over="ignore"):
        return np.clip(np.rint(acc.astype(np.float32) * scale), 0, 255).astype(np.int64)


# --- the sessions ---------------------------------------------------------------------------------


class _Builder:
    """Collects the ONNX nodes of one session; tensors keep their names, held as uint8 codes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.wide: set[str] = set()
        """Tensors of int32 values."""

    def constant(self, value: Any, dtype: Any) -> str:
        from onnx import numpy_helper

        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def reshape(self, x: str, shape: Sequence[int], output: str) -> str:
        return self.node("Reshape", [x, self.constant(shape, np.int64)], output)

    def zero(self, tensor: str) -> int:
        return zero_point(self.graph.tensors[tensor].type) or 0

    def move(self, node: Node, out: Tensor) -> None:
        """Ops that only move, or choose among, codes of one zero point."""
        params, name = node.params, node.output
        if isinstance(params, MaxPool):
            sizes = {"kernel_shape": params.kernel, "strides": params.strides, "pads": params.pads}
            self.node("NhwcMaxPool", node.inputs, name, "com.microsoft", dilations=params.dilations, **sizes)
        elif isinstance(params, Transpose):
            self.node("Transpose", node.inputs, name, perm=[0, *(a + 1 for a in params.axes)])
        elif isinstance(params, Concat):
            self.node("Concat", node.inputs, name, axis=params.axis + 1)
        else:
            self.reshape(node.inputs[0], [-1, *out.shape], name)


def _quantised(graph: Graph, node: Node, following: Node, layer: _Layer) -> _Part | None:
    name, out = following.output, graph.tensors[following.output]
    zero = layer.base + (zero_point(out.type) or 0)
    if not zero >= 0 or zero + layer.top > 255:
        return None
    params = _as_conv(node.params)

    def add(builder: _Builder) -> None:
        x = node.inputs[0]
        if isinstance(node.params, Dense):
            x = builder.reshape(x, [1, -1, 1, params.weight.shape[2]], f"{name} rows")
        one = builder.constant(1.0, np.float32)
        weight, weight_zero = layer.weight.transpose(3, 2, 0, 1), 0
        inputs = [x, one, builder.constant(builder.zero(node.inputs[0]), np.uint8)]
        inputs += [builder.constant(weight, np.int8), builder.constant(layer.scale, np.float32)]
        inputs += [builder.constant(np.full(len(weight), weight_zero), np.int8), one]
        inputs += [builder.constant(zero, np.uint8), builder.constant(layer.bias, np.int32)]
        attributes = {
            "kernel_shape": params.kernel,
            "strides": params.strides,
            "pads": params.pads,
            "dilations": params.dilations,
            "group": params.groups,
            "channels_last": 1,
        }
        y = builder.node("QLinearConv", inputs, f"{name} levels", "com.microsoft", **attributes)
        ends = [builder.constant(end, np.uint8) for end in (zero, zero + layer.top)]
        y = builder.node("Clip", [y, *ends], f"{name} codes")
        builder.reshape(y, [-1, *out.shape], name)

    return _Part((node, following), add, layer, product=True)


def _plain_dense(graph: Graph, node: Node) -> _Part | None:
    """Accumulators in int32."""
    weight, source, out = node.params.weight, graph.tensors[node.inputs[0]], graph.tensors[node.output]
    code = source.type.hi + (zero_point(source.type) or 0)
    largest = int(np.abs(weight).max(initial=0))
    if largest > 127 or 2 * code * largest > _PAIR_LIMIT or storage(out.type) is np.int64:
        return None

    def add(builder: _Builder) -> None:
        zero = builder.constant(builder.zero(node.inputs[0]), np.uint8)
        inputs = [node.inputs[0], builder.constant(weight, np.int8), zero]
        builder.node("MatMulInteger", inputs, node.output)
        builder.wide.add(node.output)

    return _Part((node,), add, product=True)


def _session(builder: _Builder, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    from onnx import TensorProto, helper

    def value(name: str) -> Any:
        kind = TensorProto.INT32 if name in builder.wide else TensorProto.UINT8
        return helper.make_tensor_value_info(name, kind, ["n", *builder.graph.tensors[name].shape])

    onnx_graph = helper.make_graph(
        builder.nodes, "segment", [value(n) for n in inputs], [value(n) for n in outputs], builder.constants
    )
    return _start(onnx_graph)


def _start(onnx_graph: Any) -> Any:
    from onnx import helper

    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=8)
    return runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _probed(layers: Sequence[_Layer]) -> bool:
    """Whether QLinearConv itself gives the expected level at every boundary of every layer."""
    from onnx import TensorProto, helper

    acc = np.concatenate([(la.gain * la.edges + la.bias[:, None]).ravel() for la in layers])
    scale = np.concatenate([np.repeat(la.scale, la.edges.shape[1]) for la in layers])
    expected = np.concatenate([la.expected.ravel() for la in layers])
    builder = _Builder(Graph("probe", (), (), (), {}))
    one, zero = builder.constant(1.0, np.float32), builder.constant(0, np.uint8)
    inputs = ["x", one, zero, builder.constant(np.zeros((len(acc), 1, 1, 1)), np.int8)]
    inputs += [builder.constant(scale, np.float32), builder.constant(np.zeros(len(acc)), np.int8), one, zero]
    inputs.append(builder.constant(acc, np.int32))
    builder.node("QLinearConv", inputs, "y", "com.microsoft", channels_last=1, kernel_shape=[1, 1])
    values = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 1, 1, size])
        for name, size in (("x", 1), ("y", len(acc)))
    ]
    session = _start(helper.make_graph(builder.nodes, "probe", values[:1], values[1:], builder.constants))
    (given,) = session.run(None, {"x": np.zeros((1, 1, 1, 1), np.uint8)})
    return bool((given.ravel() == expected).all())


def _step(graph: Graph, parts: Sequence[_Part], kept: frozenset[str]) -> Step:
    builder = _Builder(graph)
    for part in parts:
        part.add(builder)
    nodes = tuple(node for part in parts for node in part.nodes)
    made = [part.nodes[-1].output for part in parts]
    inside = {node.name for node in nodes}
    inputs = tuple(dict.fromkeys(t for part in parts for t in part.nodes[0].inputs if t not in made))
    outputs = tuple(
        t for t in made if t in kept or any(reader.name not in inside for reader in graph.consumers(t))
    )
    session = _session(builder, inputs, outputs)

    def run(*arrays: Array) -> tuple[Array, ...]:
        feeds = {n: _codes(x, builder.zero(n)) for n, x in zip(inputs, arrays, strict=True)}
        results = session.run(list(outputs), feeds)
        return tuple(
            y if n in builder.wide else _values(y, builder.zero(n), storage(graph.tensors[n].type))
            for n, y in zip(outputs, results, strict=True)
        )

    products = sum(part.product for part in parts)
    size = sum(prod(graph.tensors[t].shape) * (4 if t in builder.wide else 1) for t in outputs)
    return Step(nodes, inputs, outputs, run, f"onnxruntime int8, {products} products", None, size)


def _codes(x: Array, zero: int) -> Array:
    """Values to uint8; one byte wraps to the right code."""
    if x.dtype.itemsize > 1:
        return (x + zero).astype(np.uint8)
    x = x.view(np.uint8)
    return np.ascontiguousarray(x + np.uint8(zero) if zero else x)


def _values(y: Array, zero: int, kind: Any) -> Array:
    if np.dtype(kind).itemsize > 1:
        return np.asarray(y.astype(kind) - kind(zero))
    return np.asarray(y - np.uint8(zero) if zero else y).view(kind)
