"""A loss that is not finite is traced to the layer where it begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hwq.train.diagnose import find_not_finite
from hwq.train.network import build_network
from hwq.train.recipe import Recipe


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 0).log() if self.training else x


class Root(nn.Module):
    """Finite, with a gradient that is not."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 0).abs().sqrt()


def network(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), *middle, nn.ReLU(), nn.Linear(4, 2))


def mean(outputs: Tensor) -> Tensor:
    return outputs.square().mean()


def test_the_first_layer_with_an_output_that_is_not_finite_is_named() -> None:
    found = find_not_finite(network(Logarithm()), torch.ones(2, 3), mean)
    assert found == "layer '1' (Logarithm): its output is not finite"


def test_a_gradient_that_is_not_finite_is_traced_to_what_it_enters() -> None:
    found = find_not_finite(network(Root()), torch.ones(2, 3), mean)
    assert found == "layer '0' (Linear): the gradient of its output is not finite"


def test_a_parameter_that_is_not_finite_is_named_with_its_layer() -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("2.bias")[1] = torch.inf
    found = find_not_finite(model, torch.ones(2, 3), mean)
    assert found == "layer '2' (Linear): its parameter 'bias' is not finite"


def test_inputs_and_losses_are_looked_at_as_well() -> None:
    inputs = torch.tensor([[1.0, torch.nan, 0.0]])
    assert find_not_finite(network(), inputs, mean) == "the inputs of the batch are not finite"
    found = find_not_finite(network(), torch.ones(2, 3), lambda outputs: mean(outputs) * torch.inf)
    assert found == "the network's outputs are finite, the loss of them is not"
    assert "no layer's output and no gradient is" in find_not_finite(network(), torch.ones(2, 3), mean)


@pytest.mark.parametrize("name", ["layers.1", "layers.4", "classifier"])
def test_a_quantised_layer_is_named_and_not_a_part_of_its_quantiser(
    tiny_recipe: Callable[..., Recipe], name: str
) -> None:
    model = build_network(tiny_recipe(), (1, 4, 4), 3).train()
    with torch.no_grad():
        model.get_parameter(f"{name}.weight")[0, 0] = torch.nan
    found = find_not_finite(model, torch.ones(4, 1, 4, 4), mean)
    assert found == f"layer '{name}' (QuantLinear): its parameter 'weight' is not finite"
    assert not any(module._forward_hooks for module in model.modules())
