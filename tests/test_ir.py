"""The integer graph's checker and its file."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq import ir, sim
from hwq.errors import InputError
from hwq.exact import Surd
from hwq.frontends import load
from hwq.ir import IntType
from tests.networks import mlp, write
from tests.random_networks import random_network
from tests.test_ops import CASES, one_node


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
    model, feeds, _ = random_network(seed)
    graph = load(write(model, tmp_path / "m.onnx")).graph
    graph.save(tmp_path / "g.hwq")
    again = load(tmp_path / "g.hwq").graph
    codes = sim.encode(graph, feeds)
    first, second = sim.run(graph, codes), sim.run(again, codes)
    assert all(np.array_equal(first[name], second[name]) for name in first)
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


# --- hostile files -------------------------------------------------------------------------------


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def header(shape: str, descr: str = "<i8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + text.encode()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        header("(1000000000000,)"),
        header("(-5,)") + b"0" * 80,
        header("(1,)", "|O") + b"0" * 8,
        npy(np.ones(1, dtype=np.float32)),
        npy(np.ones((1, 1, 1))),
        npy(np.full(1, np.nan)),
        npy(np.ones(17)),
        b"",
    ],
)
def test_hostile_arrays_are_refused(data: bytes, graph: ir.Graph, tmp_path: Path) -> None:
    path = tmp_path / "g.hwq"
    graph.save(path)
    files = members(path)
    for name in files:
        if name != "graph.json":
            with pytest.raises(InputError, match="damaged"):
                ir.load(pack(tmp_path / "h.hwq", {**files, name: data}))


@pytest.mark.parametrize(
    "text",
    ["[" * 100000, '{"a":' * 100000, "null", '{"format": 1}', '{"format":1,"graph":' + "9" * 5000 + "}"],
)
def test_hostile_json_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="damaged"):
        ir.load(pack(tmp_path / "h.hwq", {"graph.json": text.encode()}))


QUANTIZER = ("inputs", 0, "quantizer")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((*QUANTIZER, "hi"), 1000, "declared"),
        ((*QUANTIZER, "zero"), 1, "declared"),
        ((*QUANTIZER, "bipolar"), True, "declared"),
        ((*QUANTIZER, "step"), {"exact": [[["1", "-1"]]]}, "not positive"),
        ((*QUANTIZER, "step"), {"exact": [[["-3", "1"]]]}, "not an exact number"),
        ((*QUANTIZER, "step"), {"exact": [[["1", "1/0"]]]}, "not an exact number"),
        ((*QUANTIZER, "step"), {"exact": [[["1", "1e999999999"]]]}, "not an exact number"),
        ((*QUANTIZER, "step"), {"exact": [[["2", "1"], ["8", "-1/2"]]]}, "not positive"),
        ((*QUANTIZER, "scale"), {"exact": [[["1", "1"]]] * 4}, "4 elements"),
        ((*QUANTIZER, "rounding"), "XX", "Invalid enum"),
        (("inputs", 0, "layout", "axes"), [1], "do not permute"),
        (("inputs", 0, "shape"), [3, 3], "viewed as"),
        (("outputs", 0, "layout", "view"), [4], "viewed as"),
        (("tensors", "x", "name"), "y", "is called 'y'"),
        (("tensors", "x", "type", "hi"), 2**70, "beyond 62 bits"),
        (("tensors", "x", "shape"), [0], "has the shape"),
        (("inputs",), [], "without inputs"),
    ],
)
def test_inconsistent_graphs_are_refused(
    where: tuple[str | int, ...], value: object, message: str, graph: ir.Graph, tmp_path: Path
) -> None:
    path = tmp_path / "g.hwq"
    graph.save(path)
    files = members(path)
    content = json.loads(files["graph.json"])
    place = content["graph"]
    for key in where[:-1]:
        place = place[key]
    assert where[-1] in place if isinstance(where[-1], str) else True
    place[where[-1]] = value
    with pytest.raises(InputError, match=message):
        ir.load(pack(path, {**files, "graph.json": json.dumps(content).encode()}))


def test_exact_numbers_are_read_back(graph: ir.Graph, tmp_path: Path) -> None:
    path = tmp_path / "g.hwq"
    graph.save(path)
    files = members(path)
    content = json.loads(files["graph.json"])
    content["graph"]["inputs"][0]["quantizer"]["step"] = {"exact": [[["2", "1/3"]]]}
    read = ir.load(pack(path, {**files, "graph.json": json.dumps(content).encode()}))
    quantizer = read.inputs[0].quantizer
    assert quantizer is not None
    assert quantizer.step[0] == Surd.sqrt(2) * Fraction(1, 3)


def test_flipped_bits_are_refused_or_read(graph: ir.Graph, tmp_path: Path) -> None:
    path = tmp_path / "g.hwq"
    graph.save(path)
    data, rng, refused = path.read_bytes(), random.Random(0), 0  # noqa: S311
    for _ in range(100):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            ir.load(path)
        except InputError:
            refused += 1
    assert refused > 50


# --- every op --------------------------------------------------------------------------------------


def every_op() -> ir.Graph:
    """One node an op, each on inputs of its own."""
    rng = np.random.default_rng(0)
    inputs, outputs, nodes = [], [], []
    tensors: dict[str, ir.Tensor] = {}
    for op, make in CASES.items():
        part = one_node(op, make(rng))
        names = {t: f"{op}.{t}" for t in part.tensors}
        tensors |= {names[t.name]: replace(t, name=names[t.name]) for t in part.tensors.values()}
        inputs += [replace(p, tensor=names[p.tensor], name=names[p.tensor]) for p in part.inputs]
        outputs += [replace(p, tensor=names[p.tensor], name=names[p.tensor]) for p in part.outputs]
        read = tuple(names[t] for t in part.nodes[0].inputs)
        nodes.append(replace(part.nodes[0], name=op, inputs=read, output=names["y"]))
    return ir.check(ir.Graph("all", tuple(inputs), tuple(outputs), tuple(nodes), tensors))


def test_every_op_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    graph, rng = every_op(), np.random.default_rng(1)
    graph.save(tmp_path / "g.hwq")
    again = ir.load(tmp_path / "g.hwq")
    again.save(tmp_path / "h.hwq")
    assert (tmp_path / "g.hwq").read_bytes() == (tmp_path / "h.hwq").read_bytes()
    kinds = {p.tensor: graph.tensors[p.tensor] for p in graph.inputs}
    codes = {n: rng.integers(t.type.lo, t.type.hi + 1, (3, *t.shape)) for n, t in kinds.items()}
    before, after = sim.run(graph, codes), sim.run(again, codes)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("matmul", {"inputs": 1}, "reads 1 tensors"),
        ("mul", {"inputs": 3}, "reads 3 tensors"),
        ("concat", {"inputs": 0}, "reads 0 tensors"),
        ("add", {"inputs": 0}, "reads 0 tensors"),
        ("lut", {"inputs": 2}, "reads 2 tensors"),
        ("add", {"mult": np.ones(1, dtype=np.int64)}, "mult is not 2-D int64"),
        ("add", {"mult": np.full((1, 1), 2**62)}, "mult is beyond 62 bits"),
        ("add", {"mult": np.full((1, 1), -(2**63))}, "mult is beyond 62 bits"),
        ("add", {"add": np.ones((1, 1), dtype=np.int64)}, "add is not 1-D int64"),
        ("add", {"add": np.ones(1)}, "add is not 1-D int64"),
        ("add", {"add": np.ones(0, dtype=np.int64)}, "add is empty"),
        ("lut", {"values": np.ones((1, 0), dtype=np.int64)}, "values is empty"),
        ("lut", {"values": np.full((1, 1), 2**62)}, "values is beyond 62 bits"),
        ("lut", {"breaks": np.ones(1, dtype=np.int64)}, "breaks is not 2-D int64"),
        ("lut", {"breaks": np.ones((0, 0), dtype=np.int64)}, "table of breaks"),
        ("concat", {"axis": 2**70}, "axis is beyond 62 bits"),
        ("concat", {"axis": -1}, "cannot join"),
        ("slice", {"stop": 10**30}, "stop is beyond 62 bits"),
        ("slice", {"stop": 2**61}, "slices"),
        ("slice", {"step": 0}, "slices"),
        ("sum_pool", {"kernel": [2**40, 2**40]}, "window"),
        ("sum_pool", {"kernel": [1, 2, 3]}, "length"),
        ("sum_pool", {"strides": [0, 1]}, "window"),
        ("sum_pool", {"pads": [2**40, 0, 0, 0]}, "elements"),
        ("sum_pool", {"dilations": [1, 10**100]}, "beyond 62 bits"),
        ("global_sum", {"axes": [0] * 100}, "sums axes"),
        ("pad", {"pads": [[0, 2**60], [0, 0]]}, "elements"),
        ("pad", {"pads": [[0, 10**50], [0, 0]]}, "beyond 62 bits"),
        ("pad", {"mode": "wrap"}, "mode"),
        ("pad", {"value": 2**63}, "beyond 62 bits"),
        ("upsample", {"factors": [2**40, 2**40]}, "elements"),
        ("depth_to_space", {"block": 2**61}, "depth to space"),
        ("depth_to_space", {"mode": "XYZ"}, "mode"),
        ("conv", {"input_dilations": [2**40, 1]}, "input dilation"),
        ("conv", {"input_dilations": [0, 0]}, "input dilation"),
    ],
)
def test_hostile_parameters_are_refused(
    op: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "g.hwq"
    every_op().save(path)
    files = members(path)
    content = json.loads(files["graph.json"])
    node = next(n for n in content["graph"]["nodes"] if n["op"] == op)
    for name, value in change.items():
        if name == "inputs":
            node["inputs"] = (node["inputs"] * 3)[:value]
        elif isinstance(value, np.ndarray):
            files[f"{node['params'][name]['npy']}.npy"] = npy(value)
        else:
            assert name in node["params"]
            node["params"][name] = value
    with pytest.raises(InputError, match=message):
        ir.load(pack(path, {**files, "graph.json": json.dumps(content).encode()}))
