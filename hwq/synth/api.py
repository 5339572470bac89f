"""`hwq synth`: the commands of steps, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from hwq.errors import CheckFailed, InputError, ToolMissing
from hwq.hardware import Backend
from hwq.synth import compare, runner
from hwq.synth.steps import DEFAULT, Step, chosen, target, tools_for
from hwq.synth.tools import HLS, VIVADO, Tool

TOOLS = {"vitis": "hls", "vivado": VIVADO}
"""The names of ``--tool``, for C synthesis (Vitis HLS or Vivado HLS) and for implementation."""


def steps_of(tool: str | None, names: Sequence[str] | None) -> list[str]:
    """The names of steps, by default `DEFAULT`; with a tool, those that it runs.

    Raises:
        InputError: An unknown tool or step, or a step that the tool does not run.
    """
    if tool is not None and tool not in TOOLS:
        raise InputError(f"--tool '{tool}': choose one of {', '.join(TOOLS)}")
    wanted = chosen(names or DEFAULT)
    others = [s.name for s in wanted if tool and s.tool != TOOLS[tool]]
    if names and others:
        raise InputError(f"--steps {','.join(others)}: not run by {tool}; leave --tool out, or the step")
    return [s.name for s in wanted if s.name not in others]


def commands(project: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """What each step would run, in the project's folder; a tool that is not installed goes by its name."""
    made = target(project)
    return [
        {"step": s.name, "command": _tool(s, made.backend).command(s.script), "makes": list(s.products)}
        for s in chosen(names)
    ]


def _tool(step: Step, backend: Backend) -> Tool:
    try:
        return tools_for([step], backend)[step.tool]
    except ToolMissing:
        name = VIVADO if step.tool == VIVADO else HLS[backend][0]
        return Tool(name, name, "")


def synthesise(
    project: Path,
    names: Sequence[str],
    *,
    force: bool = False,
    limit_s: float = runner.LIMIT_S,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run steps, read every report that is there, compare; returns what ``synth.json`` holds.

    Raises:
        ToolMissing: A tool that a step needs is not installed.
        CheckFailed: A step fails, co-simulation does not pass, or timing is not met.
        InputError: Not a project, or an unknown step.
    """
    made, steps = target(project), chosen(names)
    record = runner.run(
        made, steps, tools_for(steps, made.backend), force=force, limit_s=limit_s, quiet=quiet
    )
    record.reports = compare.read(made, record.steps)
    record.comparison = compare.compare(made, record.reports)
    runner.save(project, record)
    if not record.reports.get("cosim", {}).get("passed", True):
        raise CheckFailed(
            f"co-simulation: the RTL differs from the golden rows; log: {project / 'logs/cosim.log'}"
        )
    timing = record.reports.get("timing")
    if timing and not timing["met"]:
        raise CheckFailed(
            f"timing is not met at {timing['period_ns']:g} ns: {timing['reached_ns']:.3f} ns "
            f"({timing['reached_mhz']:.0f} MHz) is reached; generate with a longer --clock-ns"
        )
    content: dict[str, Any] = msgspec.to_builtins(record)
    return content
