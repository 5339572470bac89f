"""A plain module becomes a quantised one: which layers, which bits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from brevitas.nn import QuantConv2d, QuantLinear, QuantReLU
from torch import nn

import hwq
from hwq.errors import InputError
from hwq.train.export import export_model
from hwq.train.quantize import quantize
from hwq.train.quantize_spec import InputSpec, LayerQuant, QuantizeSpec

W2A2 = QuantizeSpec(weights=2, activations=2)
PIXELS = InputSpec(bits=4, fraction_bits=4)


def convnet(padding: int = 0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=padding, stride=2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def test_layers_keep_their_names_and_weights_and_the_float_network_stays() -> None:
    model = convnet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = quantize(model, W2A2, input_spec=PIXELS)
    kinds = {n: type(m) for n, m in found.named_modules() if isinstance(m, QuantConv2d | QuantLinear)}
    assert kinds == {"0": QuantConv2d, "4": QuantConv2d, "7": QuantLinear}
    after = found.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert type(model[0]) is nn.Conv2d  # type: ignore[index]


def test_quantising_draws_nothing_from_the_callers_generator() -> None:
    model = convnet()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    quantize(model, W2A2, input_spec=PIXELS)
    assert torch.equal(torch.rand(1), expected)


def test_patterns_change_single_layers_and_a_later_one_wins() -> None:
    overrides = {"*": LayerQuant(weights=4), "7": LayerQuant(weights=8), "5": LayerQuant(activations=4)}
    found = quantize(convnet(), QuantizeSpec(2, 2, layers=overrides), input_spec=PIXELS)
    layers = {
        name: module
        for name, module in found.named_modules()
        if isinstance(module, QuantConv2d | QuantLinear)
    }
    assert {name: int(layer.quant_weight().bit_width) for name, layer in layers.items()} == {
        "0": 4,
        "4": 4,
        "7": 8,
    }
    bits = {
        name: int(m.act_quant.bit_width()) for name, m in found.named_modules() if isinstance(m, QuantReLU)
    }
    assert bits == {"2": 2, "5": 4}


def test_the_result_is_exact(tmp_path: Path) -> None:
    found = quantize(convnet().eval(), W2A2, input_spec=PIXELS)
    x = torch.randint(0, 16, (16, 2, 8, 8)) / 16
    export_model(found, x[:1], tmp_path / "m.onnx")
    hwq.verify(hwq.load(tmp_path / "m.onnx"), x.numpy(), stages=["qonnx", "numpy"]).raise_if_failed()


def test_padding_of_bipolar_values_is_refused_by_layer() -> None:
    with pytest.raises(InputError, match="layer '4': a padded zero is not one of the two values"):
        quantize(convnet(padding=1), QuantizeSpec(1, 1), input_spec=PIXELS)
