"""Folding: the optimiser against all combinations, and its decisions, refusals and options."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hwq
from hwq import boards, emit
from hwq.boards import Board
from hwq.cli import app
from hwq.cost.assemble import estimate
from hwq.cost.model import RESOURCES, Fits, Stage
from hwq.errors import CheckFailed, InputError
from hwq.files import data_dir
from hwq.folding import FitRule, Target, design
from hwq.folding.selection import (
    Limits,
    Objective,
    Option,
    Problem,
    Selection,
    Totals,
    cheapest,
    keeps,
    measure,
    peak,
    solve,
)
from hwq.hardware import HardwareConfig, Io, Strategy, configure, matrix_layers, reuse_choices
from hwq.ir import Graph, IntType
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from tests.cost.cost_nets import build, convnet, mlp, thresholds, weights

AUTO = {"": "auto"}
LATENCY, RESOURCE, DA = Strategy


# --- the optimiser against all combinations -------------------------------------------------------


def problem(seed: int) -> Problem:
    """Up to five rows of up to five options; few distinct numbers, so that there are many ties."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(int(rng.integers(1, 6))):
        row = []
        for _ in range(int(rng.integers(1, 6))):
            uses = tuple(rng.integers(0, rng.choice([4, 60]), 3).tolist())
            latency = int(rng.integers(0, rng.choice([5, 200])))
            fill = int(rng.integers(0, latency + 1))
            ii = int(rng.integers(1, 12))
            row.append(Option(uses, 7 * sum(uses), latency, fill, ii, bool(rng.integers(2))))
        rows.append(tuple(row))
    available = tuple(int(a) for a in rng.choice([0, 7, 50, 90], 3))
    overlapped, shared = (bool(b) for b in rng.integers(2, size=2))
    return Problem(tuple(rows), available, overlapped, shared)


def limits(seed: int, p: Problem) -> Limits:
    rng = np.random.default_rng(1000 + seed)
    ii = int(rng.integers(3, 13)) if rng.integers(2) else None
    latency = int(rng.integers(1, 400)) if rng.integers(2) else None
    capacity = tuple(int(rng.integers(0, 150)) for _ in p.available) if rng.integers(2) else None
    return Limits(capacity, ii, latency)


def possible(p: Problem, within: Limits) -> list[Totals]:
    every = itertools.product(*(range(len(row)) for row in p.rows))
    return [t for t in (measure(p, s) for s in every) if keeps(p, within, t)]


def totals(p: Problem, found: Selection | None) -> Totals:
    assert found is not None
    return measure(p, found)


@pytest.mark.parametrize("seed", range(150))
def test_the_cheapest_is_the_best_of_all_combinations(seed: int) -> None:
    p = problem(seed)
    within = limits(seed, p)
    every = possible(p, within)
    found = cheapest(p, within)
    assert (found is None) == (not every)
    if every:
        best = totals(p, found)
        assert keeps(p, within, best)
        assert (peak(p, best), best.area) == min((peak(p, t), t.area) for t in every)


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.AREA])
def test_the_shortest_and_the_smallest_are_those_of_all_combinations(seed: int, objective: Objective) -> None:
    p = problem(seed)
    within = limits(seed, p)
    every = possible(p, within)
    found = solve(p, within, objective)
    assert (found is None) == (not every)
    if every:
        best, name = totals(p, found), "latency" if objective is Objective.LATENCY else "area"
        assert getattr(best, name) == min(getattr(t, name) for t in every)


def one(uses: tuple[int, int], latency: int = 1, fill: int = 0) -> Option:
    return Option(uses, sum(uses), latency, fill, 1)


def test_a_layer_that_gets_faster_can_lengthen_a_stream() -> None:
    """The faster first option would leave the second layer the slowest, and its own fill would count."""
    first = (one((1, 1), 100, 90), one((1, 1), 98, 88))
    p = Problem((first, (one((1, 1), 99, 0),)), (10, 10), overlapped=True)
    assert [measure(p, s).latency for s in ((0, 0), (1, 0))] == [100, 187]
    assert solve(p, Limits(), Objective.LATENCY) == (0, 0)
    assert cheapest(p, Limits(latency=100)) == (0, 0)


