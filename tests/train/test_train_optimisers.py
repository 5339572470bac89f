"""Optimisers by name: the same steps as torch's, and each parameter in the group where it belongs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
import torch
from torch import nn

from hwq.errors import ToolMissing
from hwq.train import optimisers
from hwq.train.network import build_network
from hwq.train.optimisers import make_optimiser, parameter_groups, set_rate
from hwq.train.recipe import Recipe
from hwq.train.train_spec import TrainSpec


def test_weights_decay_and_quantisers_have_a_rate_of_their_own(tiny_recipe: Callable[..., Recipe]) -> None:
    model = build_network(tiny_recipe(), (1, 4, 4), 3)
    spec = TrainSpec(epochs=1, weight_decay=0.1, quantiser_rate=0.5)
    more = nn.Parameter(torch.zeros(4, 4))
    names = {id(p): name for name, p in model.named_parameters()} | {id(more): "technique"}
    groups = [
        ({names[id(p)] for p in group["params"]}, group["weight_decay"], group["factor"])
        for group in parameter_groups(spec, model, [more])
    ]
    assert sum(len(group[0]) for group in groups) == len(names)
    assert groups[0] == ({"layers.1.weight", "layers.4.weight", "classifier.weight"}, 0.1, 1.0)
    assert {"layers.2.weight", "layers.2.bias", "technique"} <= groups[1][0]
    assert groups[1][1:] == (0.0, 1.0)
    assert len(groups[2][0]) == 5
    assert all(".tensor_quant." in name for name in groups[2][0])
    assert groups[2][1:] == (0.0, 0.5)
    optimiser = make_optimiser(spec, model, [more])
    set_rate(optimiser, 0.2, 0.85)
    assert [group["lr"] for group in optimiser.param_groups] == [0.2, 0.2, 0.1]
    assert {group["betas"] for group in optimiser.param_groups} == {(0.85, 0.999)}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1, momentum=0.9)),
    ],
)
def test_a_name_means_torchs_optimiser(
    name: str, reference: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    torch.manual_seed(0)
    ours = nn.Linear(6, 5, bias=False)
    theirs = nn.Parameter(ours.weight.detach().clone())
    spec = TrainSpec(epochs=1, learning_rate=0.1, weight_decay=0.1, optimiser=name)  # type: ignore[arg-type]
    pair = [make_optimiser(spec, ours), reference([theirs])]
    for _ in range(5):
        ours.weight.grad = theirs.grad = torch.randn(5, 6)
        for optimiser in pair:
            optimiser.step()
    assert torch.allclose(ours.weight, theirs, rtol=0, atol=1e-6)


def test_without_bitsandbytes_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimisers, "find_spec", lambda _: None)
    with pytest.raises(ToolMissing, match=r"'adamw8bit' needs bitsandbytes, .* pip install 'hwq\[8bit\]'"):
        make_optimiser(TrainSpec(epochs=1, optimiser="adamw8bit"), nn.Linear(2, 2))


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes, of the extra hwq[8bit], is not installed",
)
def test_moments_of_large_tensors_are_eight_bit_codes_and_the_steps_are_near_adamws() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(128, 64, bias=False), nn.Linear(128, 64, bias=False)
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    spec = TrainSpec(epochs=1, learning_rate=0.01, optimiser="adamw8bit")
    pair = [make_optimiser(spec, ours), make_optimiser(TrainSpec(epochs=1, learning_rate=0.01), theirs)]
    for _ in range(20):
        ours.weight.grad = theirs.weight.grad = torch.randn(64, 128)
        for optimiser in pair:
            optimiser.step()
    assert pair[0].state[ours.weight]["state1"].dtype == torch.uint8
    apart = (ours.weight - theirs.weight).norm() / (theirs.weight - start).norm()
    assert 0 < apart < 0.2
