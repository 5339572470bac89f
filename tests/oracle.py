"""An independent meaning of a QONNX file, in real numbers; nothing from hwq.

Every operator by its definition in the ONNX or QONNX specification, on object arrays of `Fraction` and `Real`
(see `oracle_numbers`). Slow and obvious on purpose; the sums of products run on integers over a common
denominator where all numbers are rational, and functions of one element run once for each distinct value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, lcm
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.oracle_layers import average_pool, conv, conv_transpose, max_pool, pad, resize
from tests.oracle_numbers import (
    HALF,
    Real,
    Scalar,
    forget,
    nearest_float,
    rounded,
    sign,
    square_root,
    transcendental,
)

Array = np.ndarray[Any, Any]
Attributes = dict[str, Any]
CHANNELS_LAST = "qonnx.custom_op.channels_last"
ZERO, ONE = Fraction(0), Fraction(1)


def evaluate(model: onnx.ModelProto, feeds: Array | Mapping[str, Array]) -> dict[str, Array]:
    """Exact outputs of a file, correctly rounded to float64, by name.

    A file whose batch is a number is run on that many rows at a time, so that shapes written into it fit.
    """
    forget()
    constants = {t.name: exact(numpy_helper.to_array(t)) for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    if not isinstance(feeds, Mapping):
        feeds = {inputs[0].name: feeds}
    rows = len(next(iter(feeds.values())))
    batch = inputs[0].type.tensor_type.shape.dim[0].dim_value or rows
    waiting = [n for n in model.graph.node if not _run_if_ready(n, constants)]
    parts: dict[str, list[Array]] = {o.name: [] for o in model.graph.output}
    for start in range(0, rows, batch):
        which = np.arange(start, start + batch) % rows
        values = constants | {name: exact(x[which]) for name, x in feeds.items()}
        for node in waiting:
            assert _run_if_ready(node, values), f"{node.name}: an input is missing"
        for name, part in parts.items():
            part.append(values[name])
    floats = np.vectorize(nearest_float, otypes=[np.float64])
    return {name: floats(np.concatenate(part)[:rows]) for name, part in parts.items()}


def exact(x: Array) -> Array:
    """An array of numbers as rationals; arrays of exact numbers stay."""
    out = np.empty(x.shape, dtype=object)
    flat = out.reshape(-1)
    for i, v in enumerate(x.reshape(-1).tolist()):
        flat[i] = v if isinstance(v, (Fraction, Real)) else Fraction(v)
    return out


def each(function: Callable[..., Scalar], *arrays: Array) -> Array:
    """The function of every element, after broadcasting; once for each distinct combination."""
    together = np.broadcast_arrays(*arrays)
    known: dict[tuple[Scalar, ...], Scalar] = {}
    out = np.empty(together[0].shape, dtype=object)
    flat = out.reshape(-1)
    for i, key in enumerate(zip(*(a.reshape(-1) for a in together), strict=True)):
        if key not in known:
            known[key] = function(*key)
        flat[i] = known[key]
    return out


def bilinear(function: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """A sum of products of elements of a and b: on integers where all are rational."""
    if not all(isinstance(v, Fraction) for x in (a, b) for v in x.reshape(-1)):
        return np.asarray(function(a, b), dtype=object)
    p, q = (lcm(*{v.denominator for v in x.reshape(-1)}) for x in (a, b))
    whole_a, whole_b = (
        each(lambda v, d=d: v.numerator * (d // v.denominator), x) for x, d in ((a, p), (b, q))
    )
    return each(lambda v: Fraction(v, p * q), np.asarray(function(whole_a, whole_b), dtype=object))


def integers(x: Array) -> list[int]:
    """A tensor of integers as a flat list."""
    assert all(v.denominator == 1 for v in x.reshape(-1))
    return [int(v) for v in x.reshape(-1)]


def quant(x: Scalar, scale: Fraction, zero: Fraction, bits: Fraction, *, a: Attributes) -> Scalar:
    """`Quant`: the clamped, then rounded quotient, or its sign for one signed bit."""
    signed, narrow, width = a.get("signed", 1), a.get("narrow", 0), int(bits)
    y = x / scale + zero
    if width == 1 and signed:
        code = 1 if sign(y) >= 0 else -1
    else:
        code = rounded(a.get("rounding_mode", "ROUND"), _clamped(y, *code_range(signed, narrow, width)))
    return (code - zero) * scale


def code_range(signed: int, narrow: int, width: int) -> tuple[Fraction, Fraction]:
    """Smallest and largest code; narrow takes one from the bottom of signed and from the top of unsigned."""
    if signed:
        return Fraction(-(2 ** (width - 1)) + narrow), Fraction(2 ** (width - 1) - 1)
    return ZERO, Fraction(2**width - 1 - narrow)


def _clamped(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    return max(low, min(x, high))


def trunc(x: Scalar, scale: Fraction, zero: Fraction, *rest: Fraction, a: Attributes) -> Scalar:
    """`Trunc`: x snapped to its grid, divided by a power of two, rounded.

    With five inputs, of (.., in_bits, out_bits), the result keeps scale and zero point, and nothing is clamped;
    with six, of (.., in_bits, out_scale, out_bits), it is clamped, and rescaled by out_scale.
    """
    mode = a.get("rounding_mode", "FLOOR")
    snapped = rounded("ROUND", x / scale + zero)
    if len(rest) == 2:
        step = Fraction(2) ** int(rest[0] - rest[1])
        return (rounded(mode, snapped / step) - zero) * scale
    _, out_scale, out_bits = rest
    step = nearest_power_of_two(out_scale / scale)
    y = _clamped(snapped / step, *code_range(a.get("signed", 1), a.get("narrow", 0), int(out_bits)))
    return (rounded(mode, y) - zero / step) * out_scale


def nearest_power_of_two(ratio: Fraction) -> Fraction:
    """2**round(log2(ratio)); the ratio is never just between two."""
    power = ONE
    while ratio * ratio > 2 * power * power:
        power *= 2
    while 2 * ratio * ratio < power * power:
        power /= 2
    return power


def batch_norm(xs: list[Array], a: Attributes) -> Array:
    """By channel, the second axis: gamma·(x - mean) / √(variance + epsilon) + beta."""
    shape = (-1, *(1,) * (xs[0].ndim - 2))
    epsilon = _float(a, "epsilon", 1e-5)
    return each(
        lambda x, gamma, beta, mean, var: (x - mean) * gamma / square_root(var + epsilon) + beta,
        xs[0],
        *(p.reshape(shape) for p in xs[1:5]),
    )


def _float(a: Attributes, name: str, default: float) -> Fraction:
    """A float attribute; those are float32."""
    return Fraction(float(np.float32(a.get(name, default))))


def _activation(op: str, a: Attributes) -> Callable[..., Scalar]:
    """Functions of one element, and of constants that broadcast to it."""

    def hard_sigmoid(x: Scalar, slope: Fraction, offset: Fraction) -> Scalar:
        return _clamped(x * slope + offset, ZERO, ONE)

    table: dict[str, Callable[..., Scalar]] = {
        "Relu": lambda x: x if x > 0 else ZERO,
        "LeakyRelu": lambda x: x if x >= 0 else x * _float(a, "alpha", 0.01),
        "PRelu": lambda x, slope: x if x >= 0 else x * slope,
        "Elu": lambda x: x if x >= 0 else transcendental("Expm1", x) * _float(a, "alpha", 1),
        "HardSigmoid": lambda x: hard_sigmoid(x, _float(a, "alpha", 0.2), _float(a, "beta", 0.5)),
        "HardSwish": lambda x: x * hard_sigmoid(x, Fraction(1, 6), HALF),
        "Sigmoid": lambda x: transcendental("Sigmoid", x),
        "Tanh": lambda x: transcendental("Tanh", x),
        "Erf": lambda x: transcendental("Erf", x),
        "Softplus": lambda x: transcendental("Softplus", x),
        "Sqrt": square_root,
        "Neg": lambda x: -x,
        "Add": lambda x, y: x + y,
        "Sub": lambda x, y: x - y,
        "Mul": lambda x, y: x * y,
        "Div": lambda x, y: x / y,
        "Pow": _power,
        "Sum": lambda *xs: sum(xs[1:], xs[0]),
        "Quant": lambda *xs: quant(*xs, a=a),
        "IntQuant": lambda *xs: quant(*xs, a=a),
        "BipolarQuant": lambda x, scale: scale if x >= 0 else -scale,
        "Trunc": lambda *xs: trunc(*xs, a=a),
    }
    return table[op]


ELEMENTWISE = (
    *("Relu", "LeakyRelu", "PRelu", "Elu", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Erf", "Softplus"),
    *("Sqrt", "Neg", "Add", "Sub", "Mul", "Div", "Pow", "Sum", "Quant", "IntQuant", "BipolarQuant", "Trunc"),
)


def _power(x: Scalar, exponent: Fraction) -> Scalar:
    if exponent == HALF:
        return square_root(x)
    assert exponent.denominator == 1
    assert exponent >= 0
    power: Scalar = ONE
    for _ in range(int(exponent)):
        power = power * x
    return power


def _run_if_ready(node: onnx.NodeProto, values: dict[str, Array]) -> bool:
    """Run a node whose inputs are all known."""
    if not all(i in values for i in node.input if i):
        return False
    xs = [values[i] if i else None for i in node.input]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    if node.domain == CHANNELS_LAST:
        results = _channels_last(node.op_type, xs, attributes)
    else:
        results = apply(node.op_type, xs, attributes, len(node.output))
    values.update({o: r for o, r in zip(node.output, results, strict=False) if o})
    return True


def _channels_last(op: str, xs: list[Any], a: Attributes) -> list[Array]:
    """The wrapped operator sees channels first: of the data, and of a convolution's weights."""
    for i in range(2 if op == "Conv" else 1):
        xs[i] = np.moveaxis(xs[i], -1, 1)
    return [np.moveaxis(apply(op, xs, a, 1)[0], 1, -1)]


