"""Every op in every interface and strategy, at low and high reuse: the C++ equals the integer graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwq import boards
from hwq.emit import csim, generate
from hwq.emit.testbench import golden_inputs
from hwq.errors import InputError
from hwq.hardware import (
    NOT_BUILT,
    Backend,
    HardwareConfig,
    Io,
    Strategy,
    configure,
    legal_reuse,
    matrix_shape,
    parse_backend,
)
from hwq.ir import Graph
from hwq.ops import OPS
from hwq.sim import reference
from tests.emit.emit_graphs import (
    all_ops,
    binary_net,
    config,
    conv_net,
    dense_net,
    high_reuse,
    mixed_net,
    more_ops,
    small_cnv,
)

LOW, HIGH = (Strategy.LATENCY, False), (Strategy.RESOURCE, True)
STYLES = [
    (Io.PARALLEL, LOW),
    (Io.STREAM, HIGH),
    *(
        pytest.param(io, style, marks=pytest.mark.slow)
        for io, style in [
            (Io.PARALLEL, HIGH),
            (Io.STREAM, LOW),
            *((io, other) for io in Io for other in [(Strategy.LATENCY, True), (Strategy.RESOURCE, False)]),
        ]
    ),
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


def check(graph: Graph, backend: Backend, io: Io, style: tuple[Strategy, bool], folder: Path) -> None:
    strategy, high = style
    hardware = config(graph, io, strategy, backend=backend)
    assert_equal(graph, high_reuse(graph, hardware) if high else hardware, folder)


def test_the_graphs_hold_every_op() -> None:
    """So that the README's table, which is `OPS` by backend and io style, says what is tested here."""
    assert {n.op for g in (all_ops(), more_ops()) for n in g.nodes} == set(OPS)


@pytest.mark.parametrize(("io", "style"), STYLES)
def test_ops_are_exact(io: Io, style: tuple[Strategy, bool], tmp_path: Path) -> None:
    check(all_ops(), Backend.VITIS, io, style, tmp_path / "p")


@pytest.mark.parametrize("io", Io)
def test_ops_without_weights_are_exact(io: Io, tmp_path: Path) -> None:
    check(more_ops(), Backend.VITIS, io, LOW, tmp_path / "p")


@pytest.mark.slow
@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize(
    ("net", "style"), [(all_ops, LOW), (all_ops, HIGH), (more_ops, LOW), (binary_net, HIGH)]
)
def test_vivado_is_exact(
    net: Callable[[], Graph], io: Io, style: tuple[Strategy, bool], tmp_path: Path
) -> None:
    check(net(), Backend.VIVADO, io, style, tmp_path / "p")


@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize("net", [conv_net, mixed_net, binary_net])
def test_networks_are_exact(net: Callable[[], Graph], io: Io, tmp_path: Path) -> None:
    check(net(), Backend.VITIS, io, LOW, tmp_path / "p")


def test_vivado_project_of_dense_layers(tmp_path: Path) -> None:
    check(dense_net(), Backend.VIVADO, Io.PARALLEL, LOW, tmp_path / "p")
    assert "vivado_hls -f" in (tmp_path / "p" / "Makefile").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize("bits", [1, 2])
def test_a_quarter_of_cnv_is_exact(bits: int, io: Io, tmp_path: Path) -> None:
    graph = small_cnv(bits)
    shapes = {n.name: s for n in graph.nodes if (s := matrix_shape(n))}
    reuse = {n: max(r for r in legal_reuse(*s) if r <= min(s[0], 64)) for n, s in shapes.items()}
    hardware = configure(graph, boards.load("zcu104"), io=io, reuse=reuse)
    generate(graph, hardware).write(tmp_path / "p")
    result = csim.run(tmp_path / "p").raise_if_failed()
    assert result.rows >= 32


@pytest.mark.parametrize("name", NOT_BUILT)
def test_other_backends_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match=rf"--backend {name}: .*; choose one of vitis, vivado"):
        parse_backend(name)
