"""Post-training quantisation: each method changes what it should, and what comes out is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

import hwq
from hwq.errors import InputError
from hwq.train import checkpoint
from hwq.train.export import export_model
from hwq.train.job import run_job
from hwq.train.ptq import learned
from hwq.train.ptq.blocks import split, whole
from hwq.train.ptq.fold import equalise, fold
from hwq.train.ptq.quantize import post_train_quantize, prepare
from hwq.train.ptq.spec import PtqSpec
from hwq.train.quantize_spec import InputSpec, LayerQuant, QuantizeSpec

PLAIN = ("gptq", "gpfq")
LEARNED = ("adaround", "qdrop", "adaquant")
BITS = QuantizeSpec(weights=3, activations=4, weight_scale="channel")
INPUT = InputSpec(bits=8, fraction_bits=7)
SPEC = PtqSpec(method="nearest", steps=80, batch=64, learning_rate=0.02)

Net = tuple[nn.Module, Tensor]


def settled(*layers: nn.Module, shape: tuple[int, ...]) -> Net:
    """A network with statistics in its batch normalisations, and inputs on the grid."""
    torch.manual_seed(3)
    model = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()
    x = torch.randint(0, 256, (256, *shape)) / 128
    with torch.no_grad():
        for _ in range(20):
            model(x)
    return model.eval(), x


def mlp() -> Net:
    return settled(
        nn.Linear(12, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(),
        nn.Linear(16, 5, bias=False), shape=(12,),
    )  # fmt: skip


def cnn() -> Net:
    return settled(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4), shape=(2, 8, 8),
    )  # fmt: skip


class Branches(nn.Module):
    """A residual sum, a concatenation with a depthwise branch, and functions instead of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.depthwise, self.pointwise = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm(self.stem(x))), 2)
        x = functional.relu(x + self.second(functional.relu(self.first(x))))
        x = torch.cat([x, functional.relu(self.pointwise(functional.relu(self.depthwise(x))))], 1)
        found: Tensor = self.head(functional.avg_pool2d(x, 4).flatten(1))
        return found


def branches() -> Net:
    return settled(Branches(), shape=(2, 8, 8))


NETS = [mlp, cnn, branches]


def with_(**changes: Any) -> PtqSpec:
    return msgspec.structs.replace(SPEC, **changes)


def made(model: nn.Module, x: Tensor, bits: QuantizeSpec = BITS, **changes: Any) -> nn.Module:
    return post_train_quantize(model, x, bits, with_(**changes), input_spec=INPUT)


def error(model: nn.Module, found: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((found(x) - model(x)).square().mean())


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach() for name, p in model.named_parameters() if name.endswith("weight")]


@pytest.mark.parametrize("method", ["nearest", *PLAIN, *LEARNED])
@pytest.mark.parametrize(
    ("net", "changes"),
    [(mlp, {"weight_scale": "tensor"}), (cnn, {}), (branches, {"weight_scale_type": "power-of-two"})],
)
def test_what_comes_out_is_exact(
    net: Callable[[], Net], method: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model, x = net()
    bits = msgspec.structs.replace(BITS, **changes)
    found = made(model, x, bits, method=method, steps=10)
    export_model(found, x[:1], tmp_path / "m.onnx")
    graph = hwq.load(tmp_path / "m.onnx")
    hwq.verify(graph, x[:64].numpy(), stages=["qonnx", "numpy"]).raise_if_failed()
    with torch.no_grad():
        ours, theirs = hwq.simulate(graph, x[:64].numpy()), found(x[:64]).numpy()
    assert isinstance(ours, np.ndarray)
    assert (ours.argmax(1) == theirs.argmax(1)).all()


@pytest.mark.slow
def test_what_comes_out_is_exact_as_compiled_hardware(tmp_path: Path) -> None:
    model, x = cnn()
    export_model(made(model, x, method="gpfq"), x[:1], tmp_path / "m.onnx")
    stages = ["qonnx", "numpy", "csim"]
    hwq.verify(hwq.load(tmp_path / "m.onnx"), x[:16].numpy(), stages=stages).raise_if_failed()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", PLAIN)
def test_error_feedback_changes_weights_and_lowers_the_error(net: Callable[[], Net], method: str) -> None:
    model, x = net()
    plain = made(model, x, bias_correction=False)
    found = made(model, x, bias_correction=False, method=method)
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain), weights(found), strict=True))
    assert error(model, found, x) < error(model, plain, x)


@pytest.mark.parametrize(
    ("net", "unit", "method"),
    [
        *[(net, unit, method) for method in LEARNED for net, unit in ((mlp, "layer"), (branches, "block"))],
        (mlp, "network", "adaquant"),
    ],
)
def test_learning_lowers_the_error_of_its_start(net: Callable[[], Net], unit: str, method: str) -> None:
    model, x = net()
    plain = made(model, x, bias_correction=False)
    found = made(model, x, bias_correction=False, method=method, unit=unit, start="nearest")
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain), weights(found), strict=True))
    assert error(model, found, x) < error(model, plain, x)


