"""Small integer graphs made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from hwq import boards
from hwq.hardware import HardwareConfig, Io, Strategy, configure
from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.requant import Requant
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold
from hwq.ops.transpose import Transpose
from hwq.rounding import IntArray

RNG = np.random.default_rng


@dataclass
class Net:
    """Grows a graph; every method returns the name of the tensor it makes."""

    seed: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def input(self, shape: tuple[int, ...], lo: int, hi: int) -> str:
        name = f"x{len(self.inputs)}"
        self.tensors[name] = Tensor(name, shape, IntType(lo, hi))
        self.inputs.append(name)
        return name

    def add(self, params: Any, x: str) -> str:
        op = next(s.name for s in OPS.values() if s.params is type(params))
        name = f"{op}{len(self.nodes)}"
        shape, interval = OPS[op].infer(params, self.tensors[x])
        self.tensors[name] = Tensor(name, shape, interval)
        self.nodes.append(Node(op, f"/net/{name}", (x,), name, params))
        return name

    def weights(self, shape: tuple[int, ...], lo: int, hi: int) -> IntArray:
        drawn = RNG(self.seed + len(self.nodes)).integers(lo, hi + 1, shape)
        drawn.ravel()[:2] = lo, hi
        return drawn.astype(np.int64)

    def dense(self, x: str, n_out: int, lo: int = -2, hi: int = 1) -> str:
        return self.add(Dense(self.weights((self.tensors[x].shape[-1], n_out), lo, hi)), x)

    def conv(self, x: str, n_out: int, kernel: int = 3, lo: int = -1, hi: int = 1, **options: Any) -> str:
        shape = (kernel, kernel, self.tensors[x].shape[-1], n_out)
        return self.add(Conv(self.weights(shape, lo, hi), **options), x)

    def threshold(
        self, x: str, levels: int, base: int = 0, step: int = 1, *, per_channel: bool = True
    ) -> str:
        tensor = self.tensors[x]
        rows = tensor.shape[-1] if per_channel else 1
        spread = max((tensor.type.hi - tensor.type.lo) // 4, 1)
        table = RNG(self.seed + len(self.nodes)).integers(-spread, spread + 1, (rows, levels - 1))
        table = np.clip(np.sort(table, axis=1), tensor.type.lo, tensor.type.hi + 1)
        if rows > 2:
            table[0], table[1, -1] = tensor.type.lo, tensor.type.hi + 1
        return self.add(Threshold(table.astype(np.int64), base, step), x)

    def requant(
        self, x: str, lo: int, hi: int, *, half_even: bool, shift: int = 4, per_channel: bool = True
    ) -> str:
        tensor = self.tensors[x]
        size = tensor.shape[-1] if per_channel else 1
        rng = RNG(self.seed + len(self.nodes))
        scale = max(1, ((hi - lo) << shift) * 2 // max(tensor.type.hi - tensor.type.lo, 1))
        mult = rng.integers(1, scale + 2, size) * rng.choice([-1, 1], size)
        add = rng.integers(-(1 << shift), (1 << shift) + 1, size)
        return self.add(Requant(mult, add, shift, half_even, lo, hi), x)

    def graph(self, *outputs: str, name: str = "tiny") -> Graph:
        return check(
            Graph(
                name=name,
                inputs=tuple(self._port(t) for t in self.inputs),
                outputs=tuple(self._port(t) for t in outputs),
                nodes=tuple(self.nodes),
                tensors=self.tensors,
                source_sha256="0" * 64,
            )
        )

    def _port(self, tensor: str) -> Port:
        shape = self.tensors[tensor].shape
        return Port(tensor, f"global_{tensor}", shape, Layout(shape, tuple(range(len(shape)))))


def config(
    graph: Graph, io: Io = Io.PARALLEL, strategy: Strategy = Strategy.LATENCY, reuse: int = 1
) -> HardwareConfig:
    return configure(graph, boards.load("pynq-z2"), io=io, strategy=strategy, reuse=reuse)


@cache
def conv_net() -> Graph:
    """Conv, threshold, pool, conv, requant, flatten, dense, bipolar threshold, dense."""
    net = Net(1)
    x = net.input((8, 8, 1), 0, 15)
    a = net.threshold(net.conv(x, 4, lo=-2, hi=1, pads=(1, 1, 1, 1)), 4)
    a = net.add(MaxPool((2, 2), (2, 2)), a)
    a = net.requant(net.conv(a, 6), -3, 3, half_even=True)
    a = net.add(Reshape((24,)), a)
    a = net.threshold(net.dense(a, 8, lo=-1, hi=1), 2, base=-1, step=2)
    return net.graph(net.dense(a, 5, lo=-7, hi=7), name="conv net")


@cache
def mixed_net() -> Graph:
    """Two inputs, two outputs, one also read inside; per-tensor forms; floor; strides; 1x1."""
    net = Net(2)
    x, y = net.input((7, 6, 3), -4, 3), net.input((9,), -1, 1)
    a = net.requant(x, 0, 3, half_even=False, shift=2, per_channel=False)
    a = net.conv(a, 4, strides=(2, 2), pads=(1, 0, 1, 2))
    b = net.threshold(net.dense(a, 3, lo=-1, hi=1), 3, base=-1, per_channel=False)
    b = net.add(Transpose((2, 0, 1)), b)
    b = net.add(Reshape((int(np.prod(net.tensors[b].shape)),)), b)
    c = net.requant(net.dense(y, 4), -8, 7, half_even=True, shift=1)
    net.dense(b, 2)
    return net.graph(a, net.nodes[-1].output, net.dense(c, 3), name="2 inputs")