def test_a_greedy_walk_loses() -> None:
    """Layer by layer the better of two is the first resource; together they then use up the first."""
    p = Problem((((one((6, 0)), one((0, 7)))), (one((6, 0)), one((0, 7)))), (10, 10))
    greedy: list[Option] = []
    for row in p.rows:
        greedy.append(
            min(row, key=lambda o: max(map(sum, zip(o.uses, *(g.uses for g in greedy), strict=True))))
        )
    alone = [min(row, key=lambda o: max(o.uses)) for row in p.rows]
    best = totals(p, cheapest(p, Limits(capacity=(10, 10))))
    assert tuple(map(sum, zip(*(o.uses for o in alone), strict=True))) == (12, 0)  # does not even fit
    assert peak(p, best) == Fraction(7, 10)

    q = Problem(((one((4, 4)), one((5, 0))), (one((6, 0)), one((1, 9)))), (10, 10))
    walked: list[Option] = []
    for row in q.rows:
        walked.append(
            min(row, key=lambda o: max(map(sum, zip(o.uses, *(g.uses for g in walked), strict=True))))
        )
    assert peak(q, totals(q, cheapest(q, Limits()))) == Fraction(9, 10)
    assert max(map(sum, zip(*(o.uses for o in walked), strict=True))) == 10


def test_what_one_unit_decides_is_decided() -> None:
    """Numbers of a large board: a unit too many is too many."""
    rows = tuple(
        (Option((600_000 + i, 3), 1, 1, 0, 1), Option((3, 600_000 + i), 1, 1, 0, 1)) for i in range(4)
    )
    p = Problem(rows, (1_728_000, 1_728_000))
    most = min(max(t.uses) for t in possible(p, Limits()))
    assert cheapest(p, Limits(capacity=(most, most))) is not None
    assert cheapest(p, Limits(capacity=(most - 1, most - 1))) is None


# --- whole designs against all combinations -------------------------------------------------------


def tiny_conv() -> Graph:
    return build(
        "tiny",
        (5, 5, 2),
        IntType(0, 3),
        [
            ("conv", Conv(weights(2, 2, 2, 4))),
            ("threshold", thresholds(4, 3)),
            ("max_pool", MaxPool((2, 2), (2, 2))),
            ("conv", Conv(weights(2, 2, 4, 3, seed=3))),
        ],
    )


def tiny_mlp() -> Graph:
    return build(
        "tiny",
        (6,),
        IntType(-128, 127),
        [
            ("dense", Dense(weights(6, 4, lo=-2000, hi=2000))),
            ("threshold", thresholds(4, 3)),
            ("dense", Dense(weights(4, 4, lo=-127, hi=127))),
        ],
    )


def small_board(**changes: Any) -> Board:
    return dataclasses.replace(boards.load("minized"), **changes)


def every_design(graph: Graph, board: Board, io: Io) -> list[tuple[tuple[int, ...], int, int]]:
    """(resources, latency, ii) of every legal design, by `estimate` alone."""
    layers = matrix_layers(graph)
    ways = [
        [(how, r) for how in (LATENCY, RESOURCE) for r in reuse_choices(graph, node, io, how)]
        for node in layers.values()
    ]
    found = []
    for picked in itertools.product(*([w for w in row if w != (RESOURCE, 1)] for row in ways)):
        e = estimate(
            graph,
            configure(
                graph,
                board,
                io=io,
                strategy={n: how for n, (how, _) in zip(layers, picked, strict=True)},
                reuse={n: r for n, (_, r) in zip(layers, picked, strict=True)},
            ),
        )
        uses = tuple(sum(int(np.ceil(getattr(row, r).value)) for row in e.layers) for r in RESOURCES)
        found.append((uses, e.latency_cycles, e.ii_cycles))
    return found


