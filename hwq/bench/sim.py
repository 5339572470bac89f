"""`hwq bench sim`: the simulator against its peers, each network in a process of its own, all peers in one run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_info

from hwq import __version__, runs
from hwq.bench import table, worker
from hwq.bench.models import SUBJECTS
from hwq.errors import CheckFailed
from hwq.files import write_atomic

ROUNDS = 5
_LIMIT_S = 900
_PACKAGES = ("numpy", "onnxruntime", "torch", "qonnx", "brevitas")


def bench(
    out: Path,
    model: Path | None = None,
    rows: int = 1000,
    *,
    only: Sequence[str] = (),
    rounds: int = ROUNDS,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure, check that the engines equal the reference, and write ``bench-sim.json``, ``.md`` and ``.svg``.

    Args:
        out: Folder of the results.
        model: A QONNX file to measure instead of the networks made here.
        rows: Random inputs of such a file.
        only: Names of the networks to make; all by default.
        rounds: Interleaved rounds, of which the medians are reported.
        quiet: No progress bar.

    Raises:
        CheckFailed: An engine differs from the reference; nothing is written.
    """
    if model:
        networks, memory = [worker.measure_file(model, rows, rounds)], None
    else:
        names = list(only or SUBJECTS)
        jobs = names if only else [*names, worker.MEMORY]
        console = Console(stderr=True)
        shown = track(jobs, "measure", console=console, transient=True, disable=quiet)
        results = [_network(name, rounds) for name in shown]
        networks, memory = results[: len(names)], None if only else results[-1]
    result = {"hwq": __version__, **machine(), "rounds": rounds, "networks": networks, "memory": memory}
    runs.write_record(out / "bench-sim.json", result)
    write_atomic(out / "bench-sim.md", table.markdown(result))
    write_atomic(out / "bench-sim.svg", table.plot(result))
    return result


def _network(name: str, rounds: int) -> dict[str, Any]:
    """On one core, and on all."""
    result = _measure(name, rounds, 1)
    cores = os.cpu_count() or 1
    if name != worker.MEMORY and cores > 1:
        result["settings"] += _measure(name, rounds, cores)["settings"]
    return result


def _measure(name: str, rounds: int, cores: int) -> dict[str, Any]:
    """In a fresh process that has no more cores, from its first thread on."""
    command = [sys.executable, "-W", "ignore", "-m", "hwq.bench.worker", name, str(rounds), str(cores)]
    with _held_to(cores):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise CheckFailed(f"measuring {name} failed:\n{done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@contextmanager
def _held_to(cores: int) -> Iterator[None]:
    """What is started here inherits it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def machine() -> dict[str, Any]:
    """Processor, BLAS kernels and versions, for a report."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    blas = [b["architecture"] for b in threadpool_info() if b["user_api"] == "blas" and "architecture" in b]
    return {
        "machine": _cpu(),
        "blas": ", ".join(blas) or "unknown",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
