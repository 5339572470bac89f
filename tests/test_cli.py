"""The command line: what it prints, writes and returns, above all when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from hwq.cli import app
from tests.networks import Net, mlp, write

HWQ = [sys.executable, "-m", "hwq"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(mlp(), tmp_path / "mlp.onnx")


def hwq(*words: Any) -> tuple[int, str]:
    """Exit code, and everything printed."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert not isinstance(result.exception, Exception), result.exception
    return result.exit_code, " ".join(result.output.split())


def refused(*words: Any) -> str:
    """What a command that must end with exit code 2 says."""
    code, said = hwq(*words)
    assert code == 2, said
    assert said.startswith("error: "), said
    assert "Traceback" not in said
    return said


# --- models that cannot be read ------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    assert "nosuch.onnx: no such file" in refused("lower", tmp_path / "nosuch.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07garbage\xff\xff", b"\x00" * 999])
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file" in refused("lower", path)


def test_truncated_onnx_file(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-200])
    refused("lower", model)


def test_model_without_quantiser(tmp_path: Path) -> None:
    net = Net([4])
    path = write(net.model(net.node("Relu", ["x"])), tmp_path / "float.onnx")
    said = refused("lower", path)
    assert "no Quant or BipolarQuant node" in said
    assert "QONNX" in said


def test_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    net = Net([4])
    path = write(
        net.model(net.node("Einsum", [net.quant("x", 0.5, 4)], equation="ij->ij")), tmp_path / "e.onnx"
    )
    said = refused("lower", path)
    assert "node 'Einsum_1' (Einsum)" in said
    assert "README's table of operators" in said


def test_a_quotient_of_tensors_is_refused_with_a_reason(tmp_path: Path) -> None:
    net = Net([4])
    a, b = net.quant("x", 0.5, 4), net.quant("x", 0.25, 4)
    path = write(net.model(net.node("Div", [a, b])), tmp_path / "div.onnx")
    assert "divides by a computed tensor" in refused("lower", path)


def test_unquantised_weights_are_refused(tmp_path: Path) -> None:
    net = Net([4])
    x = net.node("MatMul", [net.quant("x", 0.5, 4), net.constant(np.ones((4, 2)))])
    said = refused("lower", write(net.model(x), tmp_path / "w.onnx"))
    assert "its weights are not quantised" in said
    assert "cure:" in said


def test_unquantised_input_says_how_to_state_its_grid(tmp_path: Path) -> None:
    net = Net([4])
    x = net.quant(net.node("MatMul", ["x", net.weight(np.ones((4, 2)))]), 0.5, 4)
    path = write(net.model(x), tmp_path / "raw.onnx")
    assert "--input-type fixed<16,6>" in refused("lower", path)
    assert hwq("lower", path, "--input-type", "fixed<8,3>")[0] == 0
    assert "give fixed<W,I>" in refused("lower", path, "--input-type", "float32")


def test_cyclic_graph(tmp_path: Path) -> None:
    net = Net([4])
    x = net.quant("x", 0.5, 4)
    net.nodes.append(helper.make_node("Add", [x, "b"], ["a"], name="first"))
    net.nodes.append(helper.make_node("Relu", ["a"], ["b"], name="second"))
    assert "cyclic" in refused("lower", write(net.model("a"), tmp_path / "cycle.onnx"))


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_scale_that_is_not_positive(tmp_path: Path, scale: float) -> None:
    net = Net([4])
    said = refused("lower", write(net.model(net.quant("x", scale, 4)), tmp_path / "s.onnx"))
    assert "scale is not positive" in said


def test_constants_with_nan(tmp_path: Path) -> None:
    net = Net([4])
    said = refused("lower", write(net.model(net.quant("x", float("nan"), 4)), tmp_path / "n.onnx"))
    assert "NaN or infinite" in said


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(64))
    net = Net([4])
    out = net.quant("x", 0.5, 4)
    tensor = TensorProto(
        name="leak", data_type=TensorProto.FLOAT, dims=[16], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="../secret.bin")
    net.constants.append(tensor)
    folder = tmp_path / "model"
    folder.mkdir()
    assert "no file in the model's folder" in refused("lower", write(net.model(out), folder / "m.onnx"))


def test_huge_constant(tmp_path: Path) -> None:
    net = Net([4])
    out = net.quant("x", 0.5, 4)
    net.constants.append(TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[10**5, 10**5]))
    assert "10000000000 elements" in refused("lower", write(net.model(out), tmp_path / "h.onnx"))


