"""The PYNQ driver over the compiled AXI4-Stream wrapper gives the integer graph's codes, or says why not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq import boards
from hwq.emit import generate
from hwq.emit.overlay import lane_bits, make_overlay
from hwq.errors import InputError
from hwq.exact import Surd, exact_array
from hwq.hardware import Backend, Io, configure
from hwq.ir import Graph, IntType, Real
from hwq.probes import random_codes
from hwq.rounding import IntArray
from hwq.sim import reference
from tests.emit import fake_pynq
from tests.emit.axi_build import build_network, build_wrapper
from tests.emit.emit_graphs import Net, config, conv_net, dense_net, mixed_net

Codes = dict[str, IntArray]


def wide_net() -> Graph:
    """Codes of 16 and 32 bits, unsigned ones that fill their lane, and reals."""
    net = Net(9)
    x, y = net.input((3, 2, 3), 0, 255), net.input((5,), -300, 70000)
    graph = net.graph(net.conv(x, 3), net.dense(y, 2), net.requant(x, 0, 255), name="wide net")
    known = Real(exact_array([Surd.of(Fraction(1, 4))]), exact_array([Surd.of(-3)]))
    return replace(graph, outputs=tuple(replace(p, real=known) for p in graph.outputs))


NETS = {"dense": dense_net, "conv": conv_net, "mixed": mixed_net, "wide": wide_net}


@pytest.fixture(autouse=True)
def pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", fake_pynq)


@pytest.fixture(scope="module", params=[(n, io) for n in NETS for io in Io], ids=lambda p: f"{p[0]}-{p[1].value}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Path]:
    """A graph and the fake bitstream of its project."""
    name, io = request.param
    graph = NETS[name]()
    return graph, build_wrapper(_project(graph, io, tmp_path_factory.mktemp("overlay") / "p"))


@pytest.fixture(scope="module")
def conv_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For damaged copies: the network is compiled, the wrapper is not."""
    return _project(conv_net(), Io.STREAM, tmp_path_factory.mktemp("overlay") / "p")


def _project(graph: Graph, io: Io, folder: Path) -> Path:
    generate(graph, config(graph, io), overlay=True).write(folder)
    build_network(folder)
    return folder


def driver(bitstream: Path, **options: Any) -> Any:
    """The project's own driver, loaded from where it lies."""
    place = bitstream.parent.parent / "driver" / "hwq_driver.py"
    spec = importlib.util.spec_from_file_location("hwq_driver", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Network(bitstream, **options)


def draw(graph: Graph, images: int) -> Codes:
    """By tensor; the first image holds the lowest codes, the second the highest."""
    rng = np.random.default_rng(images)
    codes = {}
    for port in graph.inputs:
        tensor = graph.tensors[port.tensor]
        codes[port.tensor] = random_codes(graph, port, rng, images)
        codes[port.tensor][0] = tensor.type.lo
        codes[port.tensor][1:2] = tensor.type.hi
    return codes


def by_name(graph: Graph, codes: Codes) -> Codes:
    return {p.name: codes[p.tensor] for p in graph.inputs}


def as_dict(graph: Graph, result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {graph.outputs[0].name: result}


@pytest.mark.parametrize(("images", "chunk"), [(1, None), (7, None), (7, 3), (4, 1)])
def test_driver_gives_the_graphs_codes(made: tuple[Graph, Path], images: int, chunk: int | None) -> None:
    graph, bitstream = made
    network = driver(bitstream, images_per_transfer=chunk)
    codes = draw(graph, images)
    want = reference.run(graph, codes)
    for _ in range(2):
        got = as_dict(graph, network.run_codes(by_name(graph, codes)))
        assert list(got) == [p.name for p in graph.outputs]
        for port in graph.outputs:
            np.testing.assert_array_equal(got[port.name], want[port.tensor])
            assert got[port.name].dtype.itemsize * 8 == lane_bits("", graph.tensors[port.tensor].type)
    overlay = network._overlay
    assert overlay.runs == 2 * -(-images // (chunk or images))
    assert not any(c.queue for c in overlay.receive)
    network.close()
