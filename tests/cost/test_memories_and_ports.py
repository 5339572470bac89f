"""Weight memories in block RAM or LUTs, and the wrapper of an overlay."""

from __future__ import annotations

import pytest

from hwq import estimation
from hwq.cost.assemble import estimate
from hwq.cost.laws.axis import port_cost
from hwq.cost.laws.memory import rom_luts, tiles_bram18, weight_memory
from hwq.hardware import Io
from hwq.ir import IntType, Tensor
from tests.cost.cost_nets import config, mlp


@pytest.mark.parametrize(
    ("words", "bits", "blocks"),
    [(512, 36, 1), (513, 36, 2), (1024, 18, 1), (2048, 9, 1), (16384, 1, 1), (4096, 5, 2), (512, 72, 2)],
)
def test_tilings_by_hand(words: int, bits: int, blocks: int) -> None:
    assert tiles_bram18(words, bits) == blocks


def test_small_memories_are_luts() -> None:
    assert weight_memory(64, 15) == (0, 15)
    assert weight_memory(64, 16) == (1, 0)
    assert rom_luts(65, 2) == 4


def test_a_port_by_hand() -> None:
    image = Tensor("x", (4, 4, 3), IntType(0, 255))
    streamed, whole = port_cost(image, stream=True), port_cost(image, stream=False)
    # 8 codes in a word of 64 bits; 3 in a pixel share no factor with them, 48 in the tensor do.
    assert (streamed.cycles, whole.cycles) == (48, 6)
    assert streamed.register_bits == 2 * 81 + 64 + 12 + 24
    assert whole.register_bits == 2 * 81 + 64 + 12 + 384


@pytest.mark.parametrize("io", list(Io))
def test_a_wrapper_adds_and_never_quickens(io: Io) -> None:
    graph = mlp()
    choice = config(graph, io=io)
    bare, wrapped = estimate(graph, choice), estimate(graph, choice, overlay=True)
    assert wrapped.layers[-1].path == "top/axi"
    assert wrapped.layers[:-1] == bare.layers
    assert wrapped.total["ff"].value > bare.total["ff"].value
    assert wrapped.ii_cycles >= max(bare.ii_cycles, wrapped.layers[-1].ii_cycles)
    simulated = estimation.estimate(graph, choice, overlay=True)
    assert simulated.ii_cycles >= max(
        estimation.estimate(graph, choice).ii_cycles, wrapped.layers[-1].ii_cycles
    )
    assert simulated.latency_cycles > estimation.estimate(graph, choice).latency_cycles
