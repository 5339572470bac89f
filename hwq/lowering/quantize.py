"""Quant and BipolarQuant: of constants, of network inputs, of pending tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd
from hwq.ir import InputQuantizer, IntType, Port, Real
from hwq.lowering.builder import Builder, Resolution
from hwq.lowering.pending import Relu, compose, scale_by
from hwq.lowering.real import RealNode
from hwq.lowering.requant import synthesise
from hwq.lowering.thresholds import Quantizer, find
from hwq.lowering.values import Flow, Pending, QuantizedConstant, Raw, exact_floats, per_channel
from hwq.ops.requant import Requant
from hwq.rounding import FloatArray, IntArray, Rounding, near_boundary, round_exact, round_float

MAX_ACTIVATION_BITS = 12
_MODES = {m.value: m for m in Rounding} | {
    "HALF_EVEN": Rounding.HALF_EVEN,
    "ROUND_TO_ZERO": Rounding.TOWARD_ZERO,
}


def code_range(bits: int, *, signed: bool, narrow: bool) -> tuple[int, int]:
    """Lowest and highest code (QONNX Quant).

    >>> code_range(2, signed=True, narrow=True), code_range(2, signed=False, narrow=True)
    ((-1, 1), (0, 2))
    """
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def read_quantizer(
    node: RealNode, parameters: tuple[np.ndarray[Any, Any], ...]
) -> tuple[Callable[[ExactArray], Quantizer], np.ndarray[Any, Any]]:
    """A maker of the quantiser (given its step as the tensor's channels see it) and the scale as in the file.

    Raises:
        UnsupportedModel: Parameters that no integer form has.
    """

    def refuse(reason: str, cure: str) -> UnsupportedModel:
        return UnsupportedModel(node.name, node.op, reason, cure)

    scale, zero = parameters[0], _zero_points(node, parameters)
    _check_scale(node, scale)
    if zero.size == 0 or (zero != zero.flat[0]).any():
        raise refuse("its zero point is not one integer", "use one integer zero point a tensor")
    offset = int(zero.flat[0])
    code = _codes(node, parameters)
    return lambda step: replace(code, step=step, zero=offset), scale


def _check_scale(node: RealNode, scale: np.ndarray[Any, Any]) -> None:
    numbers = scale.astype(np.float64)
    if not (numbers.size and np.isfinite(numbers).all() and (numbers > 0).all()):
        raise UnsupportedModel(
            node.name,
            node.op,
            "its scale is not positive and finite",
            "check the calibration of this quantiser",
        )


def _zero_points(node: RealNode, parameters: tuple[np.ndarray[Any, Any], ...]) -> IntArray:
    if node.op == "BipolarQuant":
        return np.zeros(1, dtype=np.int64)
    zero = parameters[1].astype(np.float64)
    if zero.size == 0 or (zero % 1 != 0).any() or (np.abs(zero) > 2**32).any():
        cure = "use integer zero points within 32 bits"
        raise UnsupportedModel(node.name, node.op, "its zero point is not one integer", cure)
    return zero.astype(np.int64)


def _codes(node: RealNode, parameters: tuple[np.ndarray[Any, Any], ...]) -> Quantizer:
    """The quantiser, but for step and zero point."""

    def refuse(reason: str, cure: str) -> UnsupportedModel:
        return UnsupportedModel(node.name, node.op, reason, cure)

    if node.op == "BipolarQuant":
        return Quantizer(np.ones(1), 0, -1, 1, Rounding.FLOOR, bipolar=True)
    bits = parameters[2].astype(np.float64)
    if bits.size != 1 or bits.item() % 1 or not 1 <= bits.item() <= 32:
        raise refuse(
            f"its bit width {bits.ravel()[:4]} is not an integer from 1 to 32", "round the learned bit width"
        )
    mode = str(node.attributes.get("rounding_mode", "ROUND"))
    if mode.upper() not in _MODES:
        raise refuse(f"rounding mode '{mode}' is unknown", f"use one of {', '.join(_MODES)}")
    signed, narrow = node.attributes.get("signed", 1), node.attributes.get("narrow", 0)
    if signed not in (0, 1) or narrow not in (0, 1):
        raise refuse(f"signed={signed}, narrow={narrow}", "export the model again; both are 0 or 1")
    if signed and bits.item() == 1:
        return Quantizer(np.ones(1), 0, -1, 1, Rounding.FLOOR, bipolar=True)
    lo, hi = code_range(int(bits.item()), signed=bool(signed), narrow=bool(narrow))
    return Quantizer(np.ones(1), 0, lo, hi, _MODES[mode.upper()])


def quantize_constant(
    node: RealNode, constant: np.ndarray[Any, Any], parameters: tuple[np.ndarray[Any, Any], ...]
) -> QuantizedConstant:
    """Integers of a constant: clamp, then round, of the exact quotient; zero points may differ by channel.

    Raises:
        UnsupportedModel: Parameters that no integer form has.
    """
    scale, zero = parameters[0], _zero_points(node, parameters)
    _check_scale(node, scale)
    values, steps = exact_floats(constant), exact_floats(scale)
    if values is None or steps is None:
        what = "constant" if values is None else "scale"
        cure = (
            f"store the {what} as a float32 initialiser; it is computed, and rounding it would not be exact"
        )
        raise UnsupportedModel(node.name, node.op, f"its {what} is computed and is no float64", cure)
    step, zeros = np.broadcast_to(steps, values.shape), np.broadcast_to(zero, values.shape)
    codes = encode(values.ravel(), step.ravel(), _codes(node, parameters), zeros.ravel())
    return QuantizedConstant(codes.reshape(values.shape), steps if scale.dtype == object else scale)


def encode(x: FloatArray, step: FloatArray, quantizer: Quantizer, zero: IntArray) -> IntArray:
    """Integers of the exact quotients x/step, flat arrays of dyadic numbers; zero points subtracted."""
    if quantizer.bipolar:
        quotients = zip(x, step, zero, strict=True)
        positive = (
            [Fraction(float(v)) >= -int(z) * Fraction(float(s)) for v, s, z in quotients]
            if zero.any()
            else x >= 0
        )
        return np.where(positive, 1, -1).astype(np.int64) - zero
    with np.errstate(over="ignore"):
        z = np.clip(x / step + zero, quantizer.lo, quantizer.hi)
    codes = round_float(quantizer.rounding, z).astype(np.int64)
    power_of_two = (np.frexp(step)[0] == 0.5) & (zero == 0)
    unsure = np.flatnonzero(near_boundary(quantizer.rounding, z, 1e-9) & ~power_of_two)
    triples = np.stack([x[unsure], step[unsure], zero[unsure].astype(np.float64)])
    triples, where = np.unique(triples, axis=1, return_inverse=True)
    exact = [
        _encode_exactly(Fraction(float(v)) / Fraction(float(s)) + int(o), quantizer) for v, s, o in triples.T
    ]
    codes[unsure] = np.array(exact, dtype=np.int64)[where]
    return codes - zero


def _encode_exactly(z: Fraction, quantizer: Quantizer) -> int:
    clamped = min(max(z, Fraction(quantizer.lo)), Fraction(quantizer.hi))
    return round_exact(quantizer.rounding, clamped)


def quantize_input(
    builder: Builder, value: Raw, quantizer: Quantizer, node: RealNode, *, stated: bool = False
) -> Pending:
    """A network input and its quantiser become an input port."""
    steps = value.steps
    if (quantizer.lo, quantizer.zero) == (0, 0):
        while steps and isinstance(steps[-1], Relu):  # the clamp at zero does the same
            steps = steps[:-1]
    affine = compose(steps)
    if affine is None:
        cure = (
            "let the input go straight, or through scale and offset only, into its quantiser, "
            "or state its grid, for example --input-type fixed<16,6>"
        )
        raise UnsupportedModel(
            node.name, node.op, "the network input passes a non-linear operator before it", cure
        )
    host = InputQuantizer(*affine, quantizer.step, quantizer.zero, quantizer.lo, quantizer.hi, quantizer.rounding,
                          bipolar=quantizer.bipolar, stated=stated)  # fmt: skip
    port = Port(value.port, value.port, value.port_shape, value.layout, host)
    interval = IntType(quantizer.base, quantizer.hi - quantizer.zero)
    source = None if stated else node.outputs[0]
    tensor = builder.add_input(port, interval, value.graph_shape, source, Real(quantizer.step, np.zeros(1)))
    if not stated:
        builder.resolutions.append(
            Resolution(
                node.outputs[0],
                node.name,
                tensor,
                None,
                value.steps,
                quantizer,
                value.shape,
                value.layout,
                before=node.inputs[0],
            )
        )
    return Pending(tensor, value.shape, value.graph_shape, value.layout, (scale_by(quantizer.step),))


def resolve(builder: Builder, value: Pending, quantizer: Quantizer, node: RealNode) -> Pending:
    """Thresholds of the pending steps, in their cheapest exact form."""
    if quantizer.hi - quantizer.lo >= 2**MAX_ACTIVATION_BITS:
        cure = f"use at most {MAX_ACTIVATION_BITS} bits for activations"
        raise UnsupportedModel(node.name, node.op, "too many levels for a threshold table", cure)
    value = builder.rise(value, node.name)
    lo, hi = builder.bounds(value.tensor)
    table = find(value.steps, quantizer, lo, hi)
    source = node.outputs[0]
    interval = builder.tensors[value.tensor].type
    form = synthesise(table.thresholds, quantizer.base, quantizer.stride, interval, lo, hi)
    real = Real(quantizer.step, np.zeros(1))
    if _is_identity(form.params, interval):
        tensor = value.tensor
    else:
        op = "requant" if isinstance(form.params, Requant) else "threshold"
        tensor = builder.add(op, node.name, (value.tensor,), form.params, source, real)
    builder.resolutions.append(
        Resolution(
            source,
            node.name,
            tensor,
            value.tensor,
            value.steps,
            quantizer,
            value.shape,
            value.layout,
            form,
            table,
            node.inputs[0],
        )
    )
    return replace(value, tensor=tensor, steps=(scale_by(quantizer.step),), exclusive=False)


def _is_identity(params: object, interval: IntType) -> bool:
    return (
        isinstance(params, Requant)
        and params.shift == 0
        and bool((params.mult == 1).all() and (params.add == 0).all())
        and params.lo <= interval.lo
        and interval.hi <= params.hi
    )


def step_of(node: RealNode, scale: np.ndarray[Any, Any], value: Flow) -> ExactArray:
    """The scale of an activation quantiser, one element or one a channel."""
    step = per_channel(scale, value)
    if step is not None and step.dtype == object and any(len(Surd.of(v).terms) != 1 for v in step):
        cure = "store the scale as a float32 initialiser"
        raise UnsupportedModel(node.name, node.op, "its scale is a sum of square roots", cure)
    if step is None:
        cure = "use one scale a tensor or a channel"
        raise UnsupportedModel(
            node.name, node.op, f"its scale of shape {scale.shape} varies inside a channel", cure
        )
    return step
