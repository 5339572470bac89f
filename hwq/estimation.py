"""The estimate of one design as it would be generated: resources by the laws, cycles of streams by their dataflow."""

from __future__ import annotations

from dataclasses import replace

from hwq import cost
from hwq.emit.dataflow import analyse
from hwq.emit.plan import make_plan
from hwq.hardware import HardwareConfig, Io
from hwq.ir import Graph


def estimate(
    graph: Graph, config: HardwareConfig, stage: cost.Stage | None = None, *, overlay: bool = False
) -> cost.Estimate:
    """What `hwq.cost.estimate` says, with the latency and interval of the simulated dataflow for io_stream.

    `hwq.cost.estimate` alone takes under a millisecond; its cycles of streams are the slowest layer's, and the time
    to the first output of each other. The dataflow is run layer by layer and pixel by pixel: up to seconds. With an
    `overlay` its wrapper's filling is added, and the interval is no shorter than a port takes for an image.

    Raises:
        UnsupportedModel: A layer cannot be built in io_stream.
    """
    quick = cost.estimate(graph, config, stage or cost.Stage.POST_SYNTH, overlay=overlay)
    if config.io is not Io.STREAM:
        return quick
    run = analyse(make_plan(graph, config), config.fifo).run
    latency, ii = run.latency_cycles, run.ii_cycles
    if overlay:
        wrapper = quick.layers[-1]
        latency, ii = latency + wrapper.fill_cycles, max(ii, wrapper.ii_cycles)
    return replace(quick, latency_cycles=latency, ii_cycles=ii)
