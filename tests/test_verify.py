"""The chain of proof sees seeded faults, and certifies what float32 explains, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwq
from hwq import probes, sim, stages
from hwq.chain import IntegerStage, verify
from hwq.errors import CheckFailed, InputError
from hwq.frontends import load
from hwq.lowering.lower import Lowering
from hwq.rounding import IntArray
from tests.networks import Net, mlp, write


@pytest.fixture(params=[True, False], ids=["power-of-two", "float-scales"])
def lowering(request: pytest.FixtureRequest, tmp_path: Path) -> Lowering:
    return load(write(mlp(power_of_two=request.param), tmp_path / "mlp.onnx"))


def rows(lowering: Lowering) -> stages.Rows:
    return stages.rows_for(lowering.graph, None, 40)


def test_qonnx_and_numpy_equal_the_integers(lowering: Lowering) -> None:
    result = verify(
        lowering,
        rows(lowering),
        float_stages={"qonnx": stages.qonnx_stage(lowering)},
        integer_stages={"numpy": stages.numpy_stage(lowering.graph)},
    )
    assert result.ok
    assert [s.uncertified for s in result.stages] == [0, 0]
    assert all(s.values for s in result.stages)


def test_tie_inputs_hit_the_input_quantiser(lowering: Lowering) -> None:
    result = verify(lowering, rows(lowering), integer_stages={"numpy": stages.numpy_stage(lowering.graph)})
    assert result.layers[0].ties > 0


def faulty(lowering: Lowering, tensor: str) -> IntegerStage:
    def run(codes: Any) -> dict[str, IntArray]:
        values = sim.run(lowering.graph, codes, trace=True)
        values[tensor] = values[tensor].copy()
        values[tensor][3, 1] += 1
        return values

    return IntegerStage(run)


def test_one_wrong_integer_is_found_and_named(lowering: Lowering) -> None:
    node = lowering.graph.nodes[1]
    result = verify(lowering, rows(lowering), integer_stages={"broken": faulty(lowering, node.output)})
    (stage,) = result.stages
    assert (stage.different, stage.certified, stage.ok) == (1, 0, False)
    assert stage.first is not None
    assert (stage.first.layer, stage.first.row, stage.first.index) == (node.name, 3, (1,))
    with pytest.raises(CheckFailed, match=rf"stage 'broken' .* layer '{node.name}'.* row 3, index \(1,\)"):
        result.raise_if_failed()


def test_a_stage_that_offers_nothing_fails(lowering: Lowering) -> None:
    result = verify(lowering, rows(lowering), integer_stages={"empty": IntegerStage(lambda _codes: {})})
    assert not result.ok
    with pytest.raises(CheckFailed, match="compared no values"):
        result.raise_if_failed()


def shifted(lowering: Lowering, change: float) -> Any:
    """A float stage whose hidden quantiser puts out one value that is off by `change` steps."""
    run = stages.qonnx_stage(lowering)
    hidden = lowering.resolutions[1]

    def broken(floats: Any) -> Any:
        got = dict(run(floats))
        wrong = got[hidden.source].copy()
        row, column = np.argwhere(wrong == wrong.max())[0]
        wrong[row, column] += change * float(hidden.quantizer.step[0])
        return {**got, hidden.source: wrong}

    return broken


@pytest.mark.parametrize(
    ("change", "why"), [(-2.0, "from the boundary"), (0.4, "not on the quantiser's grid")]
)
def test_a_float_stage_that_is_wrong_gets_no_certificate(lowering: Lowering, change: float, why: str) -> None:
    result = verify(lowering, rows(lowering), float_stages={"torch": shifted(lowering, change)})
    (stage,) = result.stages
    assert stage.uncertified >= 1
    assert stage.first is not None
    assert why in stage.first.why
    assert stage.first.layer == lowering.resolutions[1].layer


def test_a_wrong_logit_is_found(lowering: Lowering) -> None:
    run = stages.qonnx_stage(lowering)
    name = lowering.graph.outputs[0].name

    def broken(floats: Any) -> Any:
        got = dict(run(floats))
        logits = got[name].copy()
        logits[7, 0] += 1e-3
        return {**got, name: logits}

    (stage,) = verify(lowering, rows(lowering), float_stages={"torch": broken}).stages
    assert not stage.ok
    assert stage.first is not None
    assert stage.first.row == 7


def near_tie(tmp_path: Path) -> Lowering:
    """A bias so near to a rounding tie that float32 cannot tell it from the tie."""
    net = Net([2])
    x = net.quant("x", 1.0, 4)
    x = net.node("MatMul", [x, net.weight(np.eye(2), 1.0)])
    x = net.node("Add", [x, net.constant([1000.5, 1000.5])])
    x = net.node("Add", [x, net.constant([-1000.0, -1000.0])])
    x = net.node("Add", [x, net.constant([1e-9, -1e-9])])
    x = net.quant(x, 1.0, 4, signed=0)
    x = net.node("MatMul", [x, net.weight(np.eye(2), 1.0)])
    return load(write(net.model(x), tmp_path / "near.onnx"))


def test_what_float32_cannot_tell_is_certified_and_listed(tmp_path: Path) -> None:
    lowering = near_tie(tmp_path)
    result = verify(lowering, rows(lowering), float_stages={"qonnx": stages.qonnx_stage(lowering)})
    (stage,) = result.stages
    assert stage.different > 0
    assert stage.certified == stage.different
    assert result.ok
    certificate = stage.certificates[0]
    assert certificate.distance <= certificate.bound < 1e-2
    assert abs(certificate.distance - 1e-9) < 1e-12
    assert result.to_json()["certificates"][0]["tensor"] == lowering.resolutions[1].source


def test_certificates_do_not_cover_a_threshold_that_is_off_by_one(tmp_path: Path) -> None:
    lowering = load(write(mlp(power_of_two=False), tmp_path / "mlp.onnx"))
    graph = lowering.graph
    index = next(i for i, n in enumerate(graph.nodes) if n.op in ("threshold", "requant"))
    node = graph.nodes[index]
    moved = (
        replace(node.params, thresholds=node.params.thresholds + 1)
        if node.op == "threshold"
        else replace(node.params, add=node.params.add - (1 << node.params.shift) // 2)
    )
    broken = replace(
        graph, nodes=(*graph.nodes[:index], replace(node, params=moved), *graph.nodes[index + 1 :])
    )
    result = verify(
        Lowering(broken, lowering.resolutions),
        rows(lowering),
        float_stages={"qonnx": stages.qonnx_stage(lowering)},
    )
    assert not result.ok


def test_api_verifies_a_loaded_graph(tmp_path: Path) -> None:
    graph = hwq.load(write(mlp(), tmp_path / "mlp.onnx"))
    x = probes.random_rows(graph, 12)["x"]
    result = hwq.verify(graph, x, stages=["qonnx", "numpy"])
    result.raise_if_failed()
    assert result.inputs["given"] == 12


def test_codes_come_back_from_float_probes(lowering: Lowering) -> None:
    graph = lowering.graph
    port = graph.inputs[0]
    tensor = graph.tensors[port.tensor]
    codes = np.arange(tensor.type.lo, tensor.type.hi + 1).repeat(6).reshape(-1, 6)
    x = probes.from_codes(graph, {port.tensor: codes})
    assert np.array_equal(sim.encode(graph, x)[port.tensor], codes)


def changed(graph: Any, op: str, change: Any) -> Any:
    """The graph with other parameters in its last node of an op."""
    index = max(i for i, n in enumerate(graph.nodes) if n.op == op)
    node = graph.nodes[index]
    params = change(node.params)
    return replace(
        graph, nodes=(*graph.nodes[:index], replace(node, params=params), *graph.nodes[index + 1 :])
    )


def wide(tmp_path: Path) -> Lowering:
    """1,000 inputs of 4 bits and 4-bit weights at odd scales: float32's worst-case bound is many units here."""
    rng = np.random.default_rng(1)
    net = Net([1000])
    x = net.quant("x", 0.0371, 4, signed=0)
    x = net.node("MatMul", [x, net.weight(rng.integers(-7, 8, (1000, 8)), 0.0913)])
    x = net.quant(x, 1.171, 4)
    x = net.node("MatMul", [x, net.weight(rng.integers(-7, 8, (8, 3)), 0.0913)])
    return load(write(net.model(x), tmp_path / "wide.onnx"))


