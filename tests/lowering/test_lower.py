"""Lowering held to the independent oracle on random networks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hwq import sim
from hwq.errors import UnsupportedModel
from hwq.frontends import qonnx
from hwq.lowering.lower import lower
from tests import oracle
from tests.oracle_numbers import Undecided
from tests.random_networks import random_network

CHUNK = 100
ALLOWED_REFUSALS = (
    "no integer multiple of one unit of reasonable size",
    "integers of .* bits to be exact",
    "too many for a table",
    "thresholds each are too many",
    "reads a sum of tensors whose scales have no common unit",
)
"""Patterns of the reasons for which a random network may be refused."""
CONSTRUCTS = {
    *("Quant", "IntQuant", "BipolarQuant", "Quant after Quant", "quantised bias", "Trunc v1", "Trunc v2"),
    *("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "signed", "unsigned", "wide quantiser"),
    *("activation zero point", "weight zero point", "per-channel activation", "dead weights"),
    *("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "MaxPool", "ceil_mode", "GlobalMaxPool"),
    *("Relu", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Erf", "Elu"),
    *("Softplus", "SiLU", "GELU", "BatchNormalization", "Conv 1-D", "Conv 2-D", "depthwise", "dilation"),
    *("SAME_UPPER", "SAME_LOWER", "VALID", "ConvTranspose", "Gemm", "Gemm alpha", "MatMul", "MatMul of two"),
    *("Add", "Sub", "Mul", "Div", "Neg", "Pow", "constant Add", "constant Sub", "constant Mul"),
    *("constant per element", "join same scale", "join two scales", "join raw", "join norm", "join three"),
    *("squeeze-excite", "Concat", "Concat into a layer", "Split", "Slice", "Resize", "DepthToSpace", "Pad"),
    *("Transpose", "Reshape", "Flatten", "Unsqueeze", "Shape chain", "Identity", "Dropout", "Cast"),
    *("channels-last Conv", "channels-last MaxPool", "channels-last BatchNormalization"),
    *("two inputs", "two outputs", "Softmax", "ArgMax"),
}


def check(seed: int) -> str | None:
    """The reason of a refusal; fails on any difference."""
    model, feeds, _ = random_network(seed)
    try:
        graph = lower(qonnx.parse(model.SerializeToString(), Path(f"random_{seed}.onnx"))).graph
    except UnsupportedModel as refusal:
        return refusal.reason
    try:
        expected = oracle.evaluate(model, feeds)
    except Undecided:
        return "undecided"
    for engine in sim.Engine:
        result = sim.simulate(graph, feeds, engine)
        arrays = result if isinstance(result, dict) else {graph.outputs[0].name: result}
        assert set(arrays) == set(expected), f"seed {seed}"
        for name, y in expected.items():
            assert np.array_equal(arrays[name], y), f"seed {seed}, output {name}, {engine.value}"
    return None


def hold(seeds: range) -> None:
    """No difference, no reason outside the list, and at least nine of ten networks lowered."""
    reasons = Counter(reason for seed in seeds if (reason := check(seed)) is not None)
    strange = [r for r in reasons if not any(re.search(p, r) for p in ALLOWED_REFUSALS)]
    assert not strange, strange
    assert reasons.total() <= len(seeds) / 10, reasons


def test_random_networks_equal_the_oracle() -> None:
    hold(range(60))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(30))
def test_many_random_networks_equal_the_oracle(chunk: int) -> None:
    hold(range(chunk * CHUNK, (chunk + 1) * CHUNK))


def test_every_construct_occurs() -> None:
    seen = {construct for seed in range(600) for construct in random_network(seed)[2]}
    assert not CONSTRUCTS - seen
