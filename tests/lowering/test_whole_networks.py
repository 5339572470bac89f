"""Whole networks of many kinds, held to the independent oracle bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hwq import ir, sim
from hwq.frontends import load
from hwq.lowering.lower import Lowering
from hwq.verification import verify_graph
from tests import oracle
from tests.networks import write
from tests.whole_networks import NETWORKS

Arrays = dict[str, np.ndarray[Any, Any]]


def expected(model: onnx.ModelProto, lowering: Lowering, feeds: Arrays) -> Arrays:
    """The oracle's outputs by port; where a last operator was cut, its input."""
    cut = {view.port: view.source for view in lowering.outputs if view.source != view.port}
    kept = [node for node in model.graph.node if node.output[0] not in cut]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for output in model.graph.output:
        output.name = cut.get(output.name, output.name)
    found = oracle.evaluate(model, feeds)
    return {view.port: found[view.source] for view in lowering.outputs}


def results(graph: ir.Graph, feeds: Arrays, engine: sim.Engine) -> Arrays:
    found = sim.simulate(graph, feeds, engine)
    return found if isinstance(found, dict) else {graph.outputs[0].name: found}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_network_equals_the_oracle(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    lowering = load(write(network.model, tmp_path / "model.onnx"), network.input_type)
    ir.save(lowering.graph, tmp_path / "graph.hwq")
    feeds = network.feeds()
    wanted = expected(network.model, lowering, feeds)
    for graph in (lowering.graph, load(tmp_path / "graph.hwq").graph):
        for engine in sim.Engine:
            found = results(graph, feeds, engine)
            assert set(found) == set(wanted)
            for port, y in wanted.items():
                assert found[port].shape == y.shape, port
                assert np.array_equal(found[port], y), (port, engine.value)
    assert all(len(np.unique(y)) > 1 for y in wanted.values()), "a network that says nothing"


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_differences_of_a_whole_network_are_certified(name: str, tmp_path: Path) -> None:
    if name == "channels_last_branches":
        pytest.skip("qonnx runs the wrapped BatchNormalization as operator set 1, which onnxruntime refuses")
    network = NETWORKS[name]()
    graph = load(write(network.model, tmp_path / "model.onnx"), network.input_type).graph
    verify_graph(graph, network.feeds(), ["qonnx"], scratch=tmp_path).raise_if_failed()
