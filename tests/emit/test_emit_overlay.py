"""The PYNQ driver over the compiled AXI4-Stream wrapper gives the integer graph's codes, or says why not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hwq import boards, sim
from hwq.cli import app
from hwq.emit import generate
from hwq.emit.overlay import lane_bits, make_overlay
from hwq.errors import InputError
from hwq.exact import Surd, exact_array, nearest
from hwq.frontends import load
from hwq.hardware import Backend, Io, configure
from hwq.ir import Graph, IntType, Layout, Port, Real, check
from hwq.probes import random_codes
from hwq.rounding import IntArray
from hwq.sim import reference
from tests.emit import fake_pynq
from tests.emit.axi_build import build_network, build_wrapper
from tests.emit.emit_graphs import Net, config, conv_net, dense_net, mixed_net
from tests.networks import mlp, write

Codes = dict[str, IntArray]


def open_conv_net() -> Graph:
    """`conv_net`, whose output is the same for all inputs, with an inner tensor as one more output."""
    graph = conv_net()
    inner = next(n.output for n in graph.nodes if n.op == "requant")
    shape = graph.tensors[inner].shape
    more = Port(inner, "inner", shape, Layout(shape, tuple(range(len(shape)))))
    return check(replace(graph, outputs=(*graph.outputs, more)))


def wide_net() -> Graph:
    """Codes of 16 and 32 bits, unsigned ones that fill their lane, and reals."""
    net = Net(9)
    x, y = net.input((4, 3, 3), 0, 255), net.input((5,), -300, 70000)
    graph = net.graph(
        net.conv(x, 3), net.dense(y, 2), net.requant(x, 0, 255, half_even=True), name="wide net"
    )
    known = Real(exact_array([Surd.of(Fraction(1, 4))]), exact_array([Surd.of(-3)]))
    return replace(graph, outputs=tuple(replace(p, real=known) for p in graph.outputs))


NETS: dict[str, Callable[[], Graph]] = {
    "dense": dense_net,
    "conv": open_conv_net,
    "mixed": mixed_net,
    "wide": wide_net,
}


@pytest.fixture(autouse=True)
def pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", fake_pynq)


QUICK = [
    ("dense", Io.PARALLEL),
    ("dense", Io.STREAM),
    ("conv", Io.STREAM),
    ("mixed", Io.PARALLEL),
    ("wide", Io.STREAM),
]
DESIGNS = [
    pytest.param((n, io), id=f"{n}-{io.value}", marks=() if (n, io) in QUICK else pytest.mark.slow)
    for n in NETS
    for io in Io
]


@pytest.fixture(scope="module", params=DESIGNS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Path]:
    """A graph and the fake bitstream of its project."""
    name, io = request.param
    graph = NETS[name]()
    return graph, build_wrapper(_project(graph, io, tmp_path_factory.mktemp("overlay") / "p"))


@pytest.fixture(scope="module")
def conv_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For damaged copies: the network is compiled, the wrapper is not."""
    return _project(open_conv_net(), Io.STREAM, tmp_path_factory.mktemp("overlay") / "p")


def _project(graph: Graph, io: Io, folder: Path) -> Path:
    generate(graph, config(graph, io), overlay=True).write(folder)
    build_network(folder)
    return folder


def driver(bitstream: Path, **options: Any) -> Any:
    """The project's own driver, loaded from where it lies."""
    return _load(bitstream.parent.parent / "driver" / "hwq_driver.py").Network(bitstream, **options)


