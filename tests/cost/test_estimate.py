"""Whole designs: sanity, schema, verdict, monotonicity, speed."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console

from hwq.cost import Estimate, Fits, Stage, Value, estimate
from hwq.cost.model import RESOURCES, verdict
from hwq.cost.render import table
from hwq.hardware import Io, Strategy, legal_reuse
from tests.cost.cost_nets import config, convnet, mlp

DESIGNS = [
    (net, io, strategy, reuse)
    for net in (mlp, convnet)
    for io in Io
    for strategy, reuse in ((Strategy.LATENCY, 1), (Strategy.RESOURCE, 1), (Strategy.RESOURCE, 2))
    if (net, reuse) != (convnet, 2)
]


def made(net: Any, io: Io, strategy: Strategy, reuse: int, stage: Stage = Stage.POST_SYNTH) -> Estimate:
    graph = net()
    return estimate(graph, config(graph, io=io, strategy=strategy, reuse=reuse), stage)


def keys(tree: Any) -> Any:
    return {k: keys(v) for k, v in tree.items()} if isinstance(tree, dict) else None


BAND = dict.fromkeys(("value", "lo", "hi"))
SCHEMA = {
    **dict.fromkeys(("board", "part", "clock_ns", "stage", "io", "strategy", "layers")),
    "total": dict.fromkeys(RESOURCES, BAND),
    "available": dict.fromkeys(RESOURCES),
    "utilisation": dict.fromkeys(RESOURCES, BAND),
    **dict.fromkeys(("latency_cycles", "ii_cycles", "latency_us", "inferences_per_second")),
    "energy": {"board_uj_per_inference": {"lo": None, "hi": None}, "logic_w": {"lo": None, "hi": None}},
    **dict.fromkeys(("fits", "bottleneck", "cure")),
}
LAYER = {
    **dict.fromkeys(("name", "op", "path", "latency_cycles", "ii_cycles", "outside_calibration")),
    **dict.fromkeys(("lut", "ff", "dsp", "bram18"), BAND),
}


@pytest.mark.parametrize(("net", "io", "strategy", "reuse"), DESIGNS)
@pytest.mark.parametrize("stage", Stage)
def test_every_band_holds_its_value_and_totals_are_sums(
    net: Any, io: Io, strategy: Strategy, reuse: int, stage: Stage
) -> None:
    e = made(net, io, strategy, reuse, stage)
    for row in e.layers:
        for value in (getattr(row, r) for r in RESOURCES):
            assert 0 <= value.lo <= value.value <= value.hi, (row.name, value)
        assert row.ii_cycles >= 1 or row.op == "top"
    for r in RESOURCES:
        assert e.total[r].value == pytest.approx(sum(getattr(row, r).value for row in e.layers))
    assert e.total["lut"].value > 0
    assert e.latency_cycles >= 1
    assert e.ii_cycles == max(row.ii_cycles for row in e.layers)


@pytest.mark.parametrize(("net", "io", "strategy", "reuse"), DESIGNS)
def test_json_schema(net: Any, io: Io, strategy: Strategy, reuse: int) -> None:
    content = made(net, io, strategy, reuse).to_json()
    assert keys(content) == SCHEMA
    assert all(keys(row) == LAYER for row in content["layers"])
    assert content["utilisation"]["lut"]["value"] == pytest.approx(
        content["total"]["lut"]["value"] / content["available"]["lut"], abs=1e-4
    )


def test_low_bit_nets_need_no_dsp() -> None:
    for io in Io:
        assert made(mlp, io, Strategy.LATENCY, 1).total["dsp"] == Value(0, 0, 0)


def test_a_parallel_latency_mlp_takes_an_input_every_cycle() -> None:
    e = made(mlp, Io.PARALLEL, Strategy.LATENCY, 1)
    assert e.ii_cycles == 1
    assert e.inferences_per_second == pytest.approx(1e8)
    assert e.latency_us == pytest.approx(e.latency_cycles * 0.01)
    assert e.fits is Fits.YES
    assert e.cure == "nothing to do: it fits and takes an input every cycle"


def test_a_parallel_conv_takes_its_output_pixels_and_a_streaming_one_its_input_pixels() -> None:
    parallel, stream = (made(convnet, io, Strategy.LATENCY, 1) for io in (Io.PARALLEL, Io.STREAM))
    assert parallel.layers[0].ii_cycles == 8 * 8
    assert 10 * 10 <= stream.layers[0].ii_cycles <= 10 * 10 + 12  # with padding, and a few cycles to end
    assert stream.layers[-1].name == "(fifos)"
    assert stream.latency_cycles < sum(row.latency_cycles for row in stream.layers)


def test_more_reuse_does_not_need_more_multipliers_and_is_not_faster() -> None:
    graph = mlp(-127, 127, (64, 32, 32), in_hi=65535)
    reuses = [r for r in legal_reuse(64, 32) if r in legal_reuse(32, 32)]
    made_ = [estimate(graph, config(graph, strategy=Strategy.RESOURCE, reuse=r)) for r in reuses]
    assert made_[1].total["dsp"].value > 0
    for less, more in pairwise(made_[1:]):
        assert more.total["dsp"].value <= less.total["dsp"].value
        assert more.ii_cycles >= less.ii_cycles


def test_a_product_of_a_pipeline_ends_in_a_register() -> None:
    e = made(mlp, Io.PARALLEL, Strategy.LATENCY, 1)
    assert e.latency_cycles == sum(row.latency_cycles for row in e.layers)
    assert e.layers[-1].latency_cycles == 3  # three dense layers


def test_latency_strategy_with_reuse_shares_multipliers() -> None:
    graph = mlp(-127, 127, (64, 32, 32), in_hi=65535)
    alone, shared = (estimate(graph, config(graph, strategy=Strategy.LATENCY, reuse=r)) for r in (1, 8))
    assert shared.total["dsp"].value <= alone.total["dsp"].value / 4
    assert shared.total["lut"].value < alone.total["lut"].value
    assert 1 < shared.ii_cycles <= 8


def test_csynth_reports_more_luts_than_synthesis_leaves() -> None:
    reported = made(mlp, Io.PARALLEL, Strategy.LATENCY, 1, Stage.CSYNTH)
    left = made(mlp, Io.PARALLEL, Strategy.LATENCY, 1)
    routed = made(mlp, Io.PARALLEL, Strategy.LATENCY, 1, Stage.POST_ROUTE)
    assert reported.total["lut"].value > left.total["lut"].value
    assert routed.total["lut"].hi > left.total["lut"].hi


def needs(**lut: float) -> dict[str, Value]:
    return {**dict.fromkeys(RESOURCES, Value(0, 0, 0)), "lut": Value(lut["value"], lut["lo"], lut["hi"])}


@pytest.mark.parametrize(
    ("band", "expected"),
    [
        ({"lo": 10, "value": 50, "hi": 100}, Fits.YES),
        ({"lo": 10, "value": 50, "hi": 101}, Fits.UNCERTAIN),
        ({"lo": 100, "value": 150, "hi": 200}, Fits.UNCERTAIN),
        ({"lo": 101, "value": 150, "hi": 200}, Fits.NO),
    ],
)
def test_verdict(band: dict[str, float], expected: Fits) -> None:
    assert verdict(needs(**band), dict.fromkeys(RESOURCES, 100)) is expected


def test_a_net_that_is_too_large_says_so_and_what_to_do() -> None:
    graph = mlp(-127, 127, (512, 512, 10), in_hi=255)
    e = estimate(graph, config(graph, "minized"))
    assert e.fits is Fits.NO
    assert e.bottleneck.startswith("LUTs: ")
    assert "most of them in 'dense0'" in e.bottleneck
    assert e.cure.startswith("raise the reuse factor (it shares multipliers), use --io stream")


def test_a_band_across_the_budget_is_uncertain() -> None:
    graph = mlp(-7, 7, (16, 64, 32, 5), in_hi=127)
    e = estimate(graph, config(graph, "minized"))
    assert e.fits is Fits.UNCERTAIN
    assert e.cure.startswith("the band crosses the budget: synthesise to know, or ")


def test_the_same_net_is_slower_on_older_fabric() -> None:
    graph = mlp()
    cycles = [estimate(graph, config(graph, b, clock_ns=5.0)).latency_cycles for b in ("pynq-z2", "zcu104")]
    assert cycles[0] > cycles[1]


def test_tables_show_bands_marks_and_the_verdict() -> None:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table(made(convnet, Io.STREAM, Strategy.LATENCY, 1)))
    text = console.export_text()
    for part in (
        "conv0",
        "(fifos)",
        "conv/stream/latency *",
        "pynq-z2 (xc7z020clg400-1)",
        "fits: yes",
        "per second",
    ):
        assert part in text


def test_a_thousand_estimates_a_second() -> None:
    graph = mlp()
    choice = config(graph)
    estimate(graph, choice)
    start = time.process_time()
    for _ in range(300):
        estimate(graph, choice)
    assert 300 / (time.process_time() - start) > 1000
