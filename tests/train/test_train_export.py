"""Export: the file on the disk means the trained integers, or there is no file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.inject.enum import FloatToIntImplType, QuantType
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerTensorFloat,
    Int16Bias,
    SignedTernaryActPerTensorConst,
)
from onnx import numpy_helper
from torch import nn

from hwq.errors import InputError
from hwq.frontends import load
from hwq.frontends.brevitas import load_model, run_parameters, weight_integers
from hwq.train import TrainResult
from hwq.train.export import (
    check_file,
    check_parameters,
    export,
    export_model,
    file_parameters,
    round_quotients,
)
from hwq.train.network import build_network
from hwq.train.recipe import load_recipe
from tests.frontends.brevitas_nets import ROUNDINGS, raw_export, rounding_net

SHAPE = (1, 8, 8)


def network(name: str, *overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return build_network(load_recipe(name, overrides), SHAPE, 10).eval()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("digits-w2a2", ()),
        ("digits-w4a4", ("quantize.weight_scale=channel", "model.bias=true")),
        ("digits-w1a1", ()),
        ("digits-mlp-w2a2", ("quantize.weights=8", "quantize.activations=8")),
    ],
)
def test_the_file_is_whole_and_means_the_models_integers(
    tmp_path: Path, name: str, overrides: tuple[str, ...]
) -> None:
    model = network(name, *overrides)
    expected = weight_integers(model)
    export(model, SHAPE, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    found = {e.name.removesuffix(".weight"): e.integers for e in file_parameters(tmp_path / "model.onnx")}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[layer], expected[layer]) for layer in expected)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [(i.name, [d.dim_value for d in i.type.tensor_type.shape.dim]) for i in graph.input] == [
        ("input", [1, *SHAPE])
    ]
    assert [o.name for o in graph.output] == ["logits"]


def test_binary_networks_are_written_with_bipolar_quantisers(tmp_path: Path) -> None:
    export(network("digits-w1a1"), SHAPE, tmp_path / "model.onnx")
    kinds = [n.op_type for n in onnx.load(tmp_path / "model.onnx").graph.node if n.op_type.endswith("Quant")]
    assert kinds == ["Quant"] + ["BipolarQuant"] * 5


def test_export_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        export(network("digits-w2a2"), SHAPE, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rounding", sorted(ROUNDINGS))
def test_every_rounding_of_weights_reaches_the_integers(tmp_path: Path, rounding: str, dynamo: bool) -> None:
    """Brevitas 0.13.4 alone writes other weights for all but two of them, silently; the model stays as it was."""
    model, x = rounding_net(rounding), torch.zeros(1, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    raw_export(model, x, tmp_path / "raw.onnx", dynamo=dynamo)
    if rounding in {"round", "stochastic"}:
        check_file(model, x, tmp_path / "raw.onnx")
    else:
        with pytest.raises(InputError, match=r"layer '1': .* exported weights mean other integers") as error:
            check_file(model, x, tmp_path / "raw.onnx")
        assert "cure: write the file with hwq.train.export.export_model" in str(error.value)
    export_model(model, x, tmp_path / "ours.onnx", dynamo=dynamo)
    check_file(model, x, tmp_path / "ours.onnx")
    (dense,) = (n for n in load(tmp_path / "ours.onnx").graph.nodes if n.op == "dense")
    lowered = dense.params.weight
    weights = {p.name: p.integers() for p in run_parameters(model, [x])}["1.weight"]
    signs = np.sign((lowered * weights.T).sum(axis=0))
    assert np.array_equal(lowered * signs, weights.T)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_layer_inside_a_network_that_does_not_round_to_nearest_is_cured(tmp_path: Path) -> None:
    model = network("digits-mlp-w2a2", "model.widths=[16, 8]")
    floor = qnn.QuantLinear(
        16, 8, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=4,
        weight_float_to_int_impl_type=FloatToIntImplType.FLOOR,
    )  # fmt: skip
    model.set_submodule("layers.4", floor)
    export(model.eval(), SHAPE, tmp_path / "model.onnx")
    check_file(model, torch.zeros(1, *SHAPE), tmp_path / "model.onnx")


def test_an_activation_quantiser_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    """The exporter writes a ternary activation with threshold 0.7 as if it were 0.5."""
    act = qnn.QuantIdentity(
        act_quant=SignedTernaryActPerTensorConst,
        quant_type=QuantType.TERNARY,
        scaling_init=1.0,
        threshold=0.7,
    )
    model = nn.Sequential(act, qnn.QuantLinear(4, 2, bias=False, weight_bit_width=4)).eval()
    with pytest.raises(InputError, match="layer '0': QONNX has no form of its activation quantiser"):
        export_model(model, torch.zeros(1, 4), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_biases_that_do_not_round_to_nearest_are_cured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True),
        qnn.QuantLinear(16, 8, bias=True, weight_bit_width=4, bias_quant=Int16Bias,
                        bias_float_to_int_impl_type=FloatToIntImplType.FLOOR),
    )  # fmt: skip
    model(torch.randn(9, 16))
    model.eval()
    export_model(model, torch.zeros(1, 16), tmp_path / "model.onnx")
    check_file(model, torch.zeros(1, 16), tmp_path / "model.onnx")


def test_one_changed_weight_in_the_file_is_caught(trained: TrainResult, tmp_path: Path) -> None:
    assert trained.model is not None
    model, x = load_model(trained.checkpoint), torch.zeros(1, *SHAPE)
    expected = weight_integers(model)
    proto = onnx.load(trained.model)
    tensor = next(t for t in proto.graph.initializer if t.name == "classifier.weight")
    weights = numpy_helper.to_array(tensor).copy()
    weights[3, 5] = -100.0 if expected["classifier"][3, 5] > 0 else 100.0
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    check_file(model, x, trained.model)
    with pytest.raises(
        InputError, match=r"layer 'classifier': 1 of \d+ exported weights .*at \(3, 5\)"
    ) as error:
        check_file(model, x, tmp_path / "changed.onnx")
    assert "merge_quant_weights" in str(error.value)


def test_renamed_and_transposed_weights_are_found_by_value(tmp_path: Path) -> None:
    model, x = rounding_net("floor"), torch.zeros(1, 16)
    export_model(model, x, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    tensor = next(t for t in proto.graph.initializer if t.name == "1.weight")
    quant = next(n for n in proto.graph.node if "1.weight" in n.input)
    values = numpy_helper.to_array(tensor)
    for wrong in (False, True):
        changed = values.T.copy()
        changed[3, 5] += 100 * wrong
        tensor.CopyFrom(numpy_helper.from_array(changed, "val_7"))
        quant.input[0] = "val_7"
        onnx.save(proto, tmp_path / "renamed.onnx")
        if wrong:
            with pytest.raises(InputError, match=r"layer '1': 1 of 128 .* at \(5, 3\)"):
                check_file(model, x, tmp_path / "renamed.onnx")
        else:
            check_file(model, x, tmp_path / "renamed.onnx")


def test_a_layer_that_is_missing_on_either_side_is_named(trained: TrainResult) -> None:
    assert trained.model is not None
    expected = run_parameters(load_model(trained.checkpoint), [torch.zeros(1, *SHAPE)])
    with pytest.raises(
        InputError, match=r"quantises the constant 'classifier\.weight', which the model does"
    ):
        check_parameters(trained.model, expected[:-1])
    more = replace(expected[0], layer="more")
    with pytest.raises(InputError, match="layer 'more': its quantised weight is not in the exported file"):
        check_parameters(trained.model, [*expected, more])


def test_rounding_is_that_of_the_real_quotient() -> None:
    """Ties, and quotients so close to a tie that a float32 division would make them one."""
    scale = np.float32(0.1)
    halves = (np.arange(-9, 10) * np.float64(scale) / 2).astype(np.float32)
    near = np.concatenate([halves, np.nextafter(halves, np.float32(9)), np.nextafter(halves, np.float32(-9))])
    exact = [round(Fraction(float(w)) / Fraction(float(scale))) for w in near]
    assert round_quotients(near, np.array(scale), np.array(0, np.float32)).tolist() == exact
    single = np.rint(near / scale).astype(np.int64).tolist()
    assert single != exact
