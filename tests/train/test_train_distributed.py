"""Two gloo processes on the CPU train one network: equal to the bit, repeatable, resumable, exported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.distributed import Replicas, check_batch
from hwq.train.export import export
from hwq.train.machine import jit_enabled
from hwq.train.recipe import Recipe, resolved


def torchrun(*arguments: str) -> None:
    """So many words of `torchrun --nproc-per-node 2`, in this interpreter."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], check=True, env=environment, timeout=300)


TRAINING = """
import json, sys, torch, numpy as np
from pathlib import Path
from hwq.errors import CheckFailed
from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.distributed import replicas
from hwq.train.loop import Run, fit
from hwq.train.machine import reproducible
from hwq.train.recipe import parse_recipe

folder = Path(sys.argv[1])
recipe = parse_recipe(json.loads((folder / "recipe.json").read_text()), "test")
arrays = np.load(folder / "data.npz")
data = Dataset("tiny", *(arrays[name] for name in sorted(arrays)), classes=3)

def stop(epoch):
    if epoch.epoch == 2:
        raise KeyboardInterrupt

with replicas("cpu") as group, reproducible():
    mean = [torch.full((3,), float(group.rank)), torch.tensor(2.0 * group.rank)]
    group.average(mean)
    assert mean[0].tolist() == [0.5, 0.5, 0.5] and mean[1].item() == 1.0
    group.check_equal([("same", torch.ones(2))])
    assert group.share(torch.arange(6)).tolist() == ([0, 1, 2], [3, 4, 5])[group.rank]
    try:
        group.check_equal([("stages.0.weight", torch.tensor([0.0, 1e-7 * group.rank]))])
    except CheckFailed as error:
        assert "'stages.0.weight' differ" in str(error)
    else:
        sys.exit("a difference was not seen")
    for name in ("whole", "again"):
        fit(Run(recipe, data, folder / name, replicas=group))
    try:
        fit(Run(recipe, data, folder / "cut", replicas=group), on_epoch=stop)
    except KeyboardInterrupt:
        pass
    group.wait()
    saved = checkpoint.read(folder / "cut" / "last.pt")[0]
    fit(Run(recipe, data, folder / "cut", saved=saved, replicas=group))
"""


def test_two_processes_train_one_network_repeatably_and_resume_to_the_same_bits(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """That the replicas are equal is checked by the loop itself, after every epoch."""
    recipe = tiny_recipe("train.ema=0.9", "train.weight_decay=0.01")
    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode(resolved(recipe)))
    parts = (tiny.x_train, tiny.y_train, tiny.x_validation, tiny.y_validation, tiny.x_test, tiny.y_test)
    np.savez(tmp_path / "data.npz", a=parts[0], b=parts[1], c=parts[2], d=parts[3], e=parts[4], f=parts[5])
    (tmp_path / "training.py").write_text(TRAINING)
    torchrun(str(tmp_path / "training.py"), str(tmp_path))
    whole, again, cut = (
        checkpoint.read(tmp_path / name / "last.pt")[0] for name in ("whole", "again", "cut")
    )
    assert whole["machine"] == {"device": "cpu", "replicas": 2, "jit": jit_enabled()}
    for other in (again, cut):
        assert all(torch.equal(tensor, other["model"][name]) for name, tensor in whole["model"].items())
        assert whole["history"] == other["history"]
    assert whole["history"][0]["loss"] > whole["history"][-1]["loss"]
    export(checkpoint.load_model(tmp_path / "whole" / "best.pt"), tiny.input_shape, tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


@pytest.mark.slow
def test_torchrun_trains_a_recipe_into_one_folder(tmp_path: Path) -> None:
    recipe = ["digits-mlp-w2a2", "--set", "model.widths=[8]", "--set", "train.epochs=2"]
    torchrun("-m", "hwq", "train", *recipe, "--out", str(tmp_path / "run"), "--quiet")
    torchrun("-m", "hwq.cli", "train", *recipe, "--out", str(tmp_path / "run"), "--quiet", "--resume")
    content, _ = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.pt")
    assert content["machine"]["replicas"] == 2
    assert (tmp_path / "run" / "graph.hwq").is_file()


@pytest.mark.parametrize(("batch", "count"), [(65, 2), (2, 2), (64, 3)])
def test_a_batch_without_equal_shares_is_refused(batch: int, count: int) -> None:
    with pytest.raises(InputError, match=rf"'train.batch_size': {batch} rows cannot .* {count} replicas"):
        check_batch(batch, 1000, count)


def test_one_process_has_the_whole_batch() -> None:
    check_batch(65, 1000, 1)
    assert torch.equal(Replicas().share(torch.arange(5)), torch.arange(5))
