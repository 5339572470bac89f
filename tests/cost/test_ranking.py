"""Boards ranked for a network, and cycles of streams as the dataflow has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwq import boards, cost, estimation, generation
from hwq.board_ranking import rank
from hwq.cli import app
from hwq.emit.dataflow import analyse
from hwq.emit.plan import make_plan
from hwq.errors import CheckFailed
from hwq.hardware import Io, configure
from tests.emit.emit_graphs import all_ops, config, conv_net, dense_net


def test_boards_that_fit_come_first_then_the_fastest() -> None:
    graph = conv_net()
    ranked = rank(graph, map(boards.load, boards.names()), lambda g, b: configure(g, b, io=Io.STREAM))
    assert sorted(r.board.name for r in ranked) == sorted(boards.names())
    order = [r.fits for r in ranked]
    assert order == sorted(order, key=["yes", "uncertain", "no"].index)
    speeds = [r.estimate.inferences_per_second for r in ranked if r.estimate and r.fits == "yes"]
    assert speeds == sorted(speeds, reverse=True)


def test_a_board_without_a_design_says_why() -> None:
    def refuse(_graph: object, _board: object) -> None:
        raise CheckFailed("no folding fits\n  cure: another board")

    (ranked,) = rank(dense_net(), [boards.load("pynq-z2")], refuse)  # type: ignore[arg-type]
    assert (ranked.fits, ranked.reason) == ("no", "no folding fits")
    assert ranked.to_json()["reason"] == "no folding fits"


@pytest.mark.parametrize("options", [[], ["--io", "stream"], ["--io", "stream", "--reuse", "auto"]])
def test_compare_boards(options: list[str], tmp_path: Path) -> None:
    conv_net().save(tmp_path / "net.hwq")
    arguments = ["estimate", str(tmp_path / "net.hwq"), "--compare-boards", *options]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "boards, best first" in done.output
    listed = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert {entry["board"] for entry in listed} == set(boards.names())


def test_no_board_reaches_an_impossible_target(tmp_path: Path) -> None:
    conv_net().save(tmp_path / "net.hwq")
    done = CliRunner().invoke(
        app,
        [
            "estimate",
            str(tmp_path / "net.hwq"),
            "--compare-boards",
            "--reuse",
            "auto",
            "--target-fps",
            "1e12",
        ],
    )
    assert done.exit_code == 1
    assert "fits none of the boards" in done.output


@pytest.mark.parametrize("net", [dense_net, conv_net, all_ops])
def test_cycles_of_a_stream_are_those_of_its_dataflow(net: object, tmp_path: Path) -> None:
    graph = net()  # type: ignore[operator]
    hardware = config(graph, Io.STREAM)
    run = analyse(make_plan(graph, hardware), hardware.fifo).run
    found = estimation.estimate(graph, hardware)
    assert (found.latency_cycles, found.ii_cycles) == (run.latency_cycles, run.ii_cycles)
    generation.write_project(graph, hardware, tmp_path / "p")
    expected = json.loads((tmp_path / "p" / "manifest.json").read_text())["expected"]
    assert set(expected) == {s.value for s in cost.Stage}
    for estimate in expected.values():
        assert (estimate["latency_cycles"], estimate["ii_cycles"]) == (run.latency_cycles, run.ii_cycles)


def test_energy_only_where_power_was_measured() -> None:
    graph = dense_net()
    known = cost.estimate(graph, configure(graph, boards.load("pynq-z2"))).energy
    assert known.board_uj is not None
    assert 0 < known.board_uj[0] < known.board_uj[1]
    other = cost.estimate(graph, configure(graph, boards.load("zcu104"))).energy
    assert other.board_uj is None
    assert 0 < other.logic_w[0] < other.logic_w[1]
    assert "board energy unknown" in other.text()
