"""What has no exact integer form, or is no sane file, is refused with one message and never a traceback."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwq import sim
from hwq.errors import HwqError, InputError, UnsupportedModel
from hwq.frontends import load
from hwq.lowering import constants
from hwq.lowering.arity import ARITY
from hwq.lowering.layouts import channels_last
from hwq.lowering.lower import Lowering
from hwq.lowering.values import Constant, per_channel
from hwq.lowering.values import Raw as RawValue
from tests.networks import Net, mlp, write

LIMIT_S = 20.0
"""Of the processor, for one case; on an idle machine the largest needs four."""
LIMIT_MB = 500


def lowered(net: Net, output: str, tmp_path: Path) -> Lowering:
    return load(write(net.model(output), tmp_path / "m.onnx"))


def image(net: Net) -> str:
    return net.quant("x", 0.5, 3)


def conv(net: Net, **changes: Any) -> str:
    weight = net.weight(np.ones((2, 2, 3, 3)))
    attributes = {"pads": [1, 1, 1, 1], "strides": [1, 1], "kernel_shape": [3, 3]} | changes
    return net.node("Conv", [image(net), weight], **attributes)


def pool(net: Net, **changes: Any) -> str:
    return net.node("MaxPool", [image(net)], **({"kernel_shape": [2, 2], "strides": [2, 2]} | changes))


def batch_norm(net: Net, **changes: Any) -> str:
    ones = [net.constant(np.ones(2)) for _ in range(4)]
    return net.node("BatchNormalization", [conv(net), *ones], **changes)


def weighted(net: Net, scale: str, zero: str) -> str:
    inputs = [net.constant(np.ones((72, 2))), scale, zero, net.constant(4.0)]
    weight = net.node("Quant", inputs, "qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    return net.node("MatMul", [net.node("Flatten", [image(net)]), weight])


def quant(net: Net, **changes: Any) -> str:
    inputs = [conv(net), *(net.constant(v) for v in (0.5, 0.0, 3.0))]
    return net.node("Quant", inputs, "qonnx.custom_op.general", **changes)


def root(net: Net) -> str:
    return net.node("Sqrt", [net.constant(2.0)])


CASES: dict[str, tuple[Callable[[Net], str], str]] = {
    "cast": (lambda n: n.node("Cast", [conv(n)], to=TensorProto.INT32), "rounds a computed tensor"),
    "cast to half": (lambda n: n.node("Cast", [conv(n)], to=TensorProto.FLOAT16), "rounds a computed"),
    "pool of padding": (lambda n: pool(n, pads=[2, 2, 2, 2]), "only padding"),
    "pool skips all": (
        lambda n: pool(n, kernel_shape=[2, 2], dilations=[7, 7], pads=[1] * 4, strides=[1, 1]),
        "only padding",
    ),
    "pool without kernel": (lambda n: n.node("MaxPool", [image(n)]), "no kernel_shape"),
    "pool stride 0": (lambda n: pool(n, strides=[0, 1]), "two positive integers"),
    "pool kernel -1": (lambda n: pool(n, kernel_shape=[-1, 1]), "two positive integers"),
    "conv dilation 0": (lambda n: conv(n, dilations=[0, 1]), "two positive integers"),
    "conv three strides": (lambda n: conv(n, strides=[1, 1, 1]), "two positive integers"),
    "conv kernel_shape": (lambda n: conv(n, kernel_shape=[1, 1]), "not that of its weight"),
    "conv groups": (lambda n: conv(n, group=0), "0 groups"),
    "huge pads": (lambda n: conv(n, pads=[10**6] * 4), "more than 268435456 elements"),
    "training": (lambda n: batch_norm(n, training_mode=1), "training mode"),
    "fixed batch": (lambda n: n.node("Reshape", [conv(n), n.constant([2, 36], np.int64)]), "a batch of 2"),
    "irrational weight scale": (lambda n: weighted(n, root(n), n.constant(0.0)), "scale is computed"),
    "fractional zero point": (lambda n: weighted(n, n.constant(0.5), n.constant(0.5)), "zero point"),
    "constant of higher rank": (
        lambda n: n.node("Add", [n.node("Flatten", [conv(n)]), n.constant([[[1.0]]])]),
        "does not broadcast",
    ),
    "constant that does not broadcast": (
        lambda n: n.node("Add", [conv(n), n.constant(np.ones(5))]),
        "does not broadcast",
    ),
    "rounding mode": (lambda n: quant(n, rounding_mode="NEAR"), "rounding mode 'NEAR' is unknown"),
    "signed": (lambda n: quant(n, signed=2), "signed=2"),
    "no input": (lambda n: n.node("MatMul", [conv(n), n.node("Relu", [])]), "has 0 inputs and takes 1"),
    "left out": (lambda n: n.node("Add", [conv(n), ""]), "has 1 inputs and takes 2"),
    "malformed": (lambda n: conv(n, pads=3), "'pads' is not a list of integers"),
    "gemm bias by row": (
        lambda n: n.node(
            "Gemm", [n.node("Flatten", [image(n)]), n.weight(np.ones((72, 2))), n.constant([[1.0], [2.0]])]
        ),
        "bias of shape",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, tmp_path: Path) -> None:
    make, message = CASES[case]
    net = Net([2, 6, 6])
    with pytest.raises(UnsupportedModel, match=message):
        lowered(net, make(net), tmp_path)


def test_a_second_output_is_refused(tmp_path: Path) -> None:
    net = Net([2, 6, 6])
    pool(net)
    net.nodes[-1].output.append("where")
    with pytest.raises(UnsupportedModel, match="second output"):
        lowered(net, net.node("Relu", ["where"]), tmp_path)


def test_the_same_networks_unbroken_are_accepted(tmp_path: Path) -> None:
    for make in (conv, pool, batch_norm):
        net = Net([2, 6, 6])
        assert lowered(net, make(net), tmp_path).graph.nodes
    net = Net([2, 6, 6])
    assert lowered(net, net.node("Cast", [conv(net)], to=TensorProto.FLOAT), tmp_path).graph.nodes


def test_zero_points_of_weights_may_differ_by_channel(tmp_path: Path) -> None:
    net = Net([3])
    rows = np.array([[1.0, -2.0], [3.0, 0.5], [-1.5, 2.0]])
    inputs = [net.constant(rows), net.constant([[0.5, 0.25]]), net.constant([[3.0, 8.0]]), net.constant(5.0)]
    weight = net.node("Quant", inputs, "qonnx.custom_op.general", signed=0, narrow=0, rounding_mode="ROUND")
    graph = lowered(net, net.node("MatMul", [net.quant("x", 0.5, 3), weight]), tmp_path).graph
    expected = np.clip(np.rint(rows / [0.5, 0.25] + [3, 8]), 0, 31) - [3, 8]
    assert np.array_equal(graph.nodes[0].params.weight, expected)


def test_wide_weights_round_exactly(tmp_path: Path) -> None:
    """Quotients 2**-25 beside a half, where float64 has a quarter of a millionth of spacing."""
    step, near = 2**24 - 5, [15440277 * 2**30, 16108744 * 2**31]
    net = Net([len(near)])
    weight = net.quant(net.constant(np.array(near, dtype=np.float64)[:, None]), float(step), 32)
    graph = lowered(net, net.node("MatMul", [net.quant("x", 0.5, 3), weight]), tmp_path).graph
    exact = [round(Fraction(x, step)) for x in near]
    assert [round(x / step) for x in near] != exact
    assert graph.nodes[0].params.weight.ravel().tolist() == exact


def test_relu_between_input_and_unsigned_quantiser_is_the_clamp(tmp_path: Path) -> None:
    x = np.linspace(-3, 3, 60, dtype=np.float32).reshape(-1, 3)
    outputs = []
    for relu in (True, False):
        net = Net([3])
        start = net.node("Relu", ["x"]) if relu else "x"
        y = net.node("MatMul", [net.quant(start, 0.25, 3, signed=0), net.weight(np.eye(3))])
        outputs.append(np.asarray(sim.simulate(lowered(net, y, tmp_path).graph, x)))
    assert np.array_equal(outputs[0], outputs[1])
    net = Net([3])
    with pytest.raises(UnsupportedModel, match="--input-type"):
        lowered(net, net.quant(net.node("Relu", ["x"]), 0.25, 3), tmp_path)


def test_shape_honours_start_and_end(tmp_path: Path) -> None:
    net = Net([2, 6, 6])
    x = image(net)
    part = net.node("Shape", [x], start=1, end=3)
    shape = net.node("Concat", [net.constant([1], np.int64), part, net.constant([-1], np.int64)], axis=0)
    y = net.node("Reshape", [x, shape])
    assert lowered(net, y, tmp_path).graph.outputs[0].shape == (2, 6, 6)


def folded(op: str, *values: Any, **attributes: Any) -> np.ndarray[Any, Any]:
    result = constants.fold(op, attributes, [Constant(np.asarray(v)) for v in values])
    assert isinstance(result, Constant)
    return result.values


def test_constants_are_cast_and_divided_as_onnx_does() -> None:
    assert folded("Cast", [-1.7, 1.7], to=TensorProto.INT64).tolist() == [-1, 1]
    assert folded("Cast", [0.1], to=TensorProto.FLOAT).dtype == np.float32
    assert folded("Cast", np.array([0.1], dtype=np.float32), to=TensorProto.DOUBLE).item() == float(
        np.float32(0.1)
    )
    assert folded("Div", [-7, 7, -7], [2, -2, -2]).tolist() == [-3, -3, 3]
    for to in (TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        with pytest.raises(ValueError, match="cast to ONNX type"):
            folded("Cast", [1.0], to=to)
    with pytest.raises(ValueError, match="does not fit int8"):
        folded("Cast", [300.0], to=TensorProto.INT8)
    with pytest.raises(ZeroDivisionError):
        folded("Div", [1], [0])


def test_constants_cannot_grow_without_bound() -> None:
    def square(x: np.ndarray[Any, Any], times: int) -> None:
        for _ in range(times):
            x = folded("Mul", x, x)

    square(np.array([1.1]), 3)
    with pytest.raises(ValueError, match="grows beyond"):
        square(np.array([1.1]), 20)
    with pytest.raises(ValueError, match="elements"):
        folded("Add", np.zeros((2**13, 1)), np.zeros((1, 2**13)))


def test_per_channel_never_enlarges() -> None:
    shape, layout = channels_last((2, 1, 1))
    value = RawValue("x", (2, 1, 1), (2, 1, 1), shape, layout, layout)
    assert per_channel(np.ones((2, 1, 1)), value) is not None
    for wrong in ((2, 3, 1), (3,), (1, 1, 1, 1, 1), (5, 2, 1, 1), (0,)):
        assert per_channel(np.ones(wrong), value) is None


# --- hostile networks -----------------------------------------------------------------------------


@contextmanager
def bounded() -> Iterator[None]:
    """Fails if what is inside needs too much time or memory."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if clear.exists():
        clear.write_text("5")  # the peak begins anew
    before, start = _peak_mb(status), time.process_time()
    yield
    assert time.process_time() - start < LIMIT_S
    assert _peak_mb(status) - before < LIMIT_MB


