"""Projects in memory and on disk, manifests, refusals."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq.emit import generate
from hwq.emit.manifest import make_manifest
from hwq.emit.plan import make_plan
from hwq.emit.project import Project
from hwq.errors import InputError, UnsupportedModel
from hwq.exact import Surd, exact_array
from hwq.hardware import Io, Strategy
from hwq.ir import Graph, Real
from hwq.ops.conv import Conv
from hwq.ops.reshape import Reshape
from hwq.ops.transpose import Transpose
from tests.emit.emit_graphs import Net, all_ops, config, conv_net, dense_net, mixed_net

DIGEST = """
from tests.emit.emit_graphs import config, conv_net
from hwq.emit import generate
print(generate(conv_net(), config(conv_net())).digest())
"""


def test_equal_graphs_give_equal_bytes_in_every_process() -> None:
    here = generate(conv_net(), config(conv_net())).digest()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here


def test_projects_hold_no_absolute_path_and_no_date() -> None:
    files = generate(conv_net(), config(conv_net(), Io.STREAM)).files
    for path, content in files.items():
        if "/ap_types/" not in path and "/nnet_utils/" not in path:
            assert not re.search(rb"/(tmp|home|work|usr)/|20[0-9]{2}-[0-9]{2}", content), path


def test_importing_emit_does_not_load_hls4ml() -> None:
    code = "import sys, hwq.emit.csim, hwq.ops; sys.exit('hls4ml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", ["/etc/passwd", "../out", "a/../../b", "", "a\\b", "a//b", "./a"])
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(InputError, match="cannot hold the path"):
        Project({path: b""})


def test_written_files_are_the_project(tmp_path: Path) -> None:
    project = Project({"a/b.txt": b"1", "c": b"2"})
    project.write(tmp_path / "p")
    assert (tmp_path / "p" / "a" / "b.txt").read_bytes() == b"1"
    with pytest.raises(InputError, match="is not empty"):
        project.write(tmp_path / "p")
    project.write(tmp_path / "p", force=True)


def with_real(graph: Graph, tensor: str) -> Graph:
    real = Real(np.array([0.375]), exact_array([Surd(Fraction(1, 3)), Surd.sqrt(2), Surd(0)]))
    changed = {**graph.tensors, tensor: dataclasses.replace(graph.tensors[tensor], real=real)}
    return dataclasses.replace(graph, tensors=changed)


def manifest_of(graph: Graph, io: Io = Io.PARALLEL) -> dict[str, Any]:
    hardware = config(graph, io)
    content = make_manifest(graph, hardware, make_plan(graph, hardware), {"x": b"1"}, {"latency_cycles": 7})
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def test_manifest_says_what_the_project_is() -> None:
    graph = with_real(dense_net(), dense_net().outputs[0].tensor)
    content = manifest_of(graph)
    assert content["part"] == "xc7z020clg400-1"
    assert content["model"]["sha256"] == graph.source_sha256
    assert content["expected"] == {"latency_cycles": 7}
    real = content["outputs"][0]["real"]
    assert real["scale"] == {"exact": ["3/8"], "float": [0.375]}
    assert real["offset"]["exact"][0] == "1/3"
    assert real["offset"]["float"][1] == 2**0.5
    layers = {entry["op"]: entry for entry in content["layers"]}
    assert layers["dense"]["reuse"] == 1
    assert layers["dense"]["types"]["accum"] == layers["dense"]["types"]["result"]
    assert layers["threshold"]["requant"] == {"form": "thresholds", "channels": 6, "steps": 3}
    assert content["files"]["x"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"


def test_manifest_lists_every_file_and_every_traceable_tensor() -> None:
    project = generate(mixed_net(), config(mixed_net()))
    content = json.loads(project.files["manifest.json"])
    assert set(content["files"]) == set(project.files) - {"manifest.json"}
    named = {e["tensor"] for e in content["trace"]} | {e["tensor"] for e in content["aliases"]}
    assert named | {p.tensor for p in mixed_net().inputs} == set(mixed_net().tensors)


def test_given_codes_come_first() -> None:
    codes = {"x0": np.arange(80).reshape(2, 40) % 16 - 8}
    files = generate(dense_net(), config(dense_net()), golden_codes=codes).files
    rows = files["tb_data/in_0.dat"].decode().splitlines()
    assert rows[:2] == [" ".join(map(str, r)) for r in codes["x0"].tolist()]


def conv_with(channels: int, groups: int, dilations: tuple[int, int]) -> Graph:
    net = Net()
    weight = net.weights((2, 2, channels // groups, 4), -1, 1)
    return net.graph(
        net.add(Conv(weight, groups=groups, dilations=dilations), net.input((5, 5, channels), 0, 3))
    )


def five_axes() -> Graph:
    net = Net()
    return net.graph(net.add(Transpose((4, 0, 1, 2, 3)), net.input((2, 2, 2, 2, 3), 0, 3)))


def wide() -> Graph:
    net = Net()
    return net.graph(net.dense(net.input((4,), 0, 2**52), 2))


@pytest.mark.parametrize(
    ("graph", "io", "said"),
    [
        (wide(), Io.PARALLEL, r"53 can be built"),
        (five_axes(), Io.STREAM, r"'/net/transpose0' \(transpose\): a tensor of 5 axes; 4 can be built"),
    ],
)
def test_what_cannot_be_built_is_refused(graph: Graph, io: Io, said: str) -> None:
    with pytest.raises(UnsupportedModel, match=said):
        make_plan(graph, config(graph, io))


def test_a_reuse_factor_beyond_the_window_is_refused_in_io_parallel() -> None:
    graph = conv_with(4, 1, (1, 1))
    hardware = dataclasses.replace(config(graph, strategy=Strategy.RESOURCE), reuse={graph.nodes[0].name: 64})
    with pytest.raises(
        InputError, match=r"layer '/net/conv0'.*at most kernel x channels = 16, not 64.*--io stream"
    ):
        make_plan(graph, hardware)


def test_outputs_that_are_inputs_or_equal_are_refused() -> None:
    net = Net()
    x = net.input((4,), 0, 3)
    y = net.add(Reshape((2, 2)), x)
    z = net.dense(x, 2)
    with pytest.raises(InputError, match="output 'global_reshape0' is an input"):
        make_plan(net.graph(y, z), config(net.graph(y, z)))
    graph = net.graph(z, net.add(Reshape((2, 1)), z))
    with pytest.raises(InputError, match="two outputs of the graph are the same tensor"):
        make_plan(graph, config(graph))


def test_nodes_and_inputs_that_reach_no_output_are_refused() -> None:
    net = Net()
    x = net.input((4,), 0, 3)
    y = net.dense(x, 2)
    net.dense(x, 3)
    with pytest.raises(InputError, match=r"node '/net/dense1' \(dense\) does not reach an output"):
        make_plan(net.graph(y), config(net.graph(y)))
    net.nodes.pop()
    net.input((3,), 0, 1)
    with pytest.raises(InputError, match=r"inputs \['global_x1'\] do not reach an output"):
        make_plan(net.graph(y), config(net.graph(y)))


def test_a_hook_that_declares_too_narrow_an_accumulator_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwq.emit import layers
    from hwq.ir import IntType
    from hwq.ops import dense

    def narrow(*args: Any) -> layers.HlsLayer:
        layer = layers.matrix_layer(*args)
        return dataclasses.replace(layer, types={**layer.types, "accum": IntType(-1, 1)})

    monkeypatch.setattr(dense, "matrix_layer", narrow)
    with pytest.raises(AssertionError, match="emission of dense declares"):
        make_plan(dense_net(), config(dense_net()))


def test_names_are_c_identifiers_unique_without_case() -> None:
    plan = make_plan(all_ops(), config(all_ops()))
    names = [p.name for p in plan.layers]
    assert len({n.lower() for n in names}) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", n) for n in names)


def _two_readers(net: Net) -> Graph:
    x = net.threshold(net.conv(net.input((5, 5, 2), 0, 3), 2), 4)
    return net.graph(net.sum(x, net.conv(x, 2, kernel=1)))


def test_in_a_dataflow_region_every_reader_of_an_array_has_its_own() -> None:
    graph = _two_readers(Net(1))
    plan = make_plan(graph, config(graph))
    assert plan.copied == {p.name for p in plan.layers if p.tensor == graph.nodes[1].output}
    files = generate(graph, config(graph)).files
    top = files[f"firmware/{plan.top}.cpp"].decode()
    (copy,) = re.findall(r"nnet::hwq_copy<.*>\((\w+), (\w+), (\w+)\);", top)
    for array in copy[1:]:
        assert len(re.findall(rf"nnet::(?!hwq_copy).*\b{array}\b", top)) == 1
    assert not re.findall(rf"nnet::(?!hwq_copy|hwq_threshold|save_layer).*\b{copy[0]}\b", top)


def test_streams_and_pipelines_need_no_copies_of_ours() -> None:
    graph = _two_readers(Net(1))
    assert not make_plan(graph, config(graph, Io.STREAM)).copied
    assert not make_plan(dense_net(), config(dense_net())).copied


def test_more_readers_than_can_be_served() -> None:
    net = Net(1)
    x = net.threshold(net.conv(net.input((5, 5, 2), 0, 3), 2), 4)
    y = x
    for _ in range(8):
        y = net.sum(y, net.conv(x, 2, kernel=1))
    with pytest.raises(UnsupportedModel, match="9 readers; 7 can be served"):
        generate(net.graph(y), config(net.graph(y)))
