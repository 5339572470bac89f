"""Folding of operators whose inputs are all constants: shape arithmetic, and exact arithmetic on parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import mpmath
import numpy as np

from hwq.exact import Surd
from hwq.lowering.values import Constant, QuantizedConstant

Array = np.ndarray[Any, Any]
Attributes = Mapping[str, Any]


def _objects(x: Array) -> Array:
    """Exact objects, so that arithmetic does not round; integers stay as they are."""
    if x.dtype.kind in "iub" or x.dtype == object:
        return x
    _check_exact(x.size)
    out = np.empty(x.shape, dtype=object)
    for i in np.ndindex(x.shape):
        out[i] = Surd.of(float(x[i]))
    return out


def _check_exact(count: int) -> None:
    if count > MAX_EXACT:
        raise ValueError(f"exact arithmetic on {count} elements; at most {MAX_EXACT} are possible")


def _fitting(result: Array, kind: np.dtype[Any]) -> Array:
    """Integers of an integer type that hold what Python's integers hold."""
    limits = np.iinfo(kind)
    if result.size and not (limits.min <= result.min() and result.max() <= limits.max):
        raise ValueError(f"integers beyond {kind.name}")
    return result.astype(kind)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Attributes, Array, Array], Array]:
    def fold(_attributes: Attributes, a: Array, b: Array) -> Array:
        if "b" in (a.dtype.kind, b.dtype.kind):
            raise ValueError("arithmetic on booleans")
        _check_exact(prod(np.broadcast_shapes(a.shape, b.shape)))
        integers = a.dtype.kind in "iu" and b.dtype.kind in "iu"
        if integers and a.dtype != b.dtype:
            raise ValueError(f"arithmetic on {a.dtype} and {b.dtype}")
        if integers:
            return _fitting(np.asarray(function(a.astype(object), b.astype(object))), a.dtype)
        return np.asarray(function(_objects(a), _objects(b)))

    return fold


