"""Rows of strangers: whatever fields are missing or wrong, a row is estimated or refused with its reason."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hwq.cost import row_files
from hwq.cost.evaluate import evaluate, scores, to_json
from hwq.cost.measured import designs
from hwq.cost.row_defaults import complete
from hwq.cost.row_schema import TARGETS, Row
from hwq.cost.rows import estimate_row

DENSE = {"type": "dense", "n_in": 8, "n_out": 4}


def read(rows: Any, tmp_path: Path) -> row_files.Reading:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    return row_files.read(path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"stage": "csynth"}, "row: Object missing required field `layers`"),
        ({"layers": []}, "layers: Expected `array` of length >= 1"),
        ({"layers": [3]}, "layers.0: Expected `object`, got `int`"),
        ({"layers": "dense"}, "layers: Expected `array`, got `str`"),
        (7, "an object was expected, found int"),
    ],
)
def test_rows_without_layers_are_refused_and_the_others_are_not(
    row: Any, reason: str, tmp_path: Path
) -> None:
    found = read([row, {"id": "b", "layers": [DENSE]}], tmp_path)
    assert [(r.id, r.reason) for r in found.refused] == [("0", reason)]
    assert [r.id for r in found.rows] == ["b"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"clock_ns": 0}, "clock_ns"),
        ({"clock_ns": math.nan}, "clock_ns"),
        ({"stage": "guess"}, "stage"),
        ({"lut": "many"}, "lut"),
        ({"layers": [DENSE | {"rf": 0}]}, "layers.0.rf"),
        ({"layers": [DENSE | {"w": {"nz": -1}}]}, "layers.0.w.nz"),
        ({"layers": [DENSE | {"w": "random"}]}, "layers.0.w"),
    ],
)
def test_fields_that_cannot_be_used_are_ignored_and_listed(
    change: dict[str, Any], field: str, tmp_path: Path
) -> None:
    found = read([{"id": "a", "layers": [DENSE]} | change], tmp_path)
    assert [(i.id, i.field) for i in found.ignored] == [("a", field)]
    assert len(found.rows) == 1
    assert to_json(evaluate(found.rows), found)["ignored"][0]["field"] == field


def test_what_is_null_is_not_said_and_not_listed(tmp_path: Path) -> None:
    found = read([{"id": "a", "layers": [DENSE], "flow": None, "template": None, "io": None}], tmp_path)
    assert (len(found.rows), found.ignored, found.refused) == (1, [], [])


def test_names_of_other_tools_mean_the_same_kinds(tmp_path: Path) -> None:
    kinds = ["QDense", "relu", "MaxPooling2D", "BatchNormalization", "Softmax", None]
    (row,) = read([{"id": 1, "layers": [{"type": k} for k in kinds]}], tmp_path).rows
    assert [x.type for x in row.layers] == [
        "dense",
        "activation",
        "pooling2d",
        "batchnorm",
        "softmax",
        "unknown",
    ]


def test_a_row_says_what_follows_from_the_rest_of_it() -> None:
    conv = {
        "type": "conv2d",
        "out_h": 4,
        "out_w": 4,
        "out_ch": 3,
        "out_bits": 6,
        "strategy": "resource",
        "rf": 9,
    }
    layers = [conv, {"type": "activation"}, {"type": "dense", "n_out": 5}]
    row = complete(
        msgspec.convert({"id": "x", "part": "xc7z020clg400-1", "tool": "2019.2", "layers": layers}, Row)
    )
    assert (row.family, row.speed, row.flow, row.design_style) == ("zynq7", 1, "hls4ml/Vivado", "dataflow")
    act, dense = row.layers[1:]
    assert (act.in_bits, act.out_ch, act.in_h) == (6, 3, 4)
    assert (dense.n_in, dense.strategy, dense.rf) == (48, "resource", 9)


def without_something(design: Row, draw: random.Random) -> dict[str, Any]:
    """A design of which some fields are gone and some are nonsense."""
    data: dict[str, Any] = msgspec.to_builtins(design)
    for _ in range(draw.choice([1, 2, 5, 20, 60])):
        layers = data.get("layers")
        inside = [data, *(x for x in layers if isinstance(x, dict))] if isinstance(layers, list) else [data]
        place = draw.choice(inside)
        place = place["w"] if isinstance(place.get("w"), dict) and draw.random() < 0.3 else place
        if not place:
            continue
        key = draw.choice(sorted(place))
        if draw.random() < 0.6:
            del place[key]
        else:
            place[key] = draw.choice(
                [None, 0, -1, 1, 2.5, "x", "16", [], {}, True, math.nan, 1e300, 10**30, 10**6]
            )
    return data


@pytest.mark.parametrize("seed", range(4))
def test_deleted_and_senseless_fields_never_stop_an_evaluation(seed: int, tmp_path: Path) -> None:
    draw, known = random.Random(seed), designs()  # noqa: S311  no secret
    found = read([without_something(draw.choice(known), draw) for _ in range(250)], tmp_path)
    assert len(found.rows) + len(found.refused) == 250
    assert len(found.rows) > 150
    for estimated in evaluate(found.rows):
        for target in TARGETS:
            value = estimated.values[target]
            assert 0 <= value.lo <= value.value <= value.hi < math.inf
    assert scores(evaluate(found.rows))


Spoil = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("no clock", lambda d: d.pop("clock_ns")),
        ("no part", lambda d: (d.pop("family"), d.pop("speed"))),
        ("no reuse", lambda d: [x.pop("rf", None) for x in d["layers"]]),
        (
            "no widths",
            lambda d: [x.pop(k, None) for x in d["layers"] for k in ("in_bits", "w_bits", "acc_bits")],
        ),
        ("no counts", lambda d: [x.pop("w", None) for x in d["layers"]]),
    ],
)
def test_what_a_design_does_not_say_costs_no_more_than_a_default(what: str, spoil: Spoil) -> None:
    """Of the jet MLP of 16 bits at 5 ns the defaults are the truth, or near it."""
    (jet,) = [d for d in designs() if d.id == "1143"]
    data = msgspec.to_builtins(jet)
    spoil(data)
    found, full = estimate_row(msgspec.convert(data, Row)), estimate_row(jet)
    for target in ("lut", "dsp", "lat_max"):
        assert found.values[target].value == pytest.approx(full.values[target].value, rel=0.35), what
