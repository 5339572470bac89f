"""Quant and BipolarQuant: of constants, of network inputs, of pending tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray
from hwq.ir import InputQuantizer, IntType, Port, Real
from hwq.lowering.builder import Builder, Resolution
from hwq.lowering.pending import compose, scale_by
from hwq.lowering.real import RealNode
from hwq.lowering.requant import synthesise
from hwq.lowering.thresholds import Quantizer, find
from hwq.lowering.values import Constant, Flow, Pending, QuantizedConstant, Raw, per_channel
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

    scale = parameters[0].astype(np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise refuse("its scale is not positive and finite", "check the calibration of this quantiser")
    if node.op == "BipolarQuant":
        return lambda step: Quantizer(step, 0, -1, 1, Rounding.FLOOR, bipolar=True), parameters[0]
    zero, bits = parameters[1].astype(np.float64), parameters[2].astype(np.float64)
    if zero.size == 0 or not (zero == zero.flat[0]).all() or float(zero.flat[0]) % 1:
        raise refuse("its zero point is not one integer", "use one integer zero point a tensor")
    if bits.size != 1 or bits.item() % 1 or not 1 <= bits.item() <= 32:
        raise refuse(
            f"its bit width {bits.ravel()[:4]} is not an integer from 1 to 32", "round the learned bit width"
        )
    mode = node.attributes.get("rounding_mode", "ROUND")
    if mode.upper() not in _MODES:
        raise refuse(f"rounding mode '{mode}' is unknown", f"use one of {', '.join(_MODES)}")
    signed, width, offset = bool(node.attributes.get("signed", 1)), int(bits.item()), int(zero.flat[0])
    if signed and width == 1:
        return lambda step: Quantizer(step, offset, -1, 1, Rounding.FLOOR, bipolar=True), parameters[0]
    lo, hi = code_range(width, signed=signed, narrow=bool(node.attributes.get("narrow", 0)))
    return lambda step: Quantizer(step, offset, lo, hi, _MODES[mode.upper()]), parameters[0]


def quantize_constant(
    constant: Constant, quantizer: Quantizer, scale: np.ndarray[Any, Any]
) -> QuantizedConstant:
    """Integers of a constant: clamp, then round, of the exact quotient."""
    values = constant.values.astype(np.float64)
    step = np.broadcast_to(scale.astype(np.float64), values.shape)
    codes = encode(values.ravel(), step.ravel(), quantizer)
    return QuantizedConstant(codes.reshape(values.shape), scale)


def encode(x: FloatArray, step: FloatArray, quantizer: Quantizer) -> IntArray:
    """Integers of the exact quotients x/step, flat arrays of dyadic numbers; zero point subtracted."""
    if quantizer.bipolar:
        return np.where(x + quantizer.zero * step >= 0, 1, -1).astype(np.int64) - quantizer.zero
    z = np.clip(x / step + quantizer.zero, quantizer.lo, quantizer.hi)
    codes = round_float(quantizer.rounding, z).astype(np.int64)
    power_of_two = (np.frexp(step)[0] == 0.5) & (quantizer.zero == 0)
    unsure = np.flatnonzero(near_boundary(quantizer.rounding, z, 1e-9) & ~power_of_two)
    pairs, where = np.unique(np.stack([x[unsure], step[unsure]]), axis=1, return_inverse=True)
    exact = [_encode_exactly(Fraction(float(v)) / Fraction(float(s)), quantizer) for v, s in pairs.T]
    codes[unsure] = np.array(exact, dtype=np.int64)[where]
    return codes - quantizer.zero


def _encode_exactly(quotient: Fraction, quantizer: Quantizer) -> int:
    clamped = min(max(quotient + quantizer.zero, Fraction(quantizer.lo)), Fraction(quantizer.hi))
    return round_exact(quantizer.rounding, clamped)


def quantize_input(
    builder: Builder, value: Raw, quantizer: Quantizer, node: RealNode, *, stated: bool = False
) -> Pending:
    """A network input and its quantiser become an input port."""
    affine = compose(value.steps)
    if affine is None:
        cure = "let the input go straight, or through scale and offset only, into its quantiser"
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
    if step is None:
        cure = "use one scale a tensor or a channel"
        raise UnsupportedModel(
            node.name, node.op, f"its scale of shape {scale.shape} varies inside a channel", cure
        )
    return step
