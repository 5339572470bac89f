"""Sums of differently scaled tensors: every pair of integers, against fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq import sim
from hwq.errors import UnsupportedModel
from hwq.frontends import load
from hwq.lowering.joins import simplest_between
from hwq.lowering.lower import Lowering
from hwq.ops.add import Add
from tests.networks import Net, write

FRACTIONS = st.fractions(min_value=-4, max_value=4, max_denominator=60)


@given(FRACTIONS, FRACTIONS)
def test_the_simplest_fraction_lies_inside_and_none_simpler_does(a: Fraction, b: Fraction) -> None:
    lower, upper = sorted((a, b))
    if lower == upper:
        return
    found = simplest_between(lower, upper)
    assert lower < found < upper
    for denominator in range(1, found.denominator):
        assert not any(
            lower < Fraction(n, denominator) < upper for n in range(-4 * denominator, 4 * denominator + 1)
        )


def as_two_inputs(a: float, b: float, out: float, tmp_path: Path, bits: int = 4) -> Lowering:
    """One input, quantised twice, added and quantised again; the graph takes both codes."""
    net = Net([1])
    first, second = net.quant("x", a, 4, signed=0), net.quant("x", b, 4, signed=0)
    total = net.node("Add", [first, second])
    return load(write(net.model(net.quant(total, out, bits, signed=0)), tmp_path / "join.onnx"))


def codes_of(lowering: Lowering) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The code for every pair of codes (a, b)."""
    pairs = np.array(list(product(range(16), range(16))), dtype=np.int64)
    feeds = {p.tensor: pairs[:, i : i + 1] for i, p in enumerate(lowering.graph.inputs)}
    (out,) = sim.run(lowering.graph, feeds).values()
    return out[:, 0]


def exact_code(a: float, b: float, out: float, p: int, q: int, bits: int = 4) -> int:
    total = Fraction(float(np.float32(a))) * p + Fraction(float(np.float32(b))) * q
    rounded: int = round(total / Fraction(float(np.float32(out))))
    return min(rounded, int(2**bits) - 1)


@pytest.mark.parametrize("seed", range(25))
def test_every_pair_of_codes(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    a, b, out = (float(v) for v in rng.uniform(0.05, 1, 3).astype(np.float32))
    if seed % 5 == 0:
        a, b, out = (float(2.0 ** rng.integers(-3, 2)) for _ in range(3))
    lowering = as_two_inputs(a, b, out, tmp_path)
    got = codes_of(lowering)
    for code, (p, q) in zip(got, product(range(16), range(16)), strict=True):
        assert code == exact_code(a, b, out, p, q), (p, q)


def test_multipliers_are_as_small_as_they_can_be(tmp_path: Path) -> None:
    """No smaller pair keeps the levels apart; the float32 unit would need 25 bits."""
    a, b, out = 0.2687, 0.2231, 0.43
    lowering = as_two_inputs(a, b, out, tmp_path)
    (node,) = (n for n in lowering.graph.nodes if isinstance(n.params, Add))
    mult = np.abs(node.params.mult[:, 0])
    assert mult.max() < 32
    codes = np.array([[exact_code(a, b, out, p, q) for q in range(16)] for p in range(16)])
    p, q = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    for m, n in product(range(1, int(mult[0]) + 1), range(int(mult[1]) + 1)):
        sums = m * p + n * q
        apart = all(
            sums[codes < k].max(initial=-1) < sums[codes >= k].min(initial=10**6) for k in range(1, 16)
        )
        assert not apart or m == mult[0]


def test_power_of_two_scales_add_with_shifts(tmp_path: Path) -> None:
    lowering = as_two_inputs(0.5, 0.125, 0.5, tmp_path)
    (node,) = (n for n in lowering.graph.nodes if isinstance(n.params, Add))
    assert sorted(node.params.mult[:, 0].tolist()) == [1, 4]


def test_wide_sums_without_a_common_unit_are_refused(tmp_path: Path) -> None:
    net = Net([2])
    x = net.quant("x", 0.5, 32)
    sums = []
    for variance in (2.0, 3.0):
        y = net.node("MatMul", [x, net.weight(np.array([[5.0], [-3.0]]), 0.5)])
        values = ([1.0], [0.0], [0.0], [variance])
        sums.append(net.node("BatchNormalization", [y, *(net.constant(v) for v in values)], epsilon=0.0))
    total = net.node("Add", [net.node("Relu", [sums[0]]), sums[1]])
    with pytest.raises(UnsupportedModel, match=r"quantise|QuantEltwiseAdd"):
        load(write(net.model(net.quant(total, 0.5, 4)), tmp_path / "wide.onnx"))
