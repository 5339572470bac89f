"""Post-training quantisation: each method changes what it should, and what comes out is exact."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hwq
from hwq.errors import InputError
from hwq.train.export import export_model
from hwq.train.ptq.chain import equalize, read_chain
from hwq.train.ptq.quantize import post_train_quantize
from hwq.train.ptq.spec import PtqSpec

METHODS = ("nearest", "gptq", "gpfq", "adaround", "qdrop")
SPEC = PtqSpec(weight_bits=3, act_bits=4, steps=150, batch=64, input_bits=8, input_fraction_bits=7)


def settled(*layers: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """A network with statistics in its batch normalisations, and inputs on the grid."""
    torch.manual_seed(3)
    model = nn.Sequential(*layers)
    x = torch.randint(0, 256, (256, *shape)) / 128
    with torch.no_grad():
        for _ in range(20):
            model(x)
    return model.eval(), x


def mlp() -> tuple[nn.Module, Tensor]:
    return settled(
        nn.Linear(12, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 5),
        shape=(12,),
    )  # fmt: skip


def cnn() -> tuple[nn.Module, Tensor]:
    return settled(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4), shape=(2, 8, 8),
    )  # fmt: skip


def with_(**changes: object) -> PtqSpec:
    return msgspec.structs.replace(SPEC, **changes)


def error(model: nn.Module, found: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((found(x) - model(x)).square().mean())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", [mlp, cnn])
@pytest.mark.parametrize("weight_scale", ["channel", "tensor"])
def test_what_comes_out_is_exact(net: object, method: str, weight_scale: str, tmp_path: Path) -> None:
    model, x = net()  # type: ignore[operator]
    found = post_train_quantize(model, x, with_(method=method, weight_scale=weight_scale, steps=20))
    export_model(found, x[:1], tmp_path / "m.onnx")
    graph = hwq.load(tmp_path / "m.onnx")
    hwq.verify(graph, x[:64].numpy(), stages=["qonnx", "numpy"]).raise_if_failed()
    with torch.no_grad():
        ours, theirs = hwq.simulate(graph, x[:64].numpy()), found(x[:64]).numpy()
    assert isinstance(ours, np.ndarray)
    assert (ours.argmax(1) == theirs.argmax(1)).all()


@pytest.mark.parametrize("net", [mlp, cnn])
@pytest.mark.parametrize("method", METHODS[1:])
def test_a_method_beats_rounding_to_nearest(net: object, method: str) -> None:
    model, x = net()  # type: ignore[operator]
    plain = post_train_quantize(model, x, with_(method="nearest", bias_correction=False))
    found = post_train_quantize(model, x, with_(method=method, bias_correction=False))
    weights = [
        [p.detach() for name, p in n.named_parameters() if name.endswith("weight")] for n in (plain, found)
    ]
    assert any(not torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert error(model, found, x) < error(model, plain, x)


def test_bias_correction_removes_the_mean_error() -> None:
    model, x = mlp()
    means = []
    for correct in (False, True):
        found = post_train_quantize(model, x, with_(method="nearest", bias_correction=correct))
        with torch.no_grad():
            means.append(float((found(x) - model(x)).mean(0).abs().max()))
    assert means[1] < 1e-5 < means[0]


def test_equalisation_balances_ranges_and_leaves_the_function() -> None:
    model, x = mlp()
    blocks = read_chain(model)
    blocks[0].layer.weight.data[3] *= 64.0
    before = [b.layer.weight.detach().clone() for b in blocks]
    with torch.no_grad():
        wanted = x
        for block in blocks:
            wanted = block.activated(block.output(wanted))
    equalize(blocks)
    assert any(not torch.equal(b.layer.weight, w) for b, w in zip(blocks, before, strict=True))
    with torch.no_grad():
        got = x
        for block in blocks:
            got = block.activated(block.output(got))
    assert torch.equal(got, wanted)  # factors are powers of two


def test_calibration_chooses_the_clip() -> None:
    model, x = mlp()
    scales = {}
    for how in ("minmax", "percentile", "mse"):
        found = post_train_quantize(model, x, with_(method="nearest", calibration=how, percentile=90))
        scales[how] = float(found[1].quant_weight().scale.mean())  # type: ignore[index]
    assert scales["percentile"] < scales["minmax"]
    assert scales["mse"] < scales["minmax"]


def test_the_float_network_is_left_alone() -> None:
    model, x = mlp()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    post_train_quantize(model, [x[:100], x[100:]], with_(method="gptq", equalize=True))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.fc(x)
        return found


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Residual(), "has 2 uses, not one"),
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), "GELU is not supported here"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), "has no ReLU after it"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Flatten()),
            "must end in a linear or convolution layer",
        ),
    ],
)
def test_structures_that_are_refused(model: nn.Module, said: str) -> None:
    with pytest.raises(InputError, match=said):
        post_train_quantize(model, torch.rand(8, 4), SPEC)


@pytest.mark.parametrize("calibration", [torch.empty(0, 12), torch.full((4, 12), torch.nan), []])
def test_calibration_that_cannot_be_used(calibration: object) -> None:
    model, _ = mlp()
    with pytest.raises(InputError, match="needs calibration data, all of it finite"):
        post_train_quantize(model, calibration, SPEC)  # type: ignore[arg-type]
