"""How a graph is to be built in hardware: board, clock, interface, and strategy and reuse of each layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from hwq.boards import Board
from hwq.errors import InputError
from hwq.ir import Graph, Node
from hwq.ops.conv import Conv, is_depthwise
from hwq.ops.dense import Dense


class Io(str, Enum):
    """Whole tensors as wires, or one pixel after the other through FIFOs."""

    PARALLEL = "parallel"
    STREAM = "stream"


class Strategy(str, Enum):
    """hls4ml's ways to build a matrix product.

    Unrolled logic; memory and shared multipliers; an adder graph of all outputs together, made by da4ml.
    """

    LATENCY = "latency"
    RESOURCE = "resource"
    DISTRIBUTED_ARITHMETIC = "distributed_arithmetic"


SHIFT_REGISTER_PIXELS = 32
"""FIFOs of no more are built as shift registers, one LUT a bit; the tools would take block RAM for wide pixels."""


class FifoDepths(str, Enum):
    """How deep the FIFOs of io_stream are: as fast as any depth, just without deadlock, or hls4ml's whole tensors."""

    FULL_RATE = "full-rate"
    MINIMAL = "minimal"
    TENSOR = "tensor"


class Backend(str, Enum):
    """Tool families that projects are written for: Vitis HLS (2020.1 and later), Vivado HLS (before)."""

    VITIS = "vitis"
    VIVADO = "vivado"


NOT_BUILT = {
    "quartus": "its networks take structs of ports and arrays by reference, of ac_types; hwq's layers do not",
    "catapult": "its types are ac_types; hwq's layers and testbench are for ap_types",
    "oneapi": "its C++ compiles with icpx alone, so that nothing could be compared",
    "libero": "hls4ml 1.3 lacks files of it",
}
"""hls4ml's other backends, and why no project is written for them."""


def parse_backend(name: str) -> Backend:
    """A backend by name.

    Raises:
        InputError: Unknown, or not built, with the reason.
    """
    known = ", ".join(b.value for b in Backend)
    if name in NOT_BUILT:
        raise InputError(f"--backend {name}: {NOT_BUILT[name]}; choose one of {known}")
    if name not in [b.value for b in Backend]:
        raise InputError(f"--backend '{name}': choose one of {known}")
    return Backend(name)


@dataclass(frozen=True)
class HardwareConfig:
    """A checked configuration; make it with `configure`.

    Attributes:
        clock_ns: Target clock period.
        strategy: Of every dense or conv node, by node name.
        reuse: How often each multiplier of a dense or conv node is used in turn; by node name.
        folding: How strategy and reuse were chosen, if hwq chose them: `hwq.folding.Folding.to_json`.
    """

    board: Board
    clock_ns: float
    io: Io
    strategy: Mapping[str, Strategy]
    reuse: Mapping[str, int]
    backend: Backend = Backend.VITIS
    fifo: FifoDepths = FifoDepths.FULL_RATE
    folding: Mapping[str, Any] | None = None

    def reuse_of(self, node: Node) -> int:
        """Reuse factor of a node; 1 for those that hold no weights."""
        return self.reuse.get(node.name, 1)

    def strategy_of(self, node: Node) -> Strategy:
        """Strategy of a node; Latency for those that hold no weights."""
        return self.strategy.get(node.name, Strategy.LATENCY)

    @property
    def strategy_name(self) -> str:
        """The strategy that all layers share, or ``mixed``."""
        used = set(self.strategy.values()) or {Strategy.LATENCY}
        return used.pop().value if len(used) == 1 else "mixed"


def matrix_shape(node: Node) -> tuple[int, int] | None:
    """(n_in, n_out) of the matrix product that a dense or conv node does at each position, as it is built.

    Groups and dilation are built with zeros; a depthwise convolution is one product a channel.
    """
    if isinstance(node.params, Dense):
        return node.params.weight.shape[0], node.params.weight.shape[1]
    if isinstance(node.params, Conv):
        (kh, kw), (dh, dw) = node.params.kernel, node.params.dilations
        per_group, c_out = node.params.weight.shape[2:]
        if is_depthwise(node.params):
            return kh * kw, c_out
        return ((kh - 1) * dh + 1) * ((kw - 1) * dw + 1) * per_group * node.params.groups, c_out
    return None