def apply(op: str, xs: list[Any], a: Attributes, outputs: int) -> list[Array]:
    """Outputs of an operator; a left-out input is None."""
    if op in ELEMENTWISE:
        return [each(_activation(op, a), *xs)]
    if op == "Split":
        return _split(xs, a, outputs)
    table: dict[str, Callable[[], Array]] = {
        **dict.fromkeys(("Identity", "Dropout", "Softmax"), lambda: xs[0]),  # Softmax: its input
        "Constant": lambda: _constant(a),
        "Cast": lambda: _cast(xs, a),
        "Clip": lambda: _clip(xs, a),
        "BatchNormalization": lambda: batch_norm(xs, a),
        "MatMul": lambda: bilinear(np.matmul, xs[0], xs[1]),
        "Gemm": lambda: _gemm(xs, a),
        "Conv": lambda: _with_bias(bilinear(lambda x, w: conv(x, w, a), xs[0], xs[1]), xs),
        "ConvTranspose": lambda: _with_bias(bilinear(lambda x, w: conv_transpose(x, w, a), xs[0], xs[1]), xs),
        "MaxPool": lambda: max_pool(xs[0], a),
        "AveragePool": lambda: average_pool(xs[0], a),
        "GlobalMaxPool": lambda: np.max(xs[0], axis=tuple(range(2, xs[0].ndim)), keepdims=True),
        "GlobalAveragePool": lambda: _reduce(xs, {"axes": list(range(2, xs[0].ndim))}, mean=True),
        "ReduceMean": lambda: _reduce(xs, a, mean=True),
        "ReduceSum": lambda: _reduce(xs, a, mean=False),
        "ArgMax": lambda: _arg_max(xs, a),
        "Concat": lambda: np.concatenate(xs, axis=a["axis"]),
        "Slice": lambda: _slice(xs, a),
        "Pad": lambda: _pad(xs, a),
        "Resize": lambda: _resize(xs, a),
        "Upsample": lambda: resize(
            xs[0],
            [Fraction(s) for s in a["scales"]] if "scales" in a else list(xs[1]),
            "asymmetric",
            a.get("mode", "nearest"),
            "floor",
        ),
        "DepthToSpace": lambda: _depth_to_space(xs, a),
        "Transpose": lambda: xs[0].transpose(a.get("perm")),
        "Reshape": lambda: _reshape(xs, a),
        "Flatten": lambda: _flatten(xs, a),
        "Squeeze": lambda: np.squeeze(xs[0], _axes(xs, a)),
        "Unsqueeze": lambda: np.expand_dims(xs[0], _axes(xs, a) or ()),
        "Shape": lambda: exact(np.array(xs[0].shape[a.get("start", 0) : a.get("end")])),
        "Gather": lambda: np.take(xs[0], xs[1].astype(int), axis=a.get("axis", 0)),
    }
    return [exact(np.asarray(table[op](), dtype=object))]


