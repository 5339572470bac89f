"""Emission: an integer graph becomes an HLS project in memory, and csim runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwq.cost.model import Estimate
    from hwq.emit.project import Project
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
    """The HLS project of a graph; see `hwq.emit.generator.generate`, which this loads when it is called."""
    from hwq.emit import generator

    return generator.generate(graph, config, golden_codes, expected, overlay=overlay)
