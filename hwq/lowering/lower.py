"""The walk: a real-valued network becomes an integer graph, node by node, in one pass.

Each tensor of the file is a constant, a raw input, steps pending on an integer tensor, or on a sum of them
(`values.py`). A handler an operator extends that; nothing is rewritten afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from hwq.errors import InputError, UnsupportedModel
from hwq.ir import Graph, Port, Real, check
from hwq.lowering import constants, elementwise, pools, products, quantize, shapes
from hwq.lowering.arity import check_arity, check_made, reported
from hwq.lowering.builder import Builder, Resolution
from hwq.lowering.grid import InputType
from hwq.lowering.integers import computed, constant, linear, single
from hwq.lowering.layouts import Placed, Shape, as_is, channels_last, image, transposed
from hwq.lowering.pending import Steps, compose
from hwq.lowering.real import RealGraph, RealNode, RealPort
from hwq.lowering.values import Constant, Flow, Join, Pending, QuantizedConstant, Raw, Value

QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")
EPILOGUES = ("LogSoftmax", "Sigmoid", "Softmax", "Tanh")
"""What may stand at the very end of a network: it is cut, and applied in float on the host if asked for."""
_AFFINE = (
    *("Add", "BatchNormalization", "Cast", "Div", "Dropout", "Flatten", "Identity", "Mul", "Neg", "Reshape"),
    *("Squeeze", "Sub", "Transpose", "Unsqueeze"),
)
_KEEP_SHAPE = {*elementwise.HANDLERS, *QUANTIZERS, "Trunc"} - {"BatchNormalization", "PRelu"}
_IMAGES = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool"),
    *("GlobalMaxPool", "MaxPool", "PRelu", "Resize", "Upsample"),
)


@dataclass(frozen=True)
class Lowering:
    """An integer graph and how its quantised tensors correspond to the file's.

    `shapes` are those of the file's computed and quantised tensors, 0 standing for the batch.
    """

    graph: Graph
    resolutions: tuple[Resolution, ...]
    outputs: tuple[OutputView, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)


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
        self.builder = Builder(batch=next((p.batch for p in real.inputs if p.batch > 1), 1))
        self.notes: list[str] = []
        self.folded = 0
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
            with reported(port.name, "input"):
                raw = Raw(port.name, port.shape, port.shape, *channels_last(port.shape), as_is(port.shape)[1])
                self.values[port.name] = self._start(raw, port)
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
        return Lowering(check(graph), tuple(self.builder.resolutions), tuple(self.views), self._shapes())

    def _shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        for name, value in self.values.items():
            if isinstance(value, QuantizedConstant):
                shapes[name] = value.codes.shape
            elif not isinstance(value, Constant):
                shapes[name] = (0, *value.shape)
        return shapes

    def _start(self, raw: Raw, port: RealPort) -> Flow:
        """A raw input, put on the stated grid at once if something other than its quantiser would read it."""
        if self.input_type is None or self._is_quantised(port.name):
            return raw
        node = RealNode("--input-type", port.name, (port.name,), (port.name,), {})
        raw = self._laid_out(raw, port.name)
        return quantize.quantize_input(self.builder, raw, self.input_type.quantizer(), node, stated=True)

    def _is_quantised(self, tensor: str) -> bool:
        """Whether every path from a raw input meets a quantiser before anything but affine operators and views."""
        open_ends, seen = [tensor], {tensor}
        while open_ends:
            for node in self.readers.get(open_ends.pop(), ()):
                if node.op in QUANTIZERS or node.op == "Shape":
                    continue
                if node.op not in _AFFINE:
                    return False
                if node.outputs[0] not in seen:
                    seen.add(node.outputs[0])
                    open_ends.append(node.outputs[0])
        return True

    def _laid_out(self, raw: Raw, tensor: str) -> Raw:
        """An input as its first reader that minds wants it in the graph."""
        wanted = self._wanted(tensor, raw.shape) or channels_last(raw.shape)
        return self.builder.arrange(raw, wanted, tensor) or raw

    def _wanted(self, tensor: str, shape: Shape) -> Placed | None:
        """Layout that the readers of a file tensor of this shape want; None if they do not mind.

        The first reader that minds decides, depth first; transposes on the way to it are undone behind it.
        """
        seen = {tensor}
        ahead: list[tuple[RealNode, Shape, Turns]] = [(n, shape, ()) for n in self._readers_backwards(tensor)]
        while ahead:
            node, size, turns = ahead.pop()
            after = node.outputs[0]
            found: Placed | None = None
            if node.op in _IMAGES and len(size) in (2, 3):
                found = image(size, last=node.channels_last)
            elif node.op in ("Gemm", "MatMul"):
                found = as_is(size)
            elif after not in seen and (node.op in _KEEP_SHAPE or (turn := _turn(node, size))):
                if node.op not in _KEEP_SHAPE and turn:
                    size, turns = turn[0], (*turns, turn)
                seen.add(after)
                ahead += [(n, size, turns) for n in self._readers_backwards(after)]
            if found and (found := _before(found, turns)):
                return found
        return None

    def _readers_backwards(self, tensor: str) -> list[RealNode]:
        return self.readers.get(tensor, [])[::-1]

    def _visit(self, node: RealNode) -> None:
        check_arity(node)
        if unmade := [t for t in node.inputs if t and t not in self.values]:
            reason = f"reads '{unmade[0]}', a second output of an operator"
            raise UnsupportedModel(node.name, node.op, reason, "only first outputs are supported")
        inputs = [self.values[t] if t else None for t in node.inputs]
        if node.op == "Shape" and isinstance(inputs[0], (Raw, Pending, Join)):
            part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
            self.values[node.outputs[0]] = Constant(np.array([1, *inputs[0].shape], dtype=np.int64)[part])
            return
        folded = [v for v in inputs if isinstance(v, (Constant, QuantizedConstant))]
        if inputs and len(folded) == len(inputs) and node.op in constants.FOLDS:
            self.values[node.outputs[0]] = self._fold(node, folded)
            return
        made = self._handle(node, inputs)
        for name, value in zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False):
            check_made(node, value)
            alone = isinstance(value, Pending) and value.exclusive and self.uses[name] == 1
            self.values[name] = replace(value, exclusive=alone) if isinstance(value, Pending) else value

    def _handle(self, node: RealNode, inputs: Inputs) -> Value | tuple[Value, ...]:
        if node.op in EPILOGUES and self._ends_with(node):
            return self._cut(node, inputs)
        if node.op in (*QUANTIZERS, "Trunc"):
            return self._quant(node, inputs)
        if node.op not in HANDLERS:
            if node.op in EPILOGUES:
                cure = "leave it to the end of the network, where it is cut, or replace it"
                raise UnsupportedModel(
                    node.name, node.op, "stands inside the network: it has no integer form", cure
                )
            cure = "replace it; the README's table of operators lists what can be lowered"
            raise UnsupportedModel(node.name, node.op, "this operator is not supported", cure)
        return HANDLERS[node.op](self.builder, node, inputs)

    def _fold(self, node: RealNode, inputs: list[Constant | QuantizedConstant]) -> Value:
        try:
            made = constants.fold(node.op, node.attributes, inputs)
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            cure = "fold this constant before the export"
            raise UnsupportedModel(node.name, node.op, f"cannot be folded exactly: {error}", cure) from error
        self.folded += constants.new_bytes(made, inputs)
        if self.folded > constants.MAX_BYTES:
            reason = f"folded constants take more than {constants.MAX_BYTES >> 20} MiB"
            raise UnsupportedModel(node.name, node.op, reason, "fold them before the export")
        return made

    def _quant(self, node: RealNode, inputs: Inputs) -> Value:
        """A quantiser of a constant, of a network input, or of a pending tensor."""
        if not all(isinstance(p, (Constant, QuantizedConstant)) for p in inputs[1:]):
            cure = "export with constant quantiser parameters (eval mode)"
            raise UnsupportedModel(node.name, node.op, "its scale, zero point or bit width is computed", cure)
        arrays = tuple(constant(node, p, "parameter") for p in inputs[1:])
        value = inputs[0]
        if node.op == "Trunc":
            return quantize.truncate(self.builder, node, computed(node, value), list(arrays))
        if isinstance(value, (Constant, QuantizedConstant)):
            return quantize.quantize_constant(node, constant(node, value, "operand"), arrays)
        make, scale = quantize.read_quantizer(node, arrays)
        flow = computed(node, value)
        if isinstance(flow, Raw):
            flow = self._laid_out(flow, node.outputs[0])
        flow, step = quantize.step_of(self.builder, node, scale, flow)
        if isinstance(flow, Raw):
            return quantize.quantize_input(self.builder, flow, make(step), node)
        return quantize.resolve(self.builder, flow, make(step), node)

    def _ends_with(self, node: RealNode) -> bool:
        return self.uses[node.outputs[0]] == 1 and node.outputs[0] in {p.name for p in self.real.outputs}

    def _cut(self, node: RealNode, inputs: Inputs) -> Value:
        """A final float operator is left to the host."""
        self.notes.append(f"final {node.op} '{node.name}' is cut: the output is its input")
        self.cut[node.outputs[0]] = node
        return computed(node, inputs[0])

    def _output(self, port: RealPort) -> Port:
        value = self.values.get(port.name)
        if not isinstance(value, (Pending, Join)):
            raise InputError(
                f"output '{port.name}' does not depend on a quantised input: there is no integer graph for it"
            )
        node = RealNode("output", port.name, (port.name,), (), {})
        pending = single(self.builder, node, value)
        if compose(pending.steps) is None:
            pending, _, _ = linear(self.builder, node, pending)
        scale, offset = compose(pending.steps) or (np.ones(1), np.zeros(1))
        cut = self.cut.get(port.name)
        view = OutputView(port.name, cut.inputs[0] if cut else port.name, pending.steps)
        self.views.append(view)
        return Port(
            pending.tensor,
            port.name,
            pending.shape,
            pending.layout,
            real=Real(scale, offset),
            epilogue=cut.op if cut else "",
            epilogue_axis=_class_axis(cut, len(pending.shape), self.real.opset) if cut else -1,
        )


Turns = tuple[tuple[Shape, Shape], ...]
"""Of transposes, one after another: the shape behind it, and the order of axes that undoes it."""


def _turn(node: RealNode, shape: Shape) -> tuple[Shape, Shape] | None:
    """The shape behind a transpose that keeps the batch, and the order of axes that undoes it."""
    order = [p - 1 for p in node.attributes.get("perm", ())]
    if node.op != "Transpose" or sorted(order) != list(range(-1, len(shape))) or order[0] != -1:
        return None
    return tuple(shape[p] for p in order[1:]), tuple(int(i) for i in np.argsort(order[1:]))


def _before(found: Placed, turns: Turns) -> Placed | None:
    """What readers behind transposes want, in terms of the tensor before them."""
    for turned, back in reversed(turns):
        layout = transposed(found[1], turned, back)
        if layout is None:
            return None
        found = found[0], layout
    return found


def _class_axis(node: RealNode, rank: int, opset: int) -> int:
    """The axis of a Softmax, from the end; before opset 13 it stood for all axes from there on."""
    axis = int(node.attributes.get("axis", -1 if opset >= 13 else 1))
    if opset < 13 and "oftmax" in node.op and axis not in (-1, rank):
        reason = f"is over all axes from {axis} on, as in opset {opset}"
        raise UnsupportedModel(node.name, node.op, reason, "export with opset 13 or newer")
    if not -rank <= axis <= rank or axis == 0:
        raise UnsupportedModel(node.name, node.op, f"along axis {axis}", "apply it to classes")
    return axis if axis < 0 else axis - rank - 1


Inputs = list[Any]
HANDLERS: dict[str, Callable[[Builder, RealNode, Inputs], Value | tuple[Value, ...]]] = {
    **elementwise.HANDLERS,
    **pools.HANDLERS,
    **products.HANDLERS,
    **shapes.HANDLERS,
}
"""By operator: what it makes of the values of its inputs."""
