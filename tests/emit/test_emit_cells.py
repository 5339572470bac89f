"""Every op in every interface and strategy, at low and high reuse: the C++ equals the integer graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwq.emit import csim, generate
from hwq.emit.testbench import golden_inputs
from hwq.hardware import HardwareConfig, Io, Strategy
from hwq.ir import Graph
from hwq.ops import OPS
from hwq.sim import reference
from tests.emit.emit_graphs import all_ops, binary_net, config, conv_net, high_reuse, mixed_net, more_ops

CELLS = [
    (io, strategy, high)
    for io in Io
    for strategy, high in ((Strategy.LATENCY, False), (Strategy.RESOURCE, True))
]


def assert_equal(graph: Graph, hardware: HardwareConfig, folder: Path) -> None:
    """The golden rows pass, and on other rows every tensor that the C++ makes is the graph's."""
    generate(graph, hardware).write(folder)
    csim.run(folder).raise_if_failed()
    codes = golden_inputs(graph, seed=99, n_random=40)
    made = csim.run_codes(folder, graph, codes)
    want = reference.run(graph, codes)
    assert {p.tensor for p in graph.outputs} <= set(made)
    for name, array in made.items():
        assert np.array_equal(array, want[name]), name


@pytest.mark.parametrize(("io", "strategy", "high"), CELLS)
def test_every_op_is_exact(io: Io, strategy: Strategy, high: bool, tmp_path: Path) -> None:
    graph = all_ops()
    hardware = config(graph, io, strategy)
    assert_equal(graph, high_reuse(graph, hardware) if high else hardware, tmp_path / "p")


def test_the_two_graphs_hold_every_op() -> None:
    assert {n.op for g in (all_ops(), more_ops()) for n in g.nodes} == set(OPS)


@pytest.mark.parametrize("io", Io)
def test_ops_without_weights_are_exact(io: Io, tmp_path: Path) -> None:
    graph = more_ops()
    assert_equal(graph, config(graph, io), tmp_path / "p")


@pytest.mark.slow
@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize(("strategy", "high"), [(Strategy.LATENCY, True), (Strategy.RESOURCE, False)])
def test_every_op_is_exact_in_the_other_cells(io: Io, strategy: Strategy, high: bool, tmp_path: Path) -> None:
    graph = all_ops()
    hardware = config(graph, io, strategy)
    assert_equal(graph, high_reuse(graph, hardware) if high else hardware, tmp_path / "p")


@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize("net", [conv_net, mixed_net, binary_net])
def test_networks_are_exact(net: Callable[[], Graph], io: Io, tmp_path: Path) -> None:
    graph = net()
    assert_equal(graph, config(graph, io), tmp_path / "p")