def share(uses: tuple[int, ...], board: Board) -> Fraction:
    return max(Fraction(u, max(getattr(board, r), 1)) for u, r in zip(uses, RESOURCES, strict=True))


def made(graph: Graph, config: HardwareConfig) -> tuple[tuple[int, ...], int, int]:
    e = estimate(graph, config)
    uses = tuple(sum(int(np.ceil(getattr(row, r).value)) for row in e.layers) for r in RESOURCES)
    return uses, e.latency_cycles, e.ii_cycles


@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize("net", [tiny_mlp, tiny_conv])
def test_designs_are_the_best_of_all_legal_ones(net: Callable[[], Graph], io: Io) -> None:
    graph, board = net(), small_board(lut=4000, ff=8000, dsp=25, bram18=20)
    fit = [d for d in every_design(graph, board, io) if share(d[0], board) <= 1]
    period = 1000 / board.clock_mhz
    assert len(fit) > 20
    uses, latency, ii = made(graph, design(graph, board, io=io, reuse=AUTO))
    assert (ii, latency) == min((d[2], d[1]) for d in fit)
    assert share(uses, board) == min(share(d[0], board) for d in fit if (d[2], d[1]) == (ii, latency))
    for cycles in sorted({d[2] for d in fit})[::3]:
        target = Target(fps=1e9 / (cycles * period))
        uses, _, ii = made(graph, design(graph, board, io=io, reuse=AUTO, target=target))
        assert ii <= cycles
        assert share(uses, board) == min(share(d[0], board) for d in fit if d[2] <= cycles)
    for cycles in sorted({d[1] for d in fit})[::7]:
        target = Target(latency_us=cycles * period / 1000)
        uses, latency, _ = made(graph, design(graph, board, io=io, reuse=AUTO, target=target))
        assert latency <= cycles
        assert share(uses, board) == min(share(d[0], board) for d in fit if d[1] <= cycles)


def cnv() -> Graph:
    """CNV's layers: 32x32x3, 64-64-P-128-128-P-256-256, 512-512-10, two-bit weights."""
    ops: list[tuple[str, object]] = []
    channels = 3
    for i, c_out in enumerate((64, 64, 128, 128, 256, 256)):
        kernel = Conv(weights(3, 3, channels, c_out, lo=-2, hi=1, seed=i))
        ops += [("conv", kernel), ("threshold", thresholds(c_out, 3))]
        if i in (1, 3):
            ops.append(("max_pool", MaxPool((2, 2), (2, 2))))
        channels = c_out
    from hwq.ops.reshape import Reshape

    ops.append(("reshape", Reshape((256,))))
    for i, (n_in, n_out) in enumerate(((256, 512), (512, 512), (512, 10))):
        ops.append(("dense", Dense(weights(n_in, n_out, lo=-2, hi=1, seed=9 + i))))
        if n_out == 512:
            ops.append(("threshold", thresholds(512, 3)))
    return build("cnv", (32, 32, 3), IntType(0, 255), ops)


@pytest.mark.parametrize("target", [Target(), Target(fps=3000), Target(latency_us=1000)], ids=str)
def test_a_network_of_cnvs_size_takes_seconds(target: Target) -> None:
    graph = cnv()
    start = time.process_time()
    folding = design(graph, boards.load("alveo-u250"), io=Io.STREAM, reuse=AUTO, target=target).folding
    assert time.process_time() - start < 4  # measured: 0.1 to 0.3 s
    assert folding
    assert folding["combinations"] > 10**12
    assert folding["inferences_per_second"] >= (target.fps or 0)
    assert target.latency_us is None or folding["latency_us"] <= target.latency_us


# --- decisions -------------------------------------------------------------------------------------


