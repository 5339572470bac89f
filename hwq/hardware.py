"""How a graph is to be built in hardware: board, clock, interface, and strategy and reuse of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from hwq.boards import Board
from hwq.errors import InputError
from hwq.ir import Graph, Node
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense


class Io(str, Enum):
    """Whole tensors as wires, or one pixel after the other through FIFOs."""

    PARALLEL = "parallel"
    STREAM = "stream"


class Strategy(str, Enum):
    """hls4ml's two ways to build a matrix product: unrolled logic, or memory and shared multipliers."""

    LATENCY = "latency"
    RESOURCE = "resource"


class Backend(str, Enum):
    """Tool families that projects are written for."""

    VITIS = "vitis"


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

    def reuse_of(self, node: Node) -> int:
        """Reuse factor of a node; 1 for those that hold no weights."""
        return self.reuse.get(node.name, 1)


def matrix_shape(node: Node) -> tuple[int, int] | None:
    """(n_in, n_out) of the matrix product that a dense or conv node does at each position."""
    if isinstance(node.params, Dense):
        return node.params.weight.shape[0], node.params.weight.shape[1]
    if isinstance(node.params, Conv):
        kh, kw, c_in, c_out = node.params.weight.shape
        return kh * kw * c_in, c_out
    return None


def legal_reuse(n_in: int, n_out: int) -> list[int]:
    """Reuse factors that hls4ml builds as asked; it changes others to the nearest legal one with only a warning.

    Source: hls4ml 1.3.0, fpga_backend.py, `_validate_reuse_factor`.

    >>> legal_reuse(6, 4)
    [1, 2, 3, 6, 12, 24]
    """
    total = n_in * n_out
    return [r for r in range(1, total + 1) if _is_legal(r, n_in, n_out)]


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
    reuse: int = 1,
    backend: Backend = Backend.VITIS,
) -> HardwareConfig:
    """Check the options against the graph.

    Args:
        graph: What is to be built.
        board: Where.
        clock_ns: Period; the board's own by default.
        io: Interface and dataflow style.
        strategy: Latency for a reuse of 1, else Resource, by default.
        reuse: For every dense and conv layer.
        backend: Tool family.

    Raises:
        InputError: A reuse factor that is not legal for a layer, with the nearest legal ones.
    """
    period = clock_ns if clock_ns is not None else 1000.0 / board.clock_mhz
    if not 0.5 <= period <= 1000:
        raise InputError(f"--clock-ns {period:g}: give a period between 0.5 and 1000 ns")
    shapes = {n.name: s for n in graph.nodes if (s := matrix_shape(n))}
    for name, (n_in, n_out) in shapes.items():
        _check_reuse(name, reuse, n_in, n_out)
    chosen = strategy or (Strategy.LATENCY if reuse == 1 else Strategy.RESOURCE)
    return HardwareConfig(board, period, io, chosen, dict.fromkeys(shapes, reuse), backend)


def _check_reuse(name: str, reuse: int, n_in: int, n_out: int) -> None:
    if reuse >= 1 and _is_legal(reuse, n_in, n_out):
        return
    legal = legal_reuse(n_in, n_out)
    nearest = sorted(sorted(legal, key=lambda r: (abs(r - reuse), r))[:4])
    raise InputError(
        f"layer '{name}' ({n_in} inputs x {n_out} outputs): reuse factor {reuse} is not legal; "
        f"nearest legal ones: {', '.join(map(str, nearest))}"
    )