def _peak_mb(status: Path) -> float:
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def of(op: str, *operands: Any, **attributes: Any) -> Callable[[Net], str]:
    """A quantised node; operands are names ("X" a quantised image), arrays, lists, numbers, or makers."""

    def make(net: Net) -> str:
        return net.quant(net.node(op, [_named(net, v) for v in operands], **attributes), 0.5, 3)

    return make


def _named(net: Net, value: Any) -> str:
    if callable(value):
        return str(value(net))
    if isinstance(value, str):
        return image(net) if value == "X" else value
    numbers = np.asarray(value)
    return net.constant(numbers, np.float32 if numbers.dtype == np.float64 else numbers.dtype)


def flat(net: Net) -> str:
    return net.node("Flatten", [image(net)])


def repeated(count: int, step: Callable[[Net, str], str], *, quantised: bool = True) -> Callable[[Net], str]:
    """The same operator many times."""

    def make(net: Net) -> str:
        x = image(net)
        for _ in range(count):
            x = step(net, x)
        return net.quant(x, 0.5, 3) if quantised else x

    return make


def norm(net: Net, x: str) -> str:
    rng = np.random.default_rng(len(net.nodes))
    return net.node("BatchNormalization", [x, *(net.constant(rng.uniform(0.5, 1.5, 2)) for _ in range(4))])


def affine(net: Net, x: str) -> str:
    rng = np.random.default_rng(len(net.nodes))
    x = net.node("Mul", [x, net.constant(rng.uniform(0.5, 2))])
    return net.node("Add", [x, net.constant(rng.uniform(-1, 1))])