def test_the_decision_says_what_was_chosen_and_what_binds() -> None:
    graph = mlp(-127, 127, (64, 32, 16), in_hi=65535)
    board = boards.load("pynq-z2")
    folding = design(graph, board, io=Io.STREAM, reuse=AUTO, target=Target(fps=100_000)).folding
    assert folding
    assert folding["target"] == {"fps": 100_000, "latency_us": None}
    assert folding["proven_optimal"] is True
    assert folding["ii_cycles"] <= 1e9 / (100_000 * 1000 / board.clock_mhz)
    assert folding["binds"].startswith("the target: 'dense")
    assert folding["combinations"] == np.prod([row["options"] for row in folding["layers"]])
    assert {row["name"] for row in folding["layers"]} == set(matrix_layers(graph))
    json.dumps(folding)

    slow = design(graph, board, io=Io.STREAM, reuse=AUTO, target=Target(fps=1)).folding
    assert slow
    assert slow["binds"].startswith("nothing: this is the smallest design")
    timed = design(graph, board, io=Io.STREAM, reuse=AUTO, target=Target(latency_us=10)).folding
    assert timed
    assert timed["binds"].startswith("the target: the latency is ")
    assert timed["latency_us"] <= 10

    quick = design(graph, boards.load("alveo-u250"), reuse=AUTO).folding
    assert quick
    assert quick["ii_cycles"] == 1
    assert "an II of 1 is its least on any board" in quick["binds"]
    full = design(graph, board, io=Io.STREAM, reuse=AUTO).folding
    assert full
    assert full["binds"].startswith("the board: an inference every ")


def test_a_design_that_only_its_values_fit_is_reported_and_the_band_rule_avoids_it() -> None:
    graph, board = mlp(-7, 7, (16, 64, 32, 5), in_hi=127), small_board(lut=24000)
    by_value = design(graph, board, reuse=AUTO)
    by_band = design(graph, board, reuse=AUTO, fit=FitRule.BAND)
    assert by_value.folding
    assert by_value.folding["fits"] == Fits.UNCERTAIN.value
    assert estimate(graph, by_band).fits is Fits.YES
    assert estimate(graph, by_band).ii_cycles >= estimate(graph, by_value).ii_cycles


def test_fixed_layers_keep_what_is_given() -> None:
    graph = convnet()
    first, second, third = matrix_layers(graph)
    config = design(
        graph,
        boards.load("pynq-z2"),
        io=Io.STREAM,
        reuse={"": "auto", first: 3},
        strategy={second: (LATENCY,), third: (RESOURCE,)},
        target=Target(fps=10_000),
    )
    assert (config.reuse[first], config.strategy[first]) == (3, RESOURCE)
    assert (config.strategy[second], config.strategy[third]) == (LATENCY, RESOURCE)
    assert config.folding
    assert config.folding["layers"][0]["options"] == 1
    only_second = design(graph, boards.load("pynq-z2"), io=Io.STREAM, reuse={second: "auto"})
    assert (only_second.reuse[first], only_second.reuse[third]) == (1, 1)


def test_distributed_arithmetic_is_chosen_only_if_allowed() -> None:
    graph, board = mlp(-127, 127, (32, 16, 8), in_hi=15), boards.load("pynq-z2")
    assert DA not in design(graph, board, reuse=AUTO).strategy.values()
    allowed = design(graph, board, reuse=AUTO, strategy={"": (LATENCY, RESOURCE, DA)})
    assert DA in allowed.strategy.values()
    alone = design(graph, board, reuse=AUTO, strategy={"": (DA,)})
    assert set(alone.strategy.values()) == {DA}


def test_the_estimates_stage_is_the_one_asked_for() -> None:
    graph = mlp(-7, 7, (16, 64, 32, 5), in_hi=127)
    config = design(graph, boards.load("pynq-z2"), reuse=AUTO, stage=Stage.CSYNTH)
    assert config.folding
    assert config.folding["stage"] == "csynth"
    assert estimate(graph, config, Stage.CSYNTH).fits is not Fits.NO


