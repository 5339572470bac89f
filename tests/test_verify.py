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
from hwq.errors import CheckFailed
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
    x = net.node("Add", [x, net.constant([-1000.0 + 2.0**-14 * 0, -1000.0])])
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
