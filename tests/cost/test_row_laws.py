"""Laws of rows against single reports, and by hand: what each was found on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hwq.bench import finn_formulas
from hwq.cost.design_bands import banded_value, design_bands, family
from hwq.cost.evaluate import held_out
from hwq.cost.laws import product
from hwq.cost.laws.mvau import Mvau
from hwq.cost.laws.weights import WeightStatistics
from hwq.cost.measured import designs, leaving_out, left_out, points
from hwq.cost.row_schema import Row
from hwq.cost.row_scope import has_guessed_weights
from hwq.cost.rows import estimate_row, figures


def row(**fields: Any) -> Row:
    return msgspec.convert({"id": "x", **fields}, Row)


def design(name: str) -> Row:
    return next(d for d in designs() if d.id == name)


# --- folded products -------------------------------------------------------------------------------


def test_a_folded_product_without_shared_multipliers_is_a_stage_longer() -> None:
    narrow = WeightStatistics(32, 64, 4, 1600, 32, 0)
    assert product.turns(narrow, 512) == 0
    assert product.turns(WeightStatistics(32, 5, 16, 147, 123, 60), 2) == 0  # each of 60 has its own of 74
    assert product.latency_schedule(narrow, 1, 512) == (2, 3)
    assert product.latency_schedule(narrow, 1, 2) == (2, 2)


def test_constants_take_turns_on_the_multipliers_that_are_allowed() -> None:
    wide = WeightStatistics(32, 32, 6, 239, 162, 52)  # of a report: 7z020, RF 64, II 15
    assert product.multiplier_limit(wide, 64) == 16 - 785 // 64
    assert product.turns(wide, 64) == 13
    assert product.latency_schedule(wide, 2, 64) == (2 + 16 - 1, 16)


def test_registers_of_folded_layers() -> None:
    """Of 30 layers that share multipliers, 512 or 1024 times."""
    held = [r for r in points("dense_latency") if int(r["ii_cycles"]) > 100]
    assert len(held) == 30
    for r in held:
        layer = {k: int(r[k]) for k in ("n_in", "n_out", "in_bits", "w_bits", "acc_bits")}
        w = {k: int(r[k]) for k in ("nz", "u2", "u3", "csd")}
        made = figures(
            row(
                layers=[{"type": "dense", "rf": int(r["reuse"]), "strategy": "latency", "w": w, **layer}],
                flow="hls4ml/Vivado", family="virtexus", speed=2, clock_ns=5.0, design_style="pipeline",
            )
        )  # fmt: skip
        assert made.values["ff"] == pytest.approx(float(r["ff"]), rel=0.45)


def test_counts_that_cannot_be_are_cut_to_what_can() -> None:
    layer = {"type": "dense", "n_in": 4, "n_out": 4, "w_bits": 16, "strategy": "latency"}
    wild, tame = (
        row(layers=[layer | {"w": w}]) for w in ({"nz": 5, "u2": 90, "u3": 99}, {"nz": 5, "u2": 5, "u3": 5})
    )
    assert figures(wild).values == figures(tame).values


# --- streams ---------------------------------------------------------------------------------------


def test_fifos_of_activations_are_as_deep_as_their_images() -> None:
    """An autoencoder whose activations say only how many elements they have: 285 blocks in the report."""
    assert figures(design("195")).values["bram18"] == pytest.approx(285, rel=0.02)


@pytest.mark.parametrize(("name", "cycles"), [("195", 96165), ("1235", 1044), ("812", 1978)])
def test_latency_of_streams_as_reported(name: str, cycles: int) -> None:
    assert figures(design(name)).values["lat_max"] == pytest.approx(cycles, rel=0.01)


@pytest.mark.parametrize(("flow", "interval"), [("hls4ml/Vivado", 1), ("hls4ml/Vitis", 2)])
def test_a_task_of_one_word_starts_again_when_it_has_ended_in_vitis(flow: str, interval: int) -> None:
    layers = [{"type": "dense", "n_in": 1, "n_out": 64}, {"type": "activation", "act": "relu", "n_in": 64}]
    assert figures(row(layers=layers, io="io_stream", flow=flow)).values["ii_max"] == interval


@pytest.mark.parametrize(("rf", "blocks"), [(1, 4), (2, 3), (4, 2), (128, 2)])
def test_tables_of_a_folded_softmax(rf: int, blocks: int) -> None:
    """As nine reports of one network have it."""
    layers = [{"type": "softmax", "n_in": 5, "rf": rf}]
    assert figures(row(layers=layers, flow="hls4ml/Vivado")).values["bram18"] == blocks


# --- FINN ------------------------------------------------------------------------------------------


def test_finns_formula_by_hand() -> None:
    # 2 bits each: (2 ceil(4 / 6) - 1) 4 x 16 products, 4 (2 x 16 - 1) of tree, acc 12, 3 x 12 compared.
    unit = Mvau(mw=64, mh=32, pe=8, simd=16, weight_bits=2, in_bits=2, out_bits=2)
    lane = 64 + 124 + 11 + 3 * 11 + 3 * 11
    assert unit.lut == int(300 + 1.1 * 8 * lane + 8 * 16 * 2)
    assert Mvau(1024, 1024, 64, 32, 1, 1, 1).cycles == 512


def test_networks_of_finn_are_nearer_than_finns_formulas() -> None:
    compared = {(c.flow, c.target): c for c in finn_formulas.compare(held_out())}
    finn = compared["FINN", "lut"]
    assert finn.rows == 5
    assert finn.hwq < 0.1
    assert finn.finn > 0.4
    assert compared["hls4ml", "lut"].hwq < 0.25
    assert compared["hls4ml", "lut"].finn > 1


# --- bands and scope -------------------------------------------------------------------------------


def test_weights_of_a_trained_network_that_are_not_known_are_a_path_of_their_own() -> None:
    layer = {"type": "dense", "n_in": 16, "n_out": 8, "w_bits": 16, "strategy": "latency", "rf": 1}
    known = layer | {"w": {"nz": 100, "u2": 80, "u3": 60}}
    guess = layer | {"w": {"nz": 100, "u2": 80, "u3": 60, "src": "expected: lecun_uniform"}}
    assert not has_guessed_weights(row(layers=[known, known]))
    assert not has_guessed_weights(row(layers=[guess]))
    assert has_guessed_weights(row(layers=[known, guess]))
    assert estimate_row(row(layers=[guess, guess])).path.endswith("guessed weights")


def test_several_folded_layers_side_by_side_were_never_measured() -> None:
    layer = {"type": "dense", "n_in": 16, "n_out": 8, "w_bits": 8, "strategy": "resource", "rf": 16}
    assert not estimate_row(row(layers=[layer])).outside
    assert estimate_row(row(layers=[layer, layer])).outside
    assert not estimate_row(row(layers=[layer, layer], io="io_stream")).outside


def test_a_path_without_designs_has_the_band_of_its_family() -> None:
    layer = {"type": "conv1d", "n_in": 64, "in_w": 64, "in_ch": 4, "out_w": 64, "out_ch": 8, "kw": 3, "rf": 1}
    found = estimate_row(row(layers=[layer], io="io_stream", strategy="latency"))
    assert family(found.path) == "stream unrolled"
    assert found.values["lut"].lo < found.values["lut"].value < found.values["lut"].hi


def test_bands_leave_out_the_source_that_is_left_out() -> None:
    seen: list[frozenset[str]] = []

    def laws() -> dict[str, Any]:
        from hwq.cost.fits import fits

        seen.append(left_out())
        return dict(fits())

    with leaving_out("astitwlathe/example-hls4ml"):
        bands = design_bands(laws)
    assert all("astitwlathe/example-hls4ml" in left for left in seen)
    assert all("astitwlathe/example-hls4ml" not in fit.sources for fit in bands.values())
    assert frozenset().union(*seen) == {d.source for d in designs()}


def test_ends_of_bands_are_counts_around_the_value() -> None:
    assert banded_value(100.4, "lut", 1.0, 1.0) == (100, 101)
    assert banded_value(0, "dsp", 0.5, 3.0) == (0, 2)
