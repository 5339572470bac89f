"""The estimate of one design as it would be generated: resources by the laws, cycles of streams by their dataflow."""

from __future__ import annotations

from dataclasses import replace

from hwq import cost
from hwq.emit.dataflow import analyse
from hwq.emit.plan import make_plan
from hwq.hardware import HardwareConfig, Io
from hwq.ir import Graph


def estimate(graph: Graph, config: HardwareConfig, stage: cost.Stage | None = None) -> cost.Estimate:
    """What `hwq.cost.estimate` says, with the latency and interval of the simulated dataflow for io_stream.

    `hwq.cost.estimate` alone takes under a millisecond; its cycles of streams are the slowest layer's, and the time
    to the first output of each other. The dataflow is run layer by layer and pixel by pixel: up to seconds.

    Raises:
        UnsupportedModel: A layer cannot be built in io_stream.
    """
    quick = cost.estimate(graph, config, stage) if stage else cost.estimate(graph, config)
    if config.io is not Io.STREAM:
        return quick
    run = analyse(make_plan(graph, config), config.fifo).run
    return replace(quick, latency_cycles=run.latency_cycles, ii_cycles=run.ii_cycles)
