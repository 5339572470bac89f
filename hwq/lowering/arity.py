"""How many inputs each operator takes, checked before a handler reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hwq.errors import MALFORMED, UnsupportedModel
from hwq.lowering.real import RealNode

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
    **dict.fromkeys(("ReduceMean", "ReduceSum", "Split", "Squeeze", "Unsqueeze", "Upsample"), (1, 2)),
    **dict.fromkeys(
        ("Add", "Div", "Gather", "MatMul", "Mul", "PRelu", "Pow", "Reshape", "Sub"),
        (2, 2),
    ),
    **dict.fromkeys(
        (
            *("Abs", "Exp", "ArgMax", "AveragePool", "Cast", "DepthToSpace", "Elu", "Erf", "Flatten", "Gelu"),
            *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
            *("LogSoftmax", "MaxPool", "Neg", "Relu", "Selu", "Shape", "Sigmoid", "Softmax", "Softplus"),
            *("Sqrt", "Tanh", "Transpose"),
        ),
        (1, 1),
    ),
}
"""Fewest and most inputs by operator; the fewest must be there, the others may be left out."""


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
    except MALFORMED as error:
        detail = str(error) or type(error).__name__
        raise UnsupportedModel(name, op, f"is malformed: {detail}", "export the model again") from error
