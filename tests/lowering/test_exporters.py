"""What exporters write: views of raw inputs, folded shape arithmetic, shuffles, bit widths of their own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwq import sim
from hwq.errors import UnsupportedModel
from hwq.frontends import load
from hwq.ir import Graph
from tests import oracle
from tests.networks import Net, write


def hold(model: onnx.ModelProto, x: np.ndarray[Any, Any], tmp_path: Path) -> Graph:
    """Both engines equal the oracle, and so does the saved graph."""
    graph = load(write(model, tmp_path / "net.onnx")).graph
    graph.save(tmp_path / "net.hwq")
    (expected,) = oracle.evaluate(model, x).values()
    for g in (graph, load(tmp_path / "net.hwq").graph):
        for engine in sim.Engine:
            assert np.array_equal(np.asarray(sim.simulate(g, x, engine)), expected)
    return graph


def halves(shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.integers(-20, 21, shape) / 8, dtype=np.float32)


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_a_transpose_between_input_and_quantiser(order: tuple[int, ...], tmp_path: Path) -> None:
    net = Net([4, 5, 3])
    channels = [0, 4, 5, 3][order[0]]
    x = net.node("Transpose", ["x"], perm=[0, *order])
    x = net.node("Mul", [x, net.constant(np.arange(1, channels + 1).reshape(-1, 1, 1) / 4)])
    x = net.node("Transpose", [net.quant(x, 0.25, 4)], perm=[0, 2, 3, 1])
    hold(net.model(x), halves((3, 4, 5, 3)), tmp_path)


def test_a_flattened_transposed_input_keeps_its_rows(tmp_path: Path) -> None:
    net = Net([12])
    x = net.node("Reshape", ["x", net.constant([-1, 3, 4], np.int64)])
    x = net.node("Flatten", [net.node("Transpose", [x], perm=[0, 2, 1])])
    weight = net.weight(np.random.default_rng(0).integers(-7, 8, (12, 3)))
    hold(net.model(net.node("MatMul", [net.quant(x, 0.25, 4), weight])), halves((4, 12)), tmp_path)


def conv(net: Net, channels: int) -> str:
    """A convolution with a float bias, so that its channels have no common unit."""
    rng = np.random.default_rng(1)
    weight = net.weight(rng.integers(-7, 8, (channels, 2, 3, 3)), rng.uniform(0.1, 0.5, (channels, 1, 1, 1)))
    inputs = [net.quant("x", 0.25, 4), weight, net.constant(rng.normal(size=channels))]
    return net.node("Conv", inputs, pads=[1, 1, 1, 1])


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_pixel_shuffle_of_unquantised_channels(mode: str, tmp_path: Path) -> None:
    net = Net([2, 4, 3])
    x = net.node("DepthToSpace", [conv(net, 12)], blocksize=2, mode=mode)
    x = net.quant(net.node("Relu", [x]), 0.31, 4, signed=0)
    hold(net.model(net.node("MaxPool", [x], kernel_shape=[2, 3])), halves((2, 2, 4, 3)), tmp_path)


def space_to_depth(x: np.ndarray[Any, Any], block: int) -> np.ndarray[Any, Any]:
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // block, block, w // block, block)
    moved = split.transpose(0, 3, 5, 1, 2, 4)
    return np.asarray(moved.reshape(n, c * block**2, h // block, w // block))


def test_space_to_depth(tmp_path: Path) -> None:
    net = Net([2, 4, 6])
    y = net.node("SpaceToDepth", [net.quant("x", 0.25, 4)], blocksize=2)
    x = halves((2, 2, 4, 6))
    graph = load(write(net.model(y), tmp_path / "s2d.onnx")).graph
    quantised = np.clip(np.rint(x / 0.25), -8, 7) * 0.25
    assert np.array_equal(np.asarray(sim.simulate(graph, x)), space_to_depth(quantised, 2))


@pytest.mark.parametrize(("index", "shape"), [(np.array(1), (2, 4)), (np.array([1, 2]), (2, 2, 4))])
def test_gather_takes_neighbours(index: np.ndarray[Any, Any], shape: tuple[int, ...], tmp_path: Path) -> None:
    net = Net([3, 4])
    y = net.node("Gather", [net.quant("x", 0.25, 4), net.constant(index, np.int64)], axis=1)
    x = halves((2, 3, 4))
    graph = load(write(net.model(y), tmp_path / "gather.onnx")).graph
    got = np.asarray(sim.simulate(graph, x))
    assert got.shape == shape
    assert np.array_equal(got, np.take(np.clip(np.rint(x / 0.25), -8, 7) * 0.25, index, axis=1))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_argmax_has_the_shape_of_the_file(keepdims: int, tmp_path: Path) -> None:
    net = Net([5])
    y = net.node("ArgMax", [net.quant("x", 0.25, 4)], axis=1, keepdims=keepdims)
    x = halves((6, 5))
    graph = load(write(net.model(y), tmp_path / "argmax.onnx")).graph
    graph.save(tmp_path / "argmax.hwq")
    for g in (graph, load(tmp_path / "argmax.hwq").graph):
        got = np.asarray(sim.simulate(g, x))
        quantised = np.clip(np.rint(x / 0.25), -8, 7)
        assert np.array_equal(got, quantised.argmax(axis=1, keepdims=bool(keepdims)))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_maximum_of_an_image(keepdims: int, tmp_path: Path) -> None:
    net = Net([2, 4, 3])
    y = net.node("ReduceMax", [net.quant("x", 0.25, 4)], axes=[2, 3], keepdims=keepdims)
    x = halves((2, 2, 4, 3))
    graph = load(write(net.model(y), tmp_path / "max.onnx")).graph
    expected = (np.clip(np.rint(x / 0.25), -8, 7) * 0.25).max(axis=(2, 3), keepdims=bool(keepdims))
    assert np.array_equal(np.asarray(sim.simulate(graph, x)), expected)


@pytest.mark.parametrize(("count", "bits"), [(4, 6), (9, 8), (16, 8), (49, 10)])
@pytest.mark.parametrize("natural", [True, False])
def test_bit_widths_computed_by_logarithms(count: int, bits: int, natural: bool, tmp_path: Path) -> None:
    """``in_bits + ceil(log2(count))``, as an adaptive truncating pool writes it."""
    net = Net([4])
    logarithm = net.node("Log", [net.constant(float(count))])
    two = net.constant(np.log(np.float32(2.0))) if natural else net.node("Log", [net.constant(2.0)])
    width = net.node("Add", [net.node("Ceil", [net.node("Div", [logarithm, two])]), net.constant(4.0)])
    scale, zero = net.constant(0.25), net.constant(0.0)
    x = net.quant("x", 0.25, 8)
    inputs = [x, scale, zero, width, net.constant(4.0)]
    y = net.node("Trunc", inputs, "qonnx.custom_op.general", rounding_mode="FLOOR")
    graph = load(write(net.model(y), tmp_path / "trunc.onnx")).graph
    x_values = halves((5, 4)) * 4
    codes = np.clip(np.rint(x_values / 0.25), -128, 127)
    assert np.array_equal(
        np.asarray(sim.simulate(graph, x_values)), np.floor(codes / 2.0 ** (bits - 4)) * 0.25
    )


def test_pads_computed_with_constant_of_shape(tmp_path: Path) -> None:
    """As TorchScript writes ZeroPad2d: zeros, concatenated, reshaped, reversed, transposed, flattened."""
    net = Net([2, 3, 3])
    filled = net.node("ConstantOfShape", [net.constant([4], np.int64)])
    value = numpy_helper.from_array(np.array([0], dtype=np.int64))
    net.nodes[-1].attribute.append(helper.make_attribute("value", value))
    pads = net.node("Concat", [net.constant([1, 2, 0, 1], np.int64), filled], axis=0)
    pads = net.node("Reshape", [pads, net.constant([-1, 2], np.int64)])
    ends = [net.constant([v], np.int64) for v in (-1, -(2**63) + 1, 0, -1)]
    pads = net.node("Transpose", [net.node("Slice", [pads, *ends])], perm=[1, 0])
    pads = net.node("Cast", [net.node("Reshape", [pads, net.constant([-1], np.int64)])], to=TensorProto.INT64)
    y = net.node("Pad", [net.quant("x", 0.25, 4), pads, net.constant(0.0)], mode="constant")
    x = halves((2, 2, 3, 3))
    graph = load(write(net.model(y), tmp_path / "pad.onnx")).graph
    expected = np.pad(np.clip(np.rint(x / 0.25), -8, 7) * 0.25, ((0, 0), (0, 0), (0, 1), (1, 2)))
    assert np.array_equal(np.asarray(sim.simulate(graph, x)), expected)


def test_weights_with_a_bit_width_each(tmp_path: Path) -> None:
    net = Net([3])
    rows = np.array([[5.0, -0.75], [0.5, 9.0], [-3.0, 0.25]])
    bits = np.array([[4.0, 2.0], [0.0, 5.0], [3.0, 1.0]])
    inputs = [net.constant(rows), net.constant(0.5), net.constant(0.0), net.constant(bits)]
    weight = net.node("Quant", inputs, "qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    graph = load(
        write(net.model(net.node("MatMul", [net.quant("x", 0.5, 3), weight])), tmp_path / "w.onnx")
    ).graph
    assert graph.nodes[0].params.weight.tolist() == [[7, -2], [0, 15], [-4, 1]]


def activation_widths(net: Net) -> str:
    inputs = ["x", net.constant(0.5), net.constant(0.0), net.constant([2.0, 3.0, 4.0])]
    return net.node("Quant", inputs, "qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")


def inner_softmax(net: Net) -> str:
    return net.quant(net.node("Softmax", [net.quant("x", 0.5, 4)]), 0.1, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [(activation_widths, "one bit width a tensor"), (inner_softmax, "stands inside the network")],
)
def test_refusals_say_what_to_do(make: Callable[[Net], str], message: str, tmp_path: Path) -> None:
    net = Net([3])
    with pytest.raises(UnsupportedModel, match=message):
        load(write(net.model(make(net)), tmp_path / "r.onnx"))
