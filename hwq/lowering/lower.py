"""The walk: a real-valued network becomes an integer graph, node by node, in one pass.

Each tensor of the file is a constant, a raw input, or steps pending on an integer tensor
(`values.py`). A handler an operator extends that; nothing is rewritten afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from hwq.errors import InputError, UnsupportedModel
from hwq.ir import Graph, Port, Real, check
from hwq.lowering import affine, constants, products, quantize, shapes
from hwq.lowering.arity import check_arity, reported
from hwq.lowering.builder import Builder, Resolution
from hwq.lowering.grid import InputType
from hwq.lowering.pending import Relu, Steps, compose, scale_by, shift_by
from hwq.lowering.real import RealGraph, RealNode, RealPort
from hwq.lowering.values import (
    Constant,
    Flow,
    Pending,
    QuantizedConstant,
    Raw,
    Value,
    channels_last,
    then,
)
from hwq.ops.max_pool import MaxPool

QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")


@dataclass(frozen=True)
class Lowering:
    """An integer graph and how its quantised tensors correspond to the file's."""

    graph: Graph
    resolutions: tuple[Resolution, ...]
    outputs: tuple[OutputView, ...] = ()


@dataclass(frozen=True)
class OutputView:
    """Where the file holds an output of the graph, and the steps from its integers to it.

    Attributes:
        port: Name of the output.
        source: Tensor of the file with this content: the output, or the input of an operator that was cut.
        steps: From the integers, not composed, so that float32's error can be bounded.
    """

    port: str
    source: str
    steps: Steps


def lower(real: RealGraph, input_type: InputType | None = None) -> Lowering:
    """The integer graph with exactly the file's value for every input.

    Args:
        real: The network.
        input_type: Grid of inputs that the file does not quantise.

    Raises:
        UnsupportedModel: Naming the node, the reason and the cure.
    """
    if not any(node.op in QUANTIZERS for node in real.nodes):
        raise InputError(
            f"{real.name}: no Quant or BipolarQuant node, so this is a float model without an integer form; "
            "train it with quantised layers (Brevitas, QKeras, HGQ) and export it as QONNX"
        )
    return _Walk(real, input_type).run()


