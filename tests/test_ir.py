"""The integer graph's checker and its file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwq import ir, sim
from hwq.errors import InputError
from hwq.frontends import load
from hwq.ir import IntType
from tests.networks import mlp, write
from tests.random_models import random_model


@pytest.fixture
def graph(tmp_path: Path) -> ir.Graph:
    return load(write(mlp(power_of_two=False), tmp_path / "mlp.onnx")).graph


@pytest.mark.parametrize(
    ("lo", "hi", "name"),
    [
        (0, 0, "uint1"),
        (0, 1, "uint1"),
        (0, 16, "uint5"),
        (-1, 0, "int1"),
        (-1, 1, "int2"),
        (-8, 7, "int4"),
        (-9, 7, "int5"),
        (-4, 8, "int5"),
    ],
)
def test_width_of_an_interval(lo: int, hi: int, name: str) -> None:
    assert str(IntType(lo, hi)) == name


def test_empty_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        IntType(1, 0)


@pytest.mark.parametrize("seed", range(12))
def test_saved_graphs_compute_the_same(seed: int, tmp_path: Path) -> None:
    model, x = random_model(seed)
    graph = load(write(model, tmp_path / "m.onnx")).graph
    graph.save(tmp_path / "g.hwq")
    again = load(tmp_path / "g.hwq").graph
    assert np.array_equal(np.asarray(sim.simulate(graph, x)), np.asarray(sim.simulate(again, x)))
    again.save(tmp_path / "h.hwq")
    assert (tmp_path / "g.hwq").read_bytes() == (tmp_path / "h.hwq").read_bytes()


def test_the_file_names_no_folder_of_this_machine(graph: ir.Graph, tmp_path: Path) -> None:
    graph.save(tmp_path / "g.hwq")
    with zipfile.ZipFile(tmp_path / "g.hwq") as archive:
        assert str(tmp_path) not in archive.read("graph.json").decode()


def test_check_names_the_node(graph: ir.Graph) -> None:
    node = graph.nodes[0]
    narrow = replace(graph.tensors[node.output], type=IntType(0, 1))
    with pytest.raises(ValueError, match=f"node '{node.name}' \\(dense\\): makes"):
        ir.check(replace(graph, tensors={**graph.tensors, node.output: narrow}))
    with pytest.raises(ValueError, match="which nothing before it makes"):
        ir.check(replace(graph, nodes=graph.nodes[1:]))
    with pytest.raises(ValueError, match="made twice"):
        ir.check(replace(graph, nodes=(*graph.nodes, node)))
    with pytest.raises(ValueError, match="unknown op"):
        ir.check(replace(graph, nodes=(replace(node, op="conv"), *graph.nodes[1:])))


def rewrite(path: Path, change: dict[str, object]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    content = json.loads(files["graph.json"])
    content.update(change)
    files["graph.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_other_versions_and_foreign_content_are_refused(graph: ir.Graph, tmp_path: Path) -> None:
    path = tmp_path / "g.hwq"
    graph.save(path)
    rewrite(path, {"format": 99})
    with pytest.raises(InputError, match="format 99"):
        ir.load(path)
    graph.save(path)
    rewrite(path, {"graph": {"name": "x", "nodes": "none"}})
    with pytest.raises(InputError, match="damaged"):
        ir.load(path)
    (tmp_path / "text.hwq").write_text("hello")
    with pytest.raises(InputError, match=r"not a \.hwq graph"):
        ir.load(tmp_path / "text.hwq")
