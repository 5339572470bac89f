"""Small hand-built integer graphs for the tests of the estimates."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from hwq.boards import load
from hwq.hardware import HardwareConfig, Io, Strategy, configure
from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold


def build(name: str, shape: tuple[int, ...], kind: IntType, ops: list[tuple[str, Any]]) -> Graph:
    """A chain of ops; node i is called ``<op><i>``."""
    tensors = {"x": Tensor("x", shape, kind)}
    nodes, last = [], "x"
    for i, (op, params) in enumerate(ops):
        out_shape, out_type = OPS[op].infer(params, tensors[last])
        node = Node(op, f"{op}{i}", (last,), f"t{i}", params)
        tensors[node.output] = Tensor(node.output, out_shape, out_type)
        nodes.append(node)
        last = node.output

    def port(tensor: str) -> Port:
        size = tensors[tensor].shape
        return Port(tensor, tensor, size, Layout(size, tuple(range(len(size)))))

    return check(Graph(name, (port("x"),), (port(last),), tuple(nodes), tensors))


def weights(*shape: int, lo: int = -1, hi: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(lo, hi + 1, shape)


def thresholds(channels: int, steps: int, span: int = 20) -> Threshold:
    rows = np.sort(np.random.default_rng(1).integers(-span, span, (channels, steps)), axis=1)
    return Threshold(rows, 0)


def mlp(lo: int = -1, hi: int = 1, sizes: tuple[int, ...] = (16, 32, 32, 5), in_hi: int = 3) -> Graph:
    ops: list[tuple[str, Any]] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        ops.append(("dense", Dense(weights(n_in, n_out, lo=lo, hi=hi, seed=i))))
        if i < len(sizes) - 2:
            ops.append(("threshold", thresholds(n_out, 3)))
    return build("mlp", (sizes[0],), IntType(0, in_hi), ops)


def convnet() -> Graph:
    return build(
        "convnet",
        (8, 8, 1),
        IntType(0, 15),
        [
            ("conv", Conv(weights(3, 3, 1, 8), pads=(1, 1, 1, 1))),
            ("threshold", thresholds(8, 3)),
            ("max_pool", MaxPool((2, 2), (2, 2))),
            ("conv", Conv(weights(3, 3, 8, 16, seed=3))),
            ("threshold", thresholds(16, 3)),
            ("reshape", Reshape((2 * 2 * 16,))),
            ("dense", Dense(weights(64, 10, seed=4))),
        ],
    )


def config(
    graph: Graph,
    board: str = "pynq-z2",
    io: Io = Io.PARALLEL,
    strategy: Strategy | None = None,
    reuse: int = 1,
    clock_ns: float | None = None,
) -> HardwareConfig:
    return configure(graph, load(board), io=io, strategy=strategy, reuse=reuse, clock_ns=clock_ns)
