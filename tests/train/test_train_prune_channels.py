"""`hwq.train.prune.prune_channels`: whole channels of float networks, and what the integer graph is left with."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hwq
from hwq.errors import InputError, ToolMissing
from hwq.ops import macs
from hwq.train.export import export
from hwq.train.prune import ChannelSpec, count_macs, narrow, prune_channels
from hwq.train.prune import channels as implementation
from hwq.train.prune.channels import outputs, plan_of
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import InputSpec, QuantizeSpec


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(self.relu(self.norm(self.first(x))))
        return y


def residual_network() -> nn.Sequential:
    """A stem, a residual block, a depthwise and a pointwise convolution, pooling, a classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        Residual(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, groups=16, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 9, 10),
    )


def plain_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 4, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


def images(count: int = 1) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_budget_is_kept_and_coupled_channels_go_together() -> None:
    model = residual_network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned, plan = prune_channels(model, images(), ChannelSpec(macs=0.5))
    share = count_macs(pruned, images()) / count_macs(model, images())
    assert 0.4 < share <= 0.5
    width = plan["0"][0]
    assert plan["2.first"][1] == plan["2.second"][0] == plan["4"][0] == plan["6"][1] == width < 16
    assert pruned.get_submodule("4").groups == width
    assert plan["10"][0] == 10
    assert pruned(images(3)).shape == (3, 10)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())


def two_layers() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    return model, model.get_parameter("0.weight").data, model.get_parameter("2.weight").data


def test_what_stays_are_the_most_important_channels_with_their_weights() -> None:
    model, first, second = two_layers()
    ascending = torch.arange(1.0, 7.0) * torch.tensor([1, -1, 1, -1, 1, 1])
    first.copy_(ascending[:, None].expand(6, 4))
    second.copy_(ascending[None, :].expand(3, 6))
    pruned, plan = prune_channels(model, torch.rand(1, 4), ChannelSpec(macs=0.5))
    assert plan == {"0": [3, 4], "2": [3, 3]}
    assert torch.equal(pruned.get_parameter("0.weight"), first[3:])
    assert torch.equal(pruned.get_parameter("2.weight"), second[:, 3:])


def test_taylor_keeps_what_the_loss_needs_and_not_what_is_large() -> None:
    model, first, _ = two_layers()
    first[:2] = -5.0  # for inputs >= 0 these two never fire, so their loss gradient is 0
    x, y = torch.rand(64, 4), torch.randint(0, 3, (64,))
    large, _ = prune_channels(model, x, ChannelSpec(macs=0.4))
    needed, _ = prune_channels(model, x, ChannelSpec(macs=0.4, importance="taylor", samples=40), (x, y))
    assert (large.get_parameter("0.weight") == -5.0).any()
    assert not (needed.get_parameter("0.weight") == -5.0).any()
    assert all(p.grad is None for p in needed.parameters())


def test_narrow_builds_the_same_network_from_the_plan() -> None:
    for make in (residual_network, plain_network):
        pruned, plan = prune_channels(make(), images(), ChannelSpec(macs=0.3))
        again = narrow(make(), plan)
        again.load_state_dict(pruned.state_dict())
        assert torch.equal(again.eval()(images(5)), pruned.eval()(images(5)))
        assert plan_of(again) == plan
        assert count_macs(again, images()) == count_macs(pruned, images())
    with pytest.raises(InputError, match="names layer 'x', which the network does not have"):
        narrow(plain_network(), {"x": [3]})


def test_narrow_knows_transposed_and_grouped_convolutions() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(8, 6, 2, groups=2), nn.Conv2d(6, 12, 3, groups=6))
    narrow(model, {"0": [4, 2, 2, 2], "1": [8, 1, 3, 3]})
    assert model(torch.rand(1, 4, 6, 6)).shape == (1, 8, 5, 5)
    assert [getattr(layer, "groups") for layer in model] == [2, 4]  # noqa: B009  (a layer's, unknown to mypy)


@pytest.mark.parametrize("make", [plain_network, residual_network])
def test_outputs_are_the_layers_that_the_result_comes_from(make: Any) -> None:
    assert outputs(make()) == {str(len(make()) - 1)}
    summed = Residual(4)
    assert outputs(summed) == {"second"}


def test_ignored_layers_and_multiples() -> None:
    _, plan = prune_channels(plain_network(), images(), ChannelSpec(macs=0.6, multiple_of=4, ignore=("7",)))
    assert plan["7"][0] == 16
    assert plan["0"][0] % 4 == plan["4"][0] % 4 == 0
    assert plan["4"][0] < 12


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(InputError, match=r"key 'prune.channels.macs': \d+ multiplications are left where"):
        prune_channels(plain_network(), images(), ChannelSpec(macs=0.01, smallest=0.5))
    with pytest.raises(InputError, match=r"key 'prune.channels.ignore': no layer fits 'x'"):
        prune_channels(plain_network(), images(), ChannelSpec(ignore=("x",)))
    with pytest.raises(InputError, match="importance 'taylor' needs training data"):
        prune_channels(plain_network(), images(), ChannelSpec(importance="taylor"))
    quantised = quantize(plain_network(), QuantizeSpec(weights=4, activations=4))
    with pytest.raises(InputError, match="layer '0' is quantised already"):
        prune_channels(quantised, images(), ChannelSpec())


def test_without_torch_pruning_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementation, "find_spec", lambda _: None)
    with pytest.raises(ToolMissing, match=r"torch-pruning, not installed here: pip install 'hwq\[train\]'"):
        prune_channels(plain_network(), images(), ChannelSpec())


def test_macs_are_those_of_the_integer_graph(tmp_path: Path) -> None:
    dense = plain_network()
    pruned, _ = prune_channels(dense, images(), ChannelSpec(macs=0.5))
    counted = []
    for number, model in enumerate((dense, pruned)):
        quantised = quantize(deepcopy(model), QuantizeSpec(weights=4, activations=4), input_spec=InputSpec())
        assert count_macs(quantised, images()) == count_macs(model, images())
        export(quantised, (1, 8, 8), tmp_path / f"{number}.onnx")
        graph = hwq.load(str(tmp_path / f"{number}.onnx"))
        counted.append(sum(macs(graph, node) for node in graph.nodes if node.op in ("dense", "conv")))
        assert counted[-1] == count_macs(model, images())
    assert counted[1] <= 0.5 * counted[0]
