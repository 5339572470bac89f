"""How many inputs and which attributes each operator takes, checked before a handler reads them; what one may make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hwq.errors import MALFORMED, UnsupportedModel
from hwq.exact import Surd
from hwq.lowering.branches import Combine, Concatenated
from hwq.lowering.pending import BatchNorm, Steps, channels
from hwq.lowering.real import RealNode
from hwq.lowering.values import Join, Pending, Raw

ARITY: dict[str, tuple[int, int]] = {
    "BatchNormalization": (5, 5),
    "BipolarQuant": (2, 2),
    "Clip": (1, 3),
    "Conv": (2, 3),
    "ConvTranspose": (2, 3),
    "Dropout": (1, 3),
    "Gemm": (2, 3),
    "IntQuant": (4, 4),
    "Pad": (1, 4),
    "Quant": (4, 4),
    "Resize": (1, 4),
    "Slice": (1, 5),
    "Trunc": (5, 6),
    **dict.fromkeys(("Concat", "Max", "Min", "Sum"), (1, 2**31)),
    **dict.fromkeys(
        ("ReduceMax", "ReduceMean", "ReduceSum", "Split", "Squeeze", "Unsqueeze", "Upsample"), (1, 2)
    ),
    **dict.fromkeys(
        ("Add", "Div", "Gather", "MatMul", "Mul", "PRelu", "Pow", "Reshape", "Sub"),
        (2, 2),
    ),
    **dict.fromkeys(
        (
            *(
                "Abs",
                "ArgMax",
                "AveragePool",
                "Cast",
                "Ceil",
                "ConstantOfShape",
                "DepthToSpace",
                "Elu",
                "Erf",
                "Exp",
            ),
            *("Flatten", "Floor", "Gelu", "Log", "Mish", "SpaceToDepth"),
            *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
            *("LogSoftmax", "MaxPool", "Neg", "Relu", "Selu", "Shape", "Sigmoid", "Softmax", "Softplus"),
            *("Sqrt", "Tanh", "Transpose"),
        ),
        (1, 1),
    ),
}
"""Fewest and most inputs by operator; the fewest must be there, the others may be left out."""

_KINDS: dict[str, tuple[str, ...]] = {
    "an integer": (
        *("allowzero", "axis", "blocksize", "ceil_mode", "count_include_pad", "end", "group", "keepdims"),
        *("narrow", "noop_with_empty_axes", "select_last_index", "signed", "start", "storage_order", "to"),
        *("training_mode", "transA", "transB"),
    ),
    "a list of integers": (
        *(
            "axes",
            "dilations",
            "ends",
            "kernel_shape",
            "output_padding",
            "output_shape",
            "pads",
            "perm",
            "split",
        ),
        *("starts", "steps", "strides"),
    ),
    "a number": ("alpha", "beta", "epsilon", "gamma", "max", "min", "value"),
    "a list of numbers": ("scales",),
    "a text": (
        *(
            "approximate",
            "auto_pad",
            "coordinate_transformation_mode",
            "mode",
            "nearest_mode",
            "rounding_mode",
        ),
    ),
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}
_REQUIRED = {"Cast": "to", "Concat": "axis", "DepthToSpace": "blocksize", "SpaceToDepth": "blocksize"}
MAX_STEPS = 100
"""Float64 evaluations of fewer roundings err by less than `pending.BAND`."""
_MAX_CHANNELS = 2**16
_MAX_TERMS = 32
_MAX_ROOT_BITS = 2**12
_WEIGHT_OF_ROOT = 4


def check_attributes(node: RealNode) -> None:
    """Refuse a node of a known operator with attributes of another kind, or without one that it must have.

    Raises:
        UnsupportedModel: Naming the node.
    """
    if node.op not in ARITY:
        return
    cure = "export the model again"
    if (wanted := _REQUIRED.get(node.op)) and wanted not in node.attributes:
        raise UnsupportedModel(node.name, node.op, f"has no attribute '{wanted}'", cure)
    for name, value in node.attributes.items():
        kind = _KIND.get(name)
        if kind and not _is(value, kind):
            raise UnsupportedModel(node.name, node.op, f"its attribute '{name}' is not {kind}", cure)


def _is(value: Any, kind: str) -> bool:
    if kind.startswith("a list of"):
        element = "an integer" if kind == "a list of integers" else "a number"
        return isinstance(value, (list, tuple)) and all(_is(v, element) for v in value)
    types: dict[str, Any] = {"an integer": int, "a number": (int, float), "a text": str}
    return isinstance(value, types[kind])


def check_made(node: RealNode, made: Any) -> None:
    """Refuse a value that has grown beyond what can be evaluated exactly in reasonable time.

    Raises:
        UnsupportedModel: Naming the node.
    """
    if not isinstance(made, (Raw, Pending, Join)):
        return
    cure = "put a quantiser (QuantIdentity, QuantReLU) between them"
    if _size(made.steps) > MAX_STEPS:
        reason = f"is the end of more than {MAX_STEPS} operators without a quantiser between them"
        raise UnsupportedModel(node.name, node.op, reason, cure)
    factors = [t.factor for t in made.terms] if isinstance(made, Join) else []
    if len(factors) > _MAX_TERMS:
        reason = f"adds more than {_MAX_TERMS} tensors without a quantiser between them"
        raise UnsupportedModel(node.name, node.op, reason, cure)
    if max([channels(made.steps), *map(len, factors)]) > _MAX_CHANNELS:
        reason = f"has different constants on more than {_MAX_CHANNELS} channels"
        raise UnsupportedModel(node.name, node.op, reason, "use one constant a tensor")
    last = made.steps[-1:]
    numbers = [v for f in (*factors, *_arrays(last)) if f.dtype == object for v in f.tolist()]
    if any(_is_long(Surd.of(v)) for v in numbers):
        reason = "its exact constants grow without bound, as square roots do in a chain of BatchNormalization"
        raise UnsupportedModel(node.name, node.op, reason, cure)


def _arrays(steps: Steps) -> list[Any]:
    return [getattr(s, key) for s in steps for key in ("factor", "offset") if hasattr(s, key)]


def _is_long(number: Surd) -> bool:
    return len(number.terms) > _MAX_TERMS or any(n.bit_length() > _MAX_ROOT_BITS for n, _ in number.terms)


def _size(steps: Steps) -> int:
    """Roundings, roughly, of one evaluation."""
    total = 0
    for step in steps:
        if isinstance(step, Combine):
            total += 1 + _size(step.left) + _size(step.right)
        elif isinstance(step, Concatenated):
            total += max(map(_size, step.parts), default=0)
        else:
            total += _WEIGHT_OF_ROOT if isinstance(step, BatchNorm) else 1
    return total


def check_arity(node: RealNode) -> None:
    """Refuse a node with too few or too many inputs.

    Raises:
        UnsupportedModel: Naming the node.
    """
    fewest, most = ARITY.get(node.op, (0, 2**31))
    if not fewest <= len(node.inputs) <= most or not all(node.inputs[:fewest]):
        given = sum(1 for t in node.inputs if t)
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}" if most < 2**31 else "at least one"
        raise UnsupportedModel(
            node.name, node.op, f"has {given} inputs and takes {wanted}", "export the model again"
        )


@contextmanager
def reported(name: str, op: str) -> Iterator[None]:
    """What goes wrong inside is the file's fault, and is said with the node's name.

    Raises:
        UnsupportedModel: In place of the exceptions that malformed content causes.
    """
    try:
        yield
    except OverflowError as error:
        reason = f"holds or makes numbers that are too large: {error}"
        raise UnsupportedModel(name, op, reason, "check the constants of the model") from error
    except MALFORMED as error:
        detail = str(error) or type(error).__name__
        raise UnsupportedModel(name, op, f"is malformed: {detail}", "export the model again") from error
