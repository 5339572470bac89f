"""Quant and BipolarQuant: of constants, of network inputs, of pending tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd
from hwq.ir import InputQuantizer, IntType, Port, Real
from hwq.lowering.builder import Builder, Resolution
from hwq.lowering.integers import GRID_CURE, QUANTIZE_CURE, collected, fitted, single
from hwq.lowering.joins import Sum, for_quantizer
from hwq.lowering.layouts import composed
from hwq.lowering.pending import (
    MIXED,
    Affine,
    Relu,
    Steps,
    channels,
    compose,
    direction,
    evaluate_exact,
    scale_by,
)
from hwq.lowering.real import RealNode
from hwq.lowering.requant import Form, synthesise
from hwq.lowering.thresholds import Pieces, Quantizer, Table, find, tabulate
from hwq.lowering.values import Flow, Join, Pending, QuantizedConstant, Raw, Term, exact_floats
from hwq.ops import OPS
from hwq.ops.lut import Lut
from hwq.ops.requant import Requant
from hwq.rounding import BoolArray, FloatArray, IntArray, Rounding, near_boundary, round_exact, round_float

MAX_ACTIVATION_BITS = 16
MAX_THRESHOLDS = 2**21
"""Channels times levels of one quantiser."""
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
    if bits.size > 1 and (bits != bits.flat[0]).any():
        cure = "give an activation one bit width a tensor (weights may have one each)"
        raise refuse(f"its bit widths differ ({np.unique(bits)[:4]})", cure)
    bits = bits.reshape(-1)[:1]
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
    codes = np.zeros(values.shape, dtype=np.int64)
    for part, quantizer in _by_width(node, parameters, values.shape):
        codes[part] = encode(values[part], step[part], quantizer, zeros[part])
    return QuantizedConstant(codes, steps if scale.dtype == object else scale)


def _by_width(
    node: RealNode, parameters: tuple[np.ndarray[Any, Any], ...], shape: tuple[int, ...]
) -> Iterator[tuple[BoolArray, Quantizer]]:
    """Where a constant has each bit width, and its quantiser (HGQ gives each weight its own); 0 bits are 0."""
    widths = parameters[2].astype(np.float64) if len(parameters) > 2 else np.ones(1)
    everywhere = np.broadcast_to(widths, shape) if widths.size > 1 else np.full(shape, widths.reshape(-1)[:1])
    for width in np.unique(widths):
        if width == 0 and widths.size > 1:
            plain = not node.attributes.get("narrow", 0) and not parameters[1].any()
            if not plain or str(node.attributes.get("rounding_mode", "ROUND")).upper() != "ROUND":
                reason = (
                    "has elements of 0 bits, and is narrow, has a zero point, or does not round to nearest"
                )
                raise UnsupportedModel(
                    node.name, node.op, reason, "set pruned weights to zero, with one bit or more"
                )
            continue
        yield everywhere == width, _codes(node, (*parameters[:2], np.array([width])))


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
    if quantizer.dropped is not None:
        raise UnsupportedModel(node.name, node.op, "truncates the unquantised network input", GRID_CURE)
    host = InputQuantizer(*affine, quantizer.step, quantizer.zero, quantizer.lo, quantizer.hi, quantizer.rounding,
                          bipolar=quantizer.bipolar, stated=stated)  # fmt: skip
    layout = composed(value.order, value.layout)
    if layout is None:
        raise UnsupportedModel(
            node.name, node.op, "mixes axes of the network input", "quantise the input first"
        )
    port = Port(value.port, value.port, value.port_shape, layout, host)
    interval = IntType(quantizer.base, quantizer.hi - quantizer.zero)
    source = None if stated else node.outputs[0]
    real = Real(quantizer.step, np.zeros(1))
    tensor = builder.add_input(port, interval, value.graph_shape, source, real)
    if not stated:
        builder.resolutions.append(
            Resolution(
                node.outputs[0],
                node.name,
                tensor,
                (),
                value.steps,
                quantizer,
                real,
                value.shape,
                value.layout,
                before=node.inputs[0],
            )
        )
    return Pending(tensor, value.shape, value.graph_shape, value.layout, (scale_by(quantizer.step),))


def resolve(
    builder: Builder, value: Pending | Join, quantizer: Quantizer, node: RealNode, real: Real | None = None
) -> Pending:
    """The integers that a quantiser makes of pending steps, in their cheapest exact form.

    Args:
        builder: Gets the nodes.
        value: What it reads.
        quantizer: The quantiser.
        node: Its node in the file.
        real: What its codes mean, if not step times code.

    Raises:
        UnsupportedModel: Too many levels, or a function that cannot be decided exactly.
    """
    if quantizer.hi - quantizer.lo >= 2**MAX_ACTIVATION_BITS:
        cure = f"use at most {MAX_ACTIVATION_BITS} bits for activations"
        raise UnsupportedModel(node.name, node.op, "too many levels for a threshold table", cure)
    factors = [t.factor for t in value.terms] if isinstance(value, Join) else []
    many = max([channels(value.steps), len(quantizer.step), *map(len, factors)])
    if many * (quantizer.hi - quantizer.lo) > MAX_THRESHOLDS:
        reason = f"{many} channels with {quantizer.hi - quantizer.lo} thresholds each are too many"
        raise UnsupportedModel(node.name, node.op, reason, "use fewer bits, or one scale a tensor")
    real = real or Real(quantizer.step, np.zeros(1))
    source = for_quantizer(builder, node, value, quantizer) if isinstance(value, Join) else value
    try:
        if isinstance(source, Sum):
            found = _sum_form(builder, source, quantizer)
        else:
            found = _pending_form(builder, node, source, quantizer)
    except ValueError as error:
        raise UnsupportedModel(node.name, node.op, str(error), QUANTIZE_CURE) from error
    tensor = found.tensor
    if found.params is not None:
        op = next(name for name, spec in OPS.items() if isinstance(found.params, spec.params))
        tensor = builder.add(op, node.name, (tensor,), found.params, node.outputs[0], real)
    terms, steps = found.terms, found.steps
    if isinstance(value, Join) and isinstance(source, Sum):
        terms, steps = value.terms, value.steps
    builder.resolutions.append(
        Resolution(
            node.outputs[0],
            node.name,
            tensor,
            terms,
            steps,
            quantizer,
            real,
            value.shape,
            value.layout,
            found.form,
            found.table,
            node.inputs[0],
        )
    )
    return Pending(tensor, value.shape, value.graph_shape, value.layout, (Affine(real.scale, real.offset),))


@dataclass(frozen=True)
class _Found:
    """A form, on one integer tensor; no parameters if that tensor is the result already."""

    tensor: str
    params: object | None
    form: Form | None
    table: Table | Pieces | None
    terms: tuple[Term, ...] = ()
    steps: Steps = ()


def _sum_form(builder: Builder, value: Sum, quantizer: Quantizer) -> _Found:
    """A sum with the thresholds that were found with its multipliers."""
    tensor = value.value.tensor
    lo, hi = builder.bounds(tensor)
    interval = builder.tensors[tensor].type
    form = synthesise(value.thresholds, quantizer.base, quantizer.stride, interval, lo, hi, below=value.below)
    form = replace(form, checks=form.checks + value.checks)
    return _Found(tensor, None if _is_identity(form.params, interval) else form.params, form, None)


def _pending_form(builder: Builder, node: RealNode, value: Pending, quantizer: Quantizer) -> _Found:
    if (direction(value.steps) == MIXED).any():
        return _pieces_form(builder, value, quantizer)
    value = builder.rise(value, node.name)
    lo, hi = builder.bounds(value.tensor)
    table = find(value.steps, quantizer, lo, hi)
    interval = builder.tensors[value.tensor].type
    form = synthesise(table.thresholds, quantizer.base, quantizer.stride, interval, lo, hi)
    params = None if _is_identity(form.params, interval) else form.params
    return _Found(value.tensor, params, form, table, (Term(value.tensor, np.ones(1)),), value.steps)


def _pieces_form(builder: Builder, value: Pending, quantizer: Quantizer) -> _Found:
    """A function that rises and falls: its constant pieces; thresholds if it turns out to rise only."""
    lo, hi = builder.bounds(value.tensor)
    interval = builder.tensors[value.tensor].type
    pieces = tabulate(value.steps, quantizer, lo, hi)
    terms = (Term(value.tensor, np.ones(1)),)
    if (np.diff(pieces.values, axis=1) >= 0).all():
        thresholds = _as_thresholds(pieces, quantizer, interval)
        form = synthesise(thresholds, quantizer.base, quantizer.stride, interval, lo, hi)
        params = None if _is_identity(form.params, interval) else form.params
        return _Found(value.tensor, params, form, pieces, terms, value.steps)
    count = pieces.values.shape[1]
    points = int((hi - lo + 1).sum())
    lut = Form(
        Lut(pieces.breaks, pieces.values), f"table, {count} pieces", float(count * interval.bits), points
    )
    return _Found(value.tensor, lut.params, lut, pieces, terms, value.steps)


def _as_thresholds(pieces: Pieces, quantizer: Quantizer, interval: IntType) -> IntArray:
    """Thresholds (channels, levels - 1) of non-falling pieces."""
    levels = (pieces.values - quantizer.base) // quantizer.stride
    starts = np.concatenate([np.full((len(levels), 1), interval.lo), pieces.breaks], axis=1)
    count = len(quantizer.boundaries())
    out = np.full((len(levels), count), interval.hi + 1, dtype=np.int64)
    for c, k in np.ndindex(out.shape):
        reached = np.flatnonzero(levels[c] > k)
        if len(reached):
            out[c, k] = starts[c, reached[0]]
    return out


def _is_identity(params: object, interval: IntType) -> bool:
    return (
        isinstance(params, Requant)
        and params.shift == 0
        and bool((params.mult == 1).all() and (params.add == 0).all())
        and params.lo <= interval.lo
        and interval.hi <= params.hi
    )


def step_of(
    builder: Builder, node: RealNode, scale: np.ndarray[Any, Any], value: Flow
) -> tuple[Flow, ExactArray]:
    """The tensor, laid out so that the scale of its quantiser is one element or one a channel; and the scale."""
    value, step = fitted(builder, node, scale, value, "scale")
    if step.dtype == object and any(len(Surd.of(v).terms) != 1 for v in step):
        cure = "store the scale as a float32 initialiser"
        raise UnsupportedModel(node.name, node.op, "its scale is a sum of square roots", cure)
    return value, step


def truncate(
    builder: Builder, node: RealNode, value: Flow, parameters: list[np.ndarray[Any, Any]]
) -> Pending:
    """QONNX Trunc: the integers of a finer scale lose their lowest bits.

    Versions differ: five inputs (version 1) keep scale and zero point, six (version 2) bring the scale that
    results; either way the quotient is rounded half to even first, and all else is exact.
    """
    if any(p.size != 1 for p in parameters):
        raise UnsupportedModel(node.name, node.op, "has parameters a channel", "use per-tensor parameters")
    if isinstance(value, Raw):
        raise UnsupportedModel(node.name, node.op, "truncates the unquantised network input", GRID_CURE)
    scale, bits_in = _one(parameters[0]), _one(parameters[2])
    zero = Fraction(int(_zero_points(node, tuple(parameters)).item()))
    _check_scale(node, parameters[0])
    bits_out = _one(parameters[-1])
    if any(b.denominator != 1 or not 1 <= b <= 32 for b in (bits_in, bits_out)):
        reason = f"bit widths {float(bits_in):g} and {float(bits_out):g} are no integers from 1 to 32"
        raise UnsupportedModel(node.name, node.op, reason, "round the learned bit widths")
    mode = str(node.attributes.get("rounding_mode", "FLOOR")).upper()
    if mode not in _MODES:
        cure = f"use one of {', '.join(_MODES)}"
        raise UnsupportedModel(node.name, node.op, f"rounding mode '{mode}' is unknown", cure)
    rounding = _MODES[mode]
    if len(parameters) == 4:
        dropped, output, offset = int(bits_in - bits_out), scale, -zero * scale
        _check_dropped(node, dropped)
        lo, hi = _reached(builder, node, value, scale, int(zero), dropped, rounding)
    else:
        _check_scale(node, parameters[3])
        output = _one(parameters[3])
        dropped = _nearest_log2(output / scale)
        _check_dropped(node, dropped)
        offset = -zero * output / 2**dropped
        signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 0))
        lo, hi = code_range(int(bits_out), signed=signed, narrow=narrow)
    quantizer = Quantizer(collected([Surd(scale)]), int(zero), lo, hi, rounding, dropped=dropped)
    real = Real(collected([Surd(output)]), collected([Surd(offset + output * int(zero))]))
    return resolve(builder, value, quantizer, node, real)


def _one(array: np.ndarray[Any, Any]) -> Fraction:
    return Surd.of(array.item()).rational()


def _nearest_log2(ratio: Fraction) -> int:
    """``round(log2(ratio))``, which is what QONNX makes of scales that are meant to be powers of two apart."""
    return round(float(np.log2(float(ratio)))) if 2**-64 < ratio < 2**64 else -1


def _check_dropped(node: RealNode, bits: int) -> None:
    if not 0 <= bits <= 32:
        reason = "its scales and bit widths do not say to drop between 0 and 32 bits"
        raise UnsupportedModel(node.name, node.op, reason, "export the model again")


def _reached(
    builder: Builder,
    node: RealNode,
    value: Pending | Join,
    scale: Fraction,
    zero: int,
    dropped: int,
    mode: Rounding,
) -> tuple[int, int]:
    """Lowest and highest code of a truncation that does not saturate."""
    pending = single(builder, node, value)
    lo, hi = builder.bounds(pending.tensor)
    ends = []
    for c in range(max(len(lo), channels(pending.steps))):
        for end in (lo, hi):
            real = evaluate_exact(pending.steps, int(end[c if len(end) > 1 else 0]), c)
            quotient = Fraction(float(real)) / scale + zero
            ends.append(round_exact(mode, Fraction(round(quotient), 2**dropped)))
    return min(ends) - 1, max(ends) + 1
