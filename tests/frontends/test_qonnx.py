"""What the QONNX reader refuses before anything is lowered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwq.errors import InputError
from hwq.frontends import qonnx
from tests.networks import mlp, write


def input_of_type(kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind

    return change


def duplicate_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])


def duplicate_output(model: onnx.ModelProto) -> None:
    model.graph.output.add().CopyFrom(model.graph.output[0])


def constant_of(kind: type) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        first = model.graph.initializer[0]
        first.CopyFrom(numpy_helper.from_array(np.array([1]).astype(kind), first.name))

    return change


def strings(model: onnx.ModelProto) -> None:
    first = model.graph.initializer[0]
    first.CopyFrom(helper.make_tensor(first.name, TensorProto.STRING, [1], [b"abc"]))


def truncated_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims.append(7)


def undecodable(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("note", b"\xff"))


def not_finite(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("note", float("nan")))


def nameless_output(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (input_of_type(TensorProto.INT64), "type int64"),
        (input_of_type(TensorProto.DOUBLE), "type double"),
        (input_of_type(TensorProto.FLOAT16), "type float16"),
        (duplicate_constant, "two initialisers are called"),
        (duplicate_output, "two outputs are called"),
        (constant_of(np.complex64), "holds complex64"),
        (strings, "holds object|holds <U"),
        (truncated_constant, "cannot be read"),
        (undecodable, "attribute 'note' cannot be read"),
        (not_finite, "attribute 'note' is NaN"),
        (nameless_output, "has no output"),
    ],
)
def test_refused(change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path) -> None:
    model = mlp()
    qonnx.read(write(model, tmp_path / "good.onnx"))
    change(model)
    with pytest.raises(InputError, match=message):
        qonnx.read(write(model, tmp_path / "bad.onnx"))
