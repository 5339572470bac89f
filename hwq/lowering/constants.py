"""Folding of operators whose inputs are all constants: shape arithmetic, and exact arithmetic on parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.exact import Surd
from hwq.lowering.values import Constant, QuantizedConstant

Array = np.ndarray[Any, Any]
Attributes = Mapping[str, Any]


def _objects(x: Array) -> Array:
    """Exact objects, so that arithmetic does not round; integers stay as they are."""
    if x.dtype.kind in "iub" or x.dtype == object:
        return x
    out = np.empty(x.shape, dtype=object)
    for i in np.ndindex(x.shape):
        out[i] = Surd.of(float(x[i]))
    return out


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Attributes, Array, Array], Array]:
    def fold(_attributes: Attributes, a: Array, b: Array) -> Array:
        integers = a.dtype.kind in "iu" and b.dtype.kind in "iu"
        return np.asarray(function(a, b) if integers else function(_objects(a), _objects(b)))

    return fold


def _divide(a: Any, b: Any) -> Any:
    return a // b if isinstance(a, np.ndarray) and a.dtype.kind in "iu" else a / b


def _pow(_attributes: Attributes, base: Array, exponent: Array) -> Array:
    power = Fraction(float(exponent.item()))
    if power not in (Fraction(1, 2), 1, 2):
        raise ValueError(f"exponent {float(power):g}; supported are 0.5, 1 and 2")
    exact = _objects(base.astype(np.float64))
    if power == Fraction(1, 2):
        return np.asarray(np.vectorize(lambda v: Surd.sqrt(v.rational()), otypes=[object])(exact))
    return exact if power == 1 else np.asarray(exact * exact)


def _slice(attributes: Attributes, data: Array, *rest: Array) -> Array:
    starts, ends, axes, steps = (
        [int(v) for v in (rest[i].ravel() if i < len(rest) else attributes.get(key, ()))]
        for i, key in enumerate(("starts", "ends", "axes", "steps"))
    )
    index = [slice(None)] * data.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        index[axes[i] if axes else i] = slice(start, end, steps[i] if steps else 1)
    return data[tuple(index)]


def _axes(attributes: Attributes, rest: tuple[Array, ...]) -> list[int]:
    return [int(a) for a in (rest[0].ravel() if rest else attributes.get("axes", ()))]


def _unsqueeze(attributes: Attributes, data: Array, *rest: Array) -> Array:
    return np.expand_dims(data, tuple(_axes(attributes, rest)))


def _squeeze(attributes: Attributes, data: Array, *rest: Array) -> Array:
    return np.squeeze(data, tuple(_axes(attributes, rest)) or None)


def _transpose(attributes: Attributes, data: Array) -> Array:
    return np.transpose(data, attributes.get("perm", tuple(reversed(range(data.ndim)))))


def _reshape(_attributes: Attributes, data: Array, shape: Array) -> Array:
    wanted = [int(data.shape[i]) if s == 0 else int(s) for i, s in enumerate(shape.ravel())]
    return data.reshape(wanted)


FOLDS: dict[str, Callable[..., Array]] = {
    "Add": _binary(lambda a, b: a + b),
    "Cast": lambda _attributes, x: x,
    "Concat": lambda attributes, *xs: np.concatenate(xs, axis=attributes["axis"]),
    "Div": _binary(_divide),
    "Gather": lambda attributes, x, index: np.take(x, index.astype(np.int64), axis=attributes.get("axis", 0)),
    "Identity": lambda _attributes, x: x,
    "Mul": _binary(lambda a, b: a * b),
    "Neg": lambda _attributes, x: -_objects(x),
    "Pow": _pow,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": lambda attributes, x: _pow(attributes, x, np.array(0.5)),
    "Squeeze": _squeeze,
    "Sub": _binary(lambda a, b: a - b),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")


def fold(
    op: str, attributes: Attributes, inputs: list[Constant | QuantizedConstant]
) -> Constant | QuantizedConstant:
    """The constant that an operator makes of constants.

    Raises:
        ValueError: It cannot be folded exactly.
    """
    first = inputs[0]
    rest = [v.exact() if isinstance(v, QuantizedConstant) else v.values for v in inputs[1:]]
    if isinstance(first, QuantizedConstant) and op in _MOVES:
        codes, scale = np.broadcast_arrays(first.codes, first.scale)
        return QuantizedConstant(FOLDS[op](attributes, codes, *rest), FOLDS[op](attributes, scale, *rest))
    data = first.exact() if isinstance(first, QuantizedConstant) else first.values
    return Constant(np.asarray(FOLDS[op](attributes, data, *rest)))