def _divide(a: Any, b: Any) -> Any:
    """Python's integers truncate toward zero, as in ONNX; exact numbers do not."""
    if not all(isinstance(v, int) for x in (a, b) for v in x.ravel()):
        return a / b
    if not b.all():
        raise ZeroDivisionError("division by zero")
    return np.where((a < 0) != (b < 0), -(np.abs(a) // np.abs(b)), np.abs(a) // np.abs(b))


def _negative(_attributes: Attributes, x: Array) -> Array:
    if x.dtype.kind in "iu":
        _check_exact(x.size)
        return _fitting(np.asarray(-x.astype(object)), x.dtype)
    return np.asarray(-_objects(x))


def _concat(attributes: Attributes, *parts: Array) -> Array:
    if sum(p.size for p in parts) > MAX_ELEMENTS:
        raise ValueError(f"the result has more than {MAX_ELEMENTS} elements")
    if len({p.dtype.kind for p in parts} - {"O"}) > 1:
        raise ValueError("joins constants of different types")
    return np.concatenate(parts, axis=attributes["axis"])


def _pow(_attributes: Attributes, base: Array, exponent: Array) -> Array:
    power = Surd.of(exponent.item()).rational()
    if power not in (Fraction(1, 2), 1, 2):
        raise ValueError(f"exponent {float(power):g}; supported are 0.5, 1 and 2")
    _check_exact(base.size)
    exact = base if base.dtype == object else _objects(base.astype(np.float64))
    if power == Fraction(1, 2):
        return np.asarray(np.vectorize(lambda v: Surd.sqrt(Surd.of(v).rational()), otypes=[object])(exact))
    return exact if power == 1 else np.asarray(exact * exact)


def _truncate(x: Array, kind: type) -> Array:
    """To an integer type, toward zero."""
    whole = [int(Surd.of(v).rational()) if x.dtype == object else int(v) for v in x.ravel()]
    limits = np.iinfo(kind)
    if any(not limits.min <= v <= limits.max for v in whole):
        raise ValueError(f"a constant does not fit {np.dtype(kind).name}")
    result: Array = np.asarray(whole, dtype=kind).reshape(x.shape)
    return result


def _cast(attributes: Attributes, x: Array) -> Array:
    to = attributes["to"]
    if to in _INTEGERS:
        return _truncate(x, _INTEGERS[to])
    if to not in FLOATS:
        raise ValueError(f"cast to ONNX type {to}; supported are float32, float64 and integers")
    if x.dtype == object:  # exact arithmetic on parameters: stays exact
        return x
    with np.errstate(over="ignore"):
        cast: Array = x.astype(np.float32 if to == 1 else np.float64)
    if not np.isfinite(cast).all():
        raise ValueError("a constant is beyond float32")
    return cast


def _gather(attributes: Attributes, x: Array, index: Array) -> Array:
    if index.dtype.kind not in "iu" or index.size * x.size > MAX_ELEMENTS:
        raise ValueError(f"gathers {index.size} elements with indices of type {index.dtype}")
    return np.take(x, index.astype(np.int64), axis=attributes.get("axis", 0))


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


def _reshape(attributes: Attributes, data: Array, shape: Array) -> Array:
    if attributes.get("allowzero", 0) and not shape.all():
        raise ValueError("makes an empty tensor (allowzero)")
    wanted = [int(data.shape[i]) if s == 0 else int(s) for i, s in enumerate(shape.ravel())]
    return data.reshape(wanted)


@dataclass(frozen=True)
class _Logarithm:
    """``factor·ln(of)``, or that over ``ln(base)``: what bit widths are computed from; only Ceil and Floor read it."""

    of: Fraction
    factor: Fraction = Fraction(1)
    base: Fraction | None = None

    def __truediv__(self, other: Any) -> _Logarithm:
        if isinstance(other, _Logarithm) and self.base is None and other.base is None:
            return _Logarithm(self.of, self.factor / other.factor, other.of)
        return replace(self, factor=self.factor / Surd.of(other).rational())

    def __mul__(self, other: Any) -> _Logarithm:
        return replace(self, factor=self.factor * Surd.of(other).rational())

    def floor(self) -> int:
        """Exactly: ``base**n = of`` is tried; anything else but ln(1) is irrational, and is told apart at 400 bits."""
        with mpmath.workprec(400):
            value = mpmath.log(_mpf(self.of)) * _mpf(self.factor)
            value = value / mpmath.log(_mpf(self.base)) if self.base is not None else value
            nearest = int(mpmath.nint(value))
            whole = self.base is not None and self.factor == 1 and abs(nearest) < _MAX_BITS
            if self.of == 1 or (whole and self.base**nearest == self.of):  # type: ignore[operator]
                return nearest
            return int(mpmath.floor(value))


def _mpf(x: Fraction) -> Any:
    return mpmath.mpf(x.numerator) / x.denominator


def _logarithm(_attributes: Attributes, x: Array) -> Array:
    exact = [Surd.of(v if x.dtype == object else float(v)).rational() for v in x.ravel()]
    if any(v <= 0 for v in exact) or len(exact) > _MAX_LOGARITHMS:
        raise ValueError("the logarithm of a number that is not positive, or of many")
    out = np.empty(len(exact), dtype=object)
    out[:] = [_Logarithm(v) for v in exact]
    result: Array = out.reshape(x.shape)
    return result


def _whole(sign: int) -> Callable[[Attributes, Array], Array]:
    """Floor, or with sign -1 Ceil."""

    def fold(_attributes: Attributes, x: Array) -> Array:
        flat = [_floor_of(v if x.dtype == object else float(v), sign) for v in x.ravel()]
        result: Array = np.array([float(v) for v in flat], dtype=np.float32).reshape(x.shape)
        return result

    return fold


def _floor_of(value: Any, sign: int) -> int:
    if isinstance(value, _Logarithm):
        return sign * replace(value, factor=value.factor * sign).floor()
    exact = Surd.of(value).rational() * sign
    return sign * (exact.numerator // exact.denominator)


def _filled(attributes: Attributes, shape: Array) -> Array:
    sizes = [int(s) for s in shape.ravel()]
    if shape.dtype.kind not in "iu" or any(s < 0 for s in sizes) or prod(sizes) > MAX_ELEMENTS:
        raise ValueError(f"fills a tensor of shape {sizes[:16]}")
    value = attributes.get("value", 0.0)
    return np.full(sizes, value, dtype=np.float32 if isinstance(value, float) else np.int64)


FLOATS = (1, 11)
"""ONNX's numbers of float32 and float64."""
_INTEGERS: dict[int, type] = {
    2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 12: np.uint32, 13: np.uint64
}  # fmt: skip
MAX_ELEMENTS = 2**24
MAX_EXACT = 2**18
"""Elements of a tensor in exact arithmetic, one Python object each."""
MAX_BYTES = 2**28
"""Of all folded constants of a network."""
_OBJECT_BYTES = 400
_MAX_BITS = 2**14
_MAX_TERMS = 32
_MAX_LOGARITHMS = 64

FOLDS: dict[str, Callable[..., Array]] = {
    "Add": _binary(lambda a, b: a + b),
    "Cast": _cast,
    "Ceil": _whole(-1),
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Div": _binary(_divide),
    "Floor": _whole(1),
    "Gather": _gather,
    "Identity": lambda _attributes, x: x,
    "Log": _logarithm,
    "Mul": _binary(lambda a, b: a * b),
    "Neg": _negative,
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
    if isinstance(first, QuantizedConstant) and op == "Cast" and attributes["to"] in FLOATS:
        return first
    data = first.exact() if isinstance(first, QuantizedConstant) else first.values
    result = np.asarray(FOLDS[op](attributes, data, *rest))
    if result.dtype == object and result.size and isinstance(result.flat[0], _Logarithm):
        return Constant(result)
    if result.dtype == object and any(_bits(v) > _MAX_BITS for v in result.ravel()):
        raise ValueError(f"a number grows beyond {_MAX_BITS} bits")
    if result.dtype == object and any(len(Surd.of(v).terms) > _MAX_TERMS for v in result.ravel()):
        raise ValueError(f"a number grows beyond {_MAX_TERMS} square roots")
    return Constant(result)


def new_bytes(made: Constant | QuantizedConstant, inputs: list[Constant | QuantizedConstant]) -> int:
    """Memory that a folded constant takes beside its inputs."""
    if isinstance(made, QuantizedConstant):
        return 0
    before = [v.values for v in inputs if isinstance(v, Constant)]
    if any(np.may_share_memory(made.values, b) for b in before):
        return 0
    return made.values.size * (_OBJECT_BYTES if made.values.dtype == object else made.values.itemsize)


def _bits(value: Any) -> int:
    """Of the longest integer in an exact number."""
    parts = [p for n, c in Surd.of(value).terms for p in (n, c.numerator, c.denominator)]
    return max((p.bit_length() for p in parts), default=0)
