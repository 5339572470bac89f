"""What has no exact integer form, or is no sane file, is refused with one message and never a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwq import sim
from hwq.errors import HwqError, UnsupportedModel
from hwq.frontends import load
from hwq.lowering import constants
from hwq.lowering.lower import Lowering
from hwq.lowering.layouts import channels_last
from hwq.lowering.values import Constant, per_channel
from hwq.lowering.values import Raw as RawValue
from tests.networks import Net, mlp, write


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
    value = RawValue("x", (2, 1, 1), (2, 1, 1), shape, layout)
    assert per_channel(np.ones((2, 1, 1)), value) is not None
    for wrong in ((2, 3, 1), (3,), (1, 1, 1, 1, 1), (5, 2, 1, 1), (0,)):
        assert per_channel(np.ones(wrong), value) is None


# --- fuzzing -------------------------------------------------------------------------------------

_NUMBERS = (
    0,
    -1,
    1,
    3,
    2**40,
    [0, 0],
    [1],
    [-1, 2],
    [2, 2],
    [10**9] * 2,
    [1.5],
    2.5,
    float("nan"),
    b"\xff",
    "ROUND",
)
_OPS = (
    "Relu",
    "Conv",
    "Gemm",
    "MatMul",
    "Quant",
    "BipolarQuant",
    "MaxPool",
    "Add",
    "Reshape",
    "Cast",
    "Shape",
    "Neg",
)


def _mutate_fields(model: onnx.ModelProto, rng: random.Random) -> bytes:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    node, constant = rng.choice(model.graph.node), rng.choice(model.graph.initializer)
    choice = rng.randrange(6)
    if choice == 0 and node.input:
        names = ["", "nope", "x", *(t.name for t in model.graph.initializer)]
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif choice == 1 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif choice == 2:
        node.op_type = rng.choice(_OPS)
    elif choice == 3 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.CopyFrom(helper.make_attribute(attribute.name, rng.choice(_NUMBERS)))
    elif choice == 4:
        node.output[0] = rng.choice(["", "x", model.graph.node[0].output[0]])
    else:
        array = numpy_helper.to_array(constant)
        changed = rng.choice(
            [array.ravel(), array[None], array[:0] if array.ndim else array * 0, array * 1e30]
        )
        kind = rng.choice([np.float32, np.float16, np.complex64, np.int64, bool])
        with np.errstate(all="ignore"):
            constant.CopyFrom(numpy_helper.from_array(changed.astype(kind), constant.name))
    return bytes(model.SerializeToString())


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(out))
        if rng.random() < 0.8:
            out[at] = rng.randrange(256)
        else:
            del out[at : at + rng.randrange(8)]
    return bytes(out)


def fuzz(count: int, seed: int, path: Path) -> None:
    rng, refused = random.Random(seed), 0  # noqa: S311
    net = Net([2, 6, 6])
    y = net.node("Relu", [batch_norm(net)])
    y = net.node("MaxPool", [net.quant(y, 0.5, 3, signed=0)], kernel_shape=[2, 2], strides=[2, 2])
    y = net.node("Reshape", [y, net.constant([1, -1], np.int64)])
    models = [mlp(), net.model(net.node("Gemm", [y, net.weight(np.ones((3, 18)))], transB=1))]
    for _ in range(count):
        model = rng.choice(models)
        fields = rng.random() < 0.6
        data = _mutate_fields(model, rng) if fields else _mutate_bytes(model.SerializeToString(), rng)
        path.write_bytes(data)
        try:
            load(path)
        except HwqError:
            refused += 1
    assert count // 4 < refused < count


@pytest.mark.filterwarnings("error")
def test_fuzzed_files_are_read_or_refused(tmp_path: Path) -> None:
    fuzz(300, 1, tmp_path / "m.onnx")


@pytest.mark.slow
def test_many_fuzzed_files_are_read_or_refused(tmp_path: Path) -> None:
    fuzz(3000, 2, tmp_path / "m.onnx")
