"""The trace of a trained network, held to the QONNX file that was exported from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from hwq.errors import InputError
from hwq.frontends.brevitas import OUTPUT, load_model, trace, weight_integers
from hwq.train import TrainResult
from hwq.train.job import run_job
from hwq.train.loop import predict

NETWORKS = {
    "digits-w2a2": ("train.epochs=2", "model.widths=[6, 8]"),
    "digits-w1a1": ("train.epochs=1", "model.widths=[6, 8]"),
    "digits-mlp-w2a2": (
        "train.epochs=1",
        "model.widths=[12, 8]",
        "quantize.activations=8",
        "model.bias=true",
    ),
}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    out = tmp_path_factory.mktemp(request.param) / "run"
    return run_job(request.param, out, overrides=NETWORKS[request.param], quiet=True)


def activation_quants(model: onnx.ModelProto) -> list[str]:
    """Outputs of the activation quantisers, in the file's (topological) order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type in {"Quant", "BipolarQuant"} and node.input[0] not in constants
    ]


def test_the_trace_agrees_with_the_file_in_count_order_shape_and_value(result: TrainResult) -> None:
    proto = onnx.load(result.model)
    names = activation_quants(proto)
    x = np.load(result.test_inputs)[:5]
    entries = trace(result.folder, x)
    assert [name for name, _ in entries[:-1]] == [name.split("/")[1] for name in names]
    assert (entries[-1][0], entries[-1][1].shape) == (OUTPUT, (5, 10))
    model = ModelWrapper(proto).transform(InferShapes())
    for row in range(5):
        context = execute_onnx(model, {"input": x[row : row + 1]}, return_full_exec_context=True)
        for (name, array), tensor in zip(entries, [*names, "logits"], strict=True):
            assert array[row : row + 1].shape == context[tensor].shape, name
            np.testing.assert_allclose(
                array[row : row + 1], context[tensor], rtol=1e-5, atol=1e-5, err_msg=name
            )


def test_batches_do_not_change_the_trace(result: TrainResult) -> None:
    x = np.load(result.test_inputs)[:11]
    whole, parts = trace(result.folder, x), trace(result.checkpoint, x, batch=4)
    assert [name for name, _ in whole] == [name for name, _ in parts]
    for (name, a), (_, b) in zip(whole, parts, strict=True):
        assert (a.dtype.name, a.shape) == ("float32", b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_input_entry_is_the_input_where_it_lies_on_the_grid(result: TrainResult) -> None:
    x = np.load(result.test_inputs)[:7]
    assert np.array_equal(trace(result.folder, x)[0][1], x)


def test_the_last_entry_is_the_networks_output(result: TrainResult) -> None:
    x = np.load(result.test_inputs)[:50]
    np.testing.assert_allclose(
        trace(result.folder, x)[-1][1], predict(load_model(result.folder), x), rtol=1e-5, atol=1e-5
    )


def test_weight_integers_are_of_every_layer_and_in_range(result: TrainResult) -> None:
    integers = weight_integers(load_model(result.checkpoint))
    assert len(integers) == 3
    binary = "w1a1" in str(result.folder)
    for layer in integers.values():
        assert layer.dtype == np.int64
        assert set(np.unique(layer)) <= ({-1, 1} if binary else {-1, 0, 1})


def test_no_rows_and_no_checkpoint_are_refused(result: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the input array has no rows"):
        trace(result.folder, np.zeros((0, 1, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"checkpoint .*best\.pt does not exist"):
        load_model(tmp_path)


def test_without_brevitas_the_import_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['brevitas'] = None; import hwq.frontends.brevitas"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "hwq.errors.ToolMissing: training needs brevitas" in done.stderr