def fibonacci(op: str) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        x = image(net)
        y = net.node("Relu", [x])
        for _ in range(40):
            x, y = net.node(op, [x, y]), x
        return net.quant(x, 0.5, 3)

    return make


def joined(count: int) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        x = image(net)
        for i in range(count):
            x = net.node("Add", [x, net.quant("x", 0.01 + 0.013 * i, 3)])
        return net.quant(x, 0.05, 3)

    return make


def truncated(
    scale: float, zero: float, bits: float, *rest: float, **attributes: Any
) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        numbers = [net.constant(v) for v in (scale, zero, bits, *rest)]
        return net.node("Trunc", [image(net), *numbers], "qonnx.custom_op.general", **attributes)

    return make


def quantised(scale: Any = 0.5, zero: Any = 0.0, bits: Any = 3.0) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        numbers = [net.constant(v) for v in (scale, zero, bits)]
        return net.node("Quant", [image(net), *numbers], "qonnx.custom_op.general")

    return make


def folded_by(op: str, *operands: Any, times: int = 1, **attributes: Any) -> Callable[[Net], str]:
    """An operator of constants, its first operand its own result."""

    def make(net: Net) -> str:
        first, *rest = (_named(net, v) for v in operands)
        for _ in range(times):
            first = net.node(op, [first, *rest], **attributes)
        return net.quant(net.node("Add", [image(net), first]), 0.5, 3)

    return make


def doubled(op: str, start: Any, times: int, **attributes: Any) -> Callable[[Net], str]:
    """A constant and itself, again and again."""

    def make(net: Net) -> str:
        x = net.constant(start)
        for _ in range(times):
            x = net.node(op, [x, x], **attributes)
        return net.quant(net.node("Add", [image(net), x]), 0.5, 3)

    return make


def roots(net: Net) -> str:
    """A product of sums of square roots: the number of its roots doubles each time."""
    x = net.constant([1.0])
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29):
        x = net.node(
            "Mul", [x, net.node("Add", [net.constant([1.0]), net.node("Sqrt", [net.constant([prime])])])]
        )
    return net.quant(net.node("Add", [image(net), x]), 0.5, 3)


def kernel(*shape: int) -> Callable[[Net], str]:
    return lambda net: net.weight(np.ones(shape))


def whole(*sizes: int) -> np.ndarray[Any, Any]:
    return np.array(sizes, dtype=np.int64)


G = 10**9
PADS = [0, 0, 1, 1, 0, 0, 1, 1]
SCALES = np.array([1, 1, 2, 2], dtype=np.float32)

