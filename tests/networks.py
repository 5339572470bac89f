"""Small QONNX files for tests, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Collects nodes and constants of one QONNX file."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = list(shape)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [f"{name}_out"], name=name, domain=domain, **attributes)
        )
        return f"{name}_out"

    def quant(
        self, x: str, scale: Any, bits: int, *, signed: int = 1, narrow: int = 0, mode: str = "ROUND"
    ) -> str:
        inputs = [x, self.constant(scale), self.constant(0.0), self.constant(float(bits))]
        return self.node(
            "Quant", inputs, "qonnx.custom_op.general", signed=signed, narrow=narrow, rounding_mode=mode
        )

    def weight(self, codes: Any, scale: Any = 0.5, bits: int = 4) -> str:
        values = np.asarray(codes, dtype=np.float32) * np.float32(scale)
        return self.quant(self.constant(values), scale, bits)

    def model(self, output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 2)]
        return helper.make_model(graph, opset_imports=opsets)


def mlp(rng_seed: int = 0, *, power_of_two: bool = True) -> onnx.ModelProto:
    """6 inputs, a hidden layer of 5, 3 outputs; ties are frequent with power-of-two scales."""
    rng = np.random.default_rng(rng_seed)
    step = 0.25 if power_of_two else 0.2371
    net = Net([6])
    x = net.quant("x", step, 4)
    x = net.node("MatMul", [x, net.weight(rng.integers(-3, 4, (6, 5)), step)])
    x = net.node("Relu", [x])
    x = net.quant(x, step, 3, signed=0)
    x = net.node(
        "Gemm", [x, net.weight(rng.integers(-3, 4, (3, 5)), step), net.constant([0.5, -1.0, 0.1])], transB=1
    )
    return net.model(x)


def write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
