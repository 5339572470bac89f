"""One training run in one folder: train, export, score, and write everything down."""

from __future__ import annotations

import errno
import io
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from hwq.errors import InputError
from hwq.files import MARKER, MARKER_TEXT, check_output_dir, clear, is_ours, write_atomic
from hwq.train import TrainResult, checkpoint
from hwq.train.data import Dataset, load, off_grid
from hwq.train.distributed import replicas
from hwq.train.export import export
from hwq.train.loop import Epoch, Run, best_epoch, count_correct, fit, predict
from hwq.train.machine import reproducible
from hwq.train.models import build
from hwq.train.prune.channels import count_macs
from hwq.train.prune.zeros import sparsity_json
from hwq.train.ptq.stage import check, post_train, trained_recipe
from hwq.train.recipe import Recipe, load_recipe, resolved
from hwq.train.techniques import techniques

# no space left, over quota, over the largest size of a file
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_job(
    recipe: str,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    quiet: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> TrainResult:
    """Do what `hwq.train.run` says; `on_epoch` sees every epoch before it is saved."""
    if resume and force:
        raise InputError("--resume continues a run and --force replaces it: give one of the two")
    wanted = load_recipe(recipe, overrides)
    with replicas(wanted.train.device) as group:
        console = Console(stderr=True, quiet=group.rank > 0)
        data = load(wanted.data)
        if not quiet:
            _show_off_grid(wanted, data, console)
        with _says_how_to_resume(_Command(recipe, out, overrides, group.count), console):
            trained = trained_recipe(wanted)
            check(wanted, data)
            if group.rank == 0 and not resume:
                _open_folder(out, wanted, force=force)
            group.wait()
            saved = _last_checkpoint(out, trained) if resume else None
            with reproducible(wanted.train.threads), _progress(console, quiet=quiet) as progress:
                run = Run(
                    trained,
                    data,
                    out / "checkpoints",
                    saved=saved,
                    techniques=techniques(trained, data.input_shape),
                    replicas=group,
                )
                fit(run, progress, on_epoch)
                if group.rank == 0:
                    _finish(run, wanted, out)
                group.wait()
    return _result(out)


@dataclass(frozen=True)
class _Command:
    """What was typed, to be typed again."""

    recipe: str
    out: Path
    overrides: Sequence[str]
    replicas: int

    @property
    def to_resume(self) -> str:
        settings = [part for override in self.overrides for part in ("--set", override)]
        begun = (self.out / "checkpoints" / "last.pt").is_file()
        program = ["hwq"]
        if self.replicas > 1:
            program = ["torchrun", "--nproc-per-node", str(self.replicas), "-m", "hwq"]
        how = "--resume" if begun else "--force"
        return shlex.join([*program, "train", self.recipe, *settings, "--out", str(self.out), how])


@contextmanager
def _says_how_to_resume(command: _Command, console: Console) -> Iterator[None]:
    """After Ctrl-C, and where the disk is full: what is on the disk is whole, and this goes on from it."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"interrupted; to go on:\n  {command.to_resume}", soft_wrap=True, markup=False)
        raise
    except OSError as error:
        if error.errno not in _FULL:
            raise
        last = command.out / "checkpoints" / "last.pt"
        kept = f"{last} is the whole last checkpoint" if last.is_file() else "there is no checkpoint yet"
        raise InputError(
            f"{command.out} cannot be written: {error.strerror}; {kept}\n"
            f"  cure: free some space, then go on:\n  {command.to_resume}"
        ) from error


def _show_off_grid(recipe: Recipe, data: Dataset, console: Console) -> None:
    rounded = off_grid(data.x_train, recipe.input) if recipe.quantize else 0
    if rounded:
        console.print(
            f"{rounded} of {data.x_train.size} train inputs are not values of [input]: rounded or clipped",
            markup=False,
        )


def _open_folder(out: Path, recipe: Recipe, *, force: bool) -> None:
    """A fresh marked folder."""
    check_output_dir(out, force=force)
    if is_ours(out):
        out.mkdir(parents=True, exist_ok=True)
        clear(out)
        (out / MARKER).write_text(MARKER_TEXT)
    write_atomic(out / "recipe.json", _json(resolved(recipe)))


def _last_checkpoint(out: Path, recipe: Recipe) -> dict[str, Any]:
    path = out / "checkpoints" / "last.pt"
    if not path.is_file():
        raise InputError(f"nothing to resume: {path} does not exist; train without --resume")
    content, trained = checkpoint.read(path)
    before, now = _flat(resolved(trained)), _flat(resolved(recipe))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        lines = [f"  {key}: {before.get(key)!r} before, {now.get(key)!r} now" for key in changed]
        raise InputError(
            f"cannot resume {out}: the recipe has changed\n" + "\n".join(lines) + "\n"
            "  use the same recipe and --set values, or start over with --force or in another folder"
        )
    return content


def _finish(run: Run, recipe: Recipe, out: Path) -> None:
    """Export and score the best checkpoint; the test images are seen here for the first time."""
    best, data = best_epoch(run.history), run.data
    best_path = out / "checkpoints" / "best.pt"
    extra: dict[str, Any] = {}
    if recipe.ptq is not None:
        float_path, best_path = best_path, out / "checkpoints" / "ptq.pt"
        found = post_train(recipe, data, float_path, best_path)
        extra = {"validation_accuracy": found.pop("validation_accuracy"), "ptq": found}
        write_atomic(out / "recipe.json", _json(resolved(recipe)))  # of a resumed run it may be another one
    quantised = recipe.quantize is not None
    model = checkpoint.load_model(best_path)
    if quantised:
        export(model, data.input_shape, out / "model.onnx")
    correct = count_correct(predict(model, data.x_test), data.y_test)
    write_atomic(out / "test_inputs.npy", _npy(data.x_test))
    write_atomic(out / "test_labels.npy", _npy(data.y_test))
    metrics = _metrics(run, recipe, best, correct) | extra | _pruned(recipe, data, model)
    write_atomic(out / "metrics.json", _json(metrics))


def _result(out: Path) -> TrainResult:
    """What a finished run's folder says."""
    metrics = json.loads((out / "metrics.json").read_text())
    model = out / "model.onnx"
    return TrainResult(
        folder=out,
        model=model if model.is_file() else None,
        checkpoint=out / "checkpoints" / ("ptq.pt" if "ptq" in metrics else "best.pt"),
        metrics=out / "metrics.json",
        test_inputs=out / "test_inputs.npy",
        test_labels=out / "test_labels.npy",
        best_epoch=metrics["best_epoch"],
        validation_accuracy=metrics["validation_accuracy"],
        test_accuracy=metrics["test_accuracy"],
        seconds=metrics["seconds"],
    )


def _metrics(run: Run, recipe: Recipe, best: Epoch, correct: int) -> dict[str, Any]:
    from hwq import __version__  # hwq itself may import this package

    data = run.data
    epochs = [msgspec.to_builtins(epoch) for epoch in run.history]
    for epoch in epochs:
        del epoch["validation_loss"], epoch["settled"]
    return {
        "hwq": __version__,
        "recipe": resolved(recipe),
        "seed": recipe.seed,
        "dataset": _dataset_entry(data),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "weight_bits": recipe.quantize.weights if recipe.quantize else None,
        "act_bits": recipe.quantize.activations if recipe.quantize else None,
        "epochs": epochs,
        "best_epoch": best.epoch,
        "validation_accuracy": best.validation_accuracy,
        "test_accuracy": correct / len(data.y_test),
        "test_correct": correct,
        "test_total": len(data.y_test),
        "seconds": round(run.seconds, 3),
    }


def _pruned(recipe: Recipe, data: Dataset, model: nn.Module) -> dict[str, Any]:
    """What pruning has reached: zeros among the integers, and multiplications against the whole network's."""
    if recipe.prune is None:
        return {}
    example = torch.from_numpy(data.x_test[:1])
    reached: dict[str, Any] = {"sparsity": sparsity_json(model, example)}
    if recipe.prune.channels is not None:
        whole = build(recipe.model, data.input_shape, data.classes)
        reached["macs"] = {"kept": count_macs(model, example), "whole": count_macs(whole, example)}
    return reached


def _dataset_entry(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "train": len(data.y_train),
        "validation": len(data.y_validation),
        "test": len(data.y_test),
        "input_shape": list(data.input_shape),
        "classes": data.classes,
    }


def _progress(console: Console, *, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
    )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
