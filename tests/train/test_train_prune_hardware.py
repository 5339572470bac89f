"""Zeros pay: in the integer graph, the estimate and the emitted weights of a pruned network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import hwq
from hwq.ir import Graph
from hwq.train.export import export
from hwq.train.prune import Pruner, PruneSpec, sparsity
from hwq.train.quantization import quantize
from hwq.train.quantize_spec import InputSpec, QuantizeSpec
from hwq.train.technique import Moment

BOARD = "pynq-z2"


@dataclass(frozen=True)
class Case:
    model: nn.Module
    graph: Graph
    file: Path


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Linear(24, 10),
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """The same network, dense and with 85 % zeros."""
    made = {}
    for name, share in (("dense", 0.0), ("sparse", 0.85)):
        model = quantize(network(), QuantizeSpec(weights=4, activations=4), input_spec=InputSpec()).eval()
        spec = PruneSpec(sparsity=share, method="one-shot", start=0.0)
        Pruner(model, spec).after_step(Moment(0, 2, 0, 1))
        file = tmp_path_factory.mktemp(name) / "model.onnx"
        export(model, (1, 8, 8), file)
        made[name] = Case(model, hwq.load(str(file)), file)
    return made


def weights(graph: Graph) -> list[npt.NDArray[np.int64]]:
    return [node.params.weight for node in graph.nodes if node.op in ("dense", "conv")]


def test_the_zeros_of_training_are_the_zeros_of_the_integer_graph(cases: dict[str, Case]) -> None:
    for case in cases.values():
        counted = [layer.zeros for layer in sparsity(case.model).values()]
        assert counted == [int((weight == 0).sum()) for weight in weights(case.graph)]
    graph = cases["sparse"].graph
    assert sum(int((w == 0).sum()) for w in weights(graph)) >= 0.85 * sum(w.size for w in weights(graph))


@pytest.mark.parametrize("options", [{}, {"io": "stream"}, {"strategy": "distributed_arithmetic"}])
def test_the_estimate_of_unrolled_products_shrinks_with_the_weights(
    cases: dict[str, Case], options: dict[str, Any]
) -> None:
    dense, sparse = (hwq.estimate(cases[name].graph, BOARD, **options) for name in ("dense", "sparse"))
    assert sparse.total["lut"].value < 0.6 * dense.total["lut"].value
    for before, after in zip(dense.layers, sparse.layers, strict=True):
        assert after.lut.value <= before.lut.value
        if before.op == "dense":
            assert after.lut.value < 0.35 * before.lut.value


def test_the_accumulators_of_a_pruned_network_are_narrower(cases: dict[str, Case]) -> None:
    def bits(graph: Graph) -> list[int]:
        return [graph.tensors[n.output].type.bits for n in graph.nodes if n.op == "dense"]

    assert all(s < d for s, d in zip(bits(cases["sparse"].graph), bits(cases["dense"].graph), strict=True))


def test_the_emitted_project_holds_exactly_these_zeros(cases: dict[str, Case]) -> None:
    graph = cases["sparse"].graph
    project = hwq.generate(graph, BOARD)
    files = {path: content for path, content in project.files.items() if re.search(r"weights/w\d+\.h$", path)}
    emitted = [_values(content) for _, content in sorted(files.items())]
    for weight, values in zip(weights(graph), emitted, strict=True):
        assert sorted(weight.ravel().tolist()) == sorted(values)
    header = next(_text(c) for path, c in project.files.items() if path.endswith("firmware/parameters.h"))
    zeros = [int(number) for number in re.findall(r"n_zeros = (\d+);", header)]
    assert list(dict.fromkeys(zeros)) == [int((weight == 0).sum()) for weight in weights(graph)]


@pytest.mark.slow
def test_the_compiled_project_of_a_pruned_network_is_exact(cases: dict[str, Case]) -> None:
    hwq.verify(cases["sparse"].graph, stages=["numpy", "csim"]).raise_if_failed()


def _text(content: Any) -> str:
    return content.decode() if isinstance(content, bytes) else str(content)


def _values(content: Any) -> list[int]:
    inside = re.search(r"= \{(.*?)\};", _text(content), re.DOTALL)
    assert inside is not None
    return [int(float(value)) for value in inside.group(1).split(",")]
