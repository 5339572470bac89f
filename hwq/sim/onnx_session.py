"""An onnxruntime session under construction: tensors are uint8 codes, which are values + zero point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.errors import ToolMissing
from hwq.ir import Graph, Node
from hwq.ops.concat import Concat
from hwq.ops.depth_to_space import DepthToSpace
from hwq.ops.max_pool import MaxPool
from hwq.ops.pad import Pad
from hwq.ops.reshape import Reshape
from hwq.ops.slice import Slice
from hwq.ops.transpose import Transpose
from hwq.ops.upsample import Upsample
from hwq.rounding import IntArray
from hwq.sim.int8 import zero_point
from hwq.sim.int8_products import Unit
from hwq.sim.step import Array

_MICROSOFT = "com.microsoft"


def runtime() -> Any:
    """The package.

    Raises:
        ToolMissing: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolMissing("the int8 engine needs onnxruntime: pip install onnxruntime") from error
    return onnxruntime


class Builder:
    """The nodes and constants of a session; the graph's tensors keep their names."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.wide: set[str] = set()
        """Tensors of int32 values instead of codes."""

    def constant(self, value: Any, dtype: Any) -> str:
        """An initializer."""
        from onnx import numpy_helper

        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def scalar(self, value: float, dtype: Any) -> str:
        """An initializer without axes."""
        from onnx import numpy_helper

        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
        return name

    def node(
        self, op: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """A node; its output."""
        from onnx import helper

        output = output or f"value {len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def reshape(self, x: str, shape: Sequence[int], output: str = "") -> str:
        """In place; -1 stands for what is left."""
        return self.node("Reshape", [x, self.constant(shape, np.int64)], output)

    def zero(self, tensor: str) -> int:
        """Zero point of a tensor of the graph."""
        return zero_point(self.graph.tensors[tensor].type) or 0

    def start(self, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        """The session, for any number of rows."""
        from onnx import TensorProto, helper

        def value(name: str) -> Any:
            kind = TensorProto.INT32 if name in self.wide else TensorProto.UINT8
            return helper.make_tensor_value_info(name, kind, ["n", *self.graph.tensors[name].shape])

        return self._start([value(n) for n in inputs], [value(n) for n in outputs])

    def start_fixed(self, x: Sequence[int], y: Sequence[int]) -> Any:
        """The session of codes ``x`` to codes ``y``, of these shapes."""
        from onnx import TensorProto, helper

        values = [helper.make_tensor_value_info(n, TensorProto.UINT8, s) for n, s in (("x", x), ("y", y))]
        return self._start(values[:1], values[1:])

    def _start(self, inputs: list[Any], outputs: list[Any]) -> Any:
        from onnx import helper

        package = runtime()
        options = package.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = package.GraphOptimizationLevel.ORT_DISABLE_ALL
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
        graph = helper.make_graph(self.nodes, "segment", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return package.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


@dataclass(frozen=True)
class QLinear:
    """``saturate(rint(float32(acc + bias) · scale) + zero point)`` of codes (N, H, W, C).

    Attributes:
        weight: (kernel_h, kernel_w, c_in / groups, c_out).
        bias: (c_out,).
        scale: float32 (c_out,).
        zero: Zero point of the input.
        base: Zero point of the output.
        signed: Whether the weights are int8; else they are uint8 with the zero point 128.
    """

    weight: IntArray
    bias: IntArray
    scale: Array
    zero: int = 0
    base: int = 0
    signed: bool = True

    def add(self, builder: Builder, x: str, output: str = "", **attributes: Any) -> str:
        """The node, with attributes of ONNX Conv; its output."""
        kind, middle = (np.int8, 0) if self.signed else (np.uint8, 128)
        one = builder.scalar(1, np.float32)
        inputs = [x, one, builder.scalar(self.zero, np.uint8)]
        inputs.append(builder.constant(self.weight.transpose(3, 2, 0, 1) + middle, kind))
        inputs.append(builder.constant(self.scale, np.float32))
        inputs += [builder.constant(np.full(len(self.bias), middle), kind), one]
        inputs += [builder.scalar(self.base, np.uint8), builder.constant(self.bias, np.int32)]
        attributes |= {"kernel_shape": self.weight.shape[:2], "channels_last": 1}
        return builder.node("QLinearConv", inputs, output, _MICROSOFT, **attributes)


def product(builder: Builder, unit: Unit) -> None:
    """A unit's nodes."""
    if unit.rescale is None:
        _matrix_product(builder, unit)
        return
    conv, found, tiles = unit.product.conv, unit.rescale, unit.product.tiles
    kernel = QLinear(
        np.tile(conv.weight * found.gain, tiles),
        np.tile(found.bias + found.gain * unit.product.shift, tiles),
        np.tile(found.scale, tiles),
        unit.product.zero,
        unit.base,
        unit.signed,
    )
    x = _stacked(builder, unit) if unit.product.rows else unit.product.inputs[0]
    sizes: dict[str, Any] = {"strides": conv.strides, "pads": conv.pads, "dilations": conv.dilations}
    y = kernel.add(builder, x, group=conv.groups * tiles, **sizes)
    if unit.top is not None and (unit.base or found.most() > unit.top):
        ends = [builder.scalar(end, np.uint8) for end in (unit.base, unit.base + unit.top)]
        y = builder.node("Clip", [y, *ends])
    output = unit.nodes[-1].output
    builder.reshape(y, [-1, *builder.graph.tensors[output].shape], output)


