"""`hwq bench cost`: accuracy with each source held out, and configurations a second."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from hwq.cli import app
from tests.networks import mlp, write


def test_accuracy_and_speed_are_written(tmp_path: Path) -> None:
    model = write(mlp(), tmp_path / "mine.onnx")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["bench", "cost", "--model", str(model), "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    result = json.loads((out / "bench-cost.json").read_text())
    assert result["speed"]["model"] == "mine"
    assert result["speed"]["per_second"] > 0
    assert {s["stage"] for s in result["scores"]} == {"csynth", "post_synth", "post_route"}
    text = (out / "bench-cost.md").read_text()
    assert "## csynth, hls4ml's templates" in text
    assert "<svg" in (out / "bench-cost.svg").read_text()