HOSTILE: dict[str, tuple[Callable[[Net], str], str]] = {
    **{f"concat along {a}": (of("Concat", "X", "X", axis=a), "the batch") for a in (0, -4, 4, G, -G)},
    **{f"split along {a}": (of("Split", "X", axis=a), "the batch") for a in (0, -4, 4, G)},
    **{f"mean along {a}": (of("ReduceMean", "X", axes=[a]), "the batch") for a in (0, -4, 4, G)},
    **{f"sum along {a}": (of("ReduceSum", "X", [a]), "the batch") for a in (0, -4, 4, -G)},
    **{f"squeeze {a}": (of("Squeeze", "X", axes=[a]), "the batch") for a in (0, -4, 4, G)},
    **{f"unsqueeze {a}": (of("Unsqueeze", "X", axes=[a]), "the batch") for a in (0, -5, 5, G)},
    **{f"slice along {a}": (of("Slice", "X", [1], [2], [a]), "the batch") for a in (0, -4, 4, G)},
    **{f"argmax along {a}": (of("ArgMax", "X", axis=a), "along axis") for a in (0, 1, 4, -G)},
    "concat without axis": (of("Concat", "X", "X"), "no attribute 'axis'"),
    "concat axis text": (of("Concat", "X", "X", axis="one"), "'axis' is not an integer"),
    "concat axis float": (of("Concat", "X", "X", axis=1.0), "'axis' is not an integer"),
    "concat axes": (of("Concat", "X", "X", axis=[1]), "'axis' is not an integer"),
    "concat of nothing": (of("Concat", axis=1), "has 0 inputs"),
    "concat of absent": (of("Concat", "X", "", axis=1), "reads a constant"),
    "concat of a constant": (of("Concat", "X", np.ones((1, 2, 6, 6)), axis=1), "reads a constant"),
    "concat of ranks": (of("Concat", "X", flat, axis=1), "joins tensors of shapes"),
    "concat of the raw input": (of("Concat", "X", "x", axis=1), "unquantised network input"),
    "concat doubles": (repeated(40, lambda n, x: n.node("Concat", [x, x], axis=1)), "elements are possible"),
    **{
        f"split into {p}": (of("Split", "X", p, axis=1), "splits 2 elements")
        for p in ([1, 2], [0, 2], [-1, 3], [G, 2 - G], [2**62, 2**62], [1] * 999)
    },
    "split by floats": (of("Split", "X", [0.5, 1.5], axis=1), "no list of integers"),
    "split by a text": (of("Split", "X", axis=1, split="a"), "'split' is not a list"),
    "split of a constant": (of("Split", np.ones((1, 2)), axis=1), "reads a constant"),
    "split by a tensor": (of("Split", "X", "X", axis=1), "its split is computed"),
    "slice to nothing": (of("Slice", "X", [G], [-G], [2]), "use rising slices"),
    **{f"slice step {s}": (of("Slice", "X", [0], [5], [2], [s]), "Slice") for s in (0, -1, -(2**63))},
    "slice lengths": (of("Slice", "X", [0, 1], [5], [2]), "has 2 starts, 1 ends"),
    "slice axes lengths": (of("Slice", "X", [0, 1], [5, 5], [2]), "1 axes"),
    "slice steps lengths": (of("Slice", "X", [0, 1], [5, 5], [2, 3], [1]), "steps"),
    "slice step of the batch": (of("Slice", "X", [0], [1], [0], [2]), "the batch"),
    "slice by floats": (of("Slice", "X", [0.5], [5.5]), "no list of integers"),
    **{
        f"pad {mode} by {v}": (of("Pad", "X", whole(0, 0, v, 0, 0, 0, 0, 0), mode=mode), "Pad")
        for v in (G, -1, 2**62)
        for mode in ("constant", "reflect", "edge")
    },
    "pad beyond a reflection": (of("Pad", "X", [0, 0, 6, 0, 0, 0, 0, 0], mode="reflect"), "reflects"),
    "pad the batch": (of("Pad", "X", [1, 0, 0, 0, 0, 0, 0, 0]), "pad no batch"),
    "pad mode": (of("Pad", "X", PADS, mode="wrap"), "mode 'wrap'"),
    "pad mode number": (of("Pad", "X", PADS, mode=3), "'mode' is not a text"),
    "pad too short": (of("Pad", "X", [1, 1]), r"pads \[1, 1\] for 4 axes"),
    "pad by floats": (of("Pad", "X", [0.5] * 8), "no list of integers"),
    "pad by a tensor": (of("Pad", "X", "X"), "its pads is computed"),
    "pad with two values": (of("Pad", "X", PADS, [1.0, 2.0]), "no single number"),
    "pad with no value": (of("Pad", "X", PADS, np.zeros(0)), "no single number"),
    "pad with a text": (of("Pad", "X", PADS, value="a"), "'value' is not a number"),
    "pad axis 9": (of("Pad", "X", [1, 1], "", [9]), "axis 9"),
    "pad an axis twice": (of("Pad", "X", [1, 1, 1, 1], "", [2, 2]), "for 1 axes"),
    **{
        f"resize by {s}": (of("Resize", "X", "", np.array([1, 1, s, 2])), "resizes")
        for s in (0.0, -2.0, 1.5, 1e6, 1e9, 1e38, 1e-45)
    },
    **{
        f"upsample by {s}": (of("Upsample", "X", np.array([1, 1, s, 2])), "resizes")
        for s in (0.0, -2.0, 1e38)
    },
    "resize the batch": (of("Resize", "X", "", np.array([2.0, 1, 1, 1])), "resizes"),
    "resize channels": (of("Resize", "X", "", np.array([1.0, 2, 1, 1])), "resizes"),
    "resize by few": (of("Resize", "X", "", np.array([1.0, 1])), "resizes"),
    "resize by a text": (of("Resize", "X", scales="abc"), "'scales' is not a list"),
    "resize by a tensor": (of("Resize", "X", "X"), "its scales is computed"),
    "resize mode": (of("Resize", "X", "", SCALES, mode="linear"), "mode 'linear'"),
    "resize coordinates": (of("Resize", "X", "", SCALES, coordinate_transformation_mode="crop"), "unevenly"),
    "resize rounding": (of("Resize", "X", "", SCALES, nearest_mode="odd"), "unevenly"),
    **{
        f"resize to {s}": (of("Resize", "X", "", "", whole(*s)), "resizes")
        for s in ((1, 2, 0, 12), (1, 2, -6, 12), (1, 2, G, G), (1, 2, 6 * 10**6, 6), (8, 2, 12, 12), (2,), ())
    },
    **{f"block {b}": (of("DepthToSpace", "X", blocksize=b), "block") for b in (0, -1, 2, G, 2**62, 2.0, "a")},
    "no block": (of("DepthToSpace", "X"), "no attribute 'blocksize'"),
    **{
        f"transpose {p}": (of("Transpose", "X", perm=p), "moves the batch axis")
        for p in ([0, 1, 1, 2], [1, 0, 2, 3], [0, 1, 2], [0, -1, 2, 3], [G] * 4)
    },
    **{
        f"transpose {p}": (of("Transpose", "X", perm=p), "'perm' is not a list of int")
        for p in ([0.0, 1.0], "a", 5)
    },
    **{
        f"reshape {s}": (of("Reshape", "X", whole(*s)), "reshapes")
        for s in (
            (1, G, -1),
            (1, -1, -1),
            (1, -2, 36),
            (*[1] * 70, 72),
            (8, 9),
            (1, 0, 0, 0, 0),
            (2**62, -1),
            (1, 0),
        )
    },
    "reshape by floats": (of("Reshape", "X", [1.0, 72.0]), "no list of integers"),
    "reshape by a tensor": (of("Reshape", "X", "X"), "its shape is computed"),
    "unsqueeze 64 axes": (of("Unsqueeze", "X", list(range(1, 65))), "at most 16"),
    "unsqueeze twice": (of("Unsqueeze", "X", [1, 1]), "each axis once"),
    "unsqueeze by a tensor": (of("Unsqueeze", "X", "X"), "its axes is computed"),
    "unsqueeze by floats": (of("Unsqueeze", "X", [1.0]), "no list of integers"),
    "squeeze two": (of("Squeeze", "X", [1]), "squeezes axes"),
    "reduce by a text": (of("ReduceMean", "X", axes="a"), "'axes' is not a list"),
    "reduce everything": (of("ReduceSum", "X"), "reduces the batch too"),
    **{
        f"{op} {key} {value}": (of(op, "X", **({"kernel_shape": [2, 2]} | {key: value})), op)
        for op in ("AveragePool", "MaxPool")
        for key, value in (
            *(("kernel_shape", v) for v in ([0, 2], [-1, 2], [G, G], [7, 7], [2, 2, 2], [2.0, 2.0], "ab", 2)),
            *(("strides", v) for v in ([0, 0], [1], "ab")),
            *(("pads", v) for v in ([G] * 4, [2**62] * 4, [-1] * 4, [1] * 3, [5] * 4, [8192] * 4)),
            *(("dilations", v) for v in ([0, 1], [G, G])),
            *(("auto_pad", v) for v in ("X", 3)),
        )
    },
    "pool of a vector": (of("GlobalAveragePool", np.ones((1, 2, 3, 3))), "reads a constant"),
    **{
        f"{op} {key} {value}": (of(op, "X", kernel(2, 2, 3, 3), **{key: value}), op)
        for op in ("Conv", "ConvTranspose")
        for key, value in (
            *(("kernel_shape", v) for v in ([5, 5], [3], "a")),
            *(("strides", v) for v in ([0, 0], [-1, 1], [1, 1, 1])),
            *(("group", v) for v in (0, 3, G, "a", 1.0)),
            *(("dilations", v) for v in ([0, 0], [G, G])),
            *(("pads", v) for v in ([G] * 4, [-1] * 4, [1] * 5)),
            ("auto_pad", "Q"),
        )
    },
    **{
        f"ConvTranspose {key} {value}": (of("ConvTranspose", "X", kernel(2, 2, 3, 3), **{key: value}), "onv")
        for key, value in (
            *(("output_padding", v) for v in ([G, G], [-1, -1], [1], "a")),
            *(("output_shape", v) for v in ([0, 0], [-3, -3], "ab", [3], [1, 2, 3, 4])),
            ("strides", [4097, 1]),
        )
    },
    **{
        f"{op} weight {shape}": (of(op, "X", kernel(*shape)), op)
        for op in ("Conv", "ConvTranspose")
        for shape in ((2, 2, 3, 3, 3), (2, 2), (0, 2, 3, 3), (2, 2, 0, 3), (9, 9, 3, 3), (2, 2, 3))
    },
    "kernel larger than the image": (of("Conv", "X", kernel(2, 2, 9, 9)), "does not fit"),
    "float weights": (of("Conv", "X", np.ones((2, 2, 3, 3))), "not quantised"),
    "computed weights": (of("ConvTranspose", "X", "X"), "weights are computed"),
    "computed bias": (of("Conv", "X", kernel(2, 2, 3, 3), "X"), "its bias is computed"),
    "bias of three": (of("Conv", "X", kernel(2, 2, 3, 3), [1.0, 2.0, 3.0]), "bias of shape"),
    **{f"scale {s}": (quantised(s), "not positive and finite") for s in (0.0, -1.0, [], [0.5, -0.5])},
    **{f"zero point {z}": (quantised(zero=z), "zero point") for z in (0.5, 1e30, -1e30, [], [0.0, 1.0])},
    **{f"bits {b}": (quantised(bits=b), "bit width") for b in (0.0, -3.0, 2.5, 33.0, 1e38, [], [3.0, 4.0])},
    "17 bits": (quantised(bits=17.0), "too many levels"),
    **{f"trunc scale {s}": (truncated(s, 0, 6, 4), "not positive") for s in (0.0, -1.0)},
    **{f"trunc zero {z}": (truncated(0.5, z, 6, 4), "zero point") for z in (0.5, 1e30)},
    **{f"trunc from {b}": (truncated(0.5, 0, b, 4), "bit widths") for b in (0.0, -1.0, 2.5, 33.0, G, 1e38)},
    **{f"trunc to {b}": (truncated(0.5, 0, 6, b), "bit widths") for b in (0.0, -1.0, 2.5, 33.0, G, 1e38)},
    **{
        f"trunc 2 to {b}": (truncated(0.5, 0, 6, 1, b), "bit widths") for b in (0.0, -1.0, 2.5, 33.0, G, 1e38)
    },
    **{f"trunc to scale {s}": (truncated(0.5, 0, 6, s, 4), "Trunc") for s in (0.0, -1.0, 1e38, 1e-45, 0.1)},
    "trunc upwards": (truncated(0.5, 0, 4, 6), "between 0 and 32 bits"),
    "trunc mode": (truncated(0.5, 0, 6, 4, rounding_mode="UP AND DOWN"), "rounding mode"),
    "clip by two": (of("Clip", "X", [0.0, 1.0], 1.0), "no single number"),
    "clip by none": (of("Clip", "X", np.zeros(0), 1.0), "no single number"),
    "clip by a text": (of("Clip", "X", min="a"), "'min' is not a number"),
    "clip by a tensor": (of("Clip", "X", "X"), "its min is computed"),
    **{
        f"{op} {key} text": (of(op, "X", **{key: value}), f"'{key}' is not a number")
        for op, key in (("LeakyRelu", "alpha"), ("Elu", "alpha"), ("Selu", "gamma"), ("HardSigmoid", "beta"))
        for value in ("a", [1.0])
    },
    "gelu by tanh": (of("Gelu", "X", approximate="tanh"), "approximated by tanh"),
    "prelu slopes of three": (of("PRelu", "X", np.ones(3)), "does not broadcast"),
    "prelu by a tensor": (of("PRelu", "X", "X"), "operand is computed"),
    **{
        f"{op} of {name}": (of(op, *operands), message)
        for op in (
            "Sigmoid",
            "Tanh",
            "Erf",
            "Exp",
            "Softplus",
            "Elu",
            "Selu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Abs",
        )
        for name, operands, message in (
            ("a constant", ([1.0, 2.0],), "reads a constant"),
            ("two", ("X", "X"), "has 2 inputs"),
            ("nothing", (), "has 0 inputs"),
            ("absent", ("",), "has 0 inputs"),
        )
    },
    "exp of exp of exp": (repeated(8, lambda n, x: n.node("Exp", [x])), "Exp|Quant"),
    **{f"{op} of two": (of(op, "X", conv), "compares two computed tensors") for op in ("Max", "Min")},
    **{f"{op} of constants": (of(op, [1.0], [2.0]), "reads a constant") for op in ("Max", "Min", "Sum")},
    "max with two": (of("Max", "X", [1.0, 2.0]), "no single number"),
    **{f"power {e}": (of("Pow", "X", e), "exponent is not 2") for e in (3.0, 0.5, -1.0, 1e9)},
    "power of a tensor": (of("Pow", "X", "X"), "exponent is computed"),
    "division by a tensor": (of("Div", "X", "X"), "divides by a computed"),
    "division by zero": (of("Div", "X", 0.0), "divides by zero"),
    "sum of ranks": (of("Add", "X", flat), "combines tensors of shapes"),
    "sum with the raw input": (of("Add", "X", "x"), "unquantised network input"),
    "batch of constants": (of("Mul", "X", np.ones((3, 2, 6, 6))), "does not broadcast"),
    "empty constant": (of("Add", "X", np.zeros(0)), "does not broadcast"),
    "200 affine operators": (repeated(200, affine), "more than 100 operators"),
    "5000 affine operators": (repeated(5000, affine, quantised=False), "more than 100 operators"),
    "200 norms": (repeated(200, norm, quantised=False), "more than 100 operators"),
    "norms and pools": (
        repeated(200, lambda n, x: n.node("AveragePool", [norm(n, x)], kernel_shape=[1, 1]), quantised=False),
        "grow without bound",
    ),
    "10000 rectifiers": (repeated(10**4, lambda n, x: n.node("Relu", [x])), "more than 100 operators"),
    "20 gates": (repeated(20, lambda n, x: n.node("HardSwish", [x])), "more than 100 operators"),
    "20 squares": (repeated(20, lambda n, x: n.node("Mul", [x, x])), "more than 100 operators"),
    "fibonacci sums": (fibonacci("Add"), "more than 100 operators"),
    "fibonacci products": (fibonacci("Mul"), "more than 100 operators"),
    "100 joins": (joined(100), "adds more than 32 tensors"),
    "40 matrix products": (
        repeated(40, lambda n, x: n.node("MatMul", [x, n.weight(3 * np.eye(6))])),
        "beyond 62 bits",
    ),
    "40 squares of matrices": (repeated(40, lambda n, x: n.node("MatMul", [x, x])), "62 bits|integers of"),
    "concatenated constants": (doubled("Concat", np.ones(1024), 30, axis=0), "more than 16777216 elements"),
    "many folded constants": (
        folded_by("Concat", np.ones(2**18), np.ones(2**18), times=40, axis=0),
        "take more than 256 MiB|elements",
    ),
    "squares of a constant": (doubled("Mul", [1.1], 40), "grows beyond"),
    "roots of a constant": (roots, "square roots"),
    "products of constants": (folded_by("Mul", [1.1], [1.0000001], times=10**4), "grows beyond"),
    "long exact sum": (folded_by("Add", np.arange(2**20), np.ones(1)), "exact arithmetic on 1048576"),
    "long square roots": (folded_by("Sqrt", np.arange(2**20) * 1.0), "exact arithmetic on 1048576"),
    "integers overflow": (folded_by("Mul", whole(2**62), whole(4)), "integers beyond int64"),
    "unsigned below zero": (
        folded_by("Sub", np.array([1], np.uint64), np.array([2], np.uint64)),
        "beyond uint64",
    ),
    "negative of the least": (folded_by("Neg", np.array([-128], np.int8)), "integers beyond int8"),
    "folded cast": (folded_by("Cast", [2.0]), "no attribute 'to'"),
    "folded gather": (folded_by("Gather", [1.0], [7]), "out of bounds"),
    "float64 products beyond float64": (
        lambda n: n.node("Mul", [image(n), doubled_float64(n)]),
        "numbers that are too large",
    ),
}


