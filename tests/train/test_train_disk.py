"""A disk that fills up, or Ctrl-C while a file is written: the last good checkpoint stays, and is gone on from."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hwq.train
from hwq.errors import InputError
from hwq.train import TrainResult, checkpoint
from hwq.train.job import run_job

RECIPE = "digits-w2a2"


def fail_at_write(number: int, error: BaseException) -> Callable[..., None]:
    """`os.fsync` that fails the so-manieth time, when the content is written and the name is not yet given."""
    real, calls = os.fsync, iter(range(1, 1_000))

    def fsync(handle: int) -> None:
        if next(calls) == number:
            raise error
        real(handle)

    return fsync


def leftovers(folder: Path) -> list[str]:
    return [
        path.name for path in (folder / "checkpoints").iterdir() if path.name not in ("last.pt", "best.pt")
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_from_it(
    code: int, fast: tuple[str, ...], trained: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with (
        monkeypatch.context() as patch
    ):  # recipe.json, last.pt; best.pt, last.pt of epoch 1; best.pt of epoch 2
        patch.setattr(os, "fsync", fail_at_write(5, OSError(code, os.strerror(code))))
        with pytest.raises(InputError) as error:
            run_job(RECIPE, out, overrides=fast, quiet=True)
    last = out / "checkpoints" / "last.pt"
    assert f"{out} cannot be written: {os.strerror(code)}; {last} is the whole last checkpoint" in str(
        error.value
    )
    assert f"hwq train {RECIPE} " in str(error.value)
    assert str(error.value).endswith("--resume")
    assert checkpoint.read(last)[0]["epoch"] == 1
    assert leftovers(out) == []
    resumed = hwq.train.run(RECIPE, out, overrides=fast, resume=True, quiet=True)
    assert resumed.model is not None
    assert trained.model is not None
    assert resumed.model.read_bytes() == trained.model.read_bytes()


def test_ctrl_c_in_the_middle_of_a_write_leaves_the_last_checkpoint(
    fast: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_at_write(4, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_job(RECIPE, tmp_path / "run", overrides=fast, quiet=True)
    assert checkpoint.read(tmp_path / "run" / "checkpoints" / "last.pt")[0]["epoch"] == 0
    assert leftovers(tmp_path / "run") == []


LIMITED = """
import resource, sys
from hwq.errors import InputError
from hwq.train.job import run_job
def shrink(epoch):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    run_job(sys.argv[1], __import__("pathlib").Path(sys.argv[2]), overrides=sys.argv[3:], quiet=True, on_epoch=shrink)
except InputError as error:
    print(error)
"""


def test_a_limit_of_the_system_on_a_files_size_is_said(fast: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, RECIPE, str(out), *fast]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    last = out / "checkpoints" / "last.pt"
    assert f"cannot be written: File too large; {last} is the whole last checkpoint\n" in found.stdout
    assert checkpoint.read(last)[0]["epoch"] == 0
    assert leftovers(out) == []


def test_another_error_of_the_system_is_not_taken_for_a_full_disk(
    fast: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: Any = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(os, "fsync", fail_at_write(2, broken))
    with pytest.raises(OSError, match="Input/output error") as error:
        run_job(RECIPE, tmp_path / "run", overrides=fast, quiet=True)
    assert error.value is broken