def _constant(a: Attributes) -> Array:
    ((name, value),) = a.items()
    return numpy_helper.to_array(value) if name == "value" else np.array(value)


def _cast(xs: list[Array], a: Attributes) -> Array:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    return xs[0] if a["to"] in floats else each(lambda x: Fraction(rounded("DOWN", x)), xs[0])


def _clip(xs: list[Any], a: Attributes) -> Array:
    bounds = [None if b is None else b.item() for b in [*xs[1:], None, None][:2]]
    low, high = (
        b if b is not None else Fraction(float(np.float32(a[name]))) if name in a else None
        for b, name in zip(bounds, ("min", "max"), strict=True)
    )

    def clipped(x: Scalar) -> Scalar:
        if low is not None and x < low:
            x = low
        return high if high is not None and x > high else x

    return each(clipped, xs[0])


def _gemm(xs: list[Any], a: Attributes) -> Array:
    left = xs[0].T if a.get("transA") else xs[0]
    right = xs[1].T if a.get("transB") else xs[1]
    product = bilinear(np.matmul, left, right) * _float(a, "alpha", 1)
    if len(xs) < 3 or xs[2] is None:
        return np.asarray(product)
    return np.asarray(product + xs[2] * _float(a, "beta", 1))


def _with_bias(y: Array, xs: list[Any]) -> Array:
    if len(xs) < 3 or xs[2] is None:
        return y
    return np.asarray(y + xs[2].reshape(-1, *(1,) * (y.ndim - 2)))


