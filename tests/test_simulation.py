"""`hwq simulate` on files: rows stream through, and nothing half-written is left."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq import api, sim, simulation
from hwq.errors import InputError
from tests.networks import Net, mlp, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(mlp(), tmp_path / "mlp.onnx")


def rows(path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("codes", [False, True])
def test_chunks_make_the_whole(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, codes: bool
) -> None:
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=(103, 6)).astype(np.float32), rng.integers(-8, 8, (103, 6))):
        given = rows(tmp_path / "x.npy", x)
        graph = api.load(model)
        values = sim.run(graph, sim.encode(graph, x))[graph.outputs[0].tensor]
        expected = values if codes else np.asarray(sim.simulate(graph, x))
        monkeypatch.setattr(simulation, "_CHUNK_BYTES", 10 * x[0].nbytes)
        trace = tmp_path / f"trace{x.dtype}"
        simulation.simulate_file(model, given, tmp_path / "y.npy", codes=codes, force=True, quiet=True)
        simulation.simulate_file(
            model, given, tmp_path / "z.npy", codes=codes, force=True, quiet=True, trace=trace
        )
        assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
        assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "z.npy").read_bytes()
        assert all(len(np.load(f)) == 103 for f in trace.glob("*.npy"))


def test_a_bad_row_is_named_as_in_the_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.zeros((100, 6), np.float32)
    x[77, 2] = np.inf
    monkeypatch.setattr(simulation, "_CHUNK_BYTES", 240)
    with pytest.raises(InputError, match="first in row 77"):
        simulation.simulate_file(model, rows(tmp_path / "x.npy", x), tmp_path / "y.npy", quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlp.onnx", "x.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    given = rows(tmp_path / "x.npy", np.zeros((100, 6), np.float32))
    plain: Callable[..., Any] = sim.run
    calls: list[int] = []

    def run(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise error
        return plain(*args, **options)

    monkeypatch.setattr(simulation, "_CHUNK_BYTES", 240)
    monkeypatch.setattr(sim, "run", run)
    with pytest.raises(error):
        simulation.simulate_file(model, given, tmp_path / "y.npy", quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlp.onnx", "x.npy"]


def test_arrays_of_an_archive_that_are_no_inputs_are_left_alone(tmp_path: Path, model: Path) -> None:
    x = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    name = api.load(model).inputs[0].name
    arrays: dict[str, Any] = {name: x, "epoch": np.array(5), "labels": np.zeros(3)}
    np.savez(tmp_path / "x.npz", **arrays)
    simulation.simulate_file(model, tmp_path / "x.npz", tmp_path / "y.npy", quiet=True)
    assert np.array_equal(np.load(tmp_path / "y.npy"), np.asarray(sim.simulate(api.load(model), x)))


def test_wide_outputs_make_chunks_small(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = rows(tmp_path / "x.npy", np.zeros((100, 6), np.float32))
    width = int(np.prod(api.load(model).outputs[0].shape))
    plain: Callable[..., Any] = sim.codes
    sizes: list[int] = []

    def codes(graph: Any, part: Any, first: int) -> Any:
        sizes.append(len(next(iter(part.values()))))
        return plain(graph, part, first)

    monkeypatch.setattr(simulation, "_CHUNK_BYTES", 10 * (24 + 8 * width))
    monkeypatch.setattr(sim, "codes", codes)
    simulation.simulate_file(model, given, tmp_path / "y.npy", quiet=True)
    assert sizes == [10] * 10


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    net = Net([512])
    weights = np.random.default_rng(0).integers(-3, 4, (512, 64))
    x = net.node("MatMul", [net.quant("x", 0.25, 4), net.weight(weights)])
    model = write(net.model(net.quant(x, 2.0, 8)), tmp_path / "wide.onnx")
    given = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (100_000, 512))
    given[:, ::7] = 1.5
    given.flush()
    tracemalloc.start()
    simulation.simulate_file(model, tmp_path / "x.npy", tmp_path / "y.npy", quiet=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "x.npy").stat().st_size > 190 * 2**20
    assert peak < 64 * 2**20
    y = np.load(tmp_path / "y.npy", mmap_mode="r")
    assert y.shape == (100_000, 64)
    assert (y[0] == y[-1]).all()


def test_a_graph_is_planned_once(model: Path) -> None:
    graph = api.load(model)
    assert sim.plan(graph) is sim.plan(graph)
    assert sim.plan(graph) is not sim.plan(graph, trace=True)
