"""The oracle's own semantics: against onnxruntime and qonnx within float tolerance, and by hand for ties."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.quant import quant
from qonnx.custom_op.general.trunc import trunc_v1, trunc_v2

from tests import oracle
from tests.oracle_numbers import Real, Undecided, nearest_float, rounded, sign, square_root, transcendental

Array = np.ndarray[Any, Any]
MODES = ("ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


def floats(x: Array) -> Array:
    return np.asarray(np.vectorize(nearest_float, otypes=[float])(x))


def ours(op: str, inputs: list[Any], attributes: dict[str, Any], outputs: int = 1) -> list[Array]:
    xs = [None if x is None else oracle.exact(np.asarray(x)) for x in inputs]
    return [floats(y) for y in oracle.apply(op, xs, attributes, outputs)]


def theirs(op: str, inputs: list[Any], attributes: dict[str, Any], outputs: int, opset: int) -> list[Any]:
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    arrays = {n: np.asarray(x) for n, x in zip(names, inputs, strict=True) if n}
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in arrays.items()
    ]
    kind = TensorProto.INT64 if op in ("ArgMax", "Shape") else TensorProto.FLOAT
    results = [helper.make_tensor_value_info(f"y{i}", kind, None) for i in range(outputs)]
    graph = helper.make_graph([node], "one", ports, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, arrays))


def data(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


x4, x3, x2 = data(2, 4, 5, 6), data(2, 4, 7), data(3, 4)
positive = np.abs(data(4)) + np.float32(0.1)
f32 = np.float32
CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    *((op, [x4], {}, 14) for op in ("Relu", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh")),
    *((op, [x4], {}, 14) for op in ("Erf", "Softplus", "Neg", "Identity", "GlobalMaxPool", "GlobalAveragePool")),
    ("LeakyRelu", [x4], {"alpha": 0.3}, 14),
    ("Elu", [x4], {"alpha": 0.7}, 14),
    ("HardSigmoid", [x4], {"alpha": 0.3, "beta": 0.4}, 14),
    ("PRelu", [x4, data(4, 1, 1)], {}, 14),
    ("Clip", [x4], {"min": -0.5, "max": 0.75}, 6),
    ("Clip", [x4, f32(-0.5), f32(0.75)], {}, 13),
    ("Clip", [x4, None, f32(0.75)], {}, 13),
    ("Sqrt", [positive], {}, 13),
    ("Pow", [positive, f32(0.5)], {}, 13),
    ("Pow", [x2, f32(2)], {}, 13),
    *((op, [x4, data(4, 1, 1)], {}, 13) for op in ("Add", "Sub", "Mul", "Div")),
    ("Sum", [x2, data(4), data(3, 1)], {}, 13),
    *(("BatchNormalization", [x, data(4), -data(4), data(4), positive], {"epsilon": 0.01}, 14) for x in (x4, x3, x2)),
    ("MatMul", [x2, data(4, 5)], {}, 13),
    ("MatMul", [data(2, 3, 4), data(2, 4, 5)], {}, 13),
    ("Gemm", [x2, data(5, 4), data(5)], {"transB": 1, "alpha": 0.5, "beta": -2.0}, 13),
    ("Gemm", [data(4, 3), data(4, 5), f32(2)], {"transA": 1}, 13),
    ("Gemm", [x2, data(4, 5)], {}, 13),
    ("Conv", [x4, data(6, 4, 3, 2), data(6)], {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}, 13),
    ("Conv", [x4, data(8, 1, 3, 3)], {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 13),
    ("Conv", [x4, data(6, 2, 2, 2)], {"group": 2, "auto_pad": "SAME_LOWER"}, 13),
    ("Conv", [x4, data(6, 4, 2, 2)], {"auto_pad": "VALID", "kernel_shape": [2, 2]}, 13),
    ("Conv", [x3, data(6, 4, 3)], {"pads": [2, 1], "strides": [2]}, 13),
    ("ConvTranspose", [x4, data(4, 3, 3, 2), data(3)], {"strides": [2, 3], "pads": [1, 0, 0, 1]}, 13),
    ("ConvTranspose", [x4, data(4, 2, 3, 3)], {"group": 2, "strides": [2, 2], "output_padding": [1, 0]}, 13),
    ("ConvTranspose", [x3, data(4, 3, 3)], {"strides": [2], "dilations": [2], "pads": [1, 1]}, 13),
    ("MaxPool", [x4], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}, 12),
    ("MaxPool", [x4], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "ceil_mode": 1}, 12),
    ("MaxPool", [x4], {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]}, 12),
    ("MaxPool", [x4], {"kernel_shape": [2, 2], "dilations": [2, 2]}, 12),
    ("MaxPool", [x4], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, 12),
    ("MaxPool", [x3], {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}, 12),
    ("AveragePool", [x4], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}, 13),
    ("AveragePool", [x4], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}, 13),
    ("AveragePool", [x3], {"kernel_shape": [3]}, 13),
    ("ReduceMean", [x4], {"axes": [-1, -2]}, 13),
    ("ReduceMean", [x4, ints(2)], {"keepdims": 0}, 18),
    ("ReduceSum", [x4, ints(1, 3)], {"keepdims": 0}, 13),
    ("ReduceSum", [x4], {"axes": [2]}, 11),
    ("ArgMax", [x4], {"axis": 1}, 13),
    ("ArgMax", [np.round(x2)], {"axis": -1, "keepdims": 0}, 13),
    ("Slice", [x4, ints(1, -3), ints(9, -1), ints(1, 3)], {}, 13),
    ("Slice", [x4, ints(-1, 0), ints(-(2**31), 5), ints(2, 3), ints(-1, 2)], {}, 13),
    ("Slice", [x4], {"starts": [1], "ends": [3], "axes": [1]}, 9),
    ("Pad", [x4], {"pads": [0, 0, 1, 2, 0, 1, 0, 3], "value": 0.5}, 2),
    ("Pad", [x4, ints(0, 0, 1, 2, 0, 1, 0, 3)], {}, 13),
    ("Pad", [x4, ints(1, 2, 0, 1), f32(-1.5), ints(1, -1)], {}, 18),
    ("Resize", [x4, None, np.array([1, 1, 2, 3], dtype=f32)],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 13),
    ("Resize", [x4, np.zeros(0, dtype=f32), np.array([1, 1, 2, 3], dtype=f32)], {"mode": "nearest"}, 13),
    ("Resize", [x4, None, None, ints(2, 4, 10, 18)], {"mode": "nearest"}, 13),
    ("Resize", [x4, np.array([1, 1, 3, 2], dtype=f32)], {"mode": "nearest"}, 10),
    ("Upsample", [x4, np.array([1, 1, 2, 3], dtype=f32)], {"mode": "nearest"}, 9),
    ("DepthToSpace", [x4], {"blocksize": 2}, 13),
    ("DepthToSpace", [data(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, 13),
    ("Transpose", [x4], {"perm": [0, 2, 3, 1]}, 13),
    ("Transpose", [x2], {}, 13),
    ("Reshape", [x4, ints(0, -1, 6)], {}, 13),
    ("Flatten", [x4], {}, 13),
    ("Flatten", [x4], {"axis": -2}, 13),
    ("Squeeze", [data(2, 1, 3, 1), ints(1, -1)], {}, 13),
    ("Squeeze", [data(2, 1, 3, 1)], {"axes": [1]}, 11),
    ("Unsqueeze", [x2, ints(1, -1)], {}, 13),
    ("Concat", [x2, data(3, 2)], {"axis": -1}, 13),
    ("Gather", [x2, ints(2, 0, -1)], {"axis": 1}, 13),
    ("Shape", [x4], {}, 13),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_standard_operators(case: tuple[str, list[Any], dict[str, Any], int]) -> None:
    op, inputs, attributes, opset = case
    (expected,) = theirs(op, inputs, attributes, 1, opset)
    (result,) = ours(op, inputs, attributes)
    assert result.shape == expected.shape
    assert np.allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("inputs", "attributes", "opset"),
    [([x4], {"axis": 1, "split": [1, 3]}, 11), ([x4, ints(3, 1)], {"axis": 1}, 13), ([x4], {"axis": -1}, 13)],
)
def test_split(inputs: list[Any], attributes: dict[str, Any], opset: int) -> None:
    expected = theirs("Split", inputs, attributes, 2, opset)
    for mine, other in zip(ours("Split", inputs, attributes, 2), expected, strict=True):
        assert mine.shape == other.shape
        assert np.allclose(mine, other)


@pytest.mark.parametrize("mode", [*MODES, "half_even"])
@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize(("signed", "narrow"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_quant_equals_qonnx_on_dyadic_numbers(mode: str, bits: int, signed: int, narrow: int) -> None:
    """float32 is exact here, ties included."""
    x = (np.arange(-80, 81) / 16).astype(f32).reshape(1, -1)
    for scale, zero in ((0.25, 0.0), (0.5, 3.0), (1.0, -1.0)):
        arrays = [f32(scale), f32(zero), f32(bits)]
        expected = quant(x, *arrays, signed, narrow, mode)
        (result,) = ours("Quant", [x, *arrays], {"signed": signed, "narrow": narrow, "rounding_mode": mode})
        assert np.array_equal(result, expected)


def test_bipolar_quant_equals_qonnx() -> None:
    x = np.array([-2, -0.0, 0, 1e-30, 3], dtype=f32)
    assert np.array_equal(ours("BipolarQuant", [x, f32(0.3)], {})[0], binary_quant(x, f32(0.3)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("zero", [0.0, 8.0])
def test_trunc_equals_qonnx_on_dyadic_numbers(mode: str, zero: float) -> None:
    x = (np.arange(-300, 301) / 8).astype(f32)
    one = [x, f32(0.25), f32(zero), f32(8), f32(5)]
    assert np.array_equal(ours("Trunc", one, {"rounding_mode": mode})[0], trunc_v1(*one, mode))
    two = [x, f32(0.25), f32(zero), f32(8), f32(2.0), f32(4)]
    for signed, narrow in ((0, 0), (0, 1), (1, 0), (1, 1)):
        a = {"rounding_mode": mode, "signed": signed, "narrow": narrow}
        expected = trunc_v2(*two[:4], narrow, signed, *two[4:], mode)
        assert np.array_equal(ours("Trunc", two, a)[0], expected)


@pytest.mark.parametrize(
    ("mode", "codes"),
    [
        ("ROUND", [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]),
        ("FLOOR", [-3, -2, -2, -2, -1, 0, 0, 1, 1, 1, 2]),
        ("CEIL", [-2, -1, -1, -1, 0, 0, 1, 2, 2, 2, 3]),
        ("UP", [-3, -2, -2, -2, -1, 0, 1, 2, 2, 2, 3]),
        ("DOWN", [-2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2]),
        ("HALF_UP", [-3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3]),
        ("HALF_DOWN", [-2, -2, -1, -1, 0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_rounding_by_hand(mode: str, codes: list[int]) -> None:
    quarters = [-10, -7, -6, -5, -2, 0, 2, 5, 6, 7, 10]
    assert [rounded(mode, Fraction(q, 4)) for q in quarters] == codes


def test_trunc_by_hand() -> None:
    """Sum of four 3-bit codes, 4·7 = 28 at most, to its mean's floor; the scale is a float32 that is off."""
    scale = float(f32(0.3))
    x = np.array([0, 3, 4, 27, 28], dtype=np.float64) * scale
    two = [x, np.float64(f32(0.1) * 3), f32(0), f32(5), np.float64(4 * scale), f32(3)]
    codes = ours("Trunc", two, {"rounding_mode": "FLOOR", "signed": 0})[0] / (4 * scale)
    assert codes.tolist() == [0, 0, 1, 6, 7]