def scales(model: nn.Module, kind: str) -> list[float]:
    found = [p for name, p in model.named_parameters() if kind in name and name.endswith("value")]
    return [float(p.detach().mean()) for p in found]


@pytest.mark.parametrize(
    ("method", "weight_scales_move", "activation_scales_move"),
    [("adaround", False, False), ("qdrop", False, True), ("adaquant", True, True)],
)
def test_what_a_learned_method_moves(
    method: str, *, weight_scales_move: bool, activation_scales_move: bool
) -> None:
    model, x = mlp()
    plain, found = made(model, x), made(model, x, method=method, unit="block", steps=20)
    assert (scales(plain, "weight_quant") != scales(found, "weight_quant")) == weight_scales_move
    assert (scales(plain, "act_quant") != scales(found, "act_quant")) == activation_scales_move


def test_adaround_moves_no_weight_further_than_to_a_neighbour() -> None:
    model, x = mlp()
    found = made(model, x, method="adaround", unit="layer", start="nearest")
    layer: Any = found.get_submodule("5")
    steps = model[5].weight / layer.quant_weight().scale  # type: ignore[index]
    codes = layer.quant_weight().int()
    inside = (steps.abs() < 3).detach()
    assert (codes - steps).abs()[inside].max() < 1
    assert (codes != steps.round()).any()


def test_dropping_changes_what_qdrop_finds() -> None:
    model, x = cnn()
    never, half = (made(model, x, method="qdrop", unit="block", drop=drop, steps=40) for drop in (0.0, 0.5))
    assert any(not torch.equal(a, b) for a, b in zip(weights(never), weights(half), strict=True))


@pytest.mark.parametrize(
    ("method", "drop", "share"), [("qdrop", 0.5, 0.5), ("qdrop", 0.0, 0.0), ("adaround", 0.5, 0.0)]
)
def test_only_qdrop_lets_activations_through_unquantised(
    method: str, drop: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[Tensor] = []

    class Watched(learned._Activation):
        def __call__(self, x: Tensor) -> Tensor:
            y, given = self.function(x), super().__call__(x)
            scale = self.scale * self.growth.exp()
            off_grid = ((y / scale).round() * scale - y).abs() > 1e-4
            passed.append(given[off_grid] == y[off_grid])
            return given

    monkeypatch.setattr(learned, "_Activation", Watched)
    made(*cnn(), method=method, unit="block", drop=drop, steps=10)
    assert float(torch.cat(passed).float().mean()) == pytest.approx(share, abs=0.05)


def test_the_same_seed_gives_the_same_network() -> None:
    model, x = mlp()
    found = [
        post_train_quantize(
            model, x, BITS, with_(method="qdrop", steps=5, samples=100), input_spec=INPUT, seed=seed
        )
        for seed in (1, 1, 2)
    ]
    states = [list(net.state_dict().values()) for net in found]
    assert all(torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(states[0], states[2], strict=True))


def test_bias_correction_removes_the_mean_error() -> None:
    model, x = mlp()
    means = []
    for correct in (False, True):
        with torch.no_grad():
            found = made(model, x, bias_correction=correct)
            means.append(float((found(x) - model(x)).mean(0).abs().max()))
    assert means[1] < 1e-5 < means[0]


def test_calibration_chooses_the_scales() -> None:
    model, x = mlp()
    found = {how: made(model, x, calibration=how, percentile=90) for how in ("minmax", "percentile", "mse")}
    for kind in ("weight_quant", "act_quant"):
        largest = scales(found["minmax"], kind)
        for how in ("percentile", "mse"):
            assert all(a <= b for a, b in zip(scales(found[how], kind), largest, strict=True))
            assert scales(found[how], kind) != largest


def test_the_float_network_and_the_callers_generator_are_left_alone() -> None:
    model, x = mlp()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    post_train_quantize(
        model,
        [x[:100], x[100:]],
        BITS,
        with_(method="qdrop", steps=3, equalize=True),
        input_spec=INPUT,
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (QuantizeSpec(weights=1, activations=4), "layer '0': binary weights cannot be found"),
        (QuantizeSpec(weights=4, activations=1), "layer '2': one-bit activations cannot be found"),
        (
            QuantizeSpec(weights=4, activations=4, layers={"5": LayerQuant(weights=1)}),
            r"layer '5'.*\n  cure: train it quantised",
        ),
    ],
)
def test_what_only_training_can_find_is_refused(bits: QuantizeSpec, said: str) -> None:
    model, x = mlp()
    with pytest.raises(InputError, match=said):
        made(model, x, bits)


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(x)
    return found


