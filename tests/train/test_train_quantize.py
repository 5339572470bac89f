"""A plain module becomes a quantised one: which layers, which bits, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from brevitas.nn import QuantConv2d, QuantLinear, QuantReLU
from torch import Tensor, nn
from torch.nn import functional

import hwq
from hwq.errors import InputError
from hwq.ir import Graph
from hwq.train.conversion import convert
from hwq.train.estimators import Codes
from hwq.train.export import export_model
from hwq.train.models.mlp import Mlp
from hwq.train.models.spec import MlpSpec
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import InputSpec, LayerQuant, QuantizeSpec
from hwq.train.quantizers import TensorQuant
from hwq.train.tracing import fold_batch_norms, trace

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


class Residual(nn.Module):
    """Two blocks, one with a strided shortcut; calls of functions and methods among modules, one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv3, self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Conv2d(4, 8, 1, stride=2)
        self.bn3, self.relu, self.fc = nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = functional.relu(x + self.bn2(self.conv2(x)))
        x = self.relu(self.bn3(self.conv3(x)) + self.down(x))
        x = functional.dropout(functional.adaptive_avg_pool2d(x, 1), 0.5, self.training)
        y: Tensor = self.fc(torch.flatten(x, 1))
        return y


class Branches(nn.Module):
    """A concatenation, a transposed convolution, a view by the batch's size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.up, self.fc = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.a(x).relu(), functional.hardtanh(self.b(x))], 1)
        x = functional.max_pool2d(functional.avg_pool2d(self.up(x), 2), 2)
        y: Tensor = self.fc(x.view(x.size(0), -1))
        return y


class Curve(nn.Module):
    def __init__(self, curve: nn.Module) -> None:
        super().__init__()
        self.conv, self.bn, self.curve, self.fc = (
            nn.Conv1d(2, 4, 3),
            nn.BatchNorm1d(4),
            curve,
            nn.Linear(24, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(torch.flatten(self.curve(self.bn(self.conv(x))), 1))
        return y


def settled(model: nn.Module, x: Tensor, spec: QuantizeSpec) -> nn.Module:
    """Quantised with calibration, and trained a little."""
    found = quantize(model, spec, calibration=x, input_spec=PIXELS)
    optimizer = torch.optim.SGD(found.parameters(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(found(x).square().sum())
        optimizer.step()
    return found.eval()


def exact(model: nn.Module, x: Tensor, path: Path) -> Graph:
    graph = convert(model, x[:1], path=path / "m.onnx")
    hwq.verify(graph, x.numpy(), stages=["qonnx", "numpy"]).raise_if_failed()
    return graph


def pixels(*shape: int) -> Tensor:
    return torch.randint(0, 16, (16, *shape), generator=torch.Generator().manual_seed(1)) / 16


def names(model: nn.Module) -> set[str]:
    """Where activation quantisers stand."""
    return {
        name.split(".act_quant")[0]
        for name, m in model.named_modules()
        if isinstance(m, TensorQuant) and "act_quant" in name
    }


def test_residual_sums_have_one_scale_by_default(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = settled(Residual(), pixels(2, 8, 8), QuantizeSpec(4, 4))
    assert names(found) == {
        "input_quant",
        "relu",
        "relu_2",
        "relu_1_quant",
        "add_quant",
        "add_1_quant",
        "fc_quant",
    }
    graph = exact(found, pixels(2, 8, 8), tmp_path)
    assert [node.op for node in graph.nodes].count("add") == 2


@pytest.mark.parametrize("fields", [{"sums": "separate"}, {"batch_norm": "fold"}, {"output": 6}])
def test_options_are_exact_too(fields: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = settled(Residual(), pixels(2, 8, 8), QuantizeSpec(4, 4, **fields))
    exact(found, pixels(2, 8, 8), tmp_path)
    if "sums" in fields:
        assert {"add_bn2_quant", "add_1_bn3_quant", "add_1_down_quant"} <= names(found)
    if "batch_norm" in fields:
        assert not [m for m in found.modules() if isinstance(m, nn.BatchNorm2d)]
    if "output" in fields:
        assert len(torch.unique(found(pixels(2, 8, 8)))) <= 64


def test_folding_changes_no_float_value() -> None:
    torch.manual_seed(0)
    for model, x in ((Residual(), pixels(2, 8, 8)), (nn.Sequential(
        nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.BatchNorm1d(6), nn.Linear(10, 4), nn.ReLU()
    ), pixels(4, 8))):  # fmt: skip
        model(x)
        traced = trace(deepcopy(model).eval())
        before = traced(x)
        fold_batch_norms(traced)
        assert not [m for m in traced.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert torch.allclose(traced(x), before, atol=1e-5)


def test_branches_meet_on_one_grid(tmp_path: Path) -> None:
    torch.manual_seed(0)
    exact(settled(Branches(), pixels(2, 8, 8), QuantizeSpec(3, 4)), pixels(2, 8, 8), tmp_path)


CURVES = [
    nn.ReLU6(), nn.Hardtanh(), nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.GELU(), nn.LeakyReLU(), nn.Hardswish(), nn.ELU(),
    nn.PReLU(), nn.Softplus(), nn.Mish(), nn.Hardsigmoid(), nn.SELU(),
]  # fmt: skip


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: type(curve).__name__)
def test_every_activation_gets_the_quantiser_that_fits(curve: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = settled(Curve(deepcopy(curve)), pixels(2, 8), QuantizeSpec(4, 4))
    exact(found, pixels(2, 8), tmp_path)
    replaced = isinstance(curve, nn.ReLU6 | nn.Hardtanh)
    quantiser = next(
        m for n, m in found.named_modules() if isinstance(m, TensorQuant) and n.startswith("curve")
    )
    assert names(found) == {"input_quant", "curve" if replaced else "curve_quant"}
    unsigned = isinstance(curve, nn.ReLU6 | nn.Sigmoid | nn.Softplus | nn.Hardsigmoid)
    assert quantiser.quantiser.codes == (Codes(0, 15) if unsigned else Codes(-8, 7))


def test_calibration_sets_clipping_points_from_what_reaches_them() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), pixels(8)
    clips = {}
    name = "1.act_quant.fused_activation_quant_proxy.tensor_quant.clip.value"
    for how in ("minmax", "percentile", "mse"):
        spec = QuantizeSpec(2, 2, calibration=how, percentile=80)
        found = quantize(model, spec, calibration=[x[:8], x[8:]], input_spec=PIXELS)
        clips[how] = float(found.get_parameter(name).detach())
    reached = model[1](model[0](x))
    assert clips["minmax"] == pytest.approx(float(reached.max()))
    assert 0 < clips["mse"] < clips["minmax"]
    assert 0 < clips["percentile"] < clips["minmax"]
    with pytest.raises(InputError, match="calibration needs data"):
        quantize(model, W2A2, calibration=[], input_spec=PIXELS)


def test_what_is_ignored_stays_float_and_convert_says_what_that_means() -> None:
    found = quantize(convnet(), QuantizeSpec(2, 2, ignore=("7", "2")), input_spec=PIXELS)
    assert type(found.get_submodule("7")) is nn.Linear
    assert type(found.get_submodule("2")) is nn.ReLU
    with pytest.raises(
        InputError, match=r"layer '7': its weights are float, .*\n  cure: take it out of quantize.ignore"
    ):
        convert(found, pixels(2, 8, 8)[:1])


def test_a_pattern_that_matches_nothing_names_the_nearest() -> None:
    for spec in (
        QuantizeSpec(2, 2, ignore=("clasifier",)),
        QuantizeSpec(2, 2, layers={"clasifier": LayerQuant()}),
    ):
        with pytest.raises(InputError, match="'clasifier' matches no module; did you mean 'classifier'"):
            quantize(Mlp(MlpSpec((4,)), (8,), 3), spec)


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x) * x.relu()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Depends(), r"Depends cannot be traced \(.*test_train_quantize.py:\d+, `if x.sum\(\) > 0:`\)"),
        (Product(), "call 'mul' of mul: a product of two computed values"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
            r"layer '1': quantize\(\) does not know what LayerNorm does",
        ),
        (nn.Sequential(nn.EmbeddingBag(4, 4)), "layer '0': quantize.* EmbeddingBag"),
    ],
)
def test_what_cannot_be_quantised_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        quantize(model, W2A2, input_spec=PIXELS)
    assert "\n  cure: " in str(error.value)


def test_an_input_without_a_type_is_stated_when_it_is_lowered(tmp_path: Path) -> None:
    found = quantize(convnet().eval(), W2A2)
    assert "input_quant" not in names(found)
    x = pixels(2, 8, 8) * 16
    graph = convert(found, x[:1], path=tmp_path / "m.onnx", input_type="ufixed<4,4>")
    hwq.verify(graph, x.numpy(), stages=["numpy"]).raise_if_failed()


def test_the_public_names_are_there() -> None:
    import hwq.train as training
    from hwq.train import quantization

    assert training.quantize is quantization.quantize
    assert set(training.__all__) <= {*dir(training), *training._MODULES}


def test_padding_of_bipolar_values_is_refused_by_layer() -> None:
    with pytest.raises(InputError, match="layer '4': a padded zero is not one of the two values"):
        quantize(convnet(padding=1), QuantizeSpec(1, 1), input_spec=PIXELS)
