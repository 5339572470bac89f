"""Quantisers by name, with every gradient estimator: the same integers, and exact ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hwq
from hwq.errors import InputError
from hwq.frontends.brevitas import weight_integers
from hwq.train import checkpoint
from hwq.train.conversion import convert
from hwq.train.data import load
from hwq.train.estimators import Estimator
from hwq.train.loop import Epoch, Run, fit
from hwq.train.machine import reproducible
from hwq.train.quantiser_schedule import QuantiserSchedule
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import EstimatorName, InputSpec, LayerQuant, QuantizeSpec
from hwq.train.quantizers import TensorQuant
from hwq.train.recipe import load_recipe
from hwq.train.technique import Batch, Moment
from hwq.train.techniques import techniques

ESTIMATORS: tuple[EstimatorName, ...] = get_args(EstimatorName)
PIXELS = InputSpec(bits=4, fraction_bits=4)
CASES: dict[str, dict[str, Any]] = {
    "binary": {"weights": "binary", "activations": "binary"},
    "binary, scale by statistics": {"weights": 1, "activations": 4, "weight_scale_source": "statistics"},
    "binary, learned scale a channel": {
        "weights": 1, "activations": "ternary", "weight_scale_source": "learned", "weight_scale": "channel",
    },
    "ternary": {"weights": "ternary", "activations": 2},
    "ternary, scale by statistics": {
        "weights": "ternary", "activations": "int3", "weight_scale_source": "statistics", "weight_scale": "channel",
    },
    "int2": {"weights": 2, "activations": 2},
    "int3 a channel": {"weights": "int3", "activations": "int3", "weight_scale": "channel"},
    "int4 by statistics": {
        "weights": 4, "activations": 4, "weight_scale_source": "statistics", "activation_scale_source": "statistics",
    },
    "int8, constant": {
        "weights": 8, "activations": "uint8", "weight_scale_source": "constant", "activation_scale_source": "constant",
    },
    "powers of two": {
        "weights": 4, "activations": 3, "weight_scale": "channel", "weight_scale_type": "power-of-two",
        "activation_scale_type": "power-of-two",
    },
    "pact": {"weights": 2, "activations": 2, "activation_scale_source": "pact"},
    "learned bits": {"weights": 5, "activations": 4, "learned_bits": True},
    "a2q": {"weights": 6, "activations": 3, "accumulator_bits": 10},
    "a2q+": {"weights": 6, "activations": 3, "accumulator_bits": 10, "accumulator": "a2q+", "weight_scale": "channel"},
}  # fmt: skip


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3),
    )  # fmt: skip


def images(count: int = 16) -> Tensor:
    return torch.randint(0, 16, (count, 2, 6, 6), generator=torch.Generator().manual_seed(1)) / 16


def made(case: str, estimator: EstimatorName | None = None) -> tuple[nn.Module, QuantizeSpec]:
    fields = dict(CASES[case])
    if estimator is not None:
        fields |= {"weight_estimator": estimator, "activation_estimator": estimator}
    if estimator == "lsq":  # which needs scales that learn
        fields |= {"weight_scale_source": "learned", "activation_scale_source": "learned"}
    spec = QuantizeSpec(**fields)
    return quantize(network(), spec, input_spec=PIXELS), spec


def steps(model: nn.Module, spec: QuantizeSpec, count: int = 3) -> None:
    """Training steps with what the specification asks for."""
    optimizer, schedule, x = (
        torch.optim.SGD(model.parameters(), 0.02),
        QuantiserSchedule(model, spec),
        images(),
    )
    y = torch.arange(len(x)) % 3
    for step in range(count):
        optimizer.zero_grad()
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        moment = Moment(step, count, 0, 1)
        torch.autograd.backward(schedule.loss(loss, Batch(x, y, logits), moment))
        schedule.before_step(moment)
        optimizer.step()
        schedule.after_step(moment)


@pytest.mark.parametrize("case", CASES)
def test_every_estimator_puts_out_the_same_and_passes_a_gradient_to_every_weight(case: str) -> None:
    model, _ = made(case)
    weights = {n: p for n, p in model.named_parameters() if n.endswith("weight") and p.ndim > 1}
    expected = model(images()).detach()
    for name in ESTIMATORS:
        for module in model.modules():
            if isinstance(module, TensorQuant):
                estimator = Estimator(name, delta=0.3, power=2.0)
                module.quantiser = dataclasses.replace(module.quantiser, estimator=estimator)
        values = model(images())
        assert torch.equal(values, expected), name
        found = torch.autograd.grad(values.square().sum(), list(weights.values()))
        for key, gradient in zip(weights, found, strict=True):
            assert bool(gradient.isfinite().all())
            assert float(gradient.abs().sum()) > 0, (name, key)


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_what_is_trained_is_exact(number: int, tmp_path: Path) -> None:
    """Each quantiser after some steps with another estimator; none of them is seen in what comes out."""
    case = list(CASES)[number]
    model, spec = made(case, ESTIMATORS[number % len(ESTIMATORS)])
    steps(model, spec)
    expected = weight_integers(model.eval())
    graph = convert(model, images(1), path=tmp_path / "m.onnx")
    hwq.verify(graph, images().numpy(), stages=["qonnx", "numpy"]).raise_if_failed()
    with torch.no_grad():
        theirs = model(images()).numpy()
    ours = hwq.simulate(graph, images().numpy())
    assert isinstance(ours, np.ndarray)
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    if "binary" in case:
        assert all(set(np.unique(w)) == {-1, 1} for w in expected.values())


@pytest.mark.parametrize("case", ["a2q", "a2q+"])
def test_bounded_weights_need_no_wider_accumulator(case: str) -> None:
    model, _ = made(case)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    graph = convert(model.eval(), images(1))
    products = [node for node in graph.nodes if node.op in ("conv", "dense")]
    assert len(products) == 4
    assert max(graph.tensors[node.output].type.bits for node in products) <= 10
    assert sum(int(np.abs(w).sum()) for w in weight_integers(model).values()) > 0


def test_the_plus_lets_weights_be_larger() -> None:
    sums = [sum(np.abs(w).sum() for w in weight_integers(made(case)[0]).values()) for case in ("a2q", "a2q+")]
    assert sums[1] > sums[0]


def test_powers_of_two_are_exactly_that() -> None:
    for module in made("powers of two")[0].modules():
        if isinstance(module, TensorQuant):
            scale = module(torch.ones(4, 4, 1, 1))[1].detach()
            assert torch.equal(torch.exp2(torch.log2(scale).round()), scale)


def test_learned_bits_fall_under_a_penalty_and_reach_the_file() -> None:
    model, spec = made("learned bits")
    spec = msgspec.structs.replace(spec, bit_penalty=50.0)
    steps(model, spec, 8)
    found = [m for m in model.modules() if isinstance(m, TensorQuant) and m.learned_bits is not None]
    bits = [int(m.bits()) for m in found]
    assert max(bits) < 5
    largest = [int(np.abs(w).max()) for w in weight_integers(model).values()]
    assert all(top <= 2 ** (b - 1) - 1 for top, b in zip(largest, bits, strict=True))


def test_reste_sharpens_and_clip_decay_lowers_pacts_clipping_points() -> None:
    model, spec = made("pact", "reste")
    before = [
        float(m.clip(images()).detach())
        for m in model.modules()
        if isinstance(m, TensorQuant) and m.quantiser.clip_only
    ]
    steps(model, msgspec.structs.replace(spec, clip_decay=0.5), 4)
    quantisers = [m for m in model.modules() if isinstance(m, TensorQuant)]
    after = [float(m.clip(images()).detach()) for m in quantisers if m.quantiser.clip_only]
    assert all(a < b for a, b in zip(after, before, strict=True))
    powers = {m.quantiser.estimator.power for m in quantisers if m.quantiser.estimator.name == "reste"}
    assert powers == {3.0}


def test_curvature_sets_delta_and_a_resumed_run_has_it() -> None:
    model, spec = made("int2", "ewgs-hessian")
    steps(model, spec, 1)
    schedule = QuantiserSchedule(model, spec)
    kept = schedule.state_dict()
    assert any(0 < parameters["delta"] <= 1 for parameters in kept.values())
    other, _ = made("int2", "ewgs-hessian")
    resumed = QuantiserSchedule(other, spec)
    assert {parameters["delta"] for parameters in resumed.state_dict().values()} == {0.0}
    resumed.load_state_dict(kept)
    assert resumed.state_dict() == kept


def test_a_loaded_state_does_not_leave_the_optimiser_behind() -> None:
    """Brevitas alone makes new scale parameters when a state dict comes in."""
    model, _ = made("int2")
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    model.load_state_dict(made("int2")[0].state_dict())
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": 1, "learned_bits": True}, "layer '0': binary weights have no number of bits to learn"),
        ({"weights": "ternary", "learned_bits": True}, "layer '0': ternary weights have no number of bits"),
        ({"weights": 1, "accumulator_bits": 12}, "layer '0': binary weights cannot be bounded"),
        ({"weights": 4, "accumulator_bits": 12, "learned_bits": True}, "exclude each other"),
        (
            {"weights": 4, "accumulator_bits": 4},
            "layer '0': 4 bits hold no sum of codes up to 15\n  cure: accumulator",
        ),
        (
            {"weights": 1, "weight_estimator": "lsq"},
            "layer '0': weight: lsq scales the gradient of a learned scale",
        ),
        (
            {"weights": 2, "activation_estimator": "lsq", "activation_scale_source": "pact"},
            "layer '2': activation: lsq scales",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused_with_a_cure(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        quantize(network(), QuantizeSpec(activations=3, **fields), input_spec=PIXELS)
    assert message in str(error.value)
    assert "\n  cure: " in str(error.value)


def test_bounded_weights_need_a_known_input() -> None:
    with pytest.raises(InputError, match="layer '0': accumulator_bits needs to know the codes"):
        quantize(network(), QuantizeSpec(4, 4, accumulator_bits=12))


def test_first_last_and_patterns_have_quantisers_of_their_own() -> None:
    spec = QuantizeSpec(
        2, 2, weight_scale="channel", first=LayerQuant(weights=8), last=LayerQuant(weights="int6"),
        layers={"6": LayerQuant(weights="ternary", weight_scale="tensor")},
    )  # fmt: skip
    found = {
        name.removesuffix(".weight_quant.tensor_quant"): (int(m.bits()), m(torch.ones(4, 4, 1, 1))[1].numel())
        for name, m in quantize(network(), spec, input_spec=PIXELS).named_modules()
        if isinstance(m, TensorQuant) and "weight_quant" in name
    }
    assert found == {"0": (8, 4), "3": (2, 4), "6": (2, 1), "9": (6, 1)}


@pytest.mark.parametrize(
    "fields",
    [
        ["quantize.weight_estimator=ewgs-hessian", "quantize.ewgs_every=7"],
        ["quantize.weight_estimator=reste", "quantize.activation_scale_source=statistics"],
        ["quantize.weights=6", "quantize.learned_bits=true", "quantize.bit_penalty=1"],
    ],
)
def test_a_recipe_with_a_schedule_resumes_to_the_same_bits(fields: list[str], tmp_path: Path) -> None:
    recipe = load_recipe("digits-mlp-w2a2", ["train.epochs=2", "model.widths=[8]", *fields])
    data = load("digits")

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    acting = techniques(recipe, data.input_shape)
    with reproducible():
        whole = Run(recipe, data, tmp_path / "whole", techniques=acting)
        assert [type(technique) for technique in whole.techniques] == [QuantiserSchedule]
        fit(whole)
        with pytest.raises(KeyboardInterrupt):
            fit(Run(recipe, data, tmp_path / "cut", techniques=acting), on_epoch=stop)
        saved = checkpoint.read(tmp_path / "cut" / "last.pt")[0]
        cut = Run(recipe, data, tmp_path / "cut", saved=saved, techniques=acting)
        fit(cut)
    states = [run.model.state_dict() for run in (whole, cut)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
