"""`hwq bench train-speed`: training of MNIST at 2 bits against plain Brevitas with its own compiler, in one run."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from hwq import __version__, runs
from hwq.bench.sim import machine
from hwq.errors import CheckFailed, InputError
from hwq.files import write_atomic

EPOCHS = 20
WANTED = 1.3
"""Times plain Brevitas's seconds."""
_FILE = "mnist.npz"
_RECIPE = "mnist-tfc-w2a2"
_PLAIN = "plain Brevitas, JIT"
_LIMIT_S = 7200


def bench(
    out: Path, *, data: Path, rounds: int = 3, epochs: int = EPOCHS, quiet: bool = False
) -> dict[str, Any]:
    """Run each way in processes of its own, from start to end, and write ``bench-train-speed.json`` and ``.md``.

    Args:
        out: Folder of the results.
        data: Folder with ``mnist.npz``.
        rounds: Of all ways, one after the other; medians are reported.
        epochs: Of each run.
        quiet: No progress bar.

    Raises:
        InputError: No ``mnist.npz``.
        CheckFailed: A run failed; nothing is written.
    """
    path = data / _FILE
    if not path.is_file():
        raise InputError(f"{path} is not there: --data wants the folder of MNIST as {_FILE}")
    commands = _commands(path, epochs)
    jobs = [name for _ in range(rounds) for name in commands]
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for name in track(jobs, "train", console=Console(stderr=True), transient=True, disable=quiet):
        taken[name].append(_run(name, commands[name]))
    middle = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in taken.items()
    }
    result = {
        "hwq": __version__,
        **machine(),
        "recipe": _RECIPE,
        "epochs": epochs,
        "rounds": rounds,
        "ways": middle,
    }
    runs.write_record(out / "bench-train-speed.json", result)
    write_atomic(out / "bench-train-speed.md", markdown(result))
    return result


def _commands(path: Path, epochs: int) -> dict[str, list[str]]:
    """What runs, by name; hwq's writes its folder behind ``--out``."""
    cores = os.cpu_count() or 1
    python = [sys.executable, "-W", "ignore"]
    settings = (f"data.path={path.resolve()}", f"train.epochs={epochs}", "data.shift=0")
    train = ["hwq", "train", _RECIPE, *(word for s in settings for word in ("--set", s))]
    several = [*python, "-m", "torch.distributed.run", "--nproc-per-node", str(cores), "-m", *train]
    return {
        _PLAIN: [*python, "-m", "hwq.bench.train_speed", str(path), str(epochs)],
        "hwq train": [*python, "-m", *train],
        f"hwq train, train.threads={cores}": [*python, "-m", *train, "--set", f"train.threads={cores}"],
        f"torchrun, {cores} processes": several,
    }


def _run(name: str, command: list[str]) -> dict[str, float]:
    """Seconds from start to end, processor seconds a second, and the share of validation rows that were right."""
    before, start = _processor_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        ours = [] if name == _PLAIN else ["--quiet", "--out", f"{scratch}/run"]
        done = subprocess.run(
            [*command, *ours],
            env={**os.environ, "BREVITAS_JIT": "1" if name == _PLAIN else "0"},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise CheckFailed(f"{name} failed:\n{done.stderr.strip()[-2000:]}")
        said = done.stdout if name == _PLAIN else Path(scratch, "run", "metrics.json").read_text()
    busy = (_processor_seconds() - before) / seconds
    return {"seconds": seconds, "busy": busy, "accuracy": json.loads(said)["validation_accuracy"]}


def _processor_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(result: Mapping[str, Any]) -> str:
    """The ways as a table."""
    plain = result["ways"][_PLAIN]["seconds"]
    lines = [
        "# Training speed",
        "",
        (
            f"`hwq bench train-speed`, hwq {result['hwq']}, {result['machine']}, {result['cores']} cores, torch "
            f"{result['torch']}, Brevitas {result['brevitas']}. MNIST, TFC, 2 bits, {result['epochs']} epochs in "
            "batches of 256; whole processes from start to end, with data, validation after each epoch and, of hwq, "
            f"export; medians of {result['rounds']} interleaved rounds. Plain Brevitas is its own TFC and a loop of a "
            f"dozen lines on as many threads as torch takes. Wanted: at most {WANTED:g} times its seconds."
        ),
        "",
        "| way | seconds | times plain Brevitas's | cores busy | validation % |",
        "|---|---|---|---|---|",
    ]
    for name, way in result["ways"].items():
        ratio = way["seconds"] / plain
        missed = "" if ratio <= WANTED else ", missed"
        lines.append(
            f"| {name} | {way['seconds']:.1f} | {ratio:.2f}{missed} | {way['busy']:.2f} | {100 * way['accuracy']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _plain(path: str, epochs: int) -> float:
    """Brevitas's TFC 2W2A in a loop as its users write it; the best accuracy on validation rows."""
    import torch
    from torch.nn.functional import cross_entropy

    from hwq.bench.models import SUBJECTS
    from hwq.train.data import load
    from hwq.train.recipe import load_recipe

    recipe = load_recipe(_RECIPE, [f"data.path={path}", "data.shift=0"])
    data, batch = load(recipe.data), recipe.train.batch_size
    torch.manual_seed(recipe.seed)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    x_held, y_held = torch.from_numpy(data.x_validation), torch.from_numpy(data.y_validation)
    model = SUBJECTS["TFC 2W2A"].build()
    optimiser = torch.optim.AdamW(model.parameters(), recipe.train.learning_rate, weight_decay=0)
    best = 0.0
    for _ in range(epochs):
        model.train()
        for rows in torch.split(torch.randperm(len(x)), batch):
            optimiser.zero_grad()
            torch.autograd.backward(cross_entropy(model(x[rows]), y[rows]))
            optimiser.step()
        model.eval()
        with torch.no_grad():
            best = max(best, float((model(x_held).argmax(1) == y_held).float().mean()))
    return best


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"validation_accuracy": _plain(sys.argv[1], int(sys.argv[2]))}) + "\n")
