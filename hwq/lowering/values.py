"""What a tensor of the file is during the walk: a constant, a raw input, or a pending integer tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from hwq.exact import ExactArray, Surd
from hwq.ir import Layout
from hwq.lowering.layouts import Placed, Shape
from hwq.lowering.pending import Step, Steps
from hwq.rounding import FloatArray, IntArray


@dataclass(frozen=True)
class Constant:
    """Exact numbers: float or int arrays (each element the number that it is), or objects (`Surd`, `Fraction`)."""

    values: np.ndarray[Any, Any]


@dataclass(frozen=True)
class QuantizedConstant:
    """``scale·codes``: integers with the zero point subtracted; the scale broadcasts against them."""

    codes: IntArray
    scale: np.ndarray[Any, Any]

    def exact(self) -> np.ndarray[Any, Any]:
        """The real numbers: float64 where the product is one, else fractions."""
        codes, scale = np.broadcast_arrays(self.codes, self.scale.astype(np.float64))
        if np.abs(codes).max(initial=0) < 2**29 and self.scale.dtype == np.float32:
            return np.asarray(codes * scale)
        flat = [int(q) * Fraction(float(s)) for q, s in zip(codes.ravel(), scale.ravel(), strict=True)]
        out = np.empty(len(flat), dtype=object)
        out[:] = flat
        return out.reshape(codes.shape)


@dataclass(frozen=True)
class Raw:
    """A real input of the network, possibly after affine steps, that no quantiser has seen.

    Attributes:
        port: Name of the input.
        port_shape: Its shape in the file, without batch.
        shape: Of this tensor in the file, without batch.
        graph_shape: In the graph.
        layout: From the file to the graph.
        order: From the input's own order in the file to this tensor's.
        steps: On the input.
    """

    port: str
    port_shape: Shape
    shape: Shape
    graph_shape: Shape
    layout: Layout
    order: Layout
    steps: Steps = ()

    @property
    def placed(self) -> Placed:
        """Where it lies."""
        return self.graph_shape, self.layout


@dataclass(frozen=True)
class Pending:
    """Steps on an integer tensor of the graph.

    Attributes:
        tensor: Its name.
        shape: Of this tensor in the file, without batch.
        graph_shape: In the graph; the last axis is the channel that steps refer to.
        layout: From the file to the graph.
        steps: On the integers.
        exclusive: Nothing else can see the integer tensor, so its signs may be changed in place.
    """

    tensor: str
    shape: Shape
    graph_shape: Shape
    layout: Layout
    steps: Steps = ()
    exclusive: bool = False

    @property
    def placed(self) -> Placed:
        """Where it lies."""
        return self.graph_shape, self.layout


@dataclass(frozen=True)
class Term:
    """``factor[c]·q`` of an integer tensor q, one factor or one a channel; sizes of one broadcast."""

    tensor: str
    factor: ExactArray


@dataclass(frozen=True)
class Join:
    """Steps on a sum of scaled integer tensors, which becomes integers when a quantiser or anything else needs it."""

    terms: tuple[Term, ...]
    shape: Shape
    graph_shape: Shape
    layout: Layout
    steps: Steps = ()

    @property
    def placed(self) -> Placed:
        """Where it lies."""
        return self.graph_shape, self.layout


Flow = Raw | Pending | Join
Value = Constant | QuantizedConstant | Raw | Pending | Join


F = TypeVar("F", bound=Flow)


def then(value: F, step: Step) -> F:
    """The value after one more step."""
    return replace(value, steps=(*value.steps, step))


def exact_floats(numbers: np.ndarray[Any, Any]) -> FloatArray | None:
    """The same numbers as float64; None if one of them is none."""
    if numbers.dtype == object:
        exact = [Surd.of(v) for v in numbers.ravel()]
        if not all(v.is_rational and Fraction(float(v)) == v.rational() for v in exact):
            return None
        numbers = np.asarray([float(v) for v in exact]).reshape(numbers.shape)
    floats: FloatArray = numbers.astype(np.float64)
    if numbers.dtype.kind in "iu" and not all(-(2**53) <= int(f) <= 2**53 for f in _ends(numbers)):
        return None
    return floats


def _ends(numbers: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return (numbers.min(), numbers.max()) if numbers.size else ()


def per_channel(constant: np.ndarray[Any, Any], value: Flow) -> ExactArray | None:
    """A constant that broadcasts against a file tensor, as one element or one a graph channel.

    None if it varies along another axis than the graph's last, does not broadcast, or would enlarge the tensor.
    """
    numbers = constant if constant.dtype == object else exact_floats(constant)
    shape = (1, *value.shape)
    if numbers is None or numbers.size == 0 or numbers.ndim > len(shape):
        return None
    if numbers.size == 1:
        return numbers.reshape(1)
    padded = numbers.reshape((1,) * (len(shape) - numbers.ndim) + numbers.shape)
    given: Shape = padded.shape
    if any(d not in (1, shape[i]) for i, d in enumerate(given)):
        return None
    full = np.broadcast_to(padded[0], value.shape).reshape(value.layout.view)
    moved = full.transpose(value.layout.axes).reshape(-1, value.graph_shape[-1])
    return moved[0].copy() if (moved == moved[0]).all() else None