def doubled_float64(net: Net) -> str:
    big = net.constant([1e300], np.float64)
    return net.node("Mul", [big, big])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_networks_are_refused(case: str, tmp_path: Path) -> None:
    make, message = HOSTILE[case]
    net = Net([2, 6, 6])
    path = write(net.model(make(net)), tmp_path / "m.onnx")
    with bounded(), pytest.raises(UnsupportedModel, match=message) as refusal:
        load(path)
    assert all((refusal.value.node, refusal.value.reason, refusal.value.cure))


LARGE: dict[str, tuple[tuple[int, ...], Callable[[Net], str]]] = {
    "100000 identities": ((2, 6, 6), repeated(10**5, lambda n, x: n.node("Identity", [x]))),
    "10000 dropouts": ((2, 6, 6), repeated(10**4, lambda n, x: n.node("Dropout", [x]))),
    "1000 transposes": ((2, 6, 6), repeated(1000, lambda n, x: n.node("Transpose", [x], perm=[0, 2, 3, 1]))),
    "1000 pools": (
        (2, 6, 6),
        repeated(1000, lambda n, x: n.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4)),
    ),
    "100 quantisers": ((2, 6, 6), repeated(100, lambda n, x: n.quant(n.node("Relu", [x]), 0.5, 3))),
    "60 sums with itself": ((2, 6, 6), repeated(60, lambda n, x: n.node("Add", [x, x]))),
    "sum of 5000": ((2, 6, 6), lambda n: n.quant(n.node("Sum", [image(n)] * 5000), 0.5, 3)),
    "concat of 5000": ((2, 6, 6), lambda n: n.quant(n.node("Concat", [image(n)] * 5000, axis=1), 0.5, 3)),
    "18 joins": ((2, 6, 6), joined(18)),
    "wide joins": (
        (2,),
        lambda n: n.quant(n.node("Add", [n.quant("x", v, 30) for v in (1e-9, 7e-10)]), 0.01, 8),
    ),
    "clip with lo above hi": ((2, 6, 6), of("Clip", "X", 1.0, -1.0)),
    "huge arguments": ((2, 6, 6), of("Exp", of("Mul", "X", 3e38))),
    "tiny arguments": ((2, 6, 6), of("Softplus", of("Mul", "X", 1e-45))),
    "tiny steps": ((2, 6, 6), lambda n: n.quant(n.node("Sigmoid", [image(n)]), 1e-45, 8)),
    "wide table": ((2,), lambda n: n.quant(n.node("Gelu", [n.quant("x", 1e-3, 16)]), 1e-3, 8)),
    "wide monotone function": ((2,), lambda n: n.quant(n.node("Tanh", [n.quant("x", 1e-9, 32)]), 1e-2, 8)),
    "268435456 inputs": ((2**14, 2**14), of("Relu", "X")),
    "268435456 features in two parts": (
        (2**28,),
        lambda n: n.node("Identity", [of("Split", "X", axis=1)(n)]),
    ),
    "65536 constants": ((2**16,), of("Mul", "X", np.linspace(1, 2, 2**16))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", LARGE)
def test_long_and_wide_networks_are_lowered_in_time(case: str, tmp_path: Path) -> None:
    shape, make = LARGE[case]
    net = Net(shape)
    if "two parts" in case:
        y = make(net)
        next(n for n in net.nodes if n.op_type == "Split").output.append("rest")
    else:
        y = make(net)
    path = write(net.model(y), tmp_path / "m.onnx")
    with bounded():
        assert load(path).graph.outputs


TOO_LARGE: dict[str, tuple[tuple[int, ...], Callable[[Net], str]]] = {
    "a million constants": ((2**20,), of("Mul", "X", np.linspace(1, 2, 2**20))),
    "16 bits on 4000 channels": ((4000,), lambda n: n.quant(image(n), np.linspace(1e-3, 2e-3, 4000), 16)),
    "a table of 2**32": ((2,), lambda n: n.quant(n.node("Gelu", [n.quant("x", 1e-9, 32)]), 1e-3, 8)),
    "17 axes": ((1,) * 17, of("Relu", "X")),
    "2**40 inputs": ((2**20, 2**20), of("Relu", "X")),
    "2**29 features": ((2**28,), of("Concat", "X", "X", axis=1)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", TOO_LARGE)
def test_too_large_networks_are_refused(case: str, tmp_path: Path) -> None:
    shape, make = TOO_LARGE[case]
    net = Net(shape)
    path = write(net.model(make(net)), tmp_path / "m.onnx")
    with bounded(), pytest.raises(InputError):
        load(path)


def test_many_outputs_are_lowered_in_time(tmp_path: Path) -> None:
    net = Net([2])
    x = image(net)
    names = [net.node("Relu", [x]) for _ in range(2000)]
    model = net.model(names[0])
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names[1:])
    with bounded():
        assert len(load(write(model, tmp_path / "m.onnx")).graph.outputs) == 2000


@pytest.mark.parametrize("batch", [0, 1, 8, "N"])
def test_any_batch_is_read(batch: int | str, tmp_path: Path) -> None:
    model = mlp()
    size = model.graph.input[0].type.tensor_type.shape.dim[0]
    if isinstance(batch, str):
        size.dim_param = batch
    else:
        size.dim_value = batch
    assert load(write(model, tmp_path / "m.onnx")).graph.outputs[0].shape == (3,)


# --- fuzzing -------------------------------------------------------------------------------------


def _images(net: Net) -> str:
    x = net.node(
        "Conv", [image(net), net.weight(np.ones((4, 2, 3, 3)))], pads=[1] * 4, strides=[1, 1], group=1
    )
    ones = [net.constant(np.linspace(0.5, 1.5, 4)) for _ in range(4)]
    x = net.quant(
        net.node("LeakyRelu", [net.node("BatchNormalization", [x, *ones], epsilon=0.1)], alpha=0.25), 0.5, 3
    )
    left = net.node("Split", [x, net.constant([2, 2], np.int64)], axis=1)
    net.nodes[-1].output.append("right")
    x = net.node(
        "Concat", [left, net.node("PRelu", ["right", net.constant(np.full((2, 1, 1), 0.5))])], axis=1
    )
    x = net.node(
        "AveragePool",
        [net.quant(x, 0.5, 3)],
        kernel_shape=[2, 2],
        strides=[2, 2],
        pads=[0, 0, 1, 1],
        ceil_mode=0,
    )
    x = net.node(
        "Pad", [x, net.constant([0, 0, 1, 0, 0, 0, 0, 1], np.int64), net.constant(0.0)], mode="constant"
    )
    x = net.node("DepthToSpace", [net.quant(x, 0.5, 2)], blocksize=2, mode="CRD")
    x = net.node("GlobalAveragePool", [net.node("Clip", [x, net.constant(-1.0), net.constant(1.0)])])
    return net.node(
        "Gemm", [net.quant(net.node("Flatten", [x], axis=1), 0.5, 3), net.weight(np.ones((3, 1)))], transB=1
    )


def _upwards(net: Net) -> str:
    x = net.node("MaxPool", [image(net)], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    weight = net.weight(np.ones((2, 2, 2, 2)))
    x = net.node(
        "ConvTranspose", [x, weight], strides=[2, 2], output_padding=[1, 1], dilations=[1, 1], group=1
    )
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
    x = net.node("Resize", [net.quant(x, 0.5, 2), "", net.constant([1.0, 1, 2, 2])], **attributes)
    x = net.node("Add", [x, net.node("Upsample", [x, net.constant([1.0, 1, 1, 1])], mode="nearest")])
    return net.node("GlobalMaxPool", [net.quant(x, 0.3, 3)])


def _signals(net: Net) -> str:
    x = net.node("Reshape", [image(net), net.constant([1, 2, 36], np.int64)])
    x = net.node(
        "Conv", [x, net.weight(np.ones((3, 2, 5)))], kernel_shape=[5], strides=[4], pads=[0, 0], dilations=[1]
    )
    x = net.node("Transpose", [net.quant(x, 0.5, 3)], perm=[0, 2, 1])
    slices = [net.constant(v, np.int64) for v in ([0], [6], [1], [2])]
    x = net.node("Slice", [x, *slices])
    x = net.node(
        "Squeeze", [net.node("Unsqueeze", [x, net.constant([1], np.int64)]), net.constant([1], np.int64)]
    )
    y = net.node("Transpose", [x], perm=[0, 2, 1])
    x = net.quant(net.node("MatMul", [x, y]), 0.5, 4)
    x = net.node(
        "ReduceSum",
        [net.node("ReduceMean", [x], axes=[2], keepdims=1), net.constant([2], np.int64)],
        keepdims=0,
    )
    return net.node("ArgMax", [x], axis=1, keepdims=1)


def _functions(net: Net) -> str:
    x = net.node("Flatten", [image(net)])
    x = net.quant(net.node("Sum", [net.node("Gelu", [x]), net.node("Max", [x, net.constant(-0.5)])]), 0.25, 3)
    x = net.quant(net.node("Mul", [net.node("Sigmoid", [x]), net.node("HardSwish", [x])]), 0.25, 3)
    x = net.quant(
        net.node("Elu", [net.node("Softplus", [net.node("Min", [x, net.constant(2.0)])])], alpha=1.0), 0.25, 3
    )
    inputs = [x, *(net.constant(v) for v in (0.25, 0.0, 3.0, 2.0))]
    x = net.node("Trunc", inputs, "qonnx.custom_op.general", rounding_mode="FLOOR")
    x = net.node("Pow", [net.node("Abs", [net.node("Sub", [x, net.constant(0.5)])]), net.constant(2.0)])
    return net.node(
        "Softmax", [net.quant(net.node("HardSigmoid", [x], alpha=0.2, beta=0.5), 0.125, 3)], axis=-1
    )


def _sums(net: Net) -> str:
    x, y = net.quant("x", np.linspace(0.2, 0.5, 2).reshape(2, 1, 1), 3), net.quant("x", 0.3, 3)
    x = net.quant(net.node("Add", [net.node("Mul", [x, net.constant(0.7)]), net.node("Neg", [y])]), 0.3, 3)
    x = net.quant(
        net.node("Tanh", [net.node("Erf", [net.node("Selu", [net.node("Div", [x, net.constant(3.0)])])])]),
        0.3,
        3,
    )
    root = net.node("Sqrt", [net.node("Add", [net.constant([2.0]), net.constant([0.5])])])
    shape = net.node("Concat", [net.constant([1], np.int64), net.constant([-1], np.int64)], axis=0)
    x = net.node("Reshape", [net.node("Exp", [net.node("Relu", [x])]), shape])
    return net.quant(net.node("Mul", [x, root]), 0.5, 3)


def _channels_last(net: Net) -> str:
    domain = "qonnx.custom_op.channels_last"
    x = net.node("Transpose", [image(net)], perm=[0, 2, 3, 1])
    x = net.node(
        "Conv",
        [x, net.weight(np.ones((3, 3, 3, 2)))],
        domain,
        kernel_shape=[3, 3],
        pads=[1] * 4,
        strides=[2, 2],
    )
    x = net.node("MaxPool", [net.quant(x, 0.5, 3)], domain, kernel_shape=[2, 2], strides=[1, 1])
    ones = [net.constant(np.ones(3)) for _ in range(4)]
    return net.quant(net.node("BatchNormalization", [x, *ones], domain), 0.5, 3)


NETWORKS = (_images, _upwards, _signals, _functions, _sums, _channels_last)
_NUMBERS: tuple[Any, ...] = (
    *(
        0,
        -1,
        1,
        2,
        3,
        7,
        2**40,
        -(2**62),
        [0, 0],
        [1],
        [-1, 2],
        [2, 2],
        [1] * 4,
        [0, 2, 1],
        [0, 1, 3, 2],
        [G] * 2,
    ),
    *(
        [G] * 4,
        [1.5],
        2.5,
        -0.0,
        1e38,
        float("nan"),
        float("inf"),
        b"\xff",
        "ROUND",
        "SAME_LOWER",
        "CRD",
        "edge",
        ["a"],
    ),
)
_DOMAINS = (
    "",
    "ai.onnx",
    "qonnx.custom_op.general",
    "qonnx.custom_op.channels_last",
    "onnx.brevitas",
    "evil",
)


def _mutate_fields(model: onnx.ModelProto, rng: random.Random) -> bytes:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_MUTATIONS)(model, rng)
    return bytes(model.SerializeToString())


def _change_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    tensors = [*(t.name for t in model.graph.initializer), *(t for n in model.graph.node for t in n.output)]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "nope", "x", *tensors])