def _axes(xs: list[Any], a: Attributes) -> tuple[int, ...] | None:
    """Axes: an attribute in older operator sets, the second input in newer ones."""
    if len(xs) > 1 and xs[1] is not None:
        return tuple(integers(xs[1]))
    return tuple(a["axes"]) if "axes" in a else None


def _reduce(xs: list[Any], a: Attributes, *, mean: bool) -> Array:
    axes = _axes(xs, a)
    if not axes:
        if a.get("noop_with_empty_axes"):
            return np.asarray(xs[0])
        axes = tuple(range(xs[0].ndim))
    total = np.sum(xs[0], axis=axes, keepdims=bool(a.get("keepdims", 1)))
    count = int(np.prod([xs[0].shape[i] for i in axes])) if mean else 1
    return np.asarray(total * Fraction(1, count))


def _arg_max(xs: list[Array], a: Attributes) -> Array:
    assert not a.get("select_last_index")
    axis = a.get("axis", 0)

    def first(row: Any) -> int:
        return max(range(len(row)), key=lambda i: (_Ordered(row[i]), -i))

    y = np.apply_along_axis(first, axis, xs[0])
    return np.expand_dims(y, axis) if a.get("keepdims", 1) else y


class _Ordered:
    """An exact number as a sorting key inside a tuple, where == would compare how it is written."""

    def __init__(self, value: Scalar) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ordered) and sign(self.value - other.value) == 0

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: _Ordered) -> bool:
        return self.value < other.value

    def __gt__(self, other: _Ordered) -> bool:
        return self.value > other.value


