"""From an integer graph and a hardware configuration to a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hwq.cost.model import Estimate
from hwq.emit.dataflow import Dataflow, analyse
from hwq.emit.hls4ml import write_firmware
from hwq.emit.manifest import NAME, make_manifest
from hwq.emit.overlay import make_overlay
from hwq.emit.plan import make_plan
from hwq.emit.project import Project
from hwq.emit.scripts import project_files
from hwq.emit.testbench import golden_files, make_golden
from hwq.hardware import HardwareConfig
from hwq.ir import Graph
from hwq.rounding import IntArray


def generate(
    graph: Graph,
    config: HardwareConfig,
    golden_codes: Mapping[str, IntArray] | None = None,
    expected: Mapping[str, Estimate] | None = None,
    *,
    overlay: bool = False,
) -> Project:
    """The HLS project of a graph; equal arguments give equal bytes.

    Args:
        graph: What to build.
        config: How, on which board.
        golden_codes: Input integers to put first among the golden rows, int64 (N, *shape) by tensor name.
        expected: Estimates to keep in the manifest, by stage; with the cycles of the dataflow, where there is one.
        overlay: Add what a PYNQ overlay needs.

    Raises:
        UnsupportedModel: A node cannot be built exactly; names it and the cure.
        InputError: Unusable codes, or an input, an output or an overlay that cannot be built.
        CheckFailed: hls4ml did not hold or write what was asked.
    """
    plan = make_plan(graph, config)
    described = make_overlay(graph, config, plan.top) if overlay else None
    dataflow = analyse(plan, config.fifo) if plan.stream else None
    firmware = write_firmware(plan, config, dataflow.by_key() if dataflow else {})
    golden = make_golden(graph, golden_codes)
    files = {
        **firmware.files,
        **project_files(plan, config, firmware, golden, described),
        **golden_files(graph, golden, [(tensor, p.binary) for p, tensor, _ in plan.traced()]),
    }
    files[NAME] = make_manifest(graph, config, plan, files, _as_simulated(expected, dataflow), dataflow)
    return Project(files)


def _as_simulated(
    expected: Mapping[str, Estimate] | None, dataflow: Dataflow | None
) -> dict[str, Any] | None:
    if expected is None:
        return None
    if dataflow is not None:
        latency, ii = dataflow.run.latency_cycles, dataflow.run.ii_cycles
        expected = {s: replace(e, latency_cycles=latency, ii_cycles=ii) for s, e in expected.items()}
    return {stage: e.to_json() for stage, e in expected.items()}