def test_roots() -> None:
    two, eight, three = (square_root(Fraction(n)) for n in (2, 8, 3))
    assert isinstance(two, Real)
    assert eight - two - two == 0
    assert two * two == 2
    assert square_root(Fraction(9, 4)) == Fraction(3, 2)
    assert sign(two + three - square_root(Fraction(10))) == -1
    assert sign(two * three - square_root(Fraction(6))) == 0
    assert Fraction(1) / two == two * Fraction(1, 2)
    assert nearest_float(two + three) == 3.1462643699419726
    near = Fraction(round(2**200 * 2**0.5), 2**200)
    assert (two > near) == (near * near < 2)
    assert rounded("CEIL", two - Fraction(2)) == 0


def test_values_of_functions() -> None:
    assert transcendental("Sigmoid", Fraction(0)) == Fraction(1, 2)
    assert transcendental("Tanh", Fraction(0)) == 0
    assert transcendental("Tanh", Fraction(60)) < Fraction(1)
    assert nearest_float(transcendental("Softplus", Fraction(-3))) == pytest.approx(
        0.04858735157374206, abs=1e-17
    )
    assert nearest_float(transcendental("Sigmoid", square_root(Fraction(2)))) == pytest.approx(
        0.804429682506956
    )
    one = transcendental("Sigmoid", Fraction(1))
    with pytest.raises(Undecided):
        sign(one - one)