def test_damaged_graph_file(tmp_path: Path, model: Path) -> None:
    graph = tmp_path / "g.hwq"
    assert hwq("lower", model, "-o", graph)[0] == 0
    assert hwq("lower", graph)[0] == 0
    graph.write_bytes(graph.read_bytes()[:-30])
    assert "is not a .hwq graph, or is damaged" in refused("lower", graph)


# --- arrays --------------------------------------------------------------------------------------


def rows(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 7), np.float32), "takes (batch, 6), got an array of shape (3, 7)"),
        (np.zeros(6, np.float32), "takes (batch, 6)"),
        (np.zeros((0, 6), np.float32), "takes (batch, 6)"),
        (np.zeros((3, 6)), "takes float32 (or integer codes), got float64"),
        (np.full((3, 6), np.nan, np.float32), "NaN or infinite values, first in row 0"),
        (np.full((3, 6), 99), "integer codes must lie in -8..7"),
        (np.array([["a"] * 6]), "takes float32"),
    ],
)
def test_wrong_input_arrays(tmp_path: Path, model: Path, array: Any, message: str) -> None:
    out = tmp_path / "y.npy"
    said = refused("simulate", model, "-i", rows(tmp_path / "x.npy", array), "-o", out)
    assert message in said
    assert not out.exists()


