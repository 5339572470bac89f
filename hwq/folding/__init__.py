"""Folding: strategy and reuse factor of every layer, chosen for a target at the least resources.

Every layer has a few dozen ways to be built (`hwq.folding.space`: strategy and legal reuse factor, with
resources and cycles by the cost laws). `hwq.folding.selection` picks one a layer by integer programming: of
all combinations the best, with proof. Best is the smallest peak, the largest share of any resource of the
board; among equals the smallest sum of shares. Without a target it is the fewest cycles between inferences
that fit the board, then the shortest latency, then the least resources (`hwq.folding.decide`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwq.boards import Board
from hwq.cost.model import Stage
from hwq.errors import InputError
from hwq.folding.decide import fold
from hwq.folding.space import FitRule, spaces
from hwq.folding.target import Target
from hwq.hardware import (
    AUTO,
    Backend,
    FifoDepths,
    HardwareConfig,
    Io,
    Strategy,
    check_names,
    check_period,
    configure,
    matrix_layers,
)
from hwq.ir import Graph

__all__ = ["FitRule", "Target", "design"]


def design(
    graph: Graph,
    board: Board,
    *,
    clock_ns: float | None = None,
    io: Io = Io.PARALLEL,
    strategy: Mapping[str, Sequence[Strategy]] | None = None,
    reuse: Mapping[str, int | str] | None = None,
    backend: Backend = Backend.VITIS,
    fifo: FifoDepths = FifoDepths.FULL_RATE,
    target: Target | None = None,
    fit: FitRule = FitRule.VALUE,
    stage: Stage = Stage.POST_SYNTH,
) -> HardwareConfig:
    """A configuration as asked; layers whose reuse is ``auto`` are folded.

    Args:
        graph: What is to be built.
        board: Where.
        clock_ns: Period; the board's own by default.
        io: Interface and dataflow style.
        strategy: By layer, ``""`` for those not named; several are alternatives of a folded layer,
            Latency and Resource by default.
        reuse: By layer, ``""`` for those not named: a number, or ``auto``.
        backend: Tool family.
        fifo: Depths of the FIFOs of io_stream.
        target: Of the folding.
        fit: Which end of the estimates must fit the board.
        stage: Of the estimates.

    Raises:
        InputError: Options that contradict each other, or a reuse factor that is not legal.
        CheckFailed: The target cannot be met, or nothing fits; with the best that can be reached.
    """
    factors, styles, aim = dict(reuse or {}), dict(strategy or {}), target or Target()
    layers = matrix_layers(graph)
    check_names("--reuse", factors, layers)
    check_names("--strategy", styles, layers)
    asked = {name: factors.get(name, factors.get("", 1)) for name in layers}
    numbers = {name: int(value) for name, value in asked.items() if value != AUTO}
    single = {name: _one(name, styles[name]) for name in styles if name in numbers}
    if AUTO not in factors.values():
        if aim != Target():
            raise InputError("a target needs layers to choose for: add --reuse auto, or --reuse LAYER=auto")
        if "" in styles:
            single[""] = _one("", styles[""])
        return configure(
            graph,
            board,
            clock_ns=clock_ns,
            io=io,
            strategy=single,
            reuse=numbers or 1,
            backend=backend,
            fifo=fifo,
        )
    base = HardwareConfig(board, check_period(clock_ns, board), io, {}, {}, backend, fifo)
    return fold(graph, base, spaces(graph, base, numbers, styles, fit, stage), aim, fit, stage)


def _one(layer: str, names: Sequence[Strategy]) -> Strategy:
    if len(names) != 1:
        where, listed = f"layer '{layer}'" if layer else "a design", ", ".join(n.value for n in names)
        raise InputError(
            f"--strategy: {where} whose reuse factor is given has one strategy, not {listed}; "
            "alternatives are for --reuse auto"
        )
    return names[0]
