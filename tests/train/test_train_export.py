"""Export: the file on the disk means the trained integers, or there is no file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.inject.enum import FloatToIntImplType
from brevitas.quant import Int8WeightPerTensorFloat
from onnx import numpy_helper
from torch import nn

from hwq.errors import InputError
from hwq.frontends.brevitas import load_model, weight_integers
from hwq.train import TrainResult
from hwq.train.export import check_weights, export, file_weight_integers, round_quotients
from hwq.train.models import build
from hwq.train.recipe import load_recipe

SHAPE = (1, 8, 8)


def network(name: str, *overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return build(load_recipe(name, overrides), SHAPE, 10).eval()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("digits-w2a2", ()),
        ("digits-w4a4", ("model.weight_scale=channel", "model.bias=true")),
        ("digits-w1a1", ()),
        ("digits-mlp-w2a2", ("model.weight_bits=8", "model.act_bits=8")),
    ],
)
def test_the_file_is_whole_and_means_the_models_integers(
    tmp_path: Path, name: str, overrides: tuple[str, ...]
) -> None:
    model = network(name, *overrides)
    expected = weight_integers(model)
    export(model, SHAPE, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    found = file_weight_integers(tmp_path / "model.onnx")
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


def test_a_quantiser_that_does_not_round_to_nearest_is_caught(tmp_path: Path) -> None:
    """Brevitas 0.13.4 writes ROUND for a FLOOR weight quantiser, silently: another network."""
    model = network("digits-mlp-w2a2", "model.widths=[16, 8]")
    model.get_submodule("layers")[5] = qnn.QuantLinear(  # type: ignore[operator]
        16, 8, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=4,
        weight_float_to_int_impl_type=FloatToIntImplType.FLOOR,
    )  # fmt: skip
    with pytest.raises(InputError) as error:
        export(model.eval(), SHAPE, tmp_path / "model.onnx")
    assert "layer 'layers.5'" in str(error.value)
    assert "exported weights mean other integers than the trained model's" in str(error.value)
    assert "cure: give the layer a weight quantiser that rounds to nearest" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_one_changed_weight_in_the_file_is_caught(trained: TrainResult, tmp_path: Path) -> None:
    expected = weight_integers(load_model(trained.checkpoint))
    proto = onnx.load(trained.model)
    tensor = next(t for t in proto.graph.initializer if t.name == "classifier.weight")
    weights = numpy_helper.to_array(tensor).copy()
    weights[3, 5] = -100.0 if expected["classifier"][3, 5] > 0 else 100.0
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(proto, tmp_path / "changed.onnx")
    check_weights(trained.model, expected)
    with pytest.raises(
        InputError, match=r"layer 'classifier': 1 of \d+ exported weights .*at \(3, 5\)"
    ) as error:
        check_weights(tmp_path / "changed.onnx", expected)
    assert "merge_quant_weights" in str(error.value)


def test_a_layer_that_is_missing_on_either_side_is_named(trained: TrainResult) -> None:
    expected = weight_integers(load_model(trained.checkpoint))
    with pytest.raises(InputError, match="layer 'more': its quantised weight is not in the exported file"):
        check_weights(trained.model, {**expected, "more": np.zeros(3, np.int64)})
    del expected["classifier"]
    with pytest.raises(InputError, match="quantises weights of 'classifier', which the model does not"):
        check_weights(trained.model, expected)


def test_rounding_is_that_of_the_real_quotient() -> None:
    """Ties, and quotients so close to a tie that a float32 division would make them one."""
    scale = np.float32(0.1)
    halves = (np.arange(-9, 10) * np.float64(scale) / 2).astype(np.float32)
    near = np.concatenate([halves, np.nextafter(halves, np.float32(9)), np.nextafter(halves, np.float32(-9))])
    exact = [round(Fraction(float(w)) / Fraction(float(scale))) for w in near]
    assert round_quotients(near, np.array(scale), np.array(0, np.float32)).tolist() == exact
    single = np.rint(near / scale).astype(np.int64).tolist()
    assert single != exact