def legal_reuse(n_in: int, n_out: int, most: int | None = None) -> list[int]:
    """Reuse factors that hls4ml builds as asked; it changes others to the nearest legal one with only a warning.

    Args:
        n_in: Inputs of the matrix product.
        n_out: Outputs.
        most: Upper limit, where there is one.

    Source: hls4ml 1.3.0, fpga_backend.py, `_validate_reuse_factor`.

    >>> legal_reuse(6, 4), legal_reuse(6, 4, most=6)
    ([1, 2, 3, 6, 12, 24], [1, 2, 3, 6])
    """
    total = n_in * n_out
    reuse = np.arange(1, (total if most is None else min(most, total)) + 1)
    whole = (reuse < n_in) & (-(-total // reuse) % n_out == 0) | (reuse % n_in == 0)
    legal: list[int] = reuse[(total % reuse == 0) & whole].tolist()
    return legal


def reuse_choices(graph: Graph, node: Node, io: Io, strategy: Strategy) -> list[int]:
    """Reuse factors that a dense or conv node can have in this interface and strategy."""
    n_in, n_out = matrix_shape(node) or (1, 1)
    if strategy is Strategy.DISTRIBUTED_ARITHMETIC:
        return [1]
    # hls4ml's io_parallel Resource convolution reads beyond its window when the reuse factor exceeds it;
    # a dense layer on an image is built as a 1x1 convolution.
    image = isinstance(node.params, Conv) or len(graph.tensors[node.inputs[0]].shape) > 1
    window = image and io is Io.PARALLEL and strategy is Strategy.RESOURCE
    return legal_reuse(n_in, n_out, n_in if window else None)


def matrix_layers(graph: Graph) -> dict[str, Node]:
    """The dense and conv nodes by name: those that have a strategy and a reuse factor."""
    return {n.name: n for n in graph.nodes if matrix_shape(n)}


def check_names(option: str, named: Collection[str], layers: Collection[str]) -> None:
    """Refuse an option for a layer that does not exist; the empty name is for all layers not named."""
    if unknown := sorted(set(named) - set(layers) - {""}):
        raise InputError(f"{option}: no layer '{unknown[0]}' with weights; there are {', '.join(layers)}")


def check_period(clock_ns: float | None, board: Board) -> float:
    """The clock period in ns; the board's own by default."""
    period = clock_ns if clock_ns is not None else 1000.0 / board.clock_mhz
    if not 0.5 <= period <= 1000:
        raise InputError(f"--clock-ns {period:g}: give a period between 0.5 and 1000 ns")
    return period


def configure(
    graph: Graph,
    board: Board,
    *,
    clock_ns: float | None = None,
    io: Io = Io.PARALLEL,
    strategy: Strategy | Mapping[str, Strategy] | None = None,
    reuse: int | Mapping[str, int] = 1,
    backend: Backend = Backend.VITIS,
    fifo: FifoDepths = FifoDepths.FULL_RATE,
) -> HardwareConfig:
    """Check the options against the graph.

    Args:
        graph: What is to be built.
        board: Where.
        clock_ns: Period; the board's own by default.
        io: Interface and dataflow style.
        strategy: For every dense and conv layer, or by layer; the key ``""`` is for those not named.
            By default Latency for a layer whose reuse is 1, else Resource.
        reuse: For every dense and conv layer, or by layer; the key ``""`` is for those not named.
        backend: Tool family.
        fifo: Depths of the FIFOs of io_stream.

    Raises:
        InputError: A reuse factor that is not legal for a layer, with the nearest legal ones.
    """
    period = check_period(clock_ns, board)
    factors = dict(reuse) if isinstance(reuse, Mapping) else {"": reuse}
    styles = {"": strategy} if isinstance(strategy, Strategy) else dict(strategy or {})
    layers = matrix_layers(graph)
    check_names("--reuse", factors, layers)
    check_names("--strategy", styles, layers)
    default = factors.get("", 1)
    chosen = {name: factors.get(name, default) for name in layers}
    built = {name: styles.get(name, styles.get("")) or default_strategy(chosen[name]) for name in layers}
    for name, node in layers.items():
        check_reuse(graph, node, chosen[name], io, built[name])
    return HardwareConfig(board, period, io, built, chosen, backend, fifo)


def default_strategy(reuse: int) -> Strategy:
    """What a layer is built by when nothing else is asked."""
    return Strategy.LATENCY if reuse == 1 else Strategy.RESOURCE


def check_reuse(graph: Graph, node: Node, reuse: int, io: Io, strategy: Strategy) -> None:
    """Refuse a reuse factor that is not legal for a layer, with the nearest legal ones."""
    legal = reuse_choices(graph, node, io, strategy)
    if reuse in legal:
        return
    n_in, n_out = matrix_shape(node) or (1, 1)
    if strategy is Strategy.DISTRIBUTED_ARITHMETIC:
        raise InputError(
            f"layer '{node.name}': distributed arithmetic is unrolled, it has no reuse factor {reuse}: "
            f"give --reuse '{node.name}=1', or --strategy '{node.name}=resource'"
        )
    nearest = sorted(sorted(legal, key=lambda r: (abs(r - reuse), r))[:4])
    raise InputError(
        f"layer '{node.name}' ({n_in} inputs x {n_out} outputs): reuse factor {reuse} is not legal; "
        f"nearest legal ones: {', '.join(map(str, nearest))} (--reuse '{node.name}={nearest[0]}' is for it alone)"
    )


AUTO = "auto"
"""In place of a reuse factor: hwq is to choose it, and the strategy (`hwq.folding`)."""


def parse_reuse(words: Sequence[str]) -> dict[str, int | str]:
    """Reuse factors as typed: ``N`` or ``auto`` for all layers, ``LAYER=N`` or ``LAYER=auto`` for one.

    >>> parse_reuse(["auto", "/fc/MatMul=8"])
    {'': 'auto', '/fc/MatMul': 8}

    Raises:
        InputError: Not of that form.
    """
    found: dict[str, int | str] = {}
    for word in words:
        layer, _, number = word.rpartition("=")
        if number != AUTO and (not number.isdecimal() or int(number) < 1):
            raise InputError(f"--reuse '{word}': give N, or LAYER=N, with N from 1, or auto")
        found[layer] = AUTO if number == AUTO else int(number)
    return found


def parse_strategy(words: Sequence[str]) -> dict[str, tuple[Strategy, ...]]:
    """Strategies as typed: ``NAME`` for all layers, ``LAYER=NAME`` for one; several of one key are alternatives.

    >>> parse_strategy(["latency", "fc=resource"])["fc"]
    (<Strategy.RESOURCE: 'resource'>,)

    Raises:
        InputError: Not a strategy, with the known ones.
    """
    found: dict[str, tuple[Strategy, ...]] = {}
    for word in words:
        layer, _, name = word.rpartition("=")
        if name not in {s.value for s in Strategy}:
            known = ", ".join(s.value for s in Strategy)
            raise InputError(f"--strategy '{word}': choose one of {known} (or LAYER=one of them)")
        found[layer] = tuple(dict.fromkeys((*found.get(layer, ()), Strategy(name))))
    return found
