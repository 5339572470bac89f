"""`hwq.train.run`: the folder it leaves, and the folders it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import hwq.train
from hwq.errors import InputError, ToolMissing
from hwq.frontends.brevitas import load_model
from hwq.train import TrainResult, require
from hwq.train.job import run_job
from hwq.train.loop import Epoch, predict


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def contents(path: Path | None) -> bytes:
    assert path is not None
    return path.read_bytes()


def interrupt_at(number: int) -> Callable[[Epoch], None]:
    def on_epoch(epoch: Epoch) -> None:
        if epoch.epoch == number:
            raise KeyboardInterrupt

    return on_epoch


def test_the_folder_holds_what_is_documented(trained: TrainResult) -> None:
    assert set(files(trained.folder)) == {
        ".hwq", "recipe.json", "metrics.json", "model.onnx", "test_inputs.npy", "test_labels.npy",
        "checkpoints/best.pt", "checkpoints/last.pt",
    }  # fmt: skip
    x, y = np.load(trained.test_inputs), np.load(trained.test_labels)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((360, 1, 8, 8), np.float32, (360,), np.int64)
    onnx.checker.check_model(onnx.load(trained.model), full_check=False)


def test_metrics_have_exactly_the_documented_keys_and_agree_with_the_checkpoint(trained: TrainResult) -> None:
    metrics = json.loads(trained.metrics.read_text())
    assert list(metrics) == [
        "hwq", "recipe", "seed", "dataset", "parameters", "weight_bits", "act_bits", "epochs", "best_epoch",
        "validation_accuracy", "test_accuracy", "test_correct", "test_total", "seconds",
    ]  # fmt: skip
    assert list(metrics["dataset"]) == ["name", "train", "validation", "test", "input_shape", "classes"]
    assert [list(epoch) for epoch in metrics["epochs"]] == [
        ["epoch", "loss", "train_accuracy", "validation_accuracy", "learning_rate"]
    ] * 2
    assert metrics["recipe"] == json.loads((trained.folder / "recipe.json").read_text())
    model = load_model(trained.checkpoint)
    logits = predict(model, np.load(trained.test_inputs))
    correct = int((logits.argmax(axis=1) == np.load(trained.test_labels)).sum())
    assert (metrics["test_correct"], metrics["test_total"]) == (correct, 360)
    assert metrics["test_accuracy"] == trained.test_accuracy == correct / 360
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_recipe_without_quantize_trains_the_float_network(tmp_path: Path) -> None:
    recipe = tmp_path / "float.toml"
    recipe.write_text(
        'name = "float"\n[data]\nname = "digits"\n[model]\nkind = "mlp"\nwidths = [8]\n[train]\nepochs = 2\n'
    )
    result = hwq.train.run(str(recipe), tmp_path / "run", quiet=True)
    metrics = json.loads(result.metrics.read_text())
    assert result.model is None
    assert not (tmp_path / "run" / "model.onnx").exists()
    assert (metrics["weight_bits"], metrics["act_bits"], metrics["recipe"]["quantize"]) == (None, None, None)
    assert result.test_accuracy > 0.5
    assert {type(m).__module__.split(".")[0] for m in load_model(result.checkpoint).modules()} == {
        "torch",
        "hwq",
    }


def test_a_rerun_gives_the_same_model_file(
    fast: tuple[str, ...], trained: TrainResult, tmp_path: Path
) -> None:
    again = hwq.train.run("digits-w2a2", tmp_path / "again", overrides=fast, quiet=True)
    assert contents(again.model) == contents(trained.model)
    assert again.test_accuracy == trained.test_accuracy


def test_an_interrupt_prints_the_command_that_resumes_and_resuming_gives_the_same_file(
    fast: tuple[str, ...], trained: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a folder"
    with pytest.raises(KeyboardInterrupt):
        run_job("digits-w2a2", out, overrides=fast, quiet=True, on_epoch=interrupt_at(2))
    printed = capsys.readouterr().err
    sets = "--set train.epochs=2 --set 'model.widths=[6, 8]' --set train.learning_rate=0.02"
    assert f"hwq train digits-w2a2 {sets} --out '{out}' --resume" in printed.replace("\n", " ")
    assert not (out / "model.onnx").exists()
    resumed = hwq.train.run("digits-w2a2", out, overrides=fast, resume=True, quiet=True)
    assert contents(resumed.model) == contents(trained.model)
    assert files(out)["test_inputs.npy"] == files(trained.folder)["test_inputs.npy"]


def test_resuming_a_finished_run_changes_nothing_but_nothing_fails(
    fast: tuple[str, ...], tmp_path: Path
) -> None:
    run_job("digits-w2a2", tmp_path / "run", overrides=fast, quiet=True)
    before = files(tmp_path / "run")
    hwq.train.run("digits-w2a2", tmp_path / "run", overrides=fast, resume=True, quiet=True)
    assert files(tmp_path / "run") == before


def test_resuming_with_another_recipe_is_refused_by_key(fast: tuple[str, ...], trained: TrainResult) -> None:
    before = files(trained.folder)
    with pytest.raises(InputError) as error:
        hwq.train.run("digits-w2a2", trained.folder, overrides=[*fast, "train.epochs=9"], resume=True)
    assert "the recipe has changed\n  train.epochs: 2 before, 9 now\n" in str(error.value)
    assert files(trained.folder) == before


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume: .*last\.pt does not exist"):
        hwq.train.run("digits-w2a2", tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_resume_and_force_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one of the two"):
        hwq.train.run("digits-w2a2", tmp_path / "x", resume=True, force=True)


def test_a_folder_with_content_is_refused_and_left_alone(trained: TrainResult, tmp_path: Path) -> None:
    before = files(trained.folder)
    with pytest.raises(InputError, match="is not empty"):
        hwq.train.run("digits-w2a2", trained.folder)
    assert files(trained.folder) == before


def test_force_in_a_folder_of_the_user_spares_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    small = ["train.epochs=1", "model.widths=[8]"]
    for _ in range(2):
        result = hwq.train.run("digits-mlp-w2a2", tmp_path, overrides=small, force=True, quiet=True)
    assert contents(result.model)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_force_replaces_the_old_contents(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "old" / "deep").mkdir(parents=True)
    (out / "old" / "deep" / "file").write_text("old")
    (out / ".hwq").write_text("")
    result = hwq.train.run(
        "digits-mlp-w2a2", out, overrides=["train.epochs=1", "model.widths=[8]"], force=True, quiet=True
    )
    assert not (out / "old").exists()
    assert contents(result.model)


def test_an_unknown_recipe_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe is called 'nope'"):
        hwq.train.run("nope", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_the_training_packages_the_message_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(require, "find_spec", lambda name: None if name == "brevitas" else object())
    with pytest.raises(ToolMissing, match=r"training needs brevitas, .* pip install 'hwq\[train\]'"):
        hwq.train.run("digits-w2a2", tmp_path / "run")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, hwq.train.recipe; sys.exit(bool({'torch', 'brevitas', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
