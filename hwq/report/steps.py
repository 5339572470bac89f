"""What to run next, most urgent first."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hwq.report.inputs import Run
from hwq.report.summary import failing_stages, simulated

SMALL_BOARD, LARGE_BOARD = "pynq-z2", "zcu104"


@dataclass(frozen=True)
class Step:
    """A command, to be run in the run's folder, and the reason for it."""

    command: str
    why: str


def next_steps(run: Run) -> list[Step]:
    """Commands that fit what the run has shown and what it still lacks, without repetitions."""
    steps = [*_about_exactness(run), *_about_fit(run), *_about_hardware(run)]
    return list({step.command: step for step in reversed(steps)}.values())[::-1]


def _about_exactness(run: Run) -> Iterator[Step]:
    if run.verify is None:
        yield Step(
            _command("verify", run.model), "compare PyTorch, QONNX, NumPy and the C++ with the integers"
        )
        return
    for stage in failing_stages(run.verify):
        where = f" at {stage.first.layer or stage.first.tensor}" if stage.first is not None else ""
        kind = stage.name.split()[0]
        command = _command("verify", run.model, "--stages", kind, "--json")
        yield Step(command, f"{stage.name} differs{where}: list what differs")
    if run.verify.ok and not simulated(run):
        yield Step(_command("verify", run.model, "--stages", "csim"), "compile the C++ and compare it too")


def _about_fit(run: Run) -> Iterator[Step]:
    if not run.estimates:
        command = _command("estimate", run.model, "--board", SMALL_BOARD)
        yield Step(command, "resources and latency before any synthesis; hwq boards lists what it knows")
    elsewhere = {design.board for design in run.estimates if design.fits == "yes"}
    for design in run.estimates:
        if design.fits != "no" or elsewhere:
            continue
        if design.io != "stream":
            stream = _command("estimate", run.model, "--board", design.board, "--io", "stream")
            yield Step(stream, f"streams need far less logic: does it fit {design.board} so?")
        if design.board != LARGE_BOARD:
            larger = _command("estimate", run.model, "--board", LARGE_BOARD)
            yield Step(larger, f"does not fit {design.board}: try a larger board (hwq boards lists them)")


def _about_hardware(run: Run) -> Iterator[Step]:
    projects = run.generate.projects if run.generate is not None else []
    refused = {design.board for design in run.estimates if design.fits == "no"}
    if not projects:
        board = next((d.board for d in run.estimates if d.fits != "no"), None)
        if board is not None or not run.estimates:
            command = _command("generate", run.model, "--board", board or SMALL_BOARD, "-o", "project")
            yield Step(command, "write the HLS project")
    exact = run.verify is None or run.verify.ok
    for project in projects:
        path = shlex.quote(project.path)
        if project.csim is None or not project.csim.ok:
            why = (
                "run the C++ against its golden vectors"
                if project.csim is None
                else "see which vectors differ"
            )
            yield Step(f"make -C {path} csim", why)
        elif exact and project.board not in refused:
            yield Step(f"make -C {path} csynth", "synthesise with Vitis HLS, where it is installed")


def _command(name: str, *arguments: str) -> str:
    return shlex.join(["hwq", name, *arguments])
