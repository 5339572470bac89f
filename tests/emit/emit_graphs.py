"""Small integer graphs made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from hwq import boards
from hwq.hardware import Backend, HardwareConfig, Io, Strategy, configure, legal_reuse, matrix_shape
from hwq.ir import Graph, IntType, Layout, Node, Port, Tensor, check
from hwq.ops import OPS
from hwq.ops.add import Add
from hwq.ops.argmax import ArgMax
from hwq.ops.concat import Concat
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.depth_to_space import DepthToSpace
from hwq.ops.global_sum import GlobalSum
from hwq.ops.lut import Lut
from hwq.ops.matmul import MatMul
from hwq.ops.max_pool import MaxPool
from hwq.ops.mul import Mul
from hwq.ops.pad import Pad
from hwq.ops.requant import Requant, Slope
from hwq.ops.reshape import Reshape
from hwq.ops.slice import Slice
from hwq.ops.sum_pool import SumPool
from hwq.ops.threshold import Threshold
from hwq.ops.transpose import Transpose
from hwq.ops.upsample import Upsample
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

    def add(self, params: Any, *inputs: str) -> str:
        op = next(s.name for s in OPS.values() if s.params is type(params))
        name = f"{op}{len(self.nodes)}"
        shape, interval = OPS[op].infer(params, *(self.tensors[x] for x in inputs))
        self.tensors[name] = Tensor(name, shape, interval)
        self.nodes.append(Node(op, f"/net/{name}", inputs, name, params))
        return name

    def sum(self, *inputs: str, per_channel: bool = True, add: int = 3) -> str:
        """With drawn multipliers, some of them 1."""
        rng = RNG(self.seed + len(self.nodes))
        size = max(self.tensors[x].shape[-1] for x in inputs) if per_channel else 1
        mult = rng.integers(-5, 6, (len(inputs), size))
        mult[0, 0] = 1
        return self.add(Add(mult, rng.integers(-add, add + 1, size)), *inputs)

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

    def two_slopes(self, x: str, *, half_even: bool, shift: int, per_channel: bool = True) -> str:
        """Pivots inside the interval, below it and above it."""
        tensor = self.tensors[x]
        rng, size = RNG(self.seed + len(self.nodes)), tensor.shape[-1] if per_channel else 1
        pivot = rng.integers(tensor.type.lo, tensor.type.hi + 1, size)
        if size > 2:
            pivot[:2] = tensor.type.lo - 5, tensor.type.hi + 5
        mult, low = rng.integers(1, 9, size), rng.integers(0, 5, size)
        add, low_add = rng.integers(-20, 20, size), rng.integers(-20, 20, size)
        return self.add(Requant(mult, add, shift, half_even, -7, 8, Slope(pivot, low, low_add)), x)

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
    graph: Graph,
    io: Io = Io.PARALLEL,
    strategy: Strategy = Strategy.LATENCY,
    reuse: int = 1,
    backend: Backend = Backend.VITIS,
) -> HardwareConfig:
    board = boards.load("pynq-z2")
    return configure(graph, board, io=io, strategy=strategy, reuse=reuse, backend=backend)


@cache
def dense_net() -> Graph:
    """One dense on the input, thresholds, one more dense."""
    net = Net(4)
    x = net.input((40,), -8, 7)
    return net.graph(net.dense(net.threshold(net.dense(x, 6), 4), 3, lo=-8, hi=7), name="dense net")


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


def _matrix_branches(net: Net) -> list[str]:
    """Dense and conv: weight widths, kernels, strides, pads, 1x1, on an image."""
    flat, byte = net.input((12,), -3, 3), net.input((6,), 0, 255)
    image = net.input((6, 5, 2), -2, 1)
    outputs = [
        net.dense(flat, 4, lo=lo, hi=hi)
        for lo, hi in ((-1, 1), (-1, 0), (0, 1), (-2, 1), (-8, 7), (-128, 127))
    ]
    outputs += [net.dense(byte, 3, lo=-1, hi=1), net.dense(image, 3)]
    outputs += [net.conv(image, 3, kernel) for kernel in (1, 2, 3)]
    image = net.input((5, 6, 2), -2, 1)
    outputs += [net.conv(image, 2, strides=(2, 2)), net.conv(image, 2, strides=(2, 1), pads=(1, 0, 2, 1))]
    return [*outputs, net.conv(image, 2, kernel=1, strides=(2, 2)), net.conv(image, 2, pads=(1, 1, 1, 1))]


def _scalar_branches(net: Net) -> list[str]:
    """Thresholds and requantisations: levels, signs, steps, rounding, per tensor and per channel."""
    x, y, image = net.input((6,), -60, 61), net.input((6,), 0, 200), net.input((3, 2, 4), -30, 31)
    outputs = [net.threshold(x, levels) for levels in (2, 3, 4, 16)]
    outputs += [
        net.threshold(x, 2, base=-1, step=2),
        net.threshold(image, 4, base=-2),
        net.threshold(y, 4, base=1),
    ]
    outputs += [
        net.threshold(x, 4, base=2, step=-1, per_channel=False),
        net.threshold(image, 3, per_channel=False),
    ]
    x, z, pixels = net.input((6,), -128, 100), net.input((6,), -128, 100), net.input((3, 2, 4), -30, 31)
    for half_even in (True, False):
        outputs += [
            net.requant(x, -8, 7, half_even=half_even, shift=1),
            net.requant(y, 0, 3, half_even=half_even, shift=5, per_channel=False),
            net.requant(image, -7, 7, half_even=half_even, shift=0),
            net.requant(image, 0, 255, half_even=half_even, shift=30),
            net.two_slopes(z, half_even=half_even, shift=5),
            net.two_slopes(pixels, half_even=half_even, shift=4),
            net.two_slopes(z, half_even=half_even, shift=6, per_channel=False),
        ]
    return outputs


def _shape_branches(net: Net) -> list[str]:
    """Pools, transposes, reshapes."""
    signed, unsigned = net.input((5, 6, 2), -4, 3), net.input((5, 6, 2), 0, 7)
    matrix, row = net.input((4, 3), -1, 1), net.input((1, 3, 4), -1, 1)
    pools = [(signed, MaxPool((2, 2), (2, 2))), (unsigned, MaxPool((3, 3), (3, 3), (1, 0, 0, 1)))]
    pools += [(signed, MaxPool((3, 2), (2, 1))), (signed, MaxPool((3, 3), (2, 2), (1, 1, 1, 1)))]
    pools += [(unsigned, MaxPool((2, 2), (1, 1), (0, 1, 0, 1)))]
    outputs = [net.add(params, x) for x, params in pools]
    outputs += [net.add(Transpose(axes), signed) for axes in ((2, 0, 1), (1, 0, 2), (2, 1, 0))]
    outputs += [net.add(Transpose((1, 0)), matrix), net.conv(net.add(Transpose((2, 1, 0)), row), 2, kernel=1)]
    outputs += [
        net.conv(net.add(Reshape((3, 4, 1)), matrix), 2),
        net.dense(net.add(Transpose((0, 2, 1)), row), 2),
    ]
    odd = net.add(Reshape((5, 3, 4)), net.requant(signed, -4, 3, half_even=True, shift=0))
    parts = net.input((2, 2, 6), -4, 3)
    again = net.add(Reshape((6, 4)), net.add(Reshape((24,)), net.requant(parts, 0, 3, half_even=False)))
    outputs += [net.dense(odd, 2), net.add(Transpose((1, 0)), again)]
    flat = net.add(Reshape((60,)), net.requant(unsigned, -2, 1, half_even=False))
    return [*outputs, net.threshold(flat, 3), net.requant(flat, 0, 1, half_even=True), net.dense(flat, 2)]


def _conv_branches(net: Net) -> list[str]:
    """Groups, depthwise, dilated, transposed; dense on several vectors."""
    image, other = net.input((5, 6, 4), -2, 3), net.input((4, 5, 4), -8, 0)
    grouped = [
        Conv(net.weights((2, 3, 2, 6), -2, 1), groups=2, pads=(0, 1, 1, 0)),
        Conv(net.weights((3, 3, 1, 4), -3, 3), groups=4, strides=(2, 1), pads=(1, 1, 1, 1)),
        Conv(net.weights((2, 2, 1, 8), -1, 1), groups=4),
        Conv(net.weights((2, 2, 4, 3), -1, 1), dilations=(2, 3)),
        Conv(net.weights((2, 2, 1, 4), -3, 2), groups=4, dilations=(3, 2), pads=(2, 0, 1, 1)),
    ]
    transposed = [
        Conv(net.weights((3, 2, 4, 2), -2, 1), input_dilations=(2, 2), pads=(1, 1, 2, 0)),
        Conv(net.weights((2, 2, 1, 4), -2, 1), groups=4, input_dilations=(1, 3), pads=(0, 1, 0, 1)),
    ]
    vectors, block = net.input((3, 4), -4, 3), net.input((2, 2, 3, 4), 0, 3)
    outputs = [net.add(params, image) for params in grouped]
    outputs += [net.add(params, other) for params in (*transposed, grouped[1])]
    return [*outputs, net.dense(vectors, 3), net.dense(block, 2, lo=-1, hi=1)]


def _table_branches(net: Net) -> list[str]:
    """Tables and constant pieces, per tensor and per channel; argmax with ties."""
    x, wide = net.input((2, 3, 4), -9, 10), net.input((2, 3, 4), -3000, 4000)
    outputs = []
    for tensor, rows in ((x, 1), (x, 4), (wide, 1), (wide, 4)):
        interval = net.tensors[tensor].type
        rng = RNG(net.seed + len(net.nodes))
        breaks = np.sort(rng.integers(interval.lo - 2, interval.hi + 3, (rows, 6)), axis=1)
        values = rng.integers(-20, 21, (rows, 7))
        outputs.append(net.add(Lut(breaks, values), tensor))
    outputs.append(net.add(Lut(breaks, rng.integers(-3, 0, (1, 7))), wide))
    outputs += [net.add(ArgMax(), net.input(shape, -2, 1)) for shape in ((7,), (2, 3, 4))]
    return outputs


def _join_branches(net: Net) -> list[str]:
    """Sums and products with every broadcast, concatenations on every axis, products of matrices."""
    a, b = net.input((3, 4, 2), -4, 3), net.input((3, 4, 2), 0, 7)
    outputs = [net.sum(a, b), net.sum(a, b, a, per_channel=False), net.sum(b), net.sum(a, a)]
    small = [(1, 1, 2), (3, 4, 1), (1, 4, 2), (3, 1, 1)]
    for i, shape in enumerate(small):
        x, other = net.input(shape, -3, 2), net.input((3, 4, 2) if i % 2 else small[i - 1], -1, 2)
        outputs += [net.sum(x, other), net.add(Mul(), other, x)]
    c, d = net.input((3, 4, 2), -1, 1), net.input((3, 4, 2), 0, 1)
    outputs += [net.add(Mul(), c, d), net.add(Mul(), d, d), net.sum(d, c, net.input((1, 4, 1), 0, 5))]
    flat, vector = net.add(Reshape((24,)), c), net.input((24,), -8, 7)
    outputs += [net.sum(flat, vector), net.add(Mul(), vector, flat), net.add(ArgMax(), flat)]
    e, f = net.input((3, 4, 2), -1, 1), net.input((3, 4, 2), 0, 9)
    outputs += [net.add(Concat(axis), e, f, e) for axis in range(3)]
    outputs += [net.add(Concat(0), net.add(Reshape((24,)), f), net.input((5,), -4, 1)), net.add(Concat(1), f)]
    g, h = net.input((2, 3, 4), -4, 3), net.input((2, 4, 5), -2, 1)
    pair = net.input((3, 4), 0, 3), net.input((4, 3), -2, 5)
    return [*outputs, net.add(MatMul(), g, h), net.add(MatMul(), *pair), net.add(MatMul(), *pair[::-1])]


def _move_branches(net: Net) -> list[str]:
    """Slices, pads, upsampling, depth to space, transposes of four axes."""
    x, y, z = (net.input((4, 5, 8), lo, hi) for lo, hi in ((-4, 3), (0, 7), (1, 2)))
    column = net.input((5, 1), -3, 2)
    outputs = [net.add(params, column) for params in (Slice(0, 1, 5, 2), Slice(1, 0, 1))]
    outputs += [net.add(Slice(*axis), x) for axis in ((0, 1, 4, 2), (1, 0, 5, 3), (2, 2, 8, 3), (2, 0, 1))]
    outputs += [net.add(Pad(((1, 2), (0, 1), (2, 0)), -1), y), net.add(Pad(((0, 0), (1, 1), (0, 0))), y)]
    outputs += [net.add(Pad(((1, 2), (2, 1), (0, 3)), 0, mode), y) for mode in ("reflect", "edge")]
    outputs += [net.add(Pad(((2, 1),), 5), net.input((3,), -1, 1)), net.add(Upsample((2, 3)), z)]
    outputs += [net.add(DepthToSpace(2, mode), z) for mode in ("DCR", "CRD")]
    block = net.input((2, 3, 2, 2), -2, 1)
    outputs += [net.add(Transpose(axes), block) for axes in ((1, 0, 2, 3), (3, 1, 0, 2))]
    return outputs


def _sum_branches(net: Net) -> list[str]:
    """Global sums over every kind of axes, windowed sums with padding counted or not."""
    x, y, z = (net.input((4, 5, 2), lo, hi) for lo, hi in ((-4, 3), (2, 7), (-7, -2)))
    outputs = [net.add(GlobalSum(axes), x) for axes in ((0, 1), (2,), (0,), (0, 1, 2))]
    outputs += [net.add(GlobalSum((1,)), y), net.add(GlobalSum((0,)), net.input((6,), 1, 3))]
    outputs += [net.add(SumPool((2, 2), (2, 2)), y), net.add(SumPool((3, 2), (1, 2), (1, 1, 1, 0)), y)]
    outputs += [net.add(SumPool((3, 3), (1, 1), (1, 1, 1, 1), count_pads=False), t) for t in (y, z)]
    outputs += [net.add(SumPool((2, 2), (1, 1), dilations=(3, 2)), z)]
    outputs += [net.add(MaxPool((2, 2), (1, 2), (1, 0, 1, 1), dilations=(2, 1)), z)]
    return outputs


@cache
def binary_net() -> Graph:
    """Weights and activations of -1 and +1 through pools, a flatten and two readers; and weights of more bits."""
    net = Net(6)

    def signs(x: str) -> str:
        return net.threshold(x, 2, base=-1, step=2)

    def ones(*shape: int) -> IntArray:
        return RNG(net.seed + len(net.nodes)).choice([-1, 1], shape)

    x = net.input((9, 8, 3), -8, 7)
    a = signs(net.add(Conv(ones(3, 3, 3, 5), pads=(1, 1, 1, 1)), x))
    a = net.add(MaxPool((2, 2), (2, 2)), a)
    b = signs(net.add(Conv(ones(2, 2, 5, 6)), a))
    wide = net.conv(a, 3, lo=-2, hi=3)
    padded = signs(net.add(Conv(ones(1, 1, 5, 4)), a))
    padded = net.add(Conv(ones(3, 3, 4, 2), pads=(1, 1, 1, 1)), padded)
    b = net.add(MaxPool((2, 2), (1, 1)), b)
    b = net.add(Reshape((int(np.prod(net.tensors[b].shape)),)), b)
    c = signs(net.add(Dense(ones(net.tensors[b].shape[0], 7)), b))
    return net.graph(net.dense(c, 4, lo=-8, hi=7), net.add(Dense(ones(7, 3)), c), wide, padded, name="binary")


@cache
def small_cnv(bits: int) -> Graph:
    """FINN's CNV with a quarter of its channels: convolutions in pairs, pools, dense layers, the best class."""
    net = Net(13 + bits)

    def matrix(*shape: int) -> IntArray:
        rng = RNG(net.seed + len(net.nodes))
        return rng.choice([-1, 1], shape) if bits == 1 else rng.integers(-2, 2, shape)

    def activation(x: str) -> str:
        return net.threshold(x, 2, base=-1, step=2) if bits == 1 else net.threshold(x, 4, base=-2)

    x = net.input((32, 32, 3), -128, 127)
    for i, channels in enumerate((16, 16, 32, 32, 64, 64)):
        x = activation(net.add(Conv(matrix(3, 3, net.tensors[x].shape[-1], channels)), x))
        if i in (1, 3):
            x = net.add(MaxPool((2, 2), (2, 2)), x)
    x = net.add(Reshape((64,)), x)
    for _ in range(2):
        x = activation(net.add(Dense(matrix(net.tensors[x].shape[0], 128)), x))
    x = net.add(Dense(matrix(128, 10)), x)
    return net.graph(x, net.add(ArgMax(), x), name=f"small cnv {bits}")


@cache
def all_ops() -> Graph:
    """Every op on its own, in one graph with many inputs and outputs: one compilation covers them."""
    net = Net(3)
    branches = (_matrix_branches, _scalar_branches, _shape_branches, _conv_branches)
    return net.graph(*(output for branch in branches for output in branch(net)), name="all ops")


@cache
def more_ops() -> Graph:
    """The ops that `all_ops` does not hold."""
    net = Net(5)
    branches = (_table_branches, _join_branches, _move_branches, _sum_branches)
    return net.graph(*(output for branch in branches for output in branch(net)), name="more ops")


def high_reuse(graph: Graph, hardware: HardwareConfig) -> HardwareConfig:
    """A large legal reuse factor for every layer, not the same for all."""
    reuse = {}
    for i, node in enumerate(graph.nodes):
        if shape := matrix_shape(node):
            image = len(graph.tensors[node.inputs[0]].shape) > 1
            limit = shape[0] if hardware.io is Io.PARALLEL and image else shape[0] * shape[1]
            reuse[node.name] = [r for r in legal_reuse(*shape) if r <= limit][-1 - i % 2]
    return replace(hardware, reuse=reuse)