def test_certificates_do_not_excuse_faults_in_wide_layers(tmp_path: Path) -> None:
    lowering = wide(tmp_path)
    stage = {"qonnx": stages.qonnx_stage(lowering)}
    assert verify(lowering, rows(lowering), float_stages=stage).ok
    first = lowering.graph.nodes[0]
    weight = first.params.weight.copy()
    weight[17, 2] += 1
    nodes = (replace(first, params=replace(first.params, weight=weight)), *lowering.graph.nodes[1:])
    faults = [replace(lowering.graph, nodes=nodes)]
    second = lowering.graph.nodes[1]
    if second.op == "threshold":
        faults.append(changed(lowering.graph, "threshold", lambda p: replace(p, thresholds=p.thresholds + 2)))
    else:
        faults.append(changed(lowering.graph, "requant", lambda p: replace(p, add=p.add - 2 * p.mult)))
    for graph in faults:
        result = verify(
            Lowering(graph, lowering.resolutions, lowering.outputs), rows(lowering), float_stages=stage
        )
        assert not result.ok


def bipolar_input(tmp_path: Path) -> Path:
    net = Net([6])
    x = net.node("BipolarQuant", ["x", net.constant(0.5)], "qonnx.custom_op.general")
    x = net.node("MatMul", [x, net.weight(np.arange(18).reshape(6, 3) % 5 - 2)])
    return write(net.model(x), tmp_path / "bipolar.onnx")