def _load(place: Path) -> Any:
    spec = importlib.util.spec_from_file_location("hwq_driver", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    assert images == 1 or any(len(np.unique(want[p.tensor], axis=0)) > 1 for p in graph.outputs)
    assert overlay.runs == 2 * -(-images // (chunk or images))
    assert not any(c.queue for c in overlay.receive)
    network.close()


def test_reals_are_scale_times_code_plus_offset(made: tuple[Graph, Path]) -> None:
    graph, bitstream = made
    network = driver(bitstream)
    codes = draw(graph, 3)
    if graph.outputs[0].real is None:
        with pytest.raises(ValueError, match="has no known scale: use run_codes"):
            network.run(by_name(graph, codes))
        return
    want = reference.run(graph, codes)
    for port in graph.outputs:
        got = network.run(by_name(graph, codes))[port.name]
        np.testing.assert_array_equal(got, want[port.tensor] / 4 - 3)
        assert got.dtype == np.float64


Copy = Callable[[Path], Path]


def damaged(
    project: Path, copy_of: Copy, old: str, new: str, images_per_transfer: int = 8
) -> tuple[Any, Codes]:
    """The driver over a wrapper whose header has a fault in every such place, and codes."""
    copy = copy_of(project)
    header = copy / "hwq_axis.h"
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    network = driver(build_wrapper(copy), images_per_transfer=images_per_transfer, timeout_s=0.5)
    return network, draw(open_conv_net(), 5)


LAST = "ends && image + 1 == images"


def test_without_tlast_the_driver_says_that_the_dma_hangs(conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(conv_project, copy_of, LAST, "ends && image > images")
    with pytest.raises(TimeoutError, match=r"'global_dense8' did not end within 0.5 s: .* TLAST is missing"):
        network.run_codes(codes["x0"])


def test_tlast_after_each_image_is_too_early(conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(conv_project, copy_of, LAST, "ends && image < images")
    with pytest.raises(RuntimeError, match=r"ended after 8 of 40 bytes: .* TLAST came too early"):
        network.run_codes(codes["x0"])


def test_tlast_one_image_late_hangs(conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(conv_project, copy_of, LAST, "ends && image == images")
    with pytest.raises(TimeoutError, match="TLAST is missing"):
        network.run_codes(codes["x0"])


def test_an_input_word_that_nobody_reads_hangs(conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(
        conv_project, copy_of, "done < SIZE; done += lanes::step", "done < 8; done += lanes::step"
    )
    with pytest.raises(TimeoutError, match="did not end"):
        network.run_codes(codes["x0"])


def test_more_words_than_the_buffer_holds_are_the_dmas_error(conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(conv_project, copy_of, "port.write(out)", "port.write(out), port.write(out)")
    with pytest.raises(RuntimeError, match="DMA Internal Error"):
        network.run_codes(codes["x0"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("word >> (lane * BITS)", "word >> ((AXIS_BITS / BITS - 1 - lane) * BITS)"),
        (
            "ap_uint<AXIS_BITS>(bits) << (lane * BITS)",
            "ap_uint<AXIS_BITS>(bits) << ((AXIS_BITS / BITS - 1 - lane) * BITS)",
        ),
        ("const ap_int<BITS> extended = code", "const ap_uint<T::width> extended = ap_int<BITS>(code)"),
    ],
    ids=["lanes of inputs", "lanes of outputs", "no sign extension"],
)
def test_other_packing_gives_other_codes(old: str, new: str, conv_project: Path, copy_of: Copy) -> None:
    network, codes = damaged(conv_project, copy_of, old, new)
    got, want = network.run_codes(codes["x0"]), reference.run(open_conv_net(), codes)
    same = [np.array_equal(got[p.name], want[p.tensor]) for p in open_conv_net().outputs]
    assert not all(same)


@pytest.fixture(scope="module")
def bitstream(conv_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "p"
    return build_wrapper(Path(shutil.copytree(conv_project, folder)))


X = np.zeros((2, 8, 8, 1), np.int64)


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        (X[..., 0], r"takes \(images, 8, 8, 1\), channels last, got \(2, 8, 8\): reshape or transpose"),
        (X[0], r"takes \(images, 8, 8, 1\)"),
        (X[:0], r"got \(0, 8, 8, 1\)"),
        (X.astype(np.float32), r"takes integer codes, got float32: quantise first"),
        (X + 16, r"codes must lie in 0..15, got 16..16: clip"),
        (X - 1, r"codes must lie in 0..15, got -1..-1"),
        ({"other": X}, r"got arrays for other; the inputs are global_x0"),
        ({}, r"got arrays for no input"),
    ],
)
def test_driver_refuses(codes: Any, says: str, bitstream: Path) -> None:
    network = driver(bitstream)
    with pytest.raises(ValueError, match=says):
        network.run_codes(codes)
    assert network._overlay.runs == 0
    assert network.run_codes(X)["global_dense8"].shape == (2, 5)


def test_driver_refuses_several_inputs_that_are_not_alike(made: tuple[Graph, Path]) -> None:
    graph, bitstream = made
    if len(graph.inputs) == 1:
        assert driver(bitstream).run_codes(draw(graph, 2)[graph.inputs[0].tensor]) is not None
        return
    network = driver(bitstream)
    codes = by_name(graph, draw(graph, 2))
    with pytest.raises(ValueError, match="give a dict of one array for each"):
        network.run_codes(next(iter(codes.values())))
    codes["global_x1"] = codes["global_x1"][:1]
    with pytest.raises(ValueError, match=r"global_x0: 2, global_x1: 1\): give each as many"):
        network.run_codes(codes)


def test_driver_refuses_what_does_not_fit_a_transfer(bitstream: Path) -> None:
    with pytest.raises(ValueError, match=r"images_per_transfer 2000000: give 1 to 1048575"):
        driver(bitstream, images_per_transfer=2_000_000)
    with pytest.raises(ValueError, match="images_per_transfer 0"):
        driver(bitstream, images_per_transfer=0)


def test_driver_reads_the_description_beside_the_bitstream_or_itself(bitstream: Path, tmp_path: Path) -> None:
    own = bitstream.parent.parent / "driver" / "overlay.json"
    moved = Path(shutil.copytree(bitstream.parent, tmp_path / "o"))
    (moved / "overlay.json").write_text(own.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match="has format 2, this driver reads 1"):
        _load(own.parent / "hwq_driver.py").Network(moved / bitstream.name)
    alone = Path(shutil.copy(own.parent / "hwq_driver.py", tmp_path))
    (moved / "overlay.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"copy overlay.json from the project's folder driver/"):
        _load(alone).Network(moved / bitstream.name)
    assert _load(alone).Network(moved / bitstream.name, own).inputs[0]["words"] == 8


def test_overlay_needs_a_processor_and_free_ports() -> None:
    graph = dense_net()
    with pytest.raises(
        InputError, match=r"artix7, and overlays need .* one of minized, pynq-z1, pynq-z2, zc706, zedboard"
    ):
        generate(graph, configure(graph, boards.load("arty-a7-35t")), overlay=True)
    with pytest.raises(InputError, match="choose --backend vitis"):
        generate(graph, configure(graph, boards.load("pynq-z2"), backend=Backend.VIVADO), overlay=True)
    net = Net()
    ends = [net.dense(net.input((4,), -1, 1), 2) for _ in range(5)]
    many = net.graph(*ends)
    with pytest.raises(InputError, match="has 5 inputs; each needs a DMA stream, and Zynq-7000 has 4"):
        make_overlay(many, config(many), "top")
    with pytest.raises(InputError, match="codes of 65 bits, and a word has 64"):
        lane_bits("y", IntType(0, 2**64))


def test_projects_with_an_overlay_are_reproducible_and_others_have_none() -> None:
    graph = dense_net()
    one, two = (generate(graph, config(graph), overlay=True) for _ in range(2))
    plain = generate(graph, config(graph))
    assert one.digest() == two.digest()
    added = {
        "axis_stand_in/ap_axi_sdata.h",
        "driver/hwq_driver.py",
        "driver/overlay.json",
        "hwq_axis.h",
        "hwq_dense_net_axi.cpp",
        "scripts/overlay.tcl",
        "scripts/overlay_hls.tcl",
    }
    assert set(one.files) - set(plain.files) == added
    assert all(path.encode() in one.files["manifest.json"] for path in added)
    assert not any(b"overlay" in plain.files[p] for p in ("Makefile", "README.md", "scripts/settings.tcl"))


def test_an_overlay_does_not_disturb_csim(conv_project: Path, copy_of: Copy) -> None:
    from hwq.emit import csim

    assert csim.run(copy_of(conv_project)).ok


@pytest.mark.parametrize("io", ["parallel", "stream"])
def test_from_a_model_file_to_real_outputs(io: str, tmp_path: Path) -> None:
    model, folder = write(mlp(), tmp_path / "mlp.onnx"), tmp_path / "p"
    words = ["generate", str(model), "-o", str(folder), "--overlay", "--io", io]
    assert CliRunner().invoke(app, words).exit_code == 0
    build_network(folder)
    network = driver(build_wrapper(folder))
    graph = load(model).graph
    (source,), (sink,) = graph.inputs, graph.outputs
    x = np.random.default_rng(5).normal(size=(6, *source.shape)).astype(np.float32)
    codes = sim.encode(graph, x)
    want = reference.run(graph, codes)[sink.tensor]
    np.testing.assert_array_equal(network.run_codes(codes[source.tensor]), want)
    meaning = graph.meaning(sink)
    assert meaning
    scale, offset = nearest(meaning.scale), nearest(meaning.offset)
    np.testing.assert_array_equal(network.run(codes[source.tensor]), scale * want + offset)


def test_command_line_refuses_other_boards(tmp_path: Path) -> None:
    model = write(mlp(), tmp_path / "mlp.onnx")
    words = ["generate", str(model), "-o", str(tmp_path / "p"), "--overlay", "--board", "kv260"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "error: --overlay: kv260 is of the family zynqus" in " ".join(done.output.split())
    assert not (tmp_path / "p").exists()
