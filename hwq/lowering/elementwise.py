"""Operators on each element: arithmetic, BatchNormalization and activation functions, as steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import Surd, at, exact_array
from hwq.lowering import joins
from hwq.lowering.branches import Combine
from hwq.lowering.builder import Builder
from hwq.lowering.constants import FLOATS
from hwq.lowering.functions import Elu, Transcendental
from hwq.lowering.integers import collected, computed, constant, fitted, rescaled, single
from hwq.lowering.layouts import channels_last
from hwq.lowering.pending import (
    BatchNorm,
    Clip,
    LeakyRelu,
    Relu,
    Step,
    Steps,
    scale_by,
    shift_by,
)
from hwq.lowering.real import RealNode
from hwq.lowering.values import Constant, Flow, Pending, QuantizedConstant, Value, then
from hwq.ops.mul import Mul

Inputs = list[Any]
Op = Literal["mul", "max", "min"]
Handler = Callable[[Builder, RealNode, Inputs], Value]


def _is_constant(value: Value | None) -> bool:
    return isinstance(value, (Constant, QuantizedConstant))


def _with(builder: Builder, node: RealNode, flow: Flow, value: Value, step: Callable[[Any], Step]) -> Flow:
    """One more step, made of a constant operand."""
    flow, array = fitted(builder, node, constant(node, value, "operand"), flow)
    return then(flow, step(array))


def add(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Sum of two or more operands."""
    flows = [v for v in inputs if not _is_constant(v)]
    total = computed(node, flows[0] if flows else None)
    for flow in flows[1:]:
        total = joins.add(builder, node, total, computed(node, flow))
    for value in (v for v in inputs if _is_constant(v)):
        total = _with(builder, node, total, value, shift_by)
    return total


