"""Random QONNX networks, rich in ties, falling and constant channels, saturation and odd bit widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODES = ("ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


class Maker:
    """Builds one network node by node from a random generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.powers_of_two = bool(self.rng.integers(2))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """An initialiser."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """A node; its output."""
        name = f"{op.lower()}_{len(self.nodes)}"
        domain = "qonnx.custom_op.general" if op in ("Quant", "BipolarQuant") else ""
        self.nodes.append(
            helper.make_node(op, inputs, [f"{name}_out"], name=name, domain=domain, **attributes)
        )
        return f"{name}_out"

    def scale(self, *shape: int) -> Any:
        """A positive scale: a power of two, or any float32."""
        if self.powers_of_two:
            return np.float32(2.0) ** self.rng.integers(-4, 2, shape)
        return self.rng.uniform(0.05, 1.5, shape).astype(np.float32)

    def weights(self, shape: tuple[int, ...], per_channel: tuple[int, ...]) -> str:
        """A quantised weight initialiser."""
        kind = self.rng.integers(4)
        channelwise = bool(self.rng.integers(2))
        scale = self.scale(*per_channel) if channelwise else self.scale()
        values = self.rng.integers(-9, 10, shape) * self.scale() / 2
        if kind == 0:
            return self.node("BipolarQuant", [self.constant(values), self.constant(scale)])
        bits = int(self.rng.integers(2, 7))
        inputs = [self.constant(values), self.constant(scale), self.constant(0.0), self.constant(float(bits))]
        return self.node("Quant", inputs, signed=1, narrow=int(self.rng.integers(2)), rounding_mode="ROUND")

    def activation(self, x: str) -> str:
        """A quantiser of an activation, per tensor; seldom bipolar."""
        if self.rng.random() < 0.15:
            return self.node("BipolarQuant", [x, self.constant(self.scale())])
        signed = int(self.rng.integers(2))
        bits = int(self.rng.integers(1, 6))
        zero = int(self.rng.integers(0, 3)) if self.rng.random() < 0.2 else 0
        inputs = [x, self.constant(self.scale()), self.constant(float(zero)), self.constant(float(bits))]
        mode = str(self.rng.choice(MODES)) if self.rng.random() < 0.5 else "ROUND"
        narrow = int(self.rng.integers(2)) if bits > 1 else 0
        return self.node("Quant", inputs, signed=signed, narrow=narrow, rounding_mode=mode)

    def between(self, x: str, channels: int, rank: int) -> str:
        """What stands before a quantiser: BatchNormalization, affine constants, ReLU, or nothing."""
        shape = (1, channels, *(1,) * (rank - 2))
        choice = self.rng.integers(4)
        if choice == 0:
            gamma = self.rng.choice([-1.5, -0.25, 0.0, 0.5, 1.0, 2.0], channels)
            parameters = (
                gamma,
                self.rng.normal(size=channels),
                self.rng.normal(size=channels),
                self.rng.uniform(0, 4, channels),
            )
            x = self.node(
                "BatchNormalization",
                [x, *(self.constant(p) for p in parameters)],
                epsilon=float(np.float32(1e-5)),
            )
        elif choice == 1:
            x = self.node("Mul", [x, self.constant(self.rng.choice([-1.0, -0.5, 0.25, 1.0], shape))])
            x = self.node("Add", [x, self.constant(self.rng.integers(-4, 5, shape) / 2)])
        elif choice == 2:
            x = self.node("Sub", [x, self.constant(0.5)])
        return self.node("Relu", [x]) if self.rng.integers(2) else x


def random_model(seed: int) -> tuple[onnx.ModelProto, np.ndarray[Any, np.dtype[np.float32]]]:
    """A network and inputs for it, some of them on rounding ties."""
    maker = Maker(seed)
    convolutional = bool(maker.rng.integers(2))
    shape: tuple[int, ...] = (2, 5, 5) if convolutional else (6,)
    x = maker.activation("x")
    for _ in range(int(maker.rng.integers(1, 3)) if convolutional else 0):
        x, shape = _conv_layer(maker, x, shape)
    if convolutional:
        x = maker.node("Flatten", [x], axis=1)
        shape = (int(np.prod(shape)),)
    for _ in range(int(maker.rng.integers(0, 3))):
        x, shape = _dense_layer(maker, x, shape[0], int(maker.rng.integers(2, 6)))
        x = maker.activation(maker.between(x, shape[0], 2))
    x, shape = _dense_layer(maker, x, shape[0], 3)
    if maker.rng.integers(2):
        x = maker.node("Mul", [x, maker.constant(maker.scale())])
        x = maker.node("Add", [x, maker.constant(maker.rng.normal(size=3))])
    graph = helper.make_graph(
        maker.nodes,
        f"random_{seed}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *((2, 5, 5) if convolutional else (6,))])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, *shape])],
        maker.constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 2)]
    model = helper.make_model(graph, opset_imports=opsets)
    size = (4, *((2, 5, 5) if convolutional else (6,)))
    grid = maker.rng.integers(-24, 25, size) / np.float32(16)
    noise = maker.rng.normal(size=size).astype(np.float32)
    return model, np.concatenate([grid.astype(np.float32), noise])


def _dense_layer(maker: Maker, x: str, n_in: int, n_out: int) -> tuple[str, tuple[int, ...]]:
    if maker.rng.integers(2):
        weight = maker.weights((n_out, n_in), (n_out, 1))
        inputs = [x, weight] + (
            [maker.constant(maker.rng.normal(size=n_out))] if maker.rng.integers(2) else []
        )
        return maker.node("Gemm", inputs, transB=1), (n_out,)
    return maker.node("MatMul", [x, maker.weights((n_in, n_out), (1, n_out))]), (n_out,)


def _conv_layer(maker: Maker, x: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    channels = int(maker.rng.integers(1, 3)) * shape[0]
    groups = shape[0] if maker.rng.random() < 0.3 else 1
    kernel, pad = int(maker.rng.integers(1, 4)), int(maker.rng.integers(0, 2))
    stride = int(maker.rng.integers(1, 3))
    size = (shape[1] + 2 * pad - kernel) // stride + 1
    if size < 1:
        return x, shape
    weight = maker.weights((channels, shape[0] // groups, kernel, kernel), (channels, 1, 1, 1))
    inputs = [x, weight] + (
        [maker.constant(maker.rng.normal(size=channels))] if maker.rng.integers(2) else []
    )
    y = maker.node(
        "Conv",
        inputs,
        group=groups,
        pads=[pad] * 4,
        strides=[stride] * 2,
        kernel_shape=[kernel] * 2,
        dilations=[1, 1],
    )
    out: tuple[int, ...] = (channels, size, size)
    y = maker.between(y, channels, 4)
    if size > 1 and maker.rng.random() < 0.3:
        y = maker.node("MaxPool", [y], kernel_shape=[2, 2], strides=[1, 1])
        out = (channels, size - 1, size - 1)
    return maker.activation(y), out
