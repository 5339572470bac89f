"""The zoo: each architecture has the published shape, takes any size it can, and says why it cannot."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from hwq.errors import InputError
from hwq.train.models import build
from hwq.train.models.spec import ModelSpec
from hwq.train.recipe import load_recipe, shipped_recipes

CIFAR, KWS, VWW = (3, 32, 32), (1, 49, 10), (3, 96, 96)


def net(shape: tuple[int, ...], classes: int, **table: Any) -> nn.Module:
    spec: ModelSpec = msgspec.convert(table, ModelSpec)
    return build(spec, shape, classes).eval()


def weights(model: nn.Module) -> int:
    """Parameters of convolutions and linear layers, without biases."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    return sum(layer.weight.numel() for layer in layers)


@pytest.mark.parametrize(
    ("shape", "classes", "table", "count"),
    [
        ((16,), 5, {"kind": "mlp", "widths": [64, 32, 32]}, 16 * 64 + 64 * 32 + 32 * 32 + 32 * 5),
        (CIFAR, 10, {"kind": "cnv"}, 1_542_848),
        (CIFAR, 10, {"kind": "resnet", "depth": 8}, 77_360),
        (CIFAR, 10, {"kind": "resnet", "depth": 20}, 270_896),
        (KWS, 12, {"kind": "ds-cnn"}, 22_016),
        (VWW, 2, {"kind": "mobilenet"}, 208_112),
        ((3, 224, 224), 1000, {"kind": "mobilenet", "multiplier": 1.0}, 4_209_088),
        ((22, 32), 10, {"kind": "conv1d", "widths": [8, 9]}, 22 * 8 * 3 + 8 * 9 * 3 + 90),
        ((22, 32), 10, {"kind": "conv1d", "widths": [8], "head": "flatten"}, 22 * 8 * 3 + 8 * 15 * 10),
    ],
)
def test_architectures_have_the_number_of_weights_of_their_papers(
    shape: tuple[int, ...], classes: int, table: dict[str, Any], count: int
) -> None:
    model = net(shape, classes, **table)
    assert weights(model) == count
    assert model(torch.zeros(2, *shape)).shape == (2, classes)


def test_ds_cnn_has_the_places_of_mlperf_tiny() -> None:
    model = net(KWS, 12, kind="ds-cnn")
    assert model.get_submodule("pairs")(model.get_submodule("stem")(torch.zeros(1, *KWS))).shape == (
        1,
        64,
        25,
        5,
    )


@pytest.mark.parametrize("side", [1, 7, 28, 33])
def test_pooled_networks_take_images_of_any_size(side: int) -> None:
    for table in (
        {"kind": "resnet"},
        {"kind": "ds-cnn", "blocks": 1},
        {"kind": "mobilenet", "multiplier": 0.05},
    ):
        assert net((1, side, side + 1), 3, **table)(torch.rand(2, 1, side, side + 1)).shape == (2, 3)


def test_a_shortcut_changes_nothing_where_the_shapes_agree() -> None:
    model = net(CIFAR, 10, kind="resnet", width=4)
    blocks = list(model.get_submodule("blocks").children())
    assert [len(list(b.get_submodule("shortcut").children())) for b in blocks] == [0, 2, 2]
    x = torch.rand(1, 4, 6, 6)
    main = blocks[0].get_submodule("main")
    assert torch.equal(blocks[0](x), torch.relu(main(x) + x))


def test_dropout_acts_in_training_alone() -> None:
    model = net((1, 8, 8), 10, kind="mlp", widths=[16], dropout=0.5)
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(model(x), model(x))
    model.train()
    model.get_submodule("layers.3").eval()  # batch statistics would differ as well
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("shape", "table", "message"),
    [
        ((1, 28, 28), {"kind": "cnv"}, r"after stage 3 of 3 nothing is left of a 28×28 image: .*32×32\n  cure"),
        ((3, 6, 32), {"kind": "cnv"}, "after stage 2 of 3"),
        ((1, 8, 8), {"kind": "convnet", "widths": [4, 4, 4]}, "after 2 of 3 stages nothing is left of a 8×8 image"),
        ((2, 9), {"kind": "conv1d", "widths": [4, 4]}, "after 2 of 2 stages nothing is left of 9 places"),
        ((1, 8, 8), {"kind": "conv1d", "widths": [4]}, r"conv1d needs inputs .* series \(C, T\), .*\n  cure: set data"),
        ((64,), {"kind": "resnet"}, r"resnet needs inputs that are images \(C, H, W\), the data's are \(64,\)"),
        ((64, 9), {"kind": "ds-cnn"}, r"ds-cnn needs inputs that are images"),
    ],
)  # fmt: skip
def test_an_impossible_shape_is_refused_with_stage_and_cure(
    shape: tuple[int, ...], table: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        net(shape, 10, **table)


def test_the_smallest_image_that_cnv_takes_is_the_one_it_names() -> None:
    assert net((3, 32, 32), 4, kind="cnv", width=1)(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    with pytest.raises(InputError):
        net((3, 31, 32), 4, kind="cnv", width=1)


RECIPE_SHAPES = {"jets": ((16,), 5), "letter": ((16,), 26), "magic": ((10,), 2), "mnist": ((1, 28, 28), 10),
                 "spoken": ((22, 32), 10), "digits": ((1, 8, 8), 10), "cifar": (CIFAR, 10), "kws": (KWS, 12),
                 "vww": (VWW, 2)}  # fmt: skip


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_builds_for_its_data(name: str) -> None:
    shape, classes = RECIPE_SHAPES[name.split("-")[0]]
    recipe = load_recipe(name)
    assert not recipe.data.shape or tuple(recipe.data.shape) == shape
    assert build(recipe.model, shape, classes).eval()(torch.zeros(1, *shape)).shape == (1, classes)
