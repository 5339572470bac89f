"""The networks: value sets of their quantisers, shapes, and the size that the demo's board allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d, QuantLinear
from torch import nn

from hwq.errors import InputError
from hwq.frontends.brevitas import weight_integers
from hwq.train.network import build_network
from hwq.train.quantize_spec import Granularity, QuantizeSpec
from hwq.train.quantizers import quant_activation, quant_input, quant_layer
from hwq.train.recipe import InputSpec, Recipe, load_recipe

SHAPE = (1, 8, 8)


def integers(layer: nn.Module) -> np.ndarray:
    """A linear layer's weight integers."""
    (found,) = weight_integers(nn.Sequential(layer)).values()
    return found


def values(tensor: torch.Tensor) -> list[float]:
    found: list[float] = np.unique(tensor.detach().numpy()).tolist()
    return found


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_are_symmetric_integers_times_a_scale(bits: int) -> None:
    layer = quant_layer(nn.Linear(64, 64, bias=False), QuantizeSpec(bits, 2))
    layer.get_parameter("weight").data[0, :2] = torch.tensor([9.0, -9.0])
    assert integers(layer).min() == -integers(layer).max()
    assert integers(layer).max() == 2 ** (bits - 1) - 1


def test_binary_weights_have_two_values_and_zero_is_positive() -> None:
    layer = quant_layer(nn.Linear(8, 8, bias=False), QuantizeSpec(1, 2))
    layer.get_parameter("weight").data[0, 0] = 0.0
    assert np.unique(integers(layer)).tolist() == [-1, 1]
    assert integers(layer)[0, 0] == 1


def test_scales_are_one_an_output_or_one_in_all() -> None:
    scales: tuple[tuple[Granularity, int], ...] = (("channel", 5), ("tensor", 1))
    for scale, count in scales:
        layer = quant_layer(nn.Linear(8, 5, bias=False), QuantizeSpec(4, 2, weight_scale=scale))
        assert layer.get_parameter("weight_quant.tensor_quant.clip.value").numel() == count


@pytest.mark.parametrize("bits", range(2, 9))
def test_activations_are_unsigned_codes_of_all_levels(bits: int) -> None:
    layer = quant_activation(QuantizeSpec(2, bits), unsigned=True).eval()
    assert len(values(layer(torch.linspace(-1, 6, 10_001)))) == 2**bits
    assert layer(torch.tensor([-3.0])).tolist() == [0.0]


def test_one_bit_activations_are_bipolar() -> None:
    layer = quant_activation(QuantizeSpec(2, 1), unsigned=True).eval()
    assert values(layer(torch.tensor([-2.0, -0.1, 0.0, 0.1, 2.0]))) == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (InputSpec(bits=5, fraction_bits=4), 0.0, 31 / 16),
        (InputSpec(bits=8, fraction_bits=8), 0.0, 255 / 256),
        (InputSpec(bits=6, fraction_bits=3, signed=True), -4.0, 31 / 8),
    ],
)
def test_the_input_grid_is_exact_and_saturates(spec: InputSpec, low: float, high: float) -> None:
    layer = quant_input(spec).eval()
    grid = torch.arange(low, high, 2.0**-spec.fraction_bits)
    assert torch.equal(layer(grid), grid)
    assert layer(torch.tensor([-100.0, 100.0])).tolist() == [low, high]


@pytest.mark.parametrize("name", ["digits-w2a2", "digits-w4a4", "digits-w1a1", "digits-mlp-w2a2"])
def test_the_shipped_networks_give_logits_and_fit_unrolled_on_a_small_board(name: str) -> None:
    model = build_network(load_recipe(name), SHAPE, 10)
    assert model(torch.rand(4, *SHAPE)).shape == (4, 10)
    layers = [m for m in model.modules() if isinstance(m, QuantConv2d | QuantLinear)]
    assert sum(layer.weight.numel() for layer in layers) <= 6100


def test_the_same_seed_builds_the_same_weights() -> None:
    def weights(recipe: Recipe) -> np.ndarray:
        torch.manual_seed(recipe.seed)
        return np.concatenate(
            [p.detach().numpy().ravel() for p in build_network(recipe, SHAPE, 10).parameters()]
        )

    first = weights(load_recipe("digits-w2a2"))
    assert np.array_equal(first, weights(load_recipe("digits-w2a2")))
    assert not np.array_equal(first, weights(load_recipe("digits-w2a2", ["seed=1"])))


def test_a_network_deeper_than_its_image_is_refused() -> None:
    recipe = load_recipe("digits-w2a2", ["model.widths=[4, 4, 4]", "model.padding=0"])
    with pytest.raises(
        InputError, match=r"key 'model\.widths': after 2 of 3 stages nothing is left of a 8×8 image"
    ):
        build_network(recipe, SHAPE, 10)
