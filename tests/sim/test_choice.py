"""Which engine `auto` is."""

from __future__ import annotations

import numpy as np
import pytest

from hwq import sim
from hwq.ir import Graph, IntType
from hwq.ops.conv import Conv
from hwq.ops.threshold import Threshold
from hwq.sim import choice
from tests.sim.test_engines import chain

ENOUGH = 10**9
"""Rows."""


def network(lo: int = 0, hi: int = 3) -> Graph:
    weight = np.random.default_rng(0).integers(-1, 2, (3, 3, 16, 16))
    act = Threshold(np.array([[1, 4, 9]]), 0)
    return chain((12, 12, 16), IntType(lo, hi), Conv(weight, pads=(1, 1, 1, 1)), act, Conv(weight))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[sim.Engine, float]:
    """Seconds of each engine instead of measured ones."""
    seconds = {sim.Engine.NUMPY: 2.0, sim.Engine.ONNXRUNTIME: 1.0}

    def measured(plan: sim.Plan, _rows: int) -> float:
        int8 = any(step.method.startswith("onnxruntime") for step in plan.steps)
        return seconds[sim.Engine.ONNXRUNTIME if int8 else sim.Engine.NUMPY]

    monkeypatch.setattr(choice, "_seconds", measured)
    return seconds


def test_little_work_starts_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_measured", lambda *_: pytest.fail("a session was started"))
    found = sim.choose(network(), 10)
    assert found.engine is sim.Engine.NUMPY
    assert "not worth a session" in found.reason


def test_the_faster_engine_is_taken(asked: dict[sim.Engine, float]) -> None:
    assert sim.choose(network(), ENOUGH).engine is sim.Engine.ONNXRUNTIME
    asked[sim.Engine.ONNXRUNTIME] = 3.0
    found = sim.choose(network(), ENOUGH)
    assert found.engine is sim.Engine.NUMPY
    assert "int8 kernels took" in found.reason


def test_it_is_measured_once(asked: dict[sim.Engine, float]) -> None:
    graph = network()
    before = sim.choose(graph, ENOUGH)
    asked[sim.Engine.ONNXRUNTIME] = 3.0
    assert sim.choose(graph, ENOUGH) == before


def test_without_onnxruntime_numpy_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "onnxruntime" else object())
    found = sim.choose(network(), ENOUGH)
    assert found.engine is sim.Engine.NUMPY
    assert "not installed" in found.reason


def test_numpy_computes_what_int8_kernels_cannot() -> None:
    found = sim.choose(network(-1000, 1000), ENOUGH)
    assert found.engine is sim.Engine.NUMPY
    assert "no heavy layer" in found.reason


def test_chunks_of_int8_kernels_count_the_tensors_between_their_nodes() -> None:
    plan = sim.plan(network(), sim.Engine.ONNXRUNTIME)
    assert plan.steps[0].method.startswith("onnxruntime")
    assert plan.row_bytes >= 2 * 12 * 12 * 16 + 12 * 12 * 16


def test_measuring_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_WORTH_A_SESSION", 0)
    graph = network(-1, 1)
    codes = {"t0": np.random.default_rng(0).integers(-1, 2, (9, 12, 12, 16))}
    wanted = sim.run(graph, codes, sim.Engine.REFERENCE)
    made = sim.run(graph, codes)
    assert all(np.array_equal(made[name], wanted[name]) for name in wanted)
    assert sim.explain(graph, rows=9)["reason"].startswith("int8 kernels took")