class _Walk:
    """State of one lowering."""

    def __init__(self, real: RealGraph, input_type: InputType | None) -> None:
        self.real = real
        self.input_type = input_type
        self.builder = Builder()
        self.notes: list[str] = []
        self.cut: dict[str, RealNode] = {}
        self.views: list[OutputView] = []
        self.values: dict[str, Value] = {n: Constant(v) for n, v in real.constants.items()}
        self.uses = Counter(t for node in real.nodes for t in node.inputs)
        self.readers: dict[str, list[RealNode]] = {}
        for node in real.nodes:
            for tensor in node.inputs:
                self.readers.setdefault(tensor, []).append(node)
        self.uses.update(port.name for port in real.outputs)

    def run(self) -> Lowering:
        for port in self.real.inputs:
            shape, layout = channels_last(port.shape)
            with reported(port.name, "input"):
                self.values[port.name] = self._start(
                    Raw(port.name, port.shape, port.shape, shape, layout), port
                )
        for node in self.real.nodes:
            with reported(node.name, node.op):
                self._visit(node)
        outputs: list[Port] = []
        for port in self.real.outputs:
            with reported(port.name, "output"):
                outputs.append(self._output(port))
        graph = Graph(
            name=PurePath(self.real.name).stem,
            inputs=tuple(self.builder.inputs),
            outputs=tuple(outputs),
            nodes=tuple(self.builder.nodes),
            tensors=self.builder.tensors,
            source_sha256=self.real.sha256,
            notes=tuple(self.notes),
        )
        return Lowering(check(graph), tuple(self.builder.resolutions), tuple(self.views))

    def _start(self, raw: Raw, port: RealPort) -> Flow:
        """A raw input, put on the stated grid at once if something other than its quantiser would read it."""
        if self.input_type is None or self._is_quantised(port.name):
            return raw
        node = RealNode("--input-type", port.name, (port.name,), (port.name,), {})
        return quantize.quantize_input(self.builder, raw, self.input_type.quantizer(), node, stated=True)

    def _is_quantised(self, tensor: str) -> bool:
        """Whether every path from a raw input meets a quantiser before anything but affine operators."""
        simple = ("Mul", "Add", "Sub", "Div", "Reshape", "Flatten", "Identity", "Cast", "BatchNormalization")
        open_ends, seen = [tensor], {tensor}
        while open_ends:
            for node in self.readers.get(open_ends.pop(), ()):
                if node.op in QUANTIZERS or node.op == "Shape":
                    continue
                if node.op not in simple:
                    return False
                if node.outputs[0] not in seen:
                    seen.add(node.outputs[0])
                    open_ends.append(node.outputs[0])
        return True

    def _visit(self, node: RealNode) -> None:
        check_arity(node)
        if unmade := [t for t in node.inputs if t and t not in self.values]:
            reason = f"reads '{unmade[0]}', a second output of an operator"
            raise UnsupportedModel(node.name, node.op, reason, "only first outputs are supported")
        inputs = [self.values[t] if t else None for t in node.inputs]
        if node.op == "Shape" and isinstance(inputs[0], (Raw, Pending)):
            part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
            self.values[node.outputs[0]] = Constant(np.array([1, *inputs[0].shape], dtype=np.int64)[part])
            return
        folded = [v for v in inputs if isinstance(v, (Constant, QuantizedConstant))]
        if inputs and len(folded) == len(inputs) and node.op in constants.FOLDS:
            self.values[node.outputs[0]] = self._fold(node, folded)
            return
        if node.op not in HANDLERS:
            supported = ", ".join(sorted(HANDLERS))
            raise UnsupportedModel(
                node.name, node.op, "this operator is not supported", f"supported are: {supported}"
            )
        value = HANDLERS[node.op](self, node, inputs)
        if isinstance(value, Pending):
            value = replace(value, exclusive=value.exclusive and self.uses[node.outputs[0]] == 1)
        self.values[node.outputs[0]] = value

    def _fold(self, node: RealNode, inputs: list[Constant | QuantizedConstant]) -> Value:
        try:
            return constants.fold(node.op, node.attributes, inputs)
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            cure = "fold this constant before the export"
            raise UnsupportedModel(node.name, node.op, f"cannot be folded exactly: {error}", cure) from error

    def _output(self, port: RealPort) -> Port:
        value = self.values.get(port.name)
        if not isinstance(value, Pending):
            raise InputError(
                f"output '{port.name}' does not depend on a quantised input: there is no integer graph for it"
            )
        affine = compose(value.steps)
        if affine is None:
            reason = "is the network's output, after a non-linear operator, and is not quantised"
            raise UnsupportedModel(
                port.name, "output", reason, "end the network with a linear layer or a quantiser"
            )
        cut = self.cut.get(port.name)
        self.views.append(OutputView(port.name, cut.inputs[0] if cut else port.name, value.steps))
        epilogue = cut.op if cut else ""
        return Port(value.tensor, port.name, value.shape, value.layout, real=Real(*affine), epilogue=epilogue)


# --- handlers: (walk, node, inputs) -> the value of its first output -----------------------------

Inputs = list[Any]


