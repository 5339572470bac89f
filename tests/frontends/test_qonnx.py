"""What the QONNX reader refuses before anything is lowered."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from hwq.cli import app
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


# --- hostile files, through the command line -------------------------------------------------------

BILLION = 10**9


def refused_by_cli(path: Path) -> str:
    """What `hwq lower` says: one error, exit code 2, in seconds."""
    start = time.process_time()
    result = CliRunner().invoke(app, ["lower", str(path)])
    assert time.process_time() - start < 20
    said = " ".join(result.output.split())
    assert result.exit_code == 2, said
    assert not isinstance(result.exception, Exception), result.exception
    assert said.startswith("error: ")
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    return said


def external(model: onnx.ModelProto, location: str, **entries: str) -> onnx.ModelProto:
    """The model with its first constant in another file."""
    first = model.graph.initializer[0]
    first.ClearField("raw_data")
    first.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        first.external_data.add(key=key, value=value)
    return model


def folder(tmp_path: Path) -> Path:
    """A folder for the model, and data outside it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "data").write_bytes(bytes(4))
    (inside / "link").symlink_to(tmp_path / "data")
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "gone").symlink_to(inside / "nowhere")
    (inside / "beside").write_bytes(bytes(2))
    (inside / "folder").mkdir()
    return inside


@pytest.mark.parametrize(
    "location",
    [
        *("../data", "/etc/hostname", "link", "loop", "gone", "missing", "folder", ".", "..", ""),
        *(
            "a\0b",
            "x" * 5000,
            "folder/../../data",
            "~/data",
            "file:///etc/hostname",
            "/dev/zero",
            "//dev/stdin",
        ),
    ],
)
def test_external_data_must_be_a_file_in_the_folder(location: str, tmp_path: Path) -> None:
    path = folder(tmp_path) / "m.onnx"
    said = refused_by_cli(write(external(mlp(), location), path))
    assert "no file in the model's folder" in said


@pytest.mark.parametrize(
    "entries",
    [
        *({"offset": v} for v in ("-1", str(2**62), "1e9", "a", "")),
        *({"length": v} for v in ("-1", "0", "1", str(2**62), "a")),
        {"offset": str(2**63), "length": str(2**63)},
        {},  # the file is too short
    ],
)
def test_external_data_must_be_whole(entries: dict[str, str], tmp_path: Path) -> None:
    path = folder(tmp_path) / "m.onnx"
    assert "constant" in refused_by_cli(write(external(mlp(), "beside", **entries), path))


def test_external_data_in_the_folder_is_read(tmp_path: Path) -> None:
    inside = folder(tmp_path)
    model = mlp()
    (inside / "data").write_bytes(numpy_helper.to_array(model.graph.initializer[0]).tobytes())
    plain = qonnx.read(write(model, inside / "a.onnx"))
    read = qonnx.read(write(external(model, "data"), inside / "b.onnx"))
    assert all(np.array_equal(v, plain.constants[k]) for k, v in read.constants.items())


def test_external_data_of_billions_of_bytes(tmp_path: Path) -> None:
    inside = folder(tmp_path)
    with (inside / "huge").open("wb") as file:
        file.truncate(2**31 + 1)  # takes no room on the disk
    assert "larger than 2 GiB" in refused_by_cli(write(external(mlp(), "huge"), inside / "m.onnx"))


def claim(*dims: int) -> Callable[[onnx.ModelProto], None]:
    """A constant without content that claims a shape."""

    def change(model: onnx.ModelProto) -> None:
        first = model.graph.initializer[0]
        first.CopyFrom(TensorProto(name=first.name, data_type=TensorProto.FLOAT, dims=dims))

    return change


def claim_in_a_node(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[BILLION])
    model.graph.node.append(helper.make_node("Constant", [], ["big"], value=tensor))


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = model.graph.node[-1].output[0]


def made_of_itself(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = model.graph.node[1].output[0]


def node_twice(model: onnx.ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def constant_made_again(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = model.graph.initializer[0].name


def sparse(model: onnx.ModelProto) -> None:
    values, indices = helper.make_tensor("s", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [BILLION]))


def functions(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="local")


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def control_flow(model: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "body", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body))


def unknown_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def attribute_twice(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if n.attribute)
    node.attribute.append(node.attribute[0])


def no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def no_inputs(model: onnx.ModelProto) -> None:
    del model.graph.input[:]


def unknown_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def input_of(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        shape = [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)]
        del model.graph.input[:]
        model.graph.input.extend(shape)

    return change


def open_sizes(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"


def input_twice(model: onnx.ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (claim(BILLION), "elements"),
        (claim(2**62, 2**62), "elements"),
        (claim(-1, 4), "none negative"),
        (claim(*[1] * 40), "at most 16 axes"),
        (claim(2**20), "cannot be read"),
        (claim_in_a_node, "elements"),
        (cycle, "cyclic"),
        (made_of_itself, "cyclic"),
        (node_twice, "made by two nodes"),
        (constant_made_again, "made by two nodes"),
        (sparse, "sparse initialisers"),
        (functions, "ONNX functions"),
        (training, "training information"),
        (control_flow, "a graph of its own"),
        (unknown_domain, "unknown domain 'com.example'"),
        (attribute_twice, "two attributes"),
        (no_nodes, "holds no network"),
        (no_outputs, "holds no network"),
        (no_inputs, "nothing makes"),
        (unknown_output, "does not depend on a quantised input"),
        (input_of(1, 2**40), "must be fixed"),
        (input_of(1, 2**20, 2**20), "must be fixed"),
        (input_of(1, 0), "must be fixed"),
        (input_of(1, -6), "must be fixed"),
        (input_of(6), "must be fixed"),
        (input_of(*[1] * 70), "must be fixed"),
        (open_sizes, "must be fixed"),
        (input_twice, "two inputs"),
        (duplicate_constant, "two initialisers"),
        (duplicate_output, "two outputs"),
    ],
)
def test_hostile_files_are_refused(
    change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    model = mlp()
    change(model)
    assert message in refused_by_cli(write(model, tmp_path / "m.onnx"))


def test_constants_are_bounded_together(tmp_path: Path) -> None:
    """Many constants that all lie in one file without content."""
    model = mlp()
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(2**30)
    for i in range(100):
        tensor = model.graph.initializer.add(name=f"z{i}", data_type=TensorProto.FLOAT, dims=[2**27])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="zeros")
    assert "at most 268435456" in refused_by_cli(write(model, tmp_path / "m.onnx"))


@pytest.mark.parametrize("part", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files(part: float, tmp_path: Path) -> None:
    data = mlp().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(part * len(data))])
    refused_by_cli(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x00" * 4096, b"\xff" * 4096, b"PK\x03\x04", b"\x0a" * 10**6]
)
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file" in refused_by_cli(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    assert "no such file" in refused_by_cli(tmp_path / "m.onnx")
    assert "no such file" in refused_by_cli(tmp_path / "n.onnx")
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31 + 1)
    assert "larger than 2 GiB" in refused_by_cli(tmp_path / "huge.onnx")