def test_pickled_arrays_are_refused(tmp_path: Path, model: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "is not a plain .npy array" in refused(
        "simulate", model, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy"
    )


def test_simulate_writes_values_codes_and_trace(tmp_path: Path, model: Path) -> None:
    x = rows(tmp_path / "x.npy", np.linspace(-3, 3, 60, dtype=np.float32).reshape(10, 6))
    for engine in ("numpy", "reference"):
        code, said = hwq("simulate", model, "-i", x, "-o", tmp_path / f"{engine}.npy", "--engine", engine)
        assert code == 0, said
    fast, plain = np.load(tmp_path / "numpy.npy"), np.load(tmp_path / "reference.npy")
    assert fast.dtype == np.float64
    assert np.array_equal(fast, plain)
    assert (
        hwq("simulate", model, "-i", x, "-o", tmp_path / "c.npy", "--codes", "--trace", tmp_path / "t")[0]
        == 0
    )
    assert np.load(tmp_path / "c.npy").dtype == np.int64
    names = (tmp_path / "t" / "tensors.txt").read_text().split()[1::2]
    assert "Quant_4_out" in names
    assert "exists" in refused("simulate", model, "-i", x, "-o", tmp_path / "numpy.npy")
    assert hwq("simulate", model, "-i", x, "-o", tmp_path / "numpy.npy", "--force")[0] == 0


def test_softmax_is_cut_and_applied_only_when_asked(tmp_path: Path) -> None:
    net = Net([3])
    x = net.node("MatMul", [net.quant("x", 0.5, 4), net.weight(np.eye(3))])
    path = write(net.model(net.node("Softmax", [x], axis=1)), tmp_path / "s.onnx")
    data = rows(tmp_path / "x.npy", np.array([[1, 0, -1]], np.float32))
    code, said = hwq("simulate", path, "-i", data, "-o", tmp_path / "y.npy")
    assert code == 0
    assert "Softmax_3' is cut" in said
    assert np.array_equal(np.load(tmp_path / "y.npy"), [[0.5, 0, -0.5]])
    assert hwq("simulate", path, "-i", data, "-o", tmp_path / "p.npy", "--epilogue")[0] == 0
    assert np.load(tmp_path / "p.npy").sum() == pytest.approx(1.0)


def test_values_off_the_stated_grid_are_counted(tmp_path: Path) -> None:
    net = Net([2])
    path = write(
        net.model(net.quant(net.node("MatMul", ["x", net.weight(np.eye(2))]), 0.5, 4)), tmp_path / "raw.onnx"
    )
    data = rows(tmp_path / "x.npy", np.array([[0.25, 0.3]], np.float32))
    code, said = hwq("simulate", path, "-i", data, "-o", tmp_path / "y.npy", "--input-type", "fixed<6,3>")
    assert code == 0
    assert "1 of 2 values of input 'x' were off the stated grid" in said


# --- options -------------------------------------------------------------------------------------


def test_unknown_board_suggests_the_nearest(tmp_path: Path, model: Path) -> None:
    assert "pynq-z2" in refused("estimate", model, "--board", "pynqz2")
    out = tmp_path / "p"
    assert "zcu104" in refused("generate", model, "-b", "zcu140", "-o", out)
    assert not out.exists()


def test_illegal_reuse_names_layer_and_legal_ones(tmp_path: Path, model: Path) -> None:
    said = refused("generate", model, "-o", tmp_path / "p", "--reuse", 4)
    assert "layer 'MatMul_2' (6 inputs x 5 outputs): reuse factor 4 is not legal" in said
    assert "nearest legal ones: 1, 2, 3, 6" in said
    assert not (tmp_path / "p").exists()
    assert "no layer 'conv' with weights; there are MatMul_2, Gemm_6" in refused(
        "estimate", model, "--reuse", "conv=2"
    )
    assert "give N, or LAYER=N" in refused("estimate", model, "--reuse", "many")
    assert hwq("estimate", model, "--reuse", "MatMul_2=3", "--reuse", "Gemm_6=5")[0] == 0


@pytest.mark.parametrize(
    ("option", "value", "names"),
    [
        ("--io", "serial", "parallel, stream"),
        ("--strategy", "fast", "latency, resource"),
        ("--backend", "x", "vitis"),
    ],
)
def test_unknown_choices_list_the_known(model: Path, option: str, value: str, names: str) -> None:
    assert f"choose one of {names}" in refused("estimate", model, option, value)


def test_unknown_stage_and_missing_checkpoint(model: Path) -> None:
    assert "choose from torch, qonnx, numpy, csim" in refused("verify", model, "--stages", "rtl")
    assert "give --checkpoint" in refused("verify", model, "--stages", "torch")


def test_output_folder_that_is_not_empty(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    assert "is not empty" in refused("generate", model, "-o", folder)
    assert "is not empty" in refused("demo", "--out", folder)
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]


def test_force_replaces_what_hwq_made_and_spares_the_rest(tmp_path: Path, model: Path) -> None:
    foreign, ours = tmp_path / "mine", tmp_path / "project"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    for _ in range(2):
        assert hwq("generate", model, "-o", foreign, "--force", "--io", "stream")[0] == 0
        assert (foreign / "thesis.txt").read_text() == "precious"
    assert (foreign / "manifest.json").is_file()
    assert hwq("generate", model, "-o", ours)[0] == 0
    (ours / "firmware" / "stale.h").write_text("old")
    assert hwq("generate", model, "-o", ours, "--force")[0] == 0
    assert not (ours / "firmware" / "stale.h").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_missing_compiler_names_the_package(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, said = hwq("verify", model, "--stages", "csim")
    assert code == 3
    assert "apt install g++" in said
    assert not (tmp_path / "verify.json").exists()
    assert hwq("demo", "--out", tmp_path / "d")[0] == 3
    assert not (tmp_path / "d").exists()


def test_usage_errors_exit_with_2(model: Path) -> None:
    assert hwq("lower")[0] == 2
    assert hwq("lower", model, "--nonsense")[0] == 2
    assert hwq("nonsense")[0] == 2


def test_a_design_that_does_not_fit_exits_with_1(tmp_path: Path) -> None:
    net = Net([512])
    x = net.quant("x", 0.5, 8)
    weights = np.random.default_rng(0).integers(-100, 100, (512, 512))
    x = net.quant(net.node("MatMul", [x, net.weight(weights, 0.5, 8)]), 0.5, 8)
    path = write(net.model(x), tmp_path / "big.onnx")
    code, said = hwq("estimate", path, "--board", "minized")
    assert code == 1
    assert "does not fit minized" in said


# --- what goes well ------------------------------------------------------------------------------


def test_verify_writes_its_record(tmp_path: Path, model: Path) -> None:
    record = tmp_path / "v.json"
    code, said = hwq("verify", model, "--stages", "qonnx,numpy", "-o", record)
    assert code == 0, said
    content = json.loads(record.read_text())
    assert content["ok"]
    assert [s["name"] for s in content["stages"]] == ["qonnx", "numpy"]
    record.write_text("my notes")
    assert "was not written by hwq" in refused("verify", model, "--stages", "numpy", "-o", record)
    assert record.read_text() == "my notes"


@pytest.mark.parametrize(
    "words", [("lower",), ("estimate", "--io", "stream"), ("verify", "--stages", "numpy")], ids=lambda w: w[0]
)
def test_json_is_all_that_is_printed(
    tmp_path: Path, model: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [words[0], str(model), *words[1:], "--json"])
    assert result.exit_code == 0
    json.loads(result.stdout)
    quiet = CliRunner().invoke(app, [words[0], str(model), *words[1:], "--quiet"])
    assert quiet.stdout == ""


@pytest.mark.parametrize("words", [("boards", "--json"), ("boards", "kv260", "--json"), ("doctor", "--json")])
def test_catalogues_as_json(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0
    assert json.loads(result.stdout)


def test_every_command_has_help() -> None:
    code, said = hwq("--help")
    assert code == 0
    names = (
        "demo",
        "train",
        "lower",
        "simulate",
        "verify",
        "generate",
        "estimate",
        "report",
        "boards",
        "doctor",
    )
    for name in names:
        assert name in said
        assert hwq(name, "--help")[0] == 0


# --- interruption --------------------------------------------------------------------------------


def test_ctrl_c_in_training_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "digits-mlp-w2a2", "--out", str(out), "--set", "train.epochs=120"]
    process = subprocess.Popen([*HWQ, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    last = out / "checkpoints" / "last.pt"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--resume" in said
    assert not (out / "model.onnx").exists()
    assert not [p.name for p in out.rglob("*") if p.name.startswith(".") and p.name != ".hwq"]
    done = subprocess.run([*HWQ, *words, "--resume", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(onnx.load(out / "model.onnx"))


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
def test_full_disk_is_one_message(tmp_path: Path, model: Path) -> None:
    x = rows(tmp_path / "x.npy", np.zeros((2, 6), np.float32))
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (folder / "ballast").write_bytes(bytes(4096))
        code, said = hwq("simulate", model, "-i", x, "-o", folder / "y.npy")
        assert code == 2
        assert "No space left on device" in said
        assert [p.name for p in folder.iterdir()] == ["ballast"]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_bench_writes_what_it_measured(tmp_path: Path, model: Path) -> None:
    assert "there are sim, hls, cost, train and train-speed" in refused("bench", "nonsense")
    assert "no network 'LeNet': there are TFC 1W1A" in refused("bench", "sim", "--only", "LeNet")
    options = ("--rows", 50, "--rounds", 2, "--out", tmp_path / "r")
    code, said = hwq("bench", "sim", "--model", model, *options)
    assert code == 0, said
    content = json.loads((tmp_path / "r" / "bench-sim.json").read_text())
    (setting,) = content["networks"][0]["settings"]
    peers = ["hwq numpy", "hwq int8", "qonnx, batched", "qonnx, one by one"]
    assert list(setting["ms_per_row"]) == peers
    assert "| hwq numpy | hwq int8 |" in (tmp_path / "r" / "bench-sim.md").read_text()
    assert (tmp_path / "r" / "bench-sim.svg").read_text().endswith("</svg>\n")


def test_a_plan_is_explained_and_saved(tmp_path: Path, model: Path) -> None:
    code, said = hwq("simulate", model, "--explain", "-o", tmp_path / "plan.json")
    assert code == 0, said
    assert "compares" in said or "affine, proven at" in said
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["engine"] == "numpy"
    assert [step["ops"][0] for step in plan["steps"]] == ["dense", "dense"]
    assert "exists: choose another name" in refused(
        "simulate", model, "--explain", "-o", tmp_path / "plan.json"
    )
    assert "runs each op as it is defined" in refused("simulate", model, "--explain", "--engine", "reference")
    assert "give --input and --output" in refused("simulate", model)


def test_every_engine_writes_the_same(tmp_path: Path, model: Path) -> None:
    x = rows(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32))
    for engine in ("numpy", "onnxruntime", "reference"):
        assert hwq("simulate", model, "-i", x, "-o", tmp_path / f"{engine}.npy", "--engine", engine)[0] == 0
    first, *others = ((tmp_path / f"{e}.npy").read_bytes() for e in ("reference", "numpy", "onnxruntime"))
    assert all(other == first for other in others)


def test_a_stated_grid_may_have_a_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = Net([4])
    rng = np.random.default_rng(0)
    y = net.node("MatMul", ["x", net.weight(rng.integers(-7, 8, (4, 2)))])
    path = write(net.model(net.quant(y, 0.5, 4)), tmp_path / "raw.onnx")
    x = (rng.integers(0, 256, (9, 4)) / 255).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    grid = ("--input-type", "uint<8>*1/255")
    _, said = hwq("simulate", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", *grid)
    assert "0 of 36 values of input 'x' were off the stated grid" in said
    assert hwq("verify", path, "--stages", "qonnx,numpy", *grid)[0] == 0
    assert "and after it, if need be, a scale" in refused("lower", path, "--input-type", "uint<8>*0")
