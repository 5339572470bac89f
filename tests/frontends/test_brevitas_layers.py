"""Every layer variant of Brevitas: its integers are the lowered graph's, whichever exporter wrote the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from hwq import chain
from hwq.frontends import load
from hwq.frontends.brevitas import run_parameters, trace_model
from hwq.lowering.lower import Lowering
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.train.export import check_file, export_model
from tests.frontends.brevitas_nets import LAYERS, NETS

FAST_DYNAMO = {"per_channel_w4_int16_bias", "asymmetric_activations"}
ROWS = 40


def inputs(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Values around the whole range of the input quantiser, on a grid of odd multiples of 2**-12."""
    values = np.random.default_rng(3).integers(-6000, 6000, (ROWS, *shape)) * 2 + 1
    return (values / 4096).astype(np.float32)


def hold(model: nn.Module, shape: tuple[int, ...], path: Path, *, dynamo: bool) -> None:
    """Export, lower, and compare weights, biases, every activation code and the output."""
    example = torch.zeros(1, *shape)
    export_model(model, example, path, dynamo=dynamo)
    check_file(model, example, path)
    lowering = load(path)
    hold_weights(model, example, lowering)
    x = inputs(shape)
    *quantised, (_, output) = trace_model(model, x)
    rows: dict[str, Any] = {lowering.graph.inputs[0].name: x}
    assert len(quantised) == len(lowering.resolutions)

    def stage(_: object) -> dict[str, npt.NDArray[np.float64]]:
        named: dict[str, npt.NDArray[Any]] = {
            r.source: v for r, (_, v) in zip(lowering.resolutions, quantised, strict=True)
        }
        named[lowering.graph.outputs[0].name] = output
        return {source: value.astype(np.float64) for source, value in named.items()}

    result = chain.verify(lowering, [("given", rows)], float_stages={"torch": stage})
    result.raise_if_failed()
    (found,) = result.stages
    assert found.uncertified == 0
    assert found.values > 0


def hold_weights(model: nn.Module, example: torch.Tensor, lowering: Lowering) -> None:
    """Every quantised weight is the weight of a node, up to layout, zero point and signs of channels."""
    weights = [p for p in run_parameters(model, [example]) if p.kind == "weight"]
    products = [n.params for n in lowering.graph.nodes if isinstance(n.params, (Dense, Conv))]
    assert len(weights) == len(products)
    for parameter, params in zip(weights, products, strict=True):
        layer = model.get_submodule(parameter.layer)
        zero = parameter.outputs[2].numpy().astype(np.int64)
        expected = in_graph_layout(
            parameter.integers() - zero, transposed="Transpose" in type(layer).__name__
        )
        columns = expected.shape[-1]
        flat, wanted = params.weight.reshape(-1, columns), expected.reshape(-1, columns)
        signs = np.where((flat == wanted).all(axis=0), 1, -1)
        assert np.array_equal(flat * signs, wanted), parameter.layer


def in_graph_layout(weight: npt.NDArray[np.int64], *, transposed: bool) -> npt.NDArray[np.int64]:
    """(out, in, window...) as (window..., in, out); a transposed convolution is one with a mirrored window."""
    spatial = tuple(range(2, weight.ndim))
    axes = (*spatial, 0, 1) if transposed else (*spatial, 1, 0)
    mirrored = np.flip(weight, spatial) if transposed else weight
    return np.ascontiguousarray(mirrored.transpose(axes))


DYNAMO_CASES = [
    pytest.param(name, marks=() if name in FAST_DYNAMO else pytest.mark.slow) for name in sorted(LAYERS)
]


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_through_torchscript(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    hold(*LAYERS[name](), tmp_path / "model.onnx", dynamo=False)


@pytest.mark.parametrize("name", DYNAMO_CASES)
def test_a_layer_through_dynamo(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    hold(*LAYERS[name](), tmp_path / "model.onnx", dynamo=True)


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(NETS))
def test_a_whole_network(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    hold(*NETS[name](), tmp_path / "model.onnx", dynamo=dynamo)