def _change_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if node.input and rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.input.append(rng.choice(["", "x", rng.choice(model.graph.initializer).name]))


def _change_op(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(sorted(ARITY))


def _change_domain(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).domain = rng.choice(_DOMAINS)


def _change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice([n for n in model.graph.node if n.attribute])
    attribute = rng.choice(node.attribute)
    if rng.random() < 0.2:
        node.attribute.remove(attribute)
    else:
        attribute.CopyFrom(helper.make_attribute(attribute.name, rng.choice(_NUMBERS)))


def _add_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    other = rng.choice([n for n in model.graph.node if n.attribute])
    rng.choice(model.graph.node).attribute.append(rng.choice(other.attribute))


def _change_output(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if rng.random() < 0.5:
        node.output[0] = rng.choice(["", "x", rng.choice(model.graph.node).output[0]])
    else:
        node.output.append(f"more{len(node.output)}")


def _sound_constant(model: onnx.ModelProto, rng: random.Random) -> TensorProto:
    """One that claims the shape that it has."""
    sizes = {t.name: helper.tensor_dtype_to_np_dtype(t.data_type).itemsize for t in model.graph.initializer}
    sound = [t for t in model.graph.initializer if prod(t.dims) * sizes[t.name] == len(t.raw_data)]
    return rng.choice(sound)


def _change_constant(model: onnx.ModelProto, rng: random.Random) -> None:
    constant = _sound_constant(model, rng)
    array = numpy_helper.to_array(constant)
    values = [
        array.ravel(),
        array[None],
        array[:0] if array.ndim else array,
        *(array * k for k in (0, -1, 3, 100)),
    ]
    if array.dtype.kind == "f":
        values += [
            array * np.float32(1e30),
            array * np.float32(1e-42),
            np.full_like(array, np.nan),
            array / 0,
        ]
    kinds = [array.dtype] * 6 + [
        np.dtype(k) for k in (np.float16, np.float64, np.complex64, np.int64, np.uint8, bool)
    ]
    constant.CopyFrom(numpy_helper.from_array(rng.choice(values).astype(rng.choice(kinds)), constant.name))


def _change_element(model: onnx.ModelProto, rng: random.Random) -> None:
    constant = _sound_constant(model, rng)
    array = numpy_helper.to_array(constant).copy()
    if array.size and array.dtype.kind in "fi":
        array.flat[rng.randrange(array.size)] = rng.choice([0, -1, 1, 2, 7, 2**30, -(2**31)])
        constant.CopyFrom(numpy_helper.from_array(array, constant.name))


def _change_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    dims = rng.choice([rng.choice(model.graph.initializer).dims])
    dims.append(rng.choice([0, 1, -1, 2, 10**9, 2**62]))


def _change_port(model: onnx.ModelProto, rng: random.Random) -> None:
    dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
    rng.choice(dims).dim_value = rng.choice([0, 1, 2, 3, -1, 8, 10**9, 2**62])


def _change_opset(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.opset_import).version = rng.choice([0, -1, 1, 6, 9, 11, 18, 10**9])


def _change_order(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    if rng.random() < 0.3:
        nodes.append(rng.choice(nodes))
    if rng.random() < 0.3:
        nodes.remove(rng.choice(nodes))
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


_MUTATIONS = (
    *(_change_input, _change_inputs, _change_op, _change_domain, _change_attribute, _change_attribute),
    *(_add_attribute, _change_output, _change_constant, _change_element, _change_dims, _change_port),
    *(_change_opset, _change_order),
)


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(out))
        if rng.random() < 0.8:
            out[at] = rng.randrange(256)
        else:
            del out[at : at + rng.randrange(8)]
    return bytes(out)


def fuzz(count: int, seed: int, path: Path) -> float:
    """Seconds of the slowest case."""
    rng, refused, slowest = random.Random(seed), 0, 0.0  # noqa: S311
    models = [mlp()]
    for make in NETWORKS:
        net = Net([2, 6, 6])
        models.append(net.model(make(net)))
    for _ in range(count):
        model = rng.choice(models)
        with np.errstate(all="ignore"):
            fields = rng.random() < 0.7
            data = _mutate_fields(model, rng) if fields else _mutate_bytes(model.SerializeToString(), rng)
        path.write_bytes(data)
        start = time.process_time()
        try:
            load(path)
        except HwqError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
        assert slowest < LIMIT_S
    assert count // 4 < refused < count
    return slowest


@pytest.mark.parametrize("make", NETWORKS)
def test_the_fuzzed_networks_are_sound(make: Callable[[Net], str], tmp_path: Path) -> None:
    net = Net([2, 6, 6])
    assert lowered(net, make(net), tmp_path).graph.nodes


@pytest.mark.filterwarnings("error")
def test_fuzzed_files_are_read_or_refused(tmp_path: Path) -> None:
    fuzz(300, 1, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", [2, 3])
def test_many_fuzzed_files_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    fuzz(2500, seed, tmp_path / "m.onnx")
