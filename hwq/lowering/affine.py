"""Affine operators: arithmetic with constants, and BatchNormalization, as steps on the tensor before them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import Surd, exact_array
from hwq.lowering.pending import BatchNorm, Step, scale_by, shift_by
from hwq.lowering.real import RealNode
from hwq.lowering.values import (
    Constant,
    Flow,
    Pending,
    QuantizedConstant,
    Raw,
    Value,
    per_channel,
    then,
)

Inputs = list[Any]


def computed(node: RealNode, value: Value | None) -> Flow:
    """A computed operand."""
    if not isinstance(value, (Raw, Pending)):
        raise UnsupportedModel(
            node.name, node.op, "its first operand is a constant", "fold it before the export"
        )
    return value


def parameter(node: RealNode, value: Value | None, flow: Flow) -> Any:
    """A constant operand, one element or one a channel of the flow."""
    if not isinstance(value, (Constant, QuantizedConstant)):
        cure = "only constants can be added, subtracted, multiplied or divided so far"
        raise UnsupportedModel(node.name, node.op, "combines two computed tensors", cure)
    numbers = value.exact() if isinstance(value, QuantizedConstant) else value.values
    shape, array = numbers.shape, per_channel(numbers, flow)
    if array is None:
        cure = "use one number a tensor or a channel"
        raise UnsupportedModel(
            node.name,
            node.op,
            f"its constant of shape {shape} varies inside a channel of {flow.shape}, or does not fit",
            cure,
        )
    return array


def batch_norm(_walk: object, node: RealNode, inputs: Inputs) -> Value:
    """With the statistics as constants, one a channel."""
    flow = computed(node, inputs[0])
    if node.attributes.get("training_mode", 0):
        raise UnsupportedModel(
            node.name, node.op, "is in training mode", "call model.eval() before the export"
        )
    if not all(isinstance(v, (Constant, QuantizedConstant)) for v in inputs[1:5]):
        raise UnsupportedModel(
            node.name, node.op, "its parameters are computed", "export with constant parameters"
        )
    size = flow.shape[0] if flow.shape else 1
    column = (size,) + (1,) * (len(flow.shape) - 1)
    raw = [v.exact() if isinstance(v, QuantizedConstant) else v.values for v in inputs[1:5]]
    if any(a.size != size for a in raw):
        raise UnsupportedModel(
            node.name, node.op, f"parameters do not fit {size} channels", "check the export"
        )
    arrays = [per_channel(a.reshape(column), flow) for a in raw]
    epsilon = Fraction(float(node.attributes.get("epsilon", np.float32(1e-5))))
    gamma, beta, mean, variance = (np.asarray(a) for a in arrays)
    if (variance.astype(np.float64) + float(epsilon) <= 0).any():
        raise UnsupportedModel(node.name, node.op, "its variance is not positive", "check the training")
    return then(flow, BatchNorm(gamma, beta, mean, variance, epsilon))


def arithmetic(step: Callable[[Any], Step], *, commutes: bool) -> Callable[[object, RealNode, Inputs], Value]:
    """A handler of an operator with a constant operand, whose step `step` makes."""

    def handle(_walk: object, node: RealNode, inputs: Inputs) -> Value:
        first, second = inputs
        if commutes and isinstance(first, (Constant, QuantizedConstant)):
            first, second = second, first
        if isinstance(first, (Constant, QuantizedConstant)):
            return _reversed(node, first, second)
        flow = computed(node, first)
        return then(flow, step(parameter(node, second, flow)))

    return handle


def _reversed(node: RealNode, first: Constant | QuantizedConstant, second: Value) -> Value:
    """``constant - x``; ``constant / x`` has no integer form."""
    if node.op != "Sub":
        raise UnsupportedModel(node.name, node.op, "divides by a computed tensor", "no integer form exists")
    flow = then(computed(node, second), scale_by(np.array([-1.0])))
    return then(flow, shift_by(parameter(node, first, flow)))


def divide_by(values: Any) -> Step:
    """Division by exact constants."""
    inverse = [Surd.of(v if values.dtype == object else float(v)).inverse() for v in values]
    return scale_by(exact_array(inverse))


def negated(values: Any) -> Step:
    """Subtraction of exact constants."""
    return shift_by(-values)