def test_a_graph_without_weights_has_nothing_to_choose() -> None:
    graph = build("pool", (4, 4, 2), IntType(0, 3), [("max_pool", MaxPool((2, 2), (2, 2)))])
    config = design(graph, boards.load("pynq-z2"), reuse=AUTO)
    assert config.folding
    assert config.folding["layers"] == []
    assert config.folding["combinations"] == 1


# --- refusals --------------------------------------------------------------------------------------


def refused(graph: Graph, board: Board, error: type[Exception] = CheckFailed, **options: object) -> str:
    with pytest.raises(error) as caught:
        design(graph, board, reuse=AUTO, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_target_that_the_board_cannot_meet_says_the_best_that_can() -> None:
    graph, board = mlp(-127, 127, (64, 32, 16), in_hi=65535), boards.load("pynq-z2")
    said = refused(graph, board, target=Target(fps=50e6), io=Io.STREAM)
    assert said.startswith("--target-fps 5e+07 cannot be met on any board at ")
    best = estimate(graph, design(graph, board, reuse=AUTO))
    above = best.inferences_per_second * 1.01
    said = refused(graph, board, target=Target(fps=above))
    assert "cannot be met on pynq-z2 by the values of the post_synth estimates: the smallest design" in said
    assert f"the best that fits is an inference every {best.ii_cycles} cycles" in said
    assert f"{best.inferences_per_second:,.0f} per second" in said
    assert " of the board" in said


def test_a_latency_that_cannot_be_met_says_the_shortest() -> None:
    graph, board = mlp(-127, 127, (64, 32, 16), in_hi=65535), boards.load("pynq-z2")
    assert "cannot be met on any board" in refused(graph, board, target=Target(latency_us=1e-9))
    said = refused(graph, board, target=Target(latency_us=0.001))
    assert said.startswith("--target-latency-us 0.001 cannot be met on any board")
    assert "the shortest latency is " in said
    tight = small_board(lut=9000, ff=18000, dsp=40)
    said = refused(graph, tight, target=Target(latency_us=0.5))
    assert "cannot be met on minized" in said
    assert "the best that fits is " in said


def test_what_never_fits_says_how_small_it_gets() -> None:
    said = refused(mlp(-127, 127, (512, 512, 10), in_hi=255), small_board(lut=800, ff=1600, dsp=0))
    assert said.startswith("no choice of strategy and reuse fits minized by the values")
    assert "the smallest needs " in said
    assert "use --io stream" in said
    said = refused(convnet(), small_board(bram18=0, lut=300, ff=600), io=Io.STREAM, target=Target(fps=10))
    assert "nothing fits, however slow" in said
    assert "--io stream" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": (1.0, 2.0)}, "give one of them"),
        ({"target": (0.0, None)}, "--target-fps 0: give a number from 1e-9"),
        ({"target": (None, float("nan"))}, "--target-latency-us nan: give a number"),
        ({"reuse": {"": 2}, "target": (1.0, None)}, "a target needs layers to choose for: add --reuse auto"),
        ({"reuse": {"": "auto", "fc": 1}}, "--reuse: no layer 'fc' with weights; there are dense0"),
        ({"reuse": {"": "auto", "dense0": 7}}, "layer 'dense0' .*: reuse factor 7 is not legal"),
        ({"reuse": {"": 1}, "strategy": {"": (LATENCY, DA)}}, "a design whose reuse factor is given has one"),
        (
            {"reuse": {"": "auto", "dense0": 1}, "strategy": {"dense0": (LATENCY, DA)}},
            "layer 'dense0' whose reuse factor is given has one strategy, not latency, distributed_arithmetic",
        ),
        (
            {"reuse": {"": "auto", "dense0": 2}, "strategy": {"dense0": (DA,)}},
            "distributed arithmetic is unrolled",
        ),
    ],
)
def test_contradictions_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        design(
            mlp(),
            boards.load("pynq-z2"),
            reuse=options.get("reuse", AUTO),  # type: ignore[arg-type]
            strategy=options.get("strategy"),  # type: ignore[arg-type]
            target=Target(*options.get("target", ())),  # type: ignore[misc]
        )


