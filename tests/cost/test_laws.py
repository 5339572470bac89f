"""Laws against hand-computed cases and against the measured points that the repository holds."""

from __future__ import annotations

import numpy as np
import pytest

from hwq.cost.calibrate import statistics
from hwq.cost.laws import dataflow, product
from hwq.cost.laws.weights import count, csd_digits, live_comparators
from hwq.cost.measured import integer, points


def naf_digits(value: int) -> int:
    """Non-zero digits of the non-adjacent form, by its textbook recursion."""
    digits, left = 0, abs(value)
    while left:
        if left % 2:
            left -= 2 - left % 4
            digits += 1
        left //= 2
    return digits


def test_signed_digits_of_every_8_bit_constant() -> None:
    values = np.arange(-128, 128)
    assert csd_digits(values).tolist() == [naf_digits(int(v)) for v in values]


def test_statistics_of_hand_written_weights() -> None:
    # Row 0: 11, 11, -11 are two distinct constants of 3 digits, 3 has 2 digits; row 1: 7 has 2 digits.
    w = count(np.array([[11, 11, -11, 3], [0, 1, 2, 7]]))
    assert (w.n, w.nz, w.u2, w.u3, w.bits) == (8, 7, 4, 2, 5)


def test_dsp_law_of_latency_by_hand() -> None:
    w = count(np.array([[11, 11, -11, 3], [0, 1, 2, 107]]))  # u3 = 3, one zero, 8 bits
    assert (w.bits, w.u3) == (8, 3)
    assert product.latency_dsp(w, 16, 1) == 3  # min(3, 8 - 1)
    assert product.latency_dsp(w, 16, 4) == 2  # min(3, ceil(8 / 4) - floor(1 / 4))
    assert product.latency_dsp(w, 9, 1) == 0  # 9 x 8 = 72 bits: LUTs
    assert product.latency_dsp(w, 10, 1) == 3  # 10 x 8 = 80 bits: DSPs


def test_low_bit_products_use_no_dsp() -> None:
    w = count(np.random.default_rng(0).integers(-8, 8, (64, 64)))
    assert product.latency_dsp(w, 8, 1) == product.resource_dsp(w, 8, 64) == 0


def test_dsp_law_on_layers_whose_weights_were_counted() -> None:
    rows = [r for r in points("dense_latency") if r["weights"] == "counted" and r["reuse"] == "1"]
    errors = [abs(product.latency_dsp(statistics(r), int(r["in_bits"]), 1) - int(r["dsp"])) for r in rows]
    assert len(errors) == 7
    assert sorted(errors) == [0, 0, 0, 0, 0, 0, 1]


def test_resource_law_is_exact_in_dsp_and_ii() -> None:
    rows = [r for r in points("dense_resource") if int(r["w_bits"]) >= 8]
    assert len(rows) == 497
    for r in rows:
        n_in, n_out, reuse, dsp, ii = integer(r, "n_in", "n_out", "reuse", "dsp", "ii_cycles")
        assert dsp == product.block_factor(n_in * n_out, reuse)
        assert ii == reuse


def test_resource_cycles_are_within_one_of_every_point() -> None:
    rows = points("dense_resource")
    late = [int(r["reuse"]) + 2 - int(r["latency_cycles"]) for r in rows]
    assert len(rows) == 871
    assert set(late) <= {0, 1}
    assert late.count(0) == 830


def test_weight_memories_are_exact_on_nine_points_in_ten() -> None:
    rows = points("dense_resource")
    exact = sum(
        product.weight_bram18(*integer(r, "n_in", "n_out", "reuse", "w_bits")) == int(r["bram18"])
        for r in rows
    )
    assert exact == 791


def test_narrow_weights_of_the_resource_points_use_no_dsp() -> None:
    rows = [r for r in points("dense_resource") if int(r["w_bits"]) * int(r["in_bits"]) < 76]
    assert len(rows) > 200
    assert {r["dsp"] for r in rows} == {"0"}


@pytest.mark.parametrize(
    ("depth", "bits", "blocks"),
    [
        (1, 512, 0),
        (32, 16, 0),
        (33, 16, 1),
        (1024, 18, 1),
        (1025, 18, 2),
        (900, 19, 2),
        (2048, 9, 1),
        (2049, 8, 2),
    ],
)
def test_fifo_law_by_hand(depth: int, bits: int, blocks: int) -> None:
    assert dataflow.fifo_bram18(depth, bits) == blocks


def test_comparators_that_never_change_are_not_counted() -> None:
    thresholds = np.array([[-5, 0, 3], [1, 2, 99]])
    assert live_comparators(thresholds, -4, 10) == 4  # -5 is always met, 99 never


def test_narrow_trees_are_no_larger_than_wide_ones() -> None:
    w = count(np.random.default_rng(0).integers(-1, 2, (64, 16)))
    assert 0 < product.tree_bits(w, 2, 9) <= w.nz * 9
