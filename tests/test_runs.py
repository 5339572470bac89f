"""The folder of a run: which file belongs to which."""

from __future__ import annotations

from pathlib import Path

from hwq.runs import checkpoint_of


def test_a_model_file_belongs_to_the_checkpoint_it_was_made_from(tmp_path: Path) -> None:
    model, checkpoints = tmp_path / "model.onnx", tmp_path / "checkpoints"
    checkpoints.mkdir()
    assert checkpoint_of(model) is None
    (checkpoints / "best.pt").touch()
    assert checkpoint_of(model) == checkpoints / "best.pt"
    (checkpoints / "ptq.pt").touch()  # made from best.pt, which is of the float network
    assert checkpoint_of(model) == checkpoints / "ptq.pt"