# --- the library and the command line --------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fold") / "mlp.hwq"
    mlp().save(path)
    return path


def test_the_library_folds_and_the_manifest_records_it() -> None:
    graph = mlp()
    project = hwq.generate(graph, board="pynq-z2", io="stream", reuse="auto", target_fps=100_000)
    manifest = json.loads(project.files["manifest.json"])
    layers = {e["name"]: e for e in manifest["layers"]}
    assert manifest["folding"]["target"]["fps"] == 100_000
    for row in manifest["folding"]["layers"]:
        built = layers[row["name"]]
        assert (built["strategy"], built["reuse"]) == (row["strategy"], row["reuse"])
    assert hwq.estimate(graph, board="pynq-z2", reuse="auto", strategy="resource").strategy == "resource"
    by_layer = {"": ["latency", "resource"], "dense0": "latency"}
    assert hwq.estimate(graph, board="pynq-z2", reuse={"": "auto", "dense0": 1}, strategy=by_layer)
    with pytest.raises(
        InputError, match="unknown options target: give clock_ns, io, reuse, strategy, target_fps"
    ):
        hwq.estimate(graph, board="pynq-z2", target=3)
    without = emit.generate(graph, configure(graph, boards.load("pynq-z2")))
    assert "folding" not in json.loads(without.files["manifest.json"])


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(w) for w in words])
    return done.exit_code, " ".join(done.output.split())


def test_the_command_line_prints_the_choices(model: Path, tmp_path: Path) -> None:
    auto = ("--reuse", "auto", "--io", "stream", "--target-fps", 100_000)
    code, said = run("estimate", model, *auto)
    assert code == 0
    assert "folding for 100,000 inferences per second" in said
    assert "binds: " in said
    assert "proven best of " in said
    code, said = run("generate", model, "-o", tmp_path / "p", *auto)
    assert code == 0
    assert "proven best of " in said
    assert json.loads((tmp_path / "p/manifest.json").read_text())["folding"]["fit"] == "value"
    code, said = run("estimate", model, "--json", "--reuse", "auto", "--reuse", "dense0=1", "--fit", "band")
    content = json.loads(said)
    assert code == 0
    assert content["folding"]["fit"] == "band"
    assert content["fits"] == "yes"
    assert "folding" not in json.loads(run("estimate", model, "--json")[1])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--target-fps", 10), 2, "a target needs layers to choose for"),
        (("--reuse", "auto", "--target-fps", 10, "--target-latency-us", 3), 2, "give one of them"),
        (("--reuse", "auto", "--target-fps", "1e12"), 1, "cannot be met on any board"),
        (("--reuse", "dense0=automatic"), 2, "give N, or LAYER=N, with N from 1, or auto"),
        (("--reuse", "auto", "--fit", "mean"), 2, "choose one of value, band"),
        (("--strategy", "latency", "--strategy", "resource"), 2, "alternatives are for --reuse auto"),
    ],
)
def test_the_command_line_refuses(model: Path, words: tuple[object, ...], code: int, said: str) -> None:
    got, text = run("estimate", model, *words)
    assert said in text
    assert got == code


def test_a_board_of_the_users_own(model: Path, tmp_path: Path) -> None:
    text = (data_dir("boards") / "pynq-z2.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("lut = { value = 53200", "lut = { value = 700"))
    code, said = run("estimate", model, "--board", mine, "--reuse", "auto")
    assert code == 1
    assert "no choice of strategy and reuse fits mine by the values" in said
    mine.write_text(text.replace("lut = { value = 53200", "lut = { value = 5320"))
    code, said = run("estimate", model, "--board", mine, "--reuse", "auto")
    assert code == 0
    assert "binds: " in said
