"""The audit sees each fault that hls4ml lets pass."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwq.emit import hls4ml
from hwq.emit.audit import audit_files, audit_model
from hwq.emit.dataflow import analyse
from hwq.emit.plan import Plan, make_plan
from hwq.errors import CheckFailed
from hwq.hardware import FifoDepths, Io, Strategy
from tests.emit.emit_graphs import Net, binary_net, config, conv_net

HARDWARE = config(conv_net(), Io.STREAM, Strategy.RESOURCE)


@pytest.fixture
def plan() -> Plan:
    return make_plan(conv_net(), HARDWARE)


@pytest.fixture
def model(plan: Plan, tmp_path: Path) -> Any:
    return hls4ml.to_model(plan, HARDWARE, str(tmp_path))


def node(model: Any, start: str) -> Any:
    return next(n for n in model.get_layers() if n.name.startswith(start))


def test_clean_model_and_files(plan: Plan, model: Any, tmp_path: Path) -> None:
    assert audit_model(plan, model) == []
    model.write()
    assert audit_files(plan, model, tmp_path) == []


def narrow_result(model: Any) -> None:
    kind = node(model, "l0_").get_output_variable().type.precision
    kind.width -= 1
    kind.integer -= 1


def narrow_accumulator(model: Any) -> None:
    kind = node(model, "l8_").get_attr("accum_t").precision
    kind.width, kind.integer = kind.width - 1, kind.integer - 1


def unsigned_result(model: Any) -> None:
    node(model, "l4_").get_output_variable().type.precision.signed = False


def rounding_result(model: Any) -> None:
    node(model, "l4_").get_output_variable().type.precision.saturation_mode = "SAT"


def flip_weight(model: Any) -> None:
    data = node(model, "l6_").weights["weight"].data
    data.flat[0] = 1 - data.flat[0]


def outgrow_weight(model: Any) -> None:
    node(model, "l6_").weights["weight"].data.flat[0] = 2


def snap_reuse(model: Any) -> None:
    node(model, "l6_").set_attr("reuse_factor", 3)


def drop_layer(model: Any) -> None:
    del model.graph[node(model, "l4_").name]


def lose_call(model: Any) -> None:
    node(model, "l1_").set_attr("function_cpp", None)


def shrink_n_in(model: Any) -> None:
    node(model, "l6_").inputs[0] = node(model, "l0_").name


def grow_bias(model: Any) -> None:
    node(model, "l6_").weights["bias"].data[0] = 1


def rename_output(model: Any) -> None:
    model.outputs = [node(model, "l7_").name]


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (narrow_result, r"type 'result' is fixed<8,8,"),
        (narrow_accumulator, r"type 'accum' is"),
        (unsigned_result, r"type 'result' is ufixed<3,3,"),
        (rounding_result, r"type 'result' is"),
        (flip_weight, r"weights 'weight' changed"),
        (outgrow_weight, r"weights 'weight' reach -1..2, beyond"),
        (snap_reuse, r"strategy and reuse factor \('resource', 3\), asked \('resource', 1\)"),
        (drop_layer, r"layer 'l4_net_requant4' is gone"),
        (lose_call, r"no call was generated"),
        (shrink_n_in, r"declares n_in 24, but reads 256 elements"),
        (grow_bias, r"weights 'bias' were added"),
        (rename_output, r"outputs are \['l7_net_threshold7'\]"),
    ],
)
def test_seeded_model_fault_is_found(
    fault: Callable[[Any], None], finding: str, plan: Plan, model: Any
) -> None:
    fault(model)
    assert re.search(finding, "\n".join(audit_model(plan, model)))


def integer_weights(model: Any) -> None:
    """hls4ml builds a product of int<2> as one of -1, 0 and 1."""
    from hls4ml.model.types import IntegerPrecisionType

    node(model, "l6_").weights["weight"].type.precision = IntegerPrecisionType(2, signed=True)


def swap_inputs(model: Any) -> None:
    node(model, "l4_").inputs[0] = node(model, "l2_").name


def lose_every_type(config: dict[str, Any]) -> None:
    config["Precision"] = {}


def lose_result_type(config: dict[str, Any]) -> None:
    """'auto' lets a pass fold the layer into weights whose type cannot hold them."""
    config["Precision"]["result"] = "auto"


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (integer_weights, r"type 'weight' is int<2>, asked int2"),
        (swap_inputs, r"layer 'l4_net_requant4': reads \['l2_net_max_pool2'\], asked \['l3_net_conv3'\]"),
    ],
)
def test_seeded_product_and_wiring_faults_are_found(
    fault: Callable[[Any], None], finding: str, plan: Plan, model: Any
) -> None:
    fault(model)
    assert re.search(finding, "\n".join(audit_model(plan, model)))


def test_an_integer_in_place_of_the_xnor_type_is_found(tmp_path: Path) -> None:
    from hls4ml.model.types import IntegerPrecisionType

    plan = make_plan(binary_net(), config(binary_net()))
    model = hls4ml.to_model(plan, config(binary_net()), str(tmp_path))
    assert audit_model(plan, model) == []
    node(model, "l3_").weights["weight"].type.precision = IntegerPrecisionType(1, signed=False)
    assert "type 'weight' is uint<1>, asked binary" in "\n".join(audit_model(plan, model))


@pytest.mark.parametrize("fault", [lose_every_type, lose_result_type])
def test_lost_types_are_found(
    fault: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    asked = hls4ml._layer_config

    def lossy(*args: Any) -> dict[str, Any]:
        content = asked(*args)
        if "ReuseFactor" in content:
            fault(content)
        return content

    monkeypatch.setattr(hls4ml, "_layer_config", lossy)
    with pytest.raises(CheckFailed, match=r"type 'result' is"):
        hls4ml.write_firmware(plan, HARDWARE)


def test_names_that_differ_by_case_alone_are_found(plan: Plan, model: Any) -> None:
    twin = dataclasses.replace(plan.layers[2], name=plan.layers[1].name.upper())
    clash = dataclasses.replace(plan, layers=(*plan.layers, twin))
    assert any("used twice, ignoring case" in text for text in audit_model(clash, model))


def test_a_class_without_a_template_is_found(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, tmp_path: Path
) -> None:
    """hls4ml then writes no call, and the output stays what it was."""
    model = hls4ml.to_model(plan, HARDWARE, str(tmp_path))
    node(model, "l4_").attributes.attributes.pop("function_cpp")
    assert "layer 'l4_net_requant4': no call was generated" in audit_model(plan, model)


def test_another_constant_of_our_own_layer_is_found(plan: Plan, model: Any, tmp_path: Path) -> None:
    model.write()
    path = tmp_path / "firmware" / "parameters.h"
    changed, count = re.subn(
        r"static const unsigned shift = \d+;", "static const unsigned shift = 3;", path.read_text()
    )
    assert count
    path.write_text(changed)
    assert "configuration" in "\n".join(audit_files(plan, model, tmp_path))


def test_another_depth_is_found(tmp_path: Path) -> None:
    plan = make_plan(conv_net(), HARDWARE)
    model = hls4ml.to_model(plan, HARDWARE, str(tmp_path))
    model.write()
    depths = dict.fromkeys(analyse(plan, FifoDepths.TENSOR).by_key(), 7)
    findings = audit_files(plan, model, tmp_path, depths)
    assert len(findings) == len(depths)
    assert re.search(r"stream \w+ has depth \d+, asked 7", findings[0])


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        ("weights/w10.txt", r"^-?\d+", "9", r"w\d+.txt does not hold the weights"),
        ("weights/w10.h", r"= \{-?\d+", "= {9", r"w\d+.h does not hold the weights"),
        ("defines.h", r"ap_fixed<9,9>, 4\*1> layer2_t", "ap_fixed<8,8>, 4*1> layer2_t", r"type layer2_t is"),
        ("parameters.h", r"reuse_factor = 1;", "reuse_factor = 2;", r"reuse factor 2, asked 1"),
        ("hwq_conv_net.cpp", r".*// l1_.*\n", "", r"'l1_net_threshold1': has no call"),
    ],
)
def test_seeded_file_fault_is_found(
    file: str, old: str, new: str, finding: str, plan: Plan, model: Any, tmp_path: Path
) -> None:
    model.write()
    path = tmp_path / "firmware" / file
    changed, count = re.subn(old, new, path.read_text())
    assert count
    path.write_text(changed)
    assert re.search(finding, "\n".join(audit_files(plan, model, tmp_path)))


def test_a_warning_of_hls4ml_fails_the_generation(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    asked = hls4ml._layer_config

    def illegal(*args: Any) -> dict[str, Any]:
        content = asked(*args)
        if "ReuseFactor" in content:
            content["ReuseFactor"] = 7
        return content

    monkeypatch.setattr(hls4ml, "_layer_config", illegal)
    with pytest.raises(CheckFailed, match=r"(?s)asked.*WARNING: Invalid ReuseFactor=7"):
        hls4ml.write_firmware(plan, HARDWARE)


def test_a_misspelt_precision_key_is_found(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    asked = hls4ml._layer_config

    def misspelt(*args: Any) -> dict[str, Any]:
        content = asked(*args)
        content["Precision"] = {
            key.replace("accum", "acum"): value for key, value in content["Precision"].items()
        }
        return content

    monkeypatch.setattr(hls4ml, "_layer_config", misspelt)
    with pytest.raises(CheckFailed, match=r"type 'accum' is fixed<3,3,"):
        hls4ml.write_firmware(plan, HARDWARE)


def test_arrays_of_layers_9_and_19_have_names_of_their_own(tmp_path: Path) -> None:
    net = Net(5)
    x, y = net.input((4,), -8, 7), net.input((4,), -8, 7)
    for _ in range(8):
        x = net.requant(net.sum(x, y), -8, 7, half_even=False)
        x = net.requant(x, -8, 7, half_even=False)
    graph = net.graph(x)
    hardware = config(graph, Io.PARALLEL, Strategy.LATENCY)
    made = hls4ml.to_model(make_plan(graph, hardware), hardware, str(tmp_path))
    names = [array.name for layer in made.get_layers() for array in layer.get_weights()]
    assert len(names) > 24
    assert len(set(names)) == len(names)
