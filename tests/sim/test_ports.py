"""Inputs and outputs of any quantiser against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwq.exact import ExactArray, Surd, at, exact_array
from hwq.ir import Graph, InputQuantizer, IntType, Layout, Port, Real, Tensor
from hwq.rounding import Rounding
from hwq.sim import encoding, ports
from hwq.sim.step import storage

Array = np.ndarray[Any, Any]
CHANNELS = 3
SPECIAL = np.array([0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 3.4e38, -3.4e38], dtype=np.float32)


def graph_of(q: InputQuantizer, pixels: int) -> Graph:
    """Channels-first in the file, channels-last in the graph."""
    codes = IntType(-1, 1) if q.bipolar else IntType(q.lo, q.hi)
    interval = IntType(codes.lo - q.zero, codes.hi - q.zero)
    layout = Layout((CHANNELS, pixels), (1, 0))
    port = Port("x", "x", (CHANNELS, pixels), layout, quantizer=q)
    return Graph("g", (port,), (), (), {"x": Tensor("x", (pixels, CHANNELS), interval)})


def numbers(rng: np.random.Generator, signs: tuple[int, ...]) -> ExactArray:
    count = int(rng.choice([1, CHANNELS]))
    sign = rng.choice(signs, count)
    if rng.integers(5) == 0:
        return exact_array([Surd.sqrt(Fraction(int(rng.integers(2, 50)), 64)) * int(s) for s in sign])
    if rng.integers(3) == 0:
        return np.asarray(sign * 2.0 ** rng.integers(-6, 3, count))
    return np.asarray(sign * (rng.random(count) + 0.01).astype(np.float32).astype(np.float64))


def quantizer(rng: np.random.Generator) -> InputQuantizer:
    bits = int(rng.choice([1, 2, 3, 4, 6, 8]))
    lo, hi = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if rng.integers(2) else (0, 2**bits - 1)
    scale, step = numbers(rng, (-1, 0, 1) if rng.integers(4) == 0 else (-1, 1)), numbers(rng, (1,))
    offset = numbers(rng, (-1, 1)) if rng.integers(2) else np.array([0.0])
    zero, mode = int(rng.integers(lo, hi + 1)) * int(rng.integers(2)), list(Rounding)[rng.integers(7)]
    if rng.integers(8) == 0:
        return InputQuantizer(scale, offset, step, 0, -1, 1, mode, bipolar=True)
    return InputQuantizer(scale, offset, step, zero, lo, hi, mode)


def probes(q: InputQuantizer, rng: np.random.Generator) -> Array:
    """(CHANNELS, n): half steps and integers, their neighbours, and the ends of float32."""
    z = np.arange(max(q.lo - 2, -12), min(q.hi + 3, 13))[:, None] + np.array([0, 0.5])
    columns = []
    for c in range(CHANNELS):
        slope = float(at(q.scale, c) / at(q.step, c))
        shift = float(at(q.offset, c) / at(q.step, c)) + q.zero
        x = ((z.ravel() - shift) / (slope or 1.0)).astype(np.float32)
        around = [np.nextafter(x, np.float32(end)) for end in (-np.inf, np.inf)]
        columns.append(np.concatenate([x, *around, SPECIAL, rng.normal(size=9).astype(np.float32)]))
    return np.array(columns)


def expected(q: InputQuantizer, x: Array) -> Array:
    """(pixels, CHANNELS) of (CHANNELS, pixels)."""
    return np.array(
        [[ports.exact_code(q, float(x[c, i]), c) - q.zero for c in range(len(x))] for i in range(x.shape[1])]
    )


@pytest.mark.parametrize("block", range(8))
def test_every_quantiser_is_encoded_exactly(block: int) -> None:
    other = 0
    for seed in range(20 * block, 20 * (block + 1)):
        rng = np.random.default_rng(seed)
        q = quantizer(rng)
        x = probes(q, rng)
        graph = graph_of(q, x.shape[1])
        port = graph.inputs[0]
        codes = ports.encode(graph, port, np.stack([x, x]))
        assert codes.dtype == storage(graph.tensors["x"].type), seed
        want = expected(q, x)
        assert (codes[0] == want).all(), seed
        assert (codes[1] == want).all(), seed
        assert (ports.quantize(q, x.T.astype(np.float64)) == want).all(), seed
        alone = encoding.encoder(graph, port, ports.quantize)
        other += alone is not None
        assert alone is None or (port.layout.to_graph(alone(x[None]), want.shape)[0] == want).all(), seed
    assert other > 15


def test_rows_beyond_a_block_have_the_constants_of_their_place() -> None:
    q = InputQuantizer(
        np.array([1.0, -3.0, 0.7]), np.array([0.1, 0.0, -0.3]), np.array([0.25]), 0, -8, 7, Rounding.CEIL
    )
    graph = graph_of(q, 50)
    x = np.random.default_rng(0).normal(size=(1201, CHANNELS, 50)).astype(np.float32)
    assert x.size > 2 * encoding._BLOCK
    assert encoding.encoder(graph, graph.inputs[0], ports.quantize) is not None
    moved = x.transpose(0, 2, 1).astype(np.float64)
    assert (ports.encode(graph, graph.inputs[0], x) == ports.quantize(q, moved)).all()


@pytest.mark.parametrize("mode", Rounding)
def test_sixteen_bits_of_a_power_of_two(mode: Rounding) -> None:
    q = InputQuantizer(np.array([-1.0]), np.array([0.0]), np.array([2.0**-10]), 0, -(2**15), 2**15 - 1, mode)
    rng = np.random.default_rng(0)
    z = (rng.integers(-(2**16), 2**16, (CHANNELS, 90)) / 2).astype(np.float32) / 1024
    x = np.concatenate([z, np.nextafter(z, np.float32(9)), np.tile(SPECIAL, (CHANNELS, 1))], axis=1)
    graph = graph_of(q, x.shape[1])
    assert encoding.encoder(graph, graph.inputs[0], ports.quantize) is not None
    assert (ports.encode(graph, graph.inputs[0], x[None])[0] == expected(q, x)).all()


def test_other_grids_of_many_levels_go_the_general_way() -> None:
    q = InputQuantizer(
        np.array([0.3]), np.array([0.1]), np.array([1e-4]), 0, -(2**15), 2**15 - 1, Rounding.HALF_EVEN
    )
    x = np.random.default_rng(0).normal(size=(CHANNELS, 40)).astype(np.float32)
    graph = graph_of(q, 40)
    assert encoding.encoder(graph, graph.inputs[0], ports.quantize) is None
    codes = ports.encode(graph, graph.inputs[0], x[None])
    assert codes.dtype == np.int16
    assert (codes[0] == expected(q, x)).all()


def test_a_wrong_chain_is_not_proven() -> None:
    q = InputQuantizer(np.array([1.0, 0.1, 3.0]), np.array([0.0]), np.array([0.25]), 0, -8, 7, Rounding.FLOOR)
    steps = encoding.first_floats(q, ports.quantize)
    for row, column in np.ndindex(steps.first.shape):
        for end in (-np.inf, np.inf):
            first = steps.first.copy()
            first[row, column] = np.nextafter(first[row, column], np.float32(end))
            assert not encoding._proven(q, np.float64, encoding.Steps(steps.signs, first))


@pytest.mark.parametrize("seed", range(20))
def test_decoding_is_correctly_rounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = (np.float32, np.float64)[seed % 2]
    scale, offset = (rng.normal(size=4).astype(kind).astype(np.float64) for _ in range(2))
    for largest in (100, 2**28, 2**40):
        codes = rng.integers(-largest, largest, (50, 4))
        right = [[float(at(scale, c) * int(v) + at(offset, c)) for c, v in enumerate(row)] for row in codes]
        assert ports.decode(Real(scale, offset), codes).tolist() == right
