"""`hwq bench train`: methods × seeds on several tasks; runs are kept, so that a rerun does only what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hwq import __version__, runs
from hwq.bench import train_table
from hwq.bench.sim import machine
from hwq.bench.train_experiments import EXPERIMENTS, TASKS
from hwq.bench.train_plan import Job, choose, plan
from hwq.bench.train_pool import Worker
from hwq.errors import CheckFailed
from hwq.files import write_atomic

SEEDS = 3


def bench(
    out: Path,
    *,
    data: Path,
    kept: Path,
    only: Sequence[str] = (),
    seeds: int = SEEDS,
    workers: int = 2,
    csim: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train what is missing, and write ``bench-train.json``, ``.md`` and ``.svg`` of all that was asked for.

    Args:
        out: Folder of the results.
        data: Folder of the data sets; a task whose file is not there is left out, and the report says so.
        kept: Folder of the runs. Ctrl-C leaves them whole; the same call goes on.
        only: Patterns of TASK or TASK/METHOD; all by default.
        seeds: 0 to this.
        workers: Processes, of one thread each.
        csim: Also compile the C++ of the first seed's networks and hold it against the integers.
        quiet: No progress bar.

    Raises:
        InputError: A pattern that matches nothing.
        CheckFailed: Runs failed or differ from their integers; the report has the others.
    """
    jobs, left_out = plan(choose(EXPERIMENTS, only, TASKS), TASKS, data, kept, seeds)
    failed = run_all(jobs, "train", workers, quiet=quiet)
    if csim:
        made = [job for job in jobs if job.seed == 0 and (job.folder / "model.onnx").is_file()]
        failed |= run_all([job for job in made if job.result.is_file()], "csim", workers, quiet=quiet)
    result = {
        "hwq": __version__,
        **machine(),
        "seeds": seeds,
        "workers": workers,
        "left_out": left_out,
        "failed": failed,
        "runs": [_kept(job) for job in jobs if job.result.is_file()],
    }
    runs.write_record(out / "bench-train.json", result)
    write_atomic(out / "bench-train.md", train_table.markdown(result))
    write_atomic(out / "bench-train.svg", train_table.plot(result))
    if failed:
        lines = [f"{name}: {text}" for name, text in failed.items()]
        raise CheckFailed(
            f"{len(failed)} of {len(jobs)} runs failed; the report has the others\n" + "\n".join(lines)
        )
    return result


def _kept(job: Job) -> dict[str, Any]:
    compiled = job.folder / "csim.json"
    return {
        "task": job.experiment.task,
        "method": job.experiment.method,
        "settings": list(job.experiment.settings),
        **_without_folders(json.loads(job.result.read_text())),
        "csim": json.loads(compiled.read_text()) if compiled.is_file() else None,
    }


def _without_folders(value: Any) -> Any:
    """Of absolute paths, which are this machine's, the last part."""
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_folders(entry) for entry in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def run_all(jobs: Sequence[Job], what: str, workers: int, *, quiet: bool) -> dict[str, str]:
    """Run what has no result yet, each after those that it starts from; messages of the failed by name."""
    waiting = [job for job in jobs if not _done(job, what)]
    failed: dict[str, str] = {}
    live: dict[Future[None], Job] = {}
    made: list[Worker] = []
    free: SimpleQueue[Worker] = SimpleQueue()
    with _progress(quiet=quiet) as progress, ThreadPoolExecutor(workers) as pool:
        whole = progress.add_task(what, total=len(jobs), completed=len(jobs) - len(waiting))
        try:
            while waiting or live:
                for job in _startable(waiting, what, workers - len(live)):
                    waiting.remove(job)
                    live[pool.submit(_launch, job, what, made, free, progress)] = job
                for future in wait(live, return_when=FIRST_COMPLETED).done:
                    job = live.pop(future)
                    try:
                        future.result()
                    except CheckFailed as error:
                        failed |= _dropped(job, str(error), waiting)
                    progress.update(whole, completed=len(jobs) - len(waiting) - len(live))
        except BaseException:
            for worker in made:
                worker.interrupt()
            raise
    for worker in made:
        worker.close()
    return failed


def _done(job: Job, what: str) -> bool:
    return (job.result if what == "train" else job.folder / "csim.json").is_file()


def _startable(waiting: Sequence[Job], what: str, room: int) -> list[Job]:
    ready = [job for job in waiting if what == "csim" or all(_done(other, "train") for other in job.after)]
    return ready[:room]


def _dropped(job: Job, why: str, waiting: list[Job]) -> dict[str, str]:
    """A failed run, and those that would have started from it, which are taken off the list."""
    failed = {job.name: why}
    for other in [other for other in waiting if job in other.after]:
        if other in waiting:
            waiting.remove(other)
            failed |= _dropped(other, f"starts from {job.name}", waiting)
    return failed


def _launch(job: Job, what: str, made: list[Worker], free: SimpleQueue[Worker], progress: Progress) -> None:
    """In a worker that is free, or in a new one."""
    worker = None if free.empty() else free.get()
    if worker is None or not worker.alive:
        made.append(worker := Worker())
    request = {
        "what": what,
        "recipe": job.recipe,
        "settings": job.settings,
        "folder": str(job.folder),
        "key": job.key,
    }
    bar = progress.add_task(job.name, total=None)
    try:
        worker.ask(request, lambda epoch: progress.update(bar, description=f"{job.name}, epoch {epoch}"))
    finally:
        progress.remove_task(bar)
        free.put(worker)


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)
