"""Lowering held to the independent oracle on random networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq import sim
from hwq.frontends import qonnx
from hwq.lowering.lower import lower
from tests import oracle
from tests.random_models import random_model


def check(seed: int) -> None:
    model, x = random_model(seed)
    graph = lower(qonnx.parse(model.SerializeToString(), Path(f"random_{seed}.onnx"))).graph
    (expected,) = oracle.evaluate(model, x).values()
    fast = sim.simulate(graph, x)
    plain = sim.simulate(graph, x, sim.Engine.REFERENCE)
    assert np.array_equal(np.asarray(fast), expected), seed
    assert np.array_equal(np.asarray(plain), expected), seed


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_random_networks_equal_the_oracle(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 2**32))
def test_many_random_networks_equal_the_oracle(seed: int) -> None:
    check(seed)