def unquantised_input(tmp_path: Path) -> Path:
    net = Net([4])
    x = net.node("MatMul", ["x", net.weight(np.arange(8).reshape(4, 2) % 5 - 2)])
    return write(net.model(net.quant(x, 0.25, 5)), tmp_path / "raw.onnx")


def final_softmax(tmp_path: Path) -> Path:
    net = Net([4])
    x = net.node("MatMul", [net.quant("x", 0.5, 4), net.weight(np.arange(12).reshape(4, 3) % 5 - 2)])
    return write(net.model(net.node("Softmax", [x], axis=1)), tmp_path / "softmax.onnx")


def affine_after_quantiser(tmp_path: Path) -> Path:
    net = Net([4])
    x = net.node("Mul", [net.quant("x", 0.3, 4), net.constant(1.7)])
    return write(
        net.model(net.node("Add", [x, net.constant([1.0, -2.0, 0.1, 0.0])])), tmp_path / "affine.onnx"
    )


def cancelling_offsets(tmp_path: Path) -> Path:
    net = Net([4])
    x = net.node("Add", [net.quant("x", 0.3, 4), net.constant(1000.37)])
    x = net.node("MatMul", [x, net.weight(np.array([[3, 1], [-3, -1], [2, 2], [-2, -2]]), 0.137)])
    x = net.node("Add", [x, net.constant([10000.0, 9999.0])])
    x = net.node("Sub", [x, net.constant([10000.0, 9999.0])])
    return write(net.model(x), tmp_path / "offsets.onnx")


def dead_input_channel(tmp_path: Path) -> Path:
    net = Net([3])
    x = net.quant(net.node("Mul", ["x", net.constant([1.0, 0.0, 2.0])]), 0.25, 4)
    return write(net.model(net.node("MatMul", [x, net.weight(np.eye(3))])), tmp_path / "dead.onnx")


def only_a_quantiser(tmp_path: Path) -> Path:
    net = Net([3])
    return write(net.model(net.quant("x", 0.25, 4)), tmp_path / "only.onnx")


MODELS: list[tuple[Any, str | None]] = [
    (bipolar_input, None),
    (unquantised_input, "fixed<6,3>"),
    (unquantised_input, "uint<1>"),
    (unquantised_input, "fixed<8,4>"),
    (unquantised_input, "fixed<16,8>"),
    (unquantised_input, "fixed<32,16>"),
    (final_softmax, None),
    (affine_after_quantiser, None),
    (cancelling_offsets, None),
    (dead_input_channel, None),
    (only_a_quantiser, None),
]


@pytest.mark.parametrize(("make", "grid"), MODELS, ids=[f"{m.__name__} {g or ''}" for m, g in MODELS])
def test_correct_networks_of_every_kind_verify(make: Any, grid: str | None, tmp_path: Path) -> None:
    lowering = load(make(tmp_path), grid)
    result = verify(
        lowering,
        rows(lowering),
        float_stages={"qonnx": stages.qonnx_stage(lowering)},
        integer_stages={"numpy": stages.numpy_stage(lowering.graph)},
    )
    result.raise_if_failed()
    assert result.ok


def test_rows_are_taken_in_chunks_with_their_places(
    lowering: Lowering, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = rows(lowering)
    run = stages.qonnx_stage(lowering)
    name = lowering.graph.outputs[0].name
    limited = IntegerStage(stages.numpy_stage(lowering.graph).run, max_rows=9)

    def broken(floats: Any) -> Any:
        got = dict(run(floats))
        logits = got[name].copy()
        logits[(floats["x"] == inputs[1][1]["x"][7]).all(axis=1), 0] += 1e-3
        return {**got, name: logits}

    def check() -> Any:
        result = verify(lowering, inputs, float_stages={"torch": broken}, integer_stages={"numpy": limited})
        seen = [{**s.to_json(), "seconds": 0} for s in result.stages]
        return seen, result.layers, result.argmax_ties

    whole = check()
    monkeypatch.setattr("hwq.chain._CHUNK_BYTES", 5000)
    assert check() == whole
    assert whole[0][0]["first"]["row"] == 47
    assert whole[0][1]["rows"] == 9


def test_a_project_of_another_model_is_refused(tmp_path: Path, lowering: Lowering) -> None:
    other = load(write(mlp(7), tmp_path / "other.onnx")).graph
    hwq.generate(other, board="pynq-z2").write(tmp_path / "project")
    stage = stages.csim_stage(lowering.graph, lambda: tmp_path / "project")
    with pytest.raises(InputError, match="generated from another model"):
        verify(lowering, rows(lowering), integer_stages={"csim": stage})
    (tmp_path / "project" / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="is not an hwq project"):
        verify(lowering, rows(lowering), integer_stages={"csim": stage})