def _stacked(builder: Builder, unit: Unit) -> str:
    """(1, inputs, rows, channels)."""
    conv = unit.product.conv
    shape = [1, 1, -1, conv.weight.shape[2] * conv.groups * unit.product.tiles]
    rows = [builder.reshape(x, shape) for x in unit.product.inputs]
    return rows[0] if len(rows) == 1 else builder.node("Concat", rows, axis=1)


def _matrix_product(builder: Builder, unit: Unit) -> None:
    """To int32."""
    matrix, output = unit.product.matrix, unit.nodes[-1].output
    kind, middle = (np.int8, 0) if unit.signed else (np.uint8, 128)
    x = builder.reshape(unit.product.inputs[0], [-1, len(matrix)])
    inputs = [x, builder.constant(matrix + middle, kind)]
    inputs += [builder.scalar(unit.product.zero, np.uint8), builder.scalar(middle, kind)]
    y = builder.node("MatMulInteger", inputs)
    builder.reshape(y, [-1, *builder.graph.tensors[output].shape], output)
    builder.wide.add(output)


# --- ops that move codes, or choose among them ---


def _max_pool(builder: Builder, node: Node, params: MaxPool) -> None:
    sizes = {"kernel_shape": params.kernel, "strides": params.strides, "pads": params.pads}
    builder.node("NhwcMaxPool", node.inputs, node.output, _MICROSOFT, dilations=params.dilations, **sizes)


def _reshape(builder: Builder, node: Node, params: Reshape) -> None:
    builder.reshape(node.inputs[0], [-1, *params.shape], node.output)


def _transpose(builder: Builder, node: Node, params: Transpose) -> None:
    builder.node("Transpose", node.inputs, node.output, perm=[0, *(a + 1 for a in params.axes)])


def _concat(builder: Builder, node: Node, params: Concat) -> None:
    builder.node("Concat", node.inputs, node.output, axis=params.axis + 1)


def _slice(builder: Builder, node: Node, params: Slice) -> None:
    numbers = (params.start, params.stop, params.axis + 1, params.step)
    constants = [builder.constant([number], np.int64) for number in numbers]
    builder.node("Slice", [node.inputs[0], *constants], node.output)


def _pad(builder: Builder, node: Node, params: Pad) -> None:
    widths = [[0, 0], *map(list, params.pads)]
    pads = builder.constant([w[i] for i in (0, 1) for w in widths], np.int64)
    inputs = [node.inputs[0], pads]
    if params.mode == "constant":
        inputs.append(
            builder.scalar(
                params.value + builder.zero(node.output) if any(map(any, params.pads)) else 0, np.uint8
            )
        )
    builder.node("Pad", inputs, node.output, mode=params.mode)


def _upsample(builder: Builder, node: Node, params: Upsample) -> None:
    h, w, c = builder.graph.tensors[node.inputs[0]].shape
    x = builder.reshape(node.inputs[0], [-1, h, 1, w, 1, c])
    ones = builder.constant([1, 1, params.factors[0], 1, params.factors[1], 1], np.int64)
    x = builder.node("Expand", [x, ones])
    builder.reshape(x, [-1, h * params.factors[0], w * params.factors[1], c], node.output)


def _depth_to_space(builder: Builder, node: Node, params: DepthToSpace) -> None:
    h, w, c = builder.graph.tensors[node.inputs[0]].shape
    b, first = params.block, params.mode == "DCR"
    rest = c // b**2
    x = builder.reshape(node.inputs[0], [-1, h, w, b, b, rest] if first else [-1, h, w, rest, b, b])
    x = builder.node("Transpose", [x], perm=(0, 1, 3, 2, 4, 5) if first else (0, 1, 4, 2, 5, 3))
    builder.reshape(x, [-1, h * b, w * b, rest], node.output)


MOVES: dict[type, Callable[[Builder, Node, Any], None]] = {
    MaxPool: _max_pool,
    Reshape: _reshape,
    Transpose: _transpose,
    Concat: _concat,
    Slice: _slice,
    Pad: _pad,
    Upsample: _upsample,
    DepthToSpace: _depth_to_space,
}
"""By parameters; all codes that such a node reads and makes have one zero point."""