def _split(xs: list[Any], a: Attributes, outputs: int) -> list[Array]:
    axis = a.get("axis", 0)
    n = xs[0].shape[axis]
    if len(xs) > 1 and xs[1] is not None:
        sizes = integers(xs[1])
    elif "split" in a:
        sizes = list(a["split"])
    else:
        part = ceil(Fraction(n, outputs))
        sizes = [part] * (outputs - 1) + [n - part * (outputs - 1)]
    return list(np.split(xs[0], np.cumsum(sizes)[:-1].tolist(), axis=axis))


def _slice(xs: list[Any], a: Attributes) -> Array:
    if "starts" in a:
        starts, ends = list(a["starts"]), list(a["ends"])
        axes, steps = list(a.get("axes", range(len(starts)))), [1] * len(starts)
    else:
        lists = [None if x is None else integers(x) for x in [*xs[1:], None, None][:4]]
        starts, ends = lists[0] or [], lists[1] or []
        axes, steps = lists[2] or list(range(len(starts))), lists[3] or [1] * len(starts)
    x = xs[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -x.shape[axis] else end
        index = [slice(None)] * x.ndim
        index[axis] = slice(start, stop, step)
        x = x[tuple(index)]
    return np.asarray(x)


def _pad(xs: list[Any], a: Attributes) -> Array:
    assert a.get("mode", "constant") == "constant"
    pads = list(a["pads"]) if "pads" in a else integers(xs[1])
    value = xs[2].item() if len(xs) > 2 and xs[2] is not None else _float(a, "value", 0)
    axes = integers(xs[3]) if len(xs) > 3 else list(range(xs[0].ndim))
    widths = [(0, 0)] * xs[0].ndim
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        widths[axis] = (before, after)
    return pad(xs[0], widths, value)


def _resize(xs: list[Any], a: Attributes) -> Array:
    if len(xs) == 2:  # operator set 10
        return resize(xs[0], list(xs[1]), "asymmetric", a.get("mode", "nearest"), "floor")
    if len(xs) > 3 and xs[3] is not None and xs[3].size:
        scales = [Fraction(out, n) for out, n in zip(integers(xs[3]), xs[0].shape, strict=True)]
    else:
        scales = list(xs[2])
    return resize(
        xs[0],
        scales,
        a.get("coordinate_transformation_mode", "half_pixel"),
        a.get("mode", "nearest"),
        a.get("nearest_mode", "round_prefer_floor"),
    )


def _depth_to_space(xs: list[Array], a: Attributes) -> Array:
    n, c, h, w = xs[0].shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "DCR":
        y = xs[0].reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = xs[0].reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return np.asarray(y.reshape(n, c // (b * b), h * b, w * b))


def _reshape(xs: list[Array], a: Attributes) -> Array:
    assert not a.get("allowzero")
    shape = a["shape"] if "shape" in a else integers(xs[1])
    return np.asarray(xs[0].reshape([xs[0].shape[i] if d == 0 else d for i, d in enumerate(shape)]))


def _flatten(xs: list[Array], a: Attributes) -> Array:
    axis = a.get("axis", 1) % xs[0].ndim if a.get("axis", 1) != xs[0].ndim else xs[0].ndim
    return np.asarray(xs[0].reshape(int(np.prod(xs[0].shape[:axis])), -1))
