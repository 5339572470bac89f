"""The integer graph under construction, and what the walk knows about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeVar

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.ir import IntType, Layout, Node, Port, Real, Tensor
from hwq.lowering.layouts import Placed, Shape, channel_index, moves
from hwq.lowering.pending import Steps, channels, direction, scale_by
from hwq.lowering.requant import Form
from hwq.lowering.thresholds import Pieces, Quantizer, Table
from hwq.lowering.values import Pending, Raw, Term
from hwq.ops import OPS, add
from hwq.ops.add import Add
from hwq.ops.conv import Conv, channel_bounds
from hwq.ops.dense import Dense
from hwq.ops.requant import Requant
from hwq.ops.reshape import Reshape
from hwq.ops.spec import product_bounds
from hwq.ops.transpose import Transpose
from hwq.ops.window import MAX_ELEMENTS
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Resolution:
    """How one activation quantiser of the file became integers: what a certificate needs.

    The quantiser reads ``steps(Σ factor·q)`` over the terms; it makes ``real.scale·code + real.offset``.

    Attributes:
        source: Tensor of the file that the quantiser makes.
        layer: Name of its node.
        tensor: Integer tensor of the graph with the same content.
        terms: Integer tensors that it is computed from; none for a network input.
        steps: The exact real function from their sum (or from the input) to the quantiser's input.
        quantizer: The quantiser.
        real: What its codes mean.
        shape: Of the file tensor, without batch.
        layout: From file to graph.
        form: Requantisation chosen; None if nothing was needed.
        table: Exact thresholds and ties; None for an input or a sum.
        before: Tensor of the file that enters the quantiser.
    """

    source: str
    layer: str
    tensor: str
    terms: tuple[Term, ...]
    steps: Steps
    quantizer: Quantizer
    real: Real
    shape: Shape
    layout: Layout
    form: Form | None = None
    table: Table | Pieces | None = None
    before: str = ""

    @property
    def computed(self) -> bool:
        """Whether a node of the graph makes its tensor for it."""
        return bool(self.terms) and self.tensor not in [t.tensor for t in self.terms]


Arranged = TypeVar("Arranged", bound=Raw | Pending)


@dataclass
class Builder:
    """Nodes and tensors so far; names are kept unique. `batch` is the batch size that the file states."""

    batch: int = 1
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[Port] = field(default_factory=list)
    resolutions: list[Resolution] = field(default_factory=list)
    _bounds: dict[str, tuple[IntArray, IntArray]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _makers: dict[str, int] = field(default_factory=dict)

    def _unique(self, wanted: str) -> str:
        name, i = wanted, 1
        while name in self._taken:
            i += 1
            name = f"{wanted}.{i}"
        self._taken.add(name)
        return name

    def add_input(self, port: Port, interval: IntType, shape: Shape, source: str | None, real: Real) -> str:
        """A network input; its tensor gets a free name."""
        name = self._unique(port.tensor)
        self.tensors[name] = Tensor(name, shape, interval, source, real)
        self.inputs.append(replace(port, tensor=name))
        return name

    def add(
        self,
        op: str,
        name: str,
        inputs: tuple[str, ...],
        params: Any,
        source: str | None = None,
        real: Real | None = None,
    ) -> str:
        """A node; returns the name of its output.

        Raises:
            UnsupportedModel: Its shapes or accumulators do not work out.
        """
        try:
            shape, interval = OPS[op].infer(params, *(self.tensors[t] for t in inputs))
        except ValueError as error:
            raise UnsupportedModel(
                name, op, str(error), "check the shapes and bit widths of the model"
            ) from error
        if prod(shape) > MAX_ELEMENTS:
            reason = f"makes a tensor of shape {shape}; at most {MAX_ELEMENTS} elements are possible"
            raise UnsupportedModel(name, op, reason, "check pads and sizes")
        unique = self._unique(name)
        output = self._unique(source or f"{unique}.out")
        self.tensors[output] = Tensor(output, shape, interval, source, real)
        self._makers[output] = len(self.nodes)
        self.nodes.append(Node(op, unique, inputs, output, params))
        self._remember_bounds(self.nodes[-1])
        return output

    def _remember_bounds(self, node: Node) -> None:
        """Per-channel intervals of accumulators; tighter than the tensor's."""
        if isinstance(node.params, Dense):
            self._bounds[node.output] = product_bounds(node.params.weight, self.tensors[node.inputs[0]].type)
        elif isinstance(node.params, Conv):
            self._bounds[node.output] = channel_bounds(node.params, self.tensors[node.inputs[0]].type)
        elif isinstance(node.params, Add):
            kinds = [self.tensors[t].type for t in node.inputs]
            self._bounds[node.output] = add.channel_bounds(
                node.params, kinds, self.tensors[node.output].shape[-1]
            )

    def bounds(self, tensor: str) -> tuple[IntArray, IntArray]:
        """Reachable interval: arrays of one element, or one a channel."""
        interval = self.tensors[tensor].type
        return self._bounds.get(tensor, (np.array([interval.lo]), np.array([interval.hi])))

    def arrange(self, value: Arranged, placed: Placed, layer: str) -> Arranged | None:
        """The same tensor under another shape and layout; None if its channels' steps would not stay apart."""
        if value.placed == placed:
            return value
        steps = value.steps
        if channels(steps) > 1:
            index = channel_index(value.placed, placed)
            if index is None:
                return None
            steps = tuple(s.take(index) for s in steps)
        graph_shape, layout = placed
        if isinstance(value, Raw):
            return replace(value, graph_shape=graph_shape, layout=layout, steps=steps)
        tensor = value.tensor
        for shape, axes in moves(value.layout, layout):
            tensor = self.reshape(tensor, shape, layer)
            tensor = self.add("transpose", f"{layer}.order", (tensor,), Transpose(axes))
        tensor = self.reshape(tensor, graph_shape, layer)
        return replace(
            value, tensor=tensor, graph_shape=graph_shape, layout=layout, steps=steps, exclusive=False
        )

    def reshape(self, tensor: str, shape: Shape, layer: str) -> str:
        """The same words under another shape."""
        if self.tensors[tensor].shape == shape:
            return tensor
        return self.add("reshape", f"{layer}.shape", (tensor,), Reshape(shape))

    def rise(self, value: Pending, layer: str) -> Pending:
        """The same real tensor with steps that fall nowhere: falling channels get their integers negated."""
        signs = direction(value.steps)
        if (signs >= 0).all():
            return value
        flip = np.broadcast_to(np.where(signs < 0, -1, 1), value.graph_shape[-1:]).astype(np.int64)
        steps = (scale_by(flip.astype(np.float64)), *value.steps)
        index = self._makers.get(value.tensor)
        if value.exclusive and index is not None and isinstance(self.nodes[index].params, (Dense, Conv)):
            self._negate_weights(index, flip)
            return replace(value, steps=steps)
        interval = self.tensors[value.tensor].type
        limit = max(abs(interval.lo), abs(interval.hi))
        negate = Requant(flip, np.zeros(1, dtype=np.int64), 0, half_even=False, lo=-limit, hi=limit)
        output = self.add("requant", f"{layer}.negate", (value.tensor,), negate)
        return replace(value, tensor=output, steps=steps)

    def _negate_weights(self, index: int, flip: IntArray) -> None:
        node = self.nodes[index]
        params = replace(node.params, weight=node.params.weight * flip)
        shape, interval = OPS[node.op].infer(params, *(self.tensors[t] for t in node.inputs))
        self.nodes[index] = replace(node, params=params)
        self.tensors[node.output] = replace(self.tensors[node.output], shape=shape, type=interval)
        self._remember_bounds(self.nodes[index])
