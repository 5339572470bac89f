"""How a graph is to be built in hardware: board, clock, interface, and strategy and reuse of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

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
    """hls4ml's two ways to build a matrix product: unrolled logic, or memory and shared multipliers."""

    LATENCY = "latency"
    RESOURCE = "resource"


class FifoDepths(str, Enum):
    """How deep the FIFOs of io_stream are: as fast as any depth, just without deadlock, or hls4ml's whole tensors."""

    FULL_RATE = "full-rate"
    MINIMAL = "minimal"
    TENSOR = "tensor"


class Backend(str, Enum):
    """Tool families that projects are written for: Vitis HLS (2020.1 and later), Vivado HLS (before)."""

    VITIS = "vitis"
    VIVADO = "vivado"


@dataclass(frozen=True)
class HardwareConfig:
    """A checked configuration; make it with `configure`.

    Attributes:
        clock_ns: Target clock period.
        reuse: How often each multiplier of a dense or conv node is used in turn; by node name.
    """

    board: Board
    clock_ns: float
    io: Io
    strategy: Strategy
    reuse: Mapping[str, int]
    backend: Backend = Backend.VITIS
    fifo: FifoDepths = FifoDepths.FULL_RATE

    def reuse_of(self, node: Node) -> int:
        """Reuse factor of a node; 1 for those that hold no weights."""
        return self.reuse.get(node.name, 1)


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
    limit = n_in * n_out if most is None else min(most, n_in * n_out)
    return [r for r in range(1, limit + 1) if _is_legal(r, n_in, n_out)]


def _is_legal(reuse: int, n_in: int, n_out: int) -> bool:
    total = n_in * n_out
    if total % reuse:
        return False
    if reuse >= n_in:
        return reuse % n_in == 0
    return -(-total // reuse) % n_out == 0


def configure(
    graph: Graph,
    board: Board,
    *,
    clock_ns: float | None = None,
    io: Io = Io.PARALLEL,
    strategy: Strategy | None = None,
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
        strategy: Latency where every reuse is 1, else Resource, by default.
        reuse: For every dense and conv layer, or by layer; the key ``""`` is for those not named.
        backend: Tool family.
        fifo: Depths of the FIFOs of io_stream.

    Raises:
        InputError: A reuse factor that is not legal for a layer, with the nearest legal ones.
    """
    period = clock_ns if clock_ns is not None else 1000.0 / board.clock_mhz
    if not 0.5 <= period <= 1000:
        raise InputError(f"--clock-ns {period:g}: give a period between 0.5 and 1000 ns")
    wanted = dict(reuse) if isinstance(reuse, Mapping) else {"": reuse}
    default = wanted.pop("", 1)
    layers = {n.name: n for n in graph.nodes if matrix_shape(n)}
    if unknown := sorted(set(wanted) - set(layers)):
        raise InputError(f"--reuse: no layer '{unknown[0]}' with weights; there are {', '.join(layers)}")
    chosen = {name: wanted.get(name, default) for name in layers}
    style = strategy or (Strategy.LATENCY if set(chosen.values()) <= {1} else Strategy.RESOURCE)
    for name, node in layers.items():
        _check_reuse(node, chosen[name], io, style)
    return HardwareConfig(board, period, io, style, chosen, backend, fifo)


def _check_reuse(node: Node, reuse: int, io: Io, strategy: Strategy) -> None:
    n_in, n_out = matrix_shape(node) or (1, 1)
    # hls4ml's io_parallel Resource convolution reads beyond its window when the reuse factor exceeds it.
    window = isinstance(node.params, Conv) and io is Io.PARALLEL and strategy is Strategy.RESOURCE
    legal = legal_reuse(n_in, n_out, n_in if window else None)
    if reuse in legal:
        return
    nearest = sorted(sorted(legal, key=lambda r: (abs(r - reuse), r))[:4])
    raise InputError(
        f"layer '{node.name}' ({n_in} inputs x {n_out} outputs): reuse factor {reuse} is not legal; "
        f"nearest legal ones: {', '.join(map(str, nearest))} (--reuse '{node.name}={nearest[0]}' is for it alone)"
    )


def parse_reuse(words: Sequence[str]) -> dict[str, int]:
    """Reuse factors as typed: ``N`` for all layers, ``LAYER=N`` for one.

    >>> parse_reuse(["4", "/fc/MatMul=8"])
    {'': 4, '/fc/MatMul': 8}

    Raises:
        InputError: Not of that form.
    """
    found = {}
    for word in words:
        layer, _, number = word.rpartition("=")
        if not number.isdigit() or int(number) < 1:
            raise InputError(f"--reuse '{word}': give N, or LAYER=N, with N from 1")
        found[layer] = int(number)
    return found
