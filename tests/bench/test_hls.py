"""`hwq bench hls` on a model of the user's: what it measured, and nothing written when the C++ is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from hwq.cli import app
from tests.networks import mlp, write


def test_a_model_is_measured_in_both_io_styles(tmp_path: Path) -> None:
    model = write(mlp(), tmp_path / "mine.onnx")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["bench", "hls", "--model", str(model), "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    projects = json.loads((out / "bench-hls.json").read_text())["projects"]
    assert [(p["model"], p["io"]) for p in projects] == [("mine", "parallel"), ("mine", "stream")]
    assert all(p["seconds_compile"] > 0 and p["rows"] > 0 for p in projects)
    assert projects[0]["dataflow"] is None
    assert projects[1]["dataflow"]["ii_cycles"] > 0
    assert "| mine | stream |" in (out / "bench-hls.md").read_text()


def test_nothing_is_written_for_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["bench", "hls", "--model", str(broken), "--out", str(tmp_path / "o")])
    assert done.exit_code == 1
    assert "measuring generate" in done.output
    assert not (tmp_path / "o").exists()