def _quant(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    parameters = inputs[1:]
    if not all(isinstance(p, (Constant, QuantizedConstant)) for p in parameters):
        cure = "export with constant quantiser parameters (eval mode)"
        raise UnsupportedModel(node.name, node.op, "its scale, zero point or bit width is computed", cure)
    arrays = tuple(p.values if isinstance(p, Constant) else p.exact() for p in parameters)
    value = inputs[0]
    if isinstance(value, (Constant, QuantizedConstant)):
        exact = value.exact() if isinstance(value, QuantizedConstant) else value.values
        return quantize.quantize_constant(node, exact, arrays)
    make, scale = quantize.read_quantizer(node, arrays)
    flow = affine.computed(node, value)
    quantizer = make(quantize.step_of(node, scale, flow))
    if isinstance(flow, Raw):
        return quantize.quantize_input(walk.builder, flow, quantizer, node)
    return quantize.resolve(walk.builder, flow, quantizer, node)


def _matmul(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    x, weight = products.operands(node, inputs[0], inputs[1])
    return products.dense(walk.builder, node, x, weight)


def _gemm(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    x, weight = products.operands(node, inputs[0], inputs[1])
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
        turned = constants.fold("Transpose", {}, [weight])
        weight = turned if isinstance(turned, QuantizedConstant) else weight
    bias = inputs[2] if len(inputs) > 2 else None
    beta = float(attributes.get("beta", 1.0))
    if isinstance(bias, (Constant, QuantizedConstant)) and beta != 1.0:
        bias = constants.fold("Mul", {}, [bias, Constant(np.array(beta))])
    return products.dense(walk.builder, node, x, weight, bias, float(attributes.get("alpha", 1.0)))


def _conv(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    x, weight = products.operands(node, inputs[0], inputs[1])
    return products.conv(walk.builder, node, x, weight, inputs[2] if len(inputs) > 2 else None)


def _relu(_walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    return then(affine.computed(node, inputs[0]), Relu())


def _identity(_walk: _Walk, _node: RealNode, inputs: Inputs) -> Value:
    value: Value = inputs[0]
    return value


def _dropout(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    """The identity at inference; its third input, if there is one, says whether that is so."""
    training = inputs[2] if len(inputs) > 2 else None
    if training is not None and not (isinstance(training, Constant) and not training.values.any()):
        raise UnsupportedModel(
            node.name, node.op, "is in training mode", "call model.eval() before the export"
        )
    return _identity(walk, node, inputs)


def _cast(_walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    if node.attributes.get("to") not in constants.FLOATS:
        cure = "remove the Cast, or quantise with a Quant node; a computed tensor can be cast to float32 or float64"
        raise UnsupportedModel(
            node.name, node.op, f"rounds a computed tensor (to={node.attributes.get('to')})", cure
        )
    return affine.computed(node, inputs[0])


def _softmax(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    flow = affine.computed(node, inputs[0])
    if node.outputs[0] not in {p.name for p in walk.real.outputs} or walk.uses[node.outputs[0]] > 1:
        raise UnsupportedModel(
            node.name, node.op, "stands inside the network", "a Softmax is possible only at the end"
        )
    if len(flow.shape) != 1 or node.attributes.get("axis", -1) not in (-1, 1):
        raise UnsupportedModel(
            node.name, node.op, f"over an axis of {flow.shape}", "apply it to a vector of classes"
        )
    walk.notes.append(f"final {node.op} '{node.name}' is cut: the output is its input")
    walk.cut[node.outputs[0]] = node
    return flow


def _max_pool(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    x, attributes = affine.computed(node, inputs[0]), node.attributes
    if isinstance(x, Raw) or len(x.shape) != 3:
        raise UnsupportedModel(
            node.name, node.op, "needs a quantised (channels, height, width) tensor", products.QUANTIZE_CURE
        )
    kernel = tuple(attributes.get("kernel_shape", ()))
    strides, dilations = tuple(attributes.get("strides", (1, 1))), tuple(attributes.get("dilations", (1, 1)))
    if len(kernel) != 2 or attributes.get("ceil_mode", 0) or attributes.get("storage_order", 0):
        raise UnsupportedModel(
            node.name, node.op, "ceil_mode, storage_order or not 2-D", "pool in 2-D with ceil_mode=False"
        )
    products.check_window(node, kernel, strides, dilations)
    pads = products.resolve_pads(node, x.shape[1:], kernel, strides, dilations)
    x = walk.builder.rise(x, node.name)
    output = walk.builder.add("max_pool", node.name, (x.tensor,), MaxPool(kernel, strides, pads, dilations))
    h, w, c = walk.builder.tensors[output].shape
    return replace(
        x,
        tensor=output,
        shape=(c, h, w),
        graph_shape=(h, w, c),
        layout=channels_last((c, h, w))[1],
        exclusive=False,
    )


def _flatten(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    if node.attributes.get("axis", 1) != 1:
        raise UnsupportedModel(
            node.name, node.op, "flattens along another axis than 1", "use torch.flatten(x, 1)"
        )
    flow = affine.computed(node, inputs[0])
    return shapes.to_shape(walk.builder, node, flow, (prod(flow.shape),))


def _reshape(walk: _Walk, node: RealNode, inputs: Inputs) -> Value:
    flow = affine.computed(node, inputs[0])
    if not isinstance(inputs[1], Constant) or inputs[1].values.dtype.kind not in "iu":
        raise UnsupportedModel(node.name, node.op, "its shape is computed", "reshape to constant sizes")
    wanted = [int(s) for s in inputs[1].values.ravel()]
    return shapes.to_shape(walk.builder, node, flow, shapes.sizes(node, flow.shape, wanted))


HANDLERS: dict[str, Callable[[_Walk, RealNode, Inputs], Value]] = {
    "Add": affine.arithmetic(shift_by, commutes=True),
    "BatchNormalization": affine.batch_norm,
    "BipolarQuant": _quant,
    "Cast": _cast,
    "Conv": _conv,
    "Div": affine.arithmetic(affine.divide_by, commutes=False),
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _identity,
    "IntQuant": _quant,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": affine.arithmetic(scale_by, commutes=True),
    "Quant": _quant,
    "Relu": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Sub": affine.arithmetic(affine.negated, commutes=False),
}
