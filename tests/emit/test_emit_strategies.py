"""Strategies layer by layer: mixed designs, distributed arithmetic, and the pragma of the top function."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from hwq import boards
from hwq.cost.assemble import top_style
from hwq.cost.laws.dataflow import TopStyle
from hwq.cost.laws.product import distributed_lut_features
from hwq.cost.laws.weights import matrix_statistics
from hwq.cost.model import Value
from hwq.emit import generate, hls4ml
from hwq.emit.audit import audit_files, audit_model
from hwq.emit.plan import Plan, make_plan
from hwq.errors import InputError, ToolMissing, UnsupportedModel
from hwq.folding import Target, design
from hwq.hardware import (
    HardwareConfig,
    Io,
    Strategy,
    configure,
    legal_reuse,
    matrix_layers,
    parse_strategy,
    reuse_choices,
)
from hwq.ir import Graph, IntType
from hwq.ops.conv import Conv
from tests.emit.emit_graphs import Net, binary_net, conv_net, dense_net
from tests.emit.test_emit_cells import assert_equal

LATENCY, RESOURCE, DA = Strategy


def config(
    graph: Graph, io: Io, strategy: dict[str, Strategy], reuse: dict[str, int] | int = 1
) -> HardwareConfig:
    return configure(graph, boards.load("pynq-z2"), io=io, strategy=strategy, reuse=reuse)


def dense_pair() -> Graph:
    """Two dense layers without positions: hls4ml can make one pipeline of them."""
    net = Net(6)
    x = net.input((6,), -4, 3)
    return net.graph(net.dense(net.threshold(net.dense(x, 4, lo=-8, hi=7), 4), 3), name="pair")


def names(graph: Graph) -> list[str]:
    return list(matrix_layers(graph))


# --- defaults and legality -----------------------------------------------------------------------


def test_a_layer_is_latency_where_its_reuse_is_one() -> None:
    graph = dense_net()
    first, last = names(graph)
    made = configure(graph, boards.load("pynq-z2"), reuse={first: 8})
    assert made.strategy == {first: RESOURCE, last: LATENCY}
    assert made.strategy_name == "mixed"
    assert configure(graph, boards.load("pynq-z2")).strategy_name == "latency"
    assert configure(graph, boards.load("pynq-z2"), strategy=RESOURCE).strategy_name == "resource"


def test_strategies_as_typed() -> None:
    assert parse_strategy(["latency", "a=b=resource", "a=b=latency"]) == {
        "": (LATENCY,),
        "a=b": (RESOURCE, LATENCY),
    }
    with pytest.raises(InputError, match=r"--strategy 'fc=fast': choose one of latency, resource, "):
        parse_strategy(["fc=fast"])
    with pytest.raises(InputError, match=r"--strategy: no layer 'fc' with weights; there are /net/dense0"):
        config(dense_net(), Io.PARALLEL, {"fc": RESOURCE})


def test_distributed_arithmetic_has_no_reuse() -> None:
    first = names(dense_net())[0]
    with pytest.raises(
        InputError, match=rf"layer '{first}': distributed arithmetic is unrolled.*reuse factor 8"
    ):
        config(dense_net(), Io.PARALLEL, {"": DA}, {first: 8})


def test_a_parallel_resource_convolution_is_limited_to_its_window() -> None:
    graph = conv_net()
    first, second = (matrix_layers(graph)[n] for n in names(graph)[:2])
    assert reuse_choices(graph, first, Io.PARALLEL, RESOURCE) == [1, 3, 9]
    assert reuse_choices(graph, first, Io.STREAM, RESOURCE) == legal_reuse(9, 4)
    assert reuse_choices(graph, second, Io.PARALLEL, LATENCY) == legal_reuse(36, 6)
    net = Net()
    image = net.graph(net.dense(net.input((3, 3, 4), 0, 3), 2))
    assert reuse_choices(image, image.nodes[0], Io.PARALLEL, RESOURCE) == [1, 2, 4]


def test_legal_reuse_is_hls4mls_list() -> None:
    from hls4ml.backends import get_backend

    backend = get_backend("Vitis")
    for n_in in range(1, 14):
        for n_out in range(1, 14):
            assert legal_reuse(n_in, n_out) == backend.get_valid_reuse_factors(n_in, n_out)


# --- built ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("io", Io)
def test_a_mixed_design_is_exact(io: Io, tmp_path: Path) -> None:
    """All strategies, with and without reuse, in one network."""
    graph = conv_net()
    conv0, conv1, dense0, dense1 = names(graph)
    strategy = {conv0: DA, conv1: RESOURCE, dense0: LATENCY, dense1: RESOURCE}
    hardware = config(graph, io, strategy, {conv1: 12, dense0: 4, dense1: 8})
    assert_equal(graph, hardware, tmp_path / "p")
    layers = {e["name"]: e for e in json.loads((tmp_path / "p/manifest.json").read_text())["layers"]}
    assert {n: (layers[n]["strategy"], layers[n]["reuse"]) for n in strategy} == {
        conv0: ("distributed_arithmetic", 1),
        conv1: ("resource", 12),
        dense0: ("latency", 4),
        dense1: ("resource", 8),
    }
    assert "mixed" in (tmp_path / "p/README.md").read_text()


def test_a_folded_design_is_exact(tmp_path: Path) -> None:
    graph = conv_net()
    hardware = design(
        graph, boards.load("pynq-z2"), io=Io.STREAM, reuse={"": "auto"}, target=Target(fps=50_000)
    )
    assert hardware.strategy_name == "mixed"
    assert_equal(graph, hardware, tmp_path / "p")


def branches() -> Graph:
    """Dense and conv layers for distributed arithmetic: widths, kernels, strides, pads, 1x1, on an image."""
    net = Net(8)
    flat, image = net.input((7,), -3, 3), net.input((5, 4, 2), 0, 7)
    outputs = [net.dense(flat, 3, lo=lo, hi=hi) for lo, hi in ((-1, 1), (0, 1), (-2, 1), (-128, 127))]
    outputs += [net.dense(image, 3), net.conv(image, 2, strides=(2, 1), pads=(1, 0, 2, 1))]
    image = net.input((5, 4, 2), -2, 1)
    outputs += [net.conv(image, 3, kernel) for kernel in (1, 2)]
    return net.graph(*outputs, net.conv(image, 2, kernel=1, strides=(2, 2)), name="branches")


@pytest.mark.parametrize("io", Io)
def test_distributed_arithmetic_is_exact(io: Io, tmp_path: Path) -> None:
    graph = branches()
    assert_equal(graph, config(graph, io, {"": DA}), tmp_path / "p")


def test_distributed_arithmetic_gives_equal_bytes() -> None:
    graph = dense_pair()
    digests = {generate(graph, config(graph, Io.PARALLEL, {"": DA})).digest() for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize("net", [dense_pair, conv_net])
@pytest.mark.parametrize(
    "chosen", [(LATENCY, LATENCY), (LATENCY, RESOURCE), (RESOURCE, RESOURCE), (DA, LATENCY)]
)
@pytest.mark.parametrize("io", Io)
def test_the_estimate_ties_layers_together_as_hls4ml_does(
    net: object, chosen: tuple[Strategy, Strategy], io: Io
) -> None:
    graph = dense_pair() if net is dense_pair else conv_net()
    hardware = config(graph, io, dict(zip(names(graph), (*chosen, LATENCY, LATENCY), strict=False)))
    plan = make_plan(graph, hardware)
    top = hls4ml.write_firmware(plan, hardware).files[f"firmware/{plan.top}.cpp"].decode()
    pragma = re.findall(r"#pragma HLS (DATAFLOW|PIPELINE)", top)
    assert pragma == ["PIPELINE" if top_style(graph, hardware) is TopStyle.PIPELINE else "DATAFLOW"]


# --- refused and audited -------------------------------------------------------------------------


def test_a_missing_da4ml_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = dense_net()
    monkeypatch.setattr(hls4ml, "find_spec", lambda _name: None)
    with pytest.raises(ToolMissing, match=r"layer '/net/dense2': .*pip install 'hwq\[da\]'.*latency"):
        generate(graph, config(graph, Io.PARALLEL, {names(graph)[1]: DA}))
    generate(graph, config(graph, Io.PARALLEL, {"": LATENCY}))


def test_other_layers_cannot_be_distributed() -> None:
    net = Net(3)
    graph = net.graph(net.add(Conv(net.weights((2, 2, 1, 3), -2, 1), groups=3), net.input((4, 4, 3), 0, 3)))
    with pytest.raises(UnsupportedModel, match=r"only plain dense and convolution.*\n.*=latency"):
        make_plan(graph, config(graph, Io.PARALLEL, {"": DA}))


@pytest.mark.parametrize("io", Io)
def test_signs_are_numbers_where_layers_are_distributed(io: Io, tmp_path: Path) -> None:
    """da4ml would take the bits 0 and 1 of the XNOR type for numbers."""
    graph = binary_net()
    last = [n.name for n in graph.nodes if n.op == "dense"]
    assert_equal(graph, config(graph, io, {last[1]: DA, "": LATENCY}), tmp_path / "p")


@pytest.fixture(scope="module")
def planned() -> Plan:
    return make_plan(dense_pair(), config(dense_pair(), Io.PARALLEL, {"": DA}))


def test_a_strategy_that_hls4ml_changed_is_found(planned: Plan, tmp_path: Path) -> None:
    hardware = config(dense_pair(), Io.PARALLEL, {"": DA})
    model = hls4ml.to_model(planned, hardware, str(tmp_path))
    assert audit_model(planned, model) == []
    next(n for n in model.get_layers() if n.name.startswith("l0_")).set_attr("strategy", "latency")
    assert re.search(
        r"strategy and reuse factor \('latency', 1\), asked \('distributed_arithmetic', 1\)",
        "\n".join(audit_model(planned, model)),
    )


def test_adders_that_were_not_written_are_found(planned: Plan, tmp_path: Path) -> None:
    model = hls4ml.to_model(planned, config(dense_pair(), Io.PARALLEL, {"": DA}), str(tmp_path))
    model.write()
    assert audit_files(planned, model, tmp_path) == []
    code = tmp_path / "firmware/nnet_utils/nnet_code_gen.h"
    code.write_text(code.read_text().replace("void dense_da_2(", "void dense_da_9("))
    assert "its adders are written 0 times" in "\n".join(audit_files(planned, model, tmp_path))


# --- the law of distributed arithmetic ------------------------------------------------------------


def da4ml_cost(weight: np.ndarray[tuple[int, ...], np.dtype[np.int64]], bits: int) -> float:
    from da4ml.trace import FixedVariableArray, HWConfig, comb_trace

    size = len(weight)
    options = {"hard_dc": 2, "search_all_decompose_dc": True}
    kif = (np.zeros(size, int), np.full(size, bits), np.zeros(size, int))
    x = FixedVariableArray.from_kif(*kif, HWConfig(1, -1, -1), solver_options=options)
    return float(comb_trace(x, x @ weight.astype(float)).cost)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(9, 16), (40, 6), (24, 24)])
def test_the_band_of_the_law_holds_what_da4ml_needs(shape: tuple[int, int], bits: int) -> None:
    from hwq.cost.laws.setting import judged

    drawn = np.random.default_rng(bits).integers(-(1 << (bits - 1)), 1 << (bits - 1), shape)
    weight = 2 * drawn + 1 if bits == 1 else drawn
    for in_bits in (2, 8):
        reach = ((1 << in_bits) - 1) * np.array([np.minimum(weight, 0), np.maximum(weight, 0)]).sum(axis=1)
        acc = IntType(int(reach[0].min()), int(reach[1].max())).bits
        law: Value = judged(
            "dense/distributed/lut", **distributed_lut_features(matrix_statistics(weight), in_bits, acc)
        )
        assert law.lo <= da4ml_cost(weight, in_bits) <= law.hi
