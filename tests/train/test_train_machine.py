"""What a run computes on: refused where it is not there, and the same bits where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.data import Dataset
from hwq.train.loop import Run, fit
from hwq.train.machine import autocast, choose_device, reproducible
from hwq.train.recipe import Recipe
from hwq.train.require import prepare_jit
from hwq.train.train_spec import TrainSpec

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@without_cuda
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TrainSpec(epochs=1, device="cuda"), "key 'train.device': cuda, but torch finds no CUDA device here"),
        (TrainSpec(epochs=1, precision="float16"), "key 'train.precision': float16 is for CUDA devices"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(spec: TrainSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_device(spec)


def test_the_cpu_can_be_chosen_and_products_are_in_the_recipes_precision() -> None:
    spec = TrainSpec(epochs=1, device="cpu", precision="bfloat16")
    device = choose_device(spec)
    assert device == torch.device("cpu")
    with autocast(spec, device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(TrainSpec(epochs=1), device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_threads_are_the_recipes_inside_and_the_callers_after() -> None:
    before = torch.get_num_threads()
    with reproducible(3):
        assert torch.get_num_threads() == 3
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before


def test_brevitas_that_was_imported_without_its_jit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from brevitas import config

    monkeypatch.setattr(config, "JIT_ENABLED", False)
    prepare_jit(wanted=False)
    with pytest.raises(
        InputError, match=r"'train.jit': Brevitas was imported without its JIT.*\n.*BREVITAS_JIT=1"
    ):
        prepare_jit(wanted=True)


def test_jit_is_switched_on_before_brevitas_is_imported() -> None:
    code = (
        "import os; from hwq.train.require import prepare_jit; prepare_jit(wanted=True); "
        "assert os.environ['BREVITAS_JIT'] == '1'"
    )
    environment = {key: value for key, value in os.environ.items() if key != "BREVITAS_JIT"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.slow
def test_a_compiled_run_is_near_the_other_and_resumes_to_the_same_bits(
    tiny: Dataset, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    def stop(_: object) -> None:
        if len(run.history) == 2:
            raise KeyboardInterrupt

    recipe = tiny_recipe("train.compile=true")
    with reproducible():
        whole = Run(recipe, tiny, tmp_path / "whole")
        fit(whole)
        run = Run(recipe, tiny, tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt):
            fit(run, on_epoch=stop)
        resumed = Run(recipe, tiny, tmp_path / "cut", saved=checkpoint.read(tmp_path / "cut" / "last.pt")[0])
        fit(resumed)
        plain = fit(Run(tiny_recipe(), tiny, tmp_path / "plain"))
    state = resumed.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.model.state_dict().items())
    assert whole.history[0].loss == pytest.approx(plain[0].loss, rel=0.05)
