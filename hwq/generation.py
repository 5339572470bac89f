"""`hwq generate`: a model file becomes a project on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwq import __version__, cost, emit, runs, sim
from hwq.files import check_output_dir
from hwq.frontends import load
from hwq.hardware import HardwareConfig
from hwq.ir import Graph


def generate_file(
    model: Path,
    output: Path,
    configure: Callable[[Graph], HardwareConfig],
    *,
    input_type: str | None = None,
    golden: Path | None = None,
    overlay: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write the project of a model; returns what generate.json keeps of it."""
    check_output_dir(output, force=force)
    graph = load(model, input_type).graph
    config = configure(graph)
    codes = sim.encode(graph, runs.load_array(golden)) if golden else None
    record = write_project(graph, config, output, codes, overlay=overlay, force=force)
    if folder := runs.run_folder(model):
        remember(folder, record)
    return record


def write_project(
    graph: Graph,
    config: HardwareConfig,
    output: Path,
    codes: Any = None,
    *,
    overlay: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Emit and write one project; returns its record."""
    expected = {stage.value: cost.estimate(graph, config, stage) for stage in cost.Stage}
    project = emit.generate(graph, config, codes, expected, overlay=overlay)
    project.write(output, force=force)
    record = {
        "path": str(output),
        "io": config.io.value,
        "board": config.board.name,
        "part": config.board.part,
        "clock_ns": config.clock_ns,
        "digest": project.digest(),
        "files": len(project.files),
        "csim": None,
    }
    return record if config.folding is None else record | {"folding": dict(config.folding)}


def remember(folder: Path, record: dict[str, Any]) -> None:
    """Add or replace a project in a run's generate.json."""
    path = folder / "generate.json"
    known = json.loads(path.read_text())["projects"] if path.is_file() else []
    kept = [p for p in known if p["path"] != record["path"]]
    runs.write_record(path, {"hwq": __version__, "projects": [*kept, record]})
