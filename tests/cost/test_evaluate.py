"""Estimates of other toolchains' designs from their layer lists, and how good they are, source by source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from hwq.cli import app
from hwq.cost import evaluate
from hwq.cost.fits import fits
from hwq.cost.measured import designs
from hwq.cost.row_schema import TARGETS, Row
from hwq.cost.rows import RowEstimate, estimate_row

TYPES = (
    "dense", "conv1d", "conv2d", "depthwise_conv1d", "depthwise_conv2d", "pooling1d", "pooling2d", "activation",
    "softmax", "batchnorm", "pad", "resize", "concat", "merge", "gru", "bidir_gru", "da_graph", "finn_mvau_conv",
    "finn_mvau_fc", "film", "something_new",
)  # fmt: skip


@pytest.fixture(scope="module")
def held_out() -> list[RowEstimate]:
    return evaluate.held_out()


@pytest.mark.parametrize(
    ("target", "macro", "width"),
    [
        ("lut", 0.18, 2.0), ("ff", 0.20, 3.0), ("dsp", 0.02, 1.3), ("bram18", 0.01, 1.7), ("lat_max", 0.03, 1.3),
        ("ii_max", 0.02, 1.3),
    ],
)  # fmt: skip
def test_sources_that_were_left_out_are_estimated(
    target: str, macro: float, width: float, held_out: list[RowEstimate]
) -> None:
    """Errors of all of hls4ml's own templates; widths of the bands of those in scope."""
    key = ("csynth", "hls4ml's templates", target)
    (score,) = [s for s in evaluate.scores(held_out) if (s.stage, s.group, s.target) == key]
    assert score.macro <= macro
    assert len(score.medians) == 10
    assert score.coverage >= 0.72
    (score,) = [
        s
        for s in evaluate.scores([e for e in held_out if not e.outside])
        if (s.stage, s.group, s.target) == key
    ]
    assert score.width <= width
    assert score.coverage >= 0.72


def test_the_flag_warns_of_most_misses_and_not_of_most_designs(held_out: list[RowEstimate]) -> None:
    flags = evaluate.flags(held_out)
    assert flags.share <= 1 / 3
    assert flags.misses > 50
    assert flags.misses_flagged >= 0.8


def test_a_flag_on_everything_or_nothing_says_nothing(held_out: list[RowEstimate]) -> None:
    all_of, none_of = ([replace(e, outside=flag) for e in held_out] for flag in (True, False))
    assert (evaluate.flags(all_of).share, evaluate.flags(all_of).misses_flagged) == (1, 1)
    assert (evaluate.flags(none_of).share, evaluate.flags(none_of).misses_flagged) == (0, 0)


def row(**fields: Any) -> Row:
    return msgspec.convert({"id": "x", "stage": "csynth", **fields}, Row)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("io", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("stage", ["csynth", "post_synth", "post_route"])
def test_a_layer_of_which_nothing_else_is_known(kind: str, io: str, stage: str) -> None:
    found = estimate_row(row(layers=[{"type": kind}], io=io, stage=stage))
    assert set(found.values) == set(TARGETS)
    for value in found.values.values():
        assert 0 <= value.lo <= value.value <= value.hi


def test_only_the_layers_decide() -> None:
    for design in designs():
        blind = msgspec.structs.replace(design, **dict.fromkeys(TARGETS))
        assert estimate_row(blind).values == estimate_row(design).values


def test_kinds_that_were_never_measured_say_so() -> None:
    dense = {"type": "dense", "n_in": 16, "n_out": 8, "in_bits": 8, "w_bits": 4, "acc_bits": 14, "rf": 1}
    plain = row(layers=[dense | {"strategy": "latency"}], flow="hls4ml/Vivado", design_style="pipeline")
    assert not estimate_row(plain).outside
    assert estimate_row(msgspec.structs.replace(plain, template="modified")).outside
    assert estimate_row(row(layers=[{"type": "film", "n_in": 4}])).outside
    assert estimate_row(row(layers=[{"type": "gru", "n_in": 4, "n_state": 8, "n_seq": 5}])).outside


def test_bands_of_designs_stand_on_their_sources() -> None:
    bands = {name: fit for name, fit in fits().items() if name.startswith("design/") and fit.points}
    assert len(bands) > 20
    assert all(sum(fit.sources.values()) == fit.points for fit in bands.values())


def test_json_has_a_line_for_every_row(tmp_path: Path) -> None:
    source = tmp_path / "rows.json"
    source.write_text(
        json.dumps([{"id": "a", "stage": "post_synth", "layers": [{"type": "dense", "n_in": 8, "n_out": 4}]}])
    )
    done = CliRunner().invoke(app, ["cost", "evaluate", str(source), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert set(said) == {"rows", "not_estimated", "ignored"}
    (found,) = said["rows"]
    assert set(found) == {"id", "stage", "path", "outside_calibration", *TARGETS}
    assert set(found["lut"]) == {"value", "lo", "hi"}


def test_the_shipped_designs_as_a_table() -> None:
    done = CliRunner().invoke(app, ["cost", "evaluate"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "csynth, hls4ml's templates" in done.output
    assert "outside the calibrated paths:" in done.output


def test_the_fit_file_is_what_the_points_give(tmp_path: Path) -> None:
    made = tmp_path / "fits.json"
    done = CliRunner().invoke(app, ["cost", "calibrate", "-o", str(made)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "dense/latency/lut" in done.output
    assert json.loads(made.read_bytes()).keys() == fits().keys()


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is no JSON list"), ('{"a": []}', "is no JSON list of designs")]
)
def test_files_that_cannot_be_used(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    done = CliRunner().invoke(app, ["cost", "evaluate", str(path)])
    assert done.exit_code == 2
    assert said in done.output.replace("\n", " ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cost", "evaluate", str(tmp_path / "no.json")])
    assert done.exit_code == 2
    assert "cannot be read" in done.output
