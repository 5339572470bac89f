"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import hwq
from hwq.ir import Graph
from hwq.train import TrainResult

_README = (Path(__file__).parents[2] / "README.md").read_text()


def block(begins: str) -> str:
    """The Python block with this first line."""
    (found,) = [b for b in re.findall(r"```python\n(.*?)```", _README, re.DOTALL) if b.startswith(begins)]
    return str(found)


def test_training_in_a_loop_of_ones_own() -> None:
    torch.manual_seed(0)
    names: dict[str, Any] = {
        "net": nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        "x": torch.rand(32, 6),
    }
    exec(block("from hwq.train import"), names)  # noqa: S102  our own text
    graph = names["graph"]
    assert isinstance(graph, Graph)
    logits = names["model"].eval()(names["x"]).detach().numpy()
    y = hwq.simulate(graph, names["x"].numpy())
    assert isinstance(y, np.ndarray)
    assert (y.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_the_library(trained: TrainResult, tmp_path: Path, monkeypatch: Any) -> None:
    assert trained.model is not None
    (tmp_path / "model.onnx").write_bytes(trained.model.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"x": np.load(trained.test_inputs)[:8]}
    exec(block("import hwq, rich").replace('"csim"', '"numpy"'), names)  # noqa: S102  our own text
    assert names["y"].shape == (8, 10)
    assert (tmp_path / "project" / "manifest.json").is_file()
