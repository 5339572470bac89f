"""From experiments to runs: which, on which files, after which others, and under which key they are kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hwq import __version__
from hwq.errors import InputError

_OTHER = re.compile(r"<([\w. +-]+)>")


@dataclass(frozen=True)
class Task:
    """A data set: its recipe, and the file in the folder of data sets; without one it is built in."""

    name: str
    recipe: str
    file: str = ""
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """One method on one task.

    Attributes:
        task: Name of the task.
        method: Its name in the table.
        settings: Over the task's recipe and settings, `section.key=value`; `<other method>` stands for the best
            checkpoint of that method on the same task with the same seed.
        recipe: Another recipe than the task's.
    """

    task: str
    method: str
    settings: tuple[str, ...] = ()
    recipe: str = ""

    @property
    def name(self) -> str:
        """As `--only` matches it."""
        return f"{self.task}/{self.method}"

    @property
    def after(self) -> tuple[str, ...]:
        """Methods of the same task that it starts from."""
        return tuple(dict.fromkeys(_OTHER.findall(" ".join(self.settings))))


@dataclass(frozen=True)
class Job:
    """One run of an experiment; `settings` are complete, with paths."""

    experiment: Experiment
    seed: int
    recipe: str
    settings: tuple[str, ...]
    key: str
    folder: Path
    after: tuple[Job, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.experiment.name} seed {self.seed}"

    @property
    def result(self) -> Path:
        """Is there when the run is finished."""
        return self.folder / "result.json"


def choose(
    experiments: Sequence[Experiment], only: Sequence[str], known_tasks: Iterable[str]
) -> list[Experiment]:
    """Those whose name or task matches a pattern, and whatever they start from, in the order given.

    Raises:
        InputError: A pattern that matches nothing.
    """
    by_name = {e.name: e for e in experiments}
    if unknown := {e.task for e in experiments} - set(known_tasks):
        raise InputError(f"no task '{min(unknown)}'")
    wanted: set[str] = set()
    for pattern in only or ("*",):
        found = {e.name for e in experiments if fnmatch(e.name, pattern) or fnmatch(e.task, pattern)}
        if not found:
            tasks = ", ".join(dict.fromkeys(e.task for e in experiments))
            raise InputError(
                f"no experiment matches '{pattern}': give TASK or TASK/METHOD, * for any; tasks: {tasks}"
            )
        wanted |= found
    waiting = list(wanted)
    while waiting:
        experiment = by_name[waiting.pop()]
        names = {f"{experiment.task}/{method}" for method in experiment.after}
        if lost := names - by_name.keys():
            raise InputError(f"{experiment.name} starts from {min(lost)}, which is no experiment")
        waiting += names - wanted
        wanted |= names
    return [e for e in experiments if e.name in wanted]


def plan(
    chosen: Sequence[Experiment], tasks: Mapping[str, Task], data: Path, runs: Path, seeds: int
) -> tuple[list[Job], dict[str, str]]:
    """All runs, each after those that it starts from; and the tasks that are left out, with the reason."""
    missing = {name: tasks[name].file for name in dict.fromkeys(e.task for e in chosen)}
    left_out = {n: f"{data / f} is not there" for n, f in missing.items() if f and not (data / f).is_file()}
    jobs: dict[tuple[str, int], Job] = {}
    names = {e.name: e for e in chosen}
    for seed in range(seeds):
        for experiment in chosen:
            if experiment.task not in left_out:
                _add(jobs, names, experiment, tasks[experiment.task], seed, data, runs)
    order = [e.name for e in chosen]
    return sorted(jobs.values(), key=lambda job: (order.index(job.experiment.name), job.seed)), left_out


def _add(
    jobs: dict[tuple[str, int], Job],
    names: Mapping[str, Experiment],
    experiment: Experiment,
    task: Task,
    seed: int,
    data: Path,
    runs: Path,
) -> Job:
    found = jobs.get((experiment.name, seed))
    if found is not None:
        return found
    others = {
        method: _add(jobs, names, names[f"{task.name}/{method}"], task, seed, data, runs)
        for method in experiment.after
    }
    recipe = experiment.recipe or task.recipe
    path = (f"data.path={data / task.file}", *data_settings(data / task.file)) if task.file else ()
    settings = (*task.settings, *path, *experiment.settings, f"seed={seed}")
    key = run_key(recipe, settings, {method: job.key for method, job in others.items()})
    slug = re.sub(r"[^\w.-]+", "-", experiment.method)
    job = Job(
        experiment,
        seed,
        recipe,
        tuple(
            _OTHER.sub(lambda m: str(others[m[1]].folder / "checkpoints" / "best.pt"), s) for s in settings
        ),
        key,
        runs / task.name / f"{slug}-s{seed}-{key}",
        tuple(others.values()),
    )
    jobs[experiment.name, seed] = job
    return job


def run_key(recipe: str, settings: Sequence[str], others: Mapping[str, str]) -> str:
    """Of all that a run depends on but the code and the folders: recipe, seed, and the keys of what it starts from."""
    from hwq.train.recipe import load_recipe, resolved

    table: dict[str, Any] = resolved(load_recipe(recipe, settings))
    for text in ("name", "description"):
        del table[text]
    del table["data"]["hint"]
    table["data"]["path"] = Path(table["data"]["path"]).name
    text = json.dumps([__version__, table], sort_keys=True)
    text = _OTHER.sub(lambda m: others.get(m[1], m[0]), text)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def data_settings(path: Path) -> tuple[str, ...]:
    """Of a table: where the label stands, what separates the columns, whether they are named; copies differ."""
    if path.suffix != ".data" or not path.is_file():
        return ()
    with path.open() as file:
        first, row = (file.readline().strip() for _ in range(2))
    delimiter = "comma" if "," in row else "space"
    cells = row.split("," if delimiter == "comma" else None)
    label = "first" if cells[0].isalpha() else "last"
    header = not any(cell.isalpha() for cell in first.replace(",", " ").split())
    return f"data.label={label}", f"data.delimiter={delimiter}", f"data.header={str(header).lower()}"
