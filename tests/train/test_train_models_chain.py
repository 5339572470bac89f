"""Every architecture at several widths: trained by a recipe, then equal in every stage, to the compiled C++."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from hwq.errors import InputError
from hwq.ops.add import Add
from hwq.train import InputSpec, QuantizeSpec, convert, quantize
from hwq.train.job import run_job
from hwq.train.models import build
from hwq.train.models.spec import ResNetSpec
from hwq.verification import verify_file

SMALL: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "mlp": ((16,), {"kind": "mlp", "widths": [12, 8, 8], "dropout": 0.1}),
    "convnet": ((1, 8, 8), {"kind": "convnet", "widths": [4, 5], "pool": [2, 1]}),
    "cnv": ((3, 32, 32), {"kind": "cnv", "width": 2}),
    "resnet-8": ((3, 6, 6), {"kind": "resnet", "width": 3}),
    "resnet-20": ((1, 5, 5), {"kind": "resnet", "depth": 20, "width": 2, "bias": True}),
    "ds-cnn": ((1, 12, 10), {"kind": "ds-cnn", "width": 4, "blocks": 2, "kernel": [5, 4], "dropout": 0.1}),
    "mobilenet": ((3, 12, 12), {"kind": "mobilenet", "multiplier": 0.01, "repeats": 0, "stem_stride": 1}),
    "conv1d": ((3, 20), {"kind": "conv1d", "widths": [4, 5]}),
    "conv1d-flat": ((3, 20), {"kind": "conv1d", "widths": [4, 5], "head": "flatten", "stride": 2, "pool": 1}),
}
PADDED = ("resnet-8", "resnet-20", "ds-cnn", "mobilenet")
"""Zeros between −1 and +1 are refused, so their one-bit form has activations of two bits."""
COMPILED = [(name, (2, 2)) for name in SMALL] + [
    ("mlp", (1, 1)), ("cnv", (1, 1)), ("conv1d", (1, 1)), ("resnet-8", (1, 2)),
    ("resnet-8", (4, 4)), ("ds-cnn", (4, 4)), ("conv1d-flat", (4, 4)),
]  # fmt: skip
QUICK = [("mlp", (1, 1)), ("convnet", (2, 2)), ("cnv", (1, 1)), ("resnet-8", (2, 2)), ("ds-cnn", (4, 4)),
         ("conv1d", (2, 2)), ("conv1d-flat", (4, 4))]  # fmt: skip


def trained(folder: Path, shape: tuple[int, ...], model: dict[str, Any], bits: tuple[int, int]) -> Path:
    """The model file of a short run on noise, of which one feature tells the class."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (48, *shape), dtype=np.uint8), np.arange(48) % 3
    x.reshape(48, -1)[:, 0] = 80 * y
    np.savez(folder / "data.npz", x_train=x, y_train=y)
    lines = [f"{key} = {json.dumps(value)}" for key, value in model.items()]
    (folder / "small.toml").write_text(
        f'name = "small"\n[data]\nname = "npz"\ndivide_by = 256\n[model]\n{chr(10).join(lines)}\n'
        f"[quantize]\nweights = {bits[0]}\nactivations = {bits[1]}\n[train]\nepochs = 1\nbatch_size = 8\n"
    )
    sets = [f"data.path={folder / 'data.npz'}"]
    result = run_job(str(folder / "small.toml"), folder / "run", overrides=sets, quiet=True)
    assert result.model is not None
    return result.model


def title(value: str | tuple[int, int]) -> str:
    """Of a case's part."""
    return value if isinstance(value, str) else f"w{value[0]}a{value[1]}"


def verified(model: Path, stages: tuple[str, ...]) -> list[str]:
    """The stages that were equal."""
    found = verify_file(model, names=stages, samples=20, scratch=model.parent / "scratch", quiet=True)
    found.raise_if_failed()
    return [stage.name for stage in found.stages]


@pytest.mark.parametrize(("name", "bits"), QUICK, ids=title)
def test_a_trained_network_is_its_integers(tmp_path: Path, name: str, bits: tuple[int, int]) -> None:
    model = trained(tmp_path, *SMALL[name], bits)
    assert verified(model, ("torch", "qonnx", "numpy")) == ["torch", "qonnx", "numpy"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bits"), COMPILED, ids=title)
def test_every_architecture_is_its_integers_down_to_the_compiled_project(
    tmp_path: Path, name: str, bits: tuple[int, int]
) -> None:
    model = trained(tmp_path, *SMALL[name], bits)
    stages = verified(model, ("torch", "qonnx", "numpy", "csim"))
    assert stages == ["torch", "qonnx", "numpy", "csim parallel", "csim stream"]


@pytest.mark.parametrize("name", PADDED)
def test_one_bit_activations_that_would_be_padded_are_refused_by_layer(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=r"layer '[\w.]+': a padded zero is not one of .*\n  cure: no padding, or"
    ):
        trained(tmp_path, *SMALL[name], (1, 1))


@pytest.mark.parametrize(("sums", "plain"), [("shared", True), ("separate", False)])
def test_branches_of_a_shared_scale_are_added_as_they_are(sums: Any, plain: bool) -> None:
    shape, table = SMALL["resnet-8"]
    torch.manual_seed(0)
    spec = QuantizeSpec(weights=4, activations=4, sums=sums)
    model = quantize(build(msgspec.convert(table, ResNetSpec), shape, 3), spec, input_spec=InputSpec())
    model.train()(torch.rand(8, *shape))
    graph = convert(model, torch.rand(1, *shape))
    adds = [node.params for node in graph.nodes if isinstance(node.params, Add)]
    assert len(adds) == 3
    assert all((add.mult == 1).all() for add in adds) == plain