def test_equalisation_balances_ranges_and_leaves_every_bit_of_the_function() -> None:
    model, x = cnn()
    folded = fold(model)
    first, depthwise, last = (folded.get_submodule(name) for name in ("0", "4", "7"))
    first.weight.data[3] *= 64.0  # type: ignore[operator,index]
    before, wanted = spread(depthwise.weight), outputs(folded, x)  # type: ignore[arg-type]
    assert equalise(folded) == 2
    assert spread(first.weight) < 16  # type: ignore[arg-type]
    assert spread(depthwise.weight) != before  # type: ignore[arg-type]
    assert spread(last.weight.reshape(4, 6, 4).transpose(0, 1)) < 16  # type: ignore[operator]
    assert torch.equal(outputs(folded, x), wanted)


def spread(weight: Tensor) -> float:
    """The largest channel's range over the smallest's."""
    ranges = weight.detach().flatten(1).abs().amax(1)
    return float(ranges.max() / ranges.min())


def test_equalisation_leaves_joins_alone() -> None:
    model, x = branches()
    folded = fold(model)
    wanted = outputs(folded, x)
    assert equalise(folded) == 2  # first to second, depthwise to pointwise
    assert torch.equal(outputs(folded, x), wanted)


def test_blocks_hold_both_arms_of_a_join() -> None:
    model, _ = branches()
    network = prepare(model, BITS, input_spec=INPUT)
    layers = {"stem", "first", "second", "depthwise", "pointwise", "head"}

    def is_layer(node: fx.Node) -> bool:
        return node.target in layers

    blocks = split(whole(network.graph), is_layer)
    assert [[n.target for n in block.nodes if is_layer(n)] for block in blocks] == [
        ["stem"], ["first", "second"], ["depthwise", "pointwise"], ["head"],
    ]  # fmt: skip
    assert [block.entry for block in blocks[1:]] == [block.nodes[-1] for block in blocks[:-1]]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(x), self.second(y)


def test_several_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="one input and one result; found 2 inputs"):
        post_train_quantize(TwoInputs(), torch.rand(8, 4), BITS, SPEC)


@pytest.mark.parametrize("calibration", [torch.empty(0, 12), torch.full((4, 12), torch.nan), []])
def test_calibration_that_cannot_be_used(calibration: Any) -> None:
    model, _ = mlp()
    with pytest.raises(InputError, match="needs calibration data, all of it finite"):
        post_train_quantize(model, calibration, BITS, SPEC)


RECIPE = ("quantize.weights=4", "quantize.activations=8", "ptq.steps=20", "train.epochs=2",
          "model.widths=[6, 8]", "train.learning_rate=0.02")  # fmt: skip


def test_a_recipe_trains_the_float_network_and_quantises_it(tmp_path: Path) -> None:
    result = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=RECIPE, quiet=True)
    metrics = json.loads(result.metrics.read_text())
    assert set(metrics["ptq"]) == {
        "float_validation_accuracy", "float_test_accuracy", "seconds",
    }  # fmt: skip
    assert metrics["ptq"]["float_validation_accuracy"] == max(
        epoch["validation_accuracy"] for epoch in metrics["epochs"]
    )
    assert metrics["weight_bits"] == 4
    assert result.model is not None
    x = np.load(result.test_inputs)
    graph = hwq.load(result.model)
    hwq.verify(graph, x[:32], stages=["qonnx", "numpy"]).raise_if_failed()
    again = checkpoint.load_model(result.checkpoint)
    with torch.no_grad():
        assert (again(torch.from_numpy(x)).argmax(1).numpy() == hwq.simulate(graph, x).argmax(1)).all()  # type: ignore[union-attr]
    assert not any(
        "quant" in key for key in checkpoint.read(tmp_path / "run/checkpoints/best.pt")[0]["model"]
    )


def test_a_resumed_run_may_quantise_otherwise(tmp_path: Path) -> None:
    first = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=RECIPE, quiet=True)
    before = first.checkpoint.read_bytes()
    other = (*RECIPE, "ptq.method=nearest")
    second = run_job("digits-mlp-w2a2", tmp_path / "run", overrides=other, resume=True, quiet=True)
    assert second.checkpoint.read_bytes() != before
    assert json.loads((tmp_path / "run/recipe.json").read_text())["ptq"]["method"] == "nearest"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("quantize=none",), "section ptq needs section quantize"),
        (("quantize.weights=1",), "cannot be found after training"),
        (("ptq.metod=gptq",), "did you mean 'ptq.method'"),
        (("ptq.method=qdrop", "ptq.unit=network"), "unit 'network' needs method 'adaquant'"),
    ],
)
def test_recipes_that_are_refused_before_training(
    overrides: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        run_job("digits-mlp-w2a2", tmp_path / "run", overrides=(*RECIPE, *overrides), quiet=True)
    assert not (tmp_path / "run").exists()