def subtract(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """A tensor minus a constant, a constant minus a tensor, or the difference of two tensors."""
    first, second = inputs
    if _is_constant(second):
        return _with(builder, node, computed(node, first), second, lambda v: shift_by(-v))
    if _is_constant(first):
        return _with(builder, node, negate(builder, node, [second]), first, shift_by)
    return joins.add(builder, node, computed(node, first), computed(node, second), -1)


def negate(_builder: Builder, node: RealNode, inputs: Inputs) -> Flow:
    """``-x``."""
    return then(computed(node, inputs[0]), scale_by(np.array([-1.0])))


def divide(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Division by a constant."""
    first, second = inputs
    if not _is_constant(second):
        raise UnsupportedModel(node.name, node.op, "divides by a computed tensor", "no integer form exists")
    return _with(builder, node, computed(node, first), second, _inverse)


def _inverse(values: Any) -> Step:
    exact = [Surd.of(v if values.dtype == object else float(v)) for v in values]
    if not all(v.terms for v in exact):
        raise ZeroDivisionError("divides by zero")
    return scale_by(exact_array([v.inverse() for v in exact]))


def multiply(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Product with a constant, or of two tensors."""
    first, second = inputs
    if _is_constant(first):
        first, second = second, first
    if _is_constant(second):
        return _with(builder, node, computed(node, first), second, scale_by)
    a, b = computed(node, first), computed(node, second)
    return _of_one_tensor("mul", a, b) or _product(builder, node, a, b)


def _of_one_tensor(op: Op, a: Flow, b: Flow) -> Pending | None:
    """Two functions of the same integers are one function."""
    if isinstance(a, Pending) and isinstance(b, Pending) and a.tensor == b.tensor and a.placed == b.placed:
        return replace(a, steps=(Combine(op, a.steps, b.steps),), exclusive=False)
    return None


def _product(builder: Builder, node: RealNode, a: Flow, b: Flow) -> Pending:
    a, b = joins.matched(builder, node, a, b)
    left, right = (rescaled(builder, node, v, one_unit=False) for v in (a, b))
    tensor = builder.add("mul", node.name, (left.tensor, right.tensor), Mul())
    units = [_unit(v) for v in (left, right)]
    unit = collected([at(units[0], c) * at(units[1], c) for c in range(max(map(len, units)))])
    shape = np.broadcast_shapes(a.shape, b.shape)
    larger = left if a.shape == shape else right
    graph_shape = builder.tensors[tensor].shape
    return Pending(tensor, shape, graph_shape, _layout(larger, shape), (scale_by(unit),))


def _layout(value: Pending, shape: tuple[int, ...]) -> Any:
    return value.layout if value.shape == shape else channels_last(shape)[1]


def _unit(value: Pending) -> Any:
    """Of a tensor that was rescaled."""
    return value.steps[0].factor  # type: ignore[attr-defined]


def extremum(op: Op) -> Handler:
    """The larger or smaller of two functions of one tensor, or of a tensor and a constant a tensor."""

    def handle(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
        flows = [v for v in inputs if not _is_constant(v)]
        total = computed(node, flows[0] if flows else None)
        for value in inputs:
            if _is_constant(value):
                limit = _scalar(node, value, "operand")
                total = then(total, Clip(limit, None) if op == "max" else Clip(None, limit))
            elif value is not flows[0]:
                found = _of_one_tensor(op, total, computed(node, value))
                if found is None:
                    cure = "only a constant, or another function of the same tensor, can be compared with"
                    raise UnsupportedModel(node.name, node.op, "compares two computed tensors", cure)
                total = found
        return total

    return handle


def _scalar(node: RealNode, value: Value | None, what: str) -> Surd:
    numbers = constant(node, value, what)
    if numbers.size != 1:
        raise UnsupportedModel(
            node.name, node.op, f"its {what} is no single number", f"use one {what} a tensor"
        )
    number = numbers.item()
    return Surd.of(number if numbers.dtype == object else float(number))


def batch_norm(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """With the statistics as constants, one a channel."""
    flow = computed(node, inputs[0])
    if node.attributes.get("training_mode", 0):
        raise UnsupportedModel(
            node.name, node.op, "is in training mode", "call model.eval() before the export"
        )
    axis = len(flow.shape) - 1 if node.channels_last else 0
    size = flow.shape[axis] if flow.shape else 1
    column = tuple(size if i == axis else 1 for i in range(len(flow.shape)))
    raw = [constant(node, v, "parameter") for v in inputs[1:5]]
    if any(a.size != size for a in raw):
        raise UnsupportedModel(
            node.name, node.op, f"parameters do not fit {size} channels", "check the export"
        )
    arrays = []
    for numbers in raw:
        flow, array = fitted(builder, node, numbers.reshape(column), flow, "parameter")
        arrays.append(array)
    epsilon = Fraction(float(node.attributes.get("epsilon", np.float32(1e-5))))
    gamma, beta, mean, variance = arrays
    if (variance.astype(np.float64) + float(epsilon) <= 0).any():
        raise UnsupportedModel(node.name, node.op, "its variance is not positive", "check the training")
    return then(flow, BatchNorm(gamma, beta, mean, variance, epsilon))


def unary(*steps: Step) -> Handler:
    """An operator that is always the same steps."""

    def handle(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
        flow = computed(node, inputs[0])
        return replace(flow, steps=(*flow.steps, *steps))

    return handle


def gated(gate: Steps) -> Handler:
    """``x·gate(x)``, as in SiLU and GELU."""

    def handle(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
        flow = single(builder, node, inputs[0])
        return replace(flow, steps=(Combine("mul", flow.steps, (*flow.steps, *gate)),))

    return handle


def leaky_relu(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``x`` where it is positive, else ``alpha·x``."""
    slope = np.array([float(node.attributes.get("alpha", np.float32(0.01)))])
    return then(computed(node, inputs[0]), LeakyRelu(slope))


def prelu(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """LeakyRelu with a learned slope, one or one a channel."""
    flow = computed(node, inputs[0])
    return _with(builder, node, flow, inputs[1], LeakyRelu)


def clip(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Limits as attributes (opset 6) or inputs (opset 11)."""
    ends: list[Surd | None] = []
    for i, key in ((1, "min"), (2, "max")):
        given = inputs[i] if len(inputs) > i else None
        if given is not None:
            ends.append(_scalar(node, given, key))
        else:
            ends.append(Surd(float(node.attributes[key])) if key in node.attributes else None)
    flow = computed(node, inputs[0])
    return then(flow, Clip(*ends)) if any(e is not None for e in ends) else flow


def _hard_gate(node: RealNode, alpha: float, beta: float) -> Steps:
    gain, offset = (
        np.array([float(node.attributes.get(k, v))]) for k, v in (("alpha", alpha), ("beta", beta))
    )
    return scale_by(gain), shift_by(offset), Clip(Surd(0), Surd(1))


def hard_sigmoid(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``clip(alpha·x + beta, 0, 1)``."""
    return unary(*_hard_gate(node, float(np.float32(0.2)), 0.5))(builder, node, inputs)


def hard_swish(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``x·clip(x/6 + 1/2, 0, 1)``."""
    gate = scale_by(exact_array([Surd(Fraction(1, 6))])), shift_by(np.array([0.5])), Clip(Surd(0), Surd(1))
    return gated(gate)(builder, node, inputs)


def gelu(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``x·(1 + erf(x/√2))/2``; the approximation by tanh is another function."""
    if node.attributes.get("approximate", "none") != "none":
        cure = "use GELU without approximation, or quantise before it"
        raise UnsupportedModel(node.name, node.op, "is approximated by tanh", cure)
    half = np.array([0.5])
    inverse = exact_array([Surd.sqrt(Fraction(1, 2))])
    return gated((scale_by(inverse), Transcendental("erf"), scale_by(half), shift_by(half)))(
        builder, node, inputs
    )


def elu(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``x`` where it is positive, else ``alpha·(e^x - 1)``."""
    return then(computed(node, inputs[0]), Elu(Surd(float(node.attributes.get("alpha", 1.0)))))


def selu(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Scaled Elu, with ONNX's float32 constants."""
    alpha = float(node.attributes.get("alpha", np.float32(1.67326319217681884765625)))
    gamma = float(node.attributes.get("gamma", np.float32(1.05070102214813232421875)))
    return then(then(computed(node, inputs[0]), Elu(Surd(alpha))), scale_by(np.array([gamma])))


def absolute(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """``|x|``: a line that turns at zero."""
    return then(computed(node, inputs[0]), LeakyRelu(np.array([-1.0])))


def power(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Squares only."""
    if _scalar(node, inputs[1], "exponent") != 2:
        raise UnsupportedModel(node.name, node.op, "its exponent is not 2", "use squares, or quantise before")
    return multiply(builder, node, [inputs[0], inputs[0]])


def identity(_builder: Builder, _node: RealNode, inputs: Inputs) -> Value:
    """Nothing."""
    value: Value = inputs[0]
    return value


def dropout(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """The identity at inference; its third input, if there is one, says whether that is so."""
    training = inputs[2] if len(inputs) > 2 else None
    if training is not None and not (isinstance(training, Constant) and not training.values.any()):
        raise UnsupportedModel(
            node.name, node.op, "is in training mode", "call model.eval() before the export"
        )
    return identity(builder, node, inputs)


def cast(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Between float types only."""
    if node.attributes.get("to") not in FLOATS:
        cure = "remove the Cast, or quantise with a Quant node; a computed tensor can be cast to float32 or float64"
        raise UnsupportedModel(
            node.name, node.op, f"rounds a computed tensor (to={node.attributes.get('to')})", cure
        )
    return computed(node, inputs[0])


HANDLERS: dict[str, Handler] = {
    "Abs": absolute,
    "Add": add,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Div": divide,
    "Dropout": dropout,
    "Elu": elu,
    "Exp": unary(Transcendental("exp")),
    "Erf": unary(Transcendental("erf")),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "Max": extremum("max"),
    "Min": extremum("min"),
    "Mish": gated((Transcendental("softplus"), Transcendental("tanh"))),
    "Mul": multiply,
    "Neg": negate,
    "PRelu": prelu,
    "Pow": power,
    "Relu": unary(Relu()),
    "Selu": selu,
    "Sigmoid": unary(Transcendental("sigmoid")),
    "Softplus": unary(Transcendental("softplus")),
    "Sub": subtract,
    "Sum": add,
    "Tanh": unary(Transcendental("tanh")),
}
