"""Which nodes an int8 convolution can compute, and as which one; with their requantisation solved."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.ir import Graph, Node
from hwq.ops import add
from hwq.ops.add import Add
from hwq.ops.conv import Conv, channel_bounds
from hwq.ops.dense import Dense
from hwq.ops.global_sum import GlobalSum
from hwq.ops.spec import product_bounds
from hwq.ops.sum_pool import SumPool
from hwq.rounding import IntArray
from hwq.sim.int8 import Rescale, gains, identity, solve, zero_point
from hwq.sim.levels import Levels, levels
from hwq.sim.step import requantiser

_WORD = 2**31 - 1
_CHANNELS = 64
"""Enough for a depthwise kernel."""


@dataclass(frozen=True)
class Product:
    """A node as a convolution of codes.

    Attributes:
        conv: Its weights are of values.
        inputs: Tensors; several of them are stacked, along the kernel's height.
        zero: Zero point of the codes.
        shift: Added to the sums, int64 (c_out,).
        lo: Smallest results, int64 (c_out,).
        hi: Largest results, int64 (c_out,).
        rows: Whether all but the input's last axis count rows, and the kernel is one column wide.
        heavy: Whether it is a convolution or a matrix product in the graph.
        tiles: How many rows are read as one, with that many times the channels.
    """

    conv: Conv
    inputs: tuple[str, ...]
    zero: int
    shift: IntArray
    lo: IntArray
    hi: IntArray
    rows: bool
    heavy: bool
    tiles: int = 1

    @property
    def matrix(self) -> IntArray:
        """(K, c_out)."""
        return self.conv.weight.reshape(-1, self.conv.weight.shape[3])


@dataclass(frozen=True)
class Unit:
    """Nodes that are computed by one product.

    Attributes:
        nodes: The product's, or the requantiser's, or both.
        product: What is multiplied.
        rescale: How accumulators become levels; None if they stay int32.
        signed: Whether the weights are int8.
        base: Code of level 0.
        top: Highest level; None if no accumulator leaves the codes.
    """

    nodes: tuple[Node, ...]
    product: Product
    rescale: Rescale | None
    signed: bool
    base: int = 0
    top: int | None = None


def unit(graph: Graph, node: Node, kept: frozenset[str], *, rescaling: bool) -> Unit | None:
    """The best one that begins with a node.

    Args:
        graph: The network.
        node: One of its nodes.
        kept: Tensors that are needed besides those that nodes read.
        rescaling: Whether requantisation may be part of it.
    """
    if any(zero_point(graph.tensors[t].type) is None for t in node.inputs):
        return None
    if node.op in ("threshold", "requant"):
        table = levels(node, graph.tensors[node.inputs[0]].type)
        return _rescaled(graph, (node,), _copy(graph, node), table) if table and rescaling else None
    product = _product(graph, node)
    if product is None:
        return None
    out = graph.tensors[node.output]
    last = requantiser(graph, node, kept)
    table = levels(last, out.type) if last and rescaling else None
    found = _rescaled(graph, (node, last), product, table) if last and table else None
    if found is None and rescaling and zero_point(out.type) is not None:
        found = _rescaled(graph, (node,), product, None)
    return found or _accumulated(graph, node, product)


def _product(graph: Graph, node: Node) -> Product | None:
    params, source, out = node.params, graph.tensors[node.inputs[0]], graph.tensors[node.output]
    zero = zero_point(source.type) or 0
    none = np.zeros(out.shape[-1], dtype=np.int64)
    if isinstance(params, Dense):
        ends = product_bounds(params.weight, source.type)
        return Product(Conv(params.weight[None, None]), node.inputs, zero, none, *ends, rows=True, heavy=True)
    if isinstance(params, Add):
        return _sum(graph, node)
    heavy = isinstance(params, Conv)
    conv = _as_conv(node, source.shape)
    if conv is None or conv.input_dilations != (1, 1):
        return None
    ends = channel_bounds(conv, source.type)
    flat = conv.groups == 1 and not any(conv.pads) and conv.kernel == source.shape[:2]
    if flat and out.shape[:2] == (1, 1):
        conv = Conv(conv.weight.reshape(1, 1, -1, out.shape[2]))
    rows = conv.kernel == conv.strides == (1, 1) and not any(conv.pads)
    return Product(conv, node.inputs, zero, none, *ends, rows=rows, heavy=heavy)


def _as_conv(node: Node, shape: tuple[int, ...]) -> Conv | None:
    """Sums over windows are depthwise."""
    params = node.params
    if isinstance(params, Conv):
        return params
    if isinstance(params, SumPool) and params.count_pads:
        ones = np.ones((*params.kernel, 1, shape[2]), dtype=np.int64)
        return Conv(ones, params.strides, params.pads, params.dilations, shape[2])
    if isinstance(params, GlobalSum) and len(shape) == 3 and sorted(params.axes) == [0, 1]:
        return Conv(np.ones((*shape[:2], 1, shape[2]), dtype=np.int64), groups=shape[2])
    return None


def _copy(graph: Graph, node: Node) -> Product:
    """Each channel times one."""
    source = graph.tensors[node.inputs[0]]
    one = np.ones(source.shape[-1], dtype=np.int64)
    ends = (one * source.type.lo, one * source.type.hi)
    conv = Conv(one.reshape(1, 1, 1, -1), groups=len(one))
    zero, tiles = zero_point(source.type) or 0, _tiles(source.shape)
    return Product(conv, node.inputs, zero, one * 0, *ends, rows=True, heavy=False, tiles=tiles)


def _sum(graph: Graph, node: Node) -> Product | None:
    """Tensors of one shape, one above the other, under a kernel as high as they are many."""
    sources, out = [graph.tensors[t] for t in node.inputs], graph.tensors[node.output]
    if any(t.shape != out.shape for t in sources):
        return None
    channels = out.shape[-1]
    mult = np.broadcast_to(node.params.mult, (len(sources), channels))
    ends = add.channel_bounds(node.params, [t.type for t in sources], channels)
    zeros = np.array([[zero_point(t.type) or 0] for t in sources])
    shift = node.params.add - (mult * zeros).sum(axis=0)
    conv = Conv(mult[:, None, None], groups=channels)
    return Product(conv, node.inputs, 0, shift, *ends, rows=True, heavy=False, tiles=_tiles(out.shape))


def _tiles(shape: tuple[int, ...]) -> int:
    """How many neighbours share a row: kernels are slow on few channels."""
    pixels = prod(shape[:-1])
    return max(f for f in range(1, max(1, _CHANNELS // shape[-1]) + 1) if pixels % f == 0)


def _largest_code(graph: Graph, product: Product) -> int:
    kinds = [graph.tensors[t].type for t in product.inputs]
    return max(k.hi + (zero_point(k) or 0) for k in kinds)


def _rescaled(graph: Graph, nodes: tuple[Node, ...], product: Product, table: Levels | None) -> Unit | None:
    """With the requantisation `table`, or the results as they are."""
    out = graph.tensors[nodes[-1].output]
    zero, code = zero_point(out.type), _largest_code(graph, product)
    if zero is None or (table and table.count == 0):
        return None
    base, top = (zero + table.base, table.count * table.step) if table else (zero, None)
    if not 0 <= base <= base + (top or 0) <= 255:
        return None
    for signed in (True, False):
        most = gains(product.matrix, code, signed=signed)
        if most is None:
            continue
        found = solve(table, product.lo, product.hi, most) if table else identity(product.lo, product.hi)
        if found and _fits(product, found, code, signed=signed):
            return Unit(nodes, product, found, signed, base, top)
    return None


def _fits(product: Product, found: Rescale, code: int, *, signed: bool) -> bool:
    """Whether sums of codes stay in 32 bits in any order."""
    matrix = np.abs(product.matrix * found.gain) + (0 if signed else 128)
    bias = np.abs(found.bias) + np.abs(found.gain * product.shift)
    return bool((matrix.sum(axis=0) * max(code, 1) + bias <= _WORD).all())


def _accumulated(graph: Graph, node: Node, product: Product) -> Unit | None:
    """A matrix product in int32."""
    if not product.heavy or not product.rows or product.conv.groups != 1:
        return None
    code, found = _largest_code(graph, product), identity(product.lo, product.hi)
    for signed in (True, False):
        narrow = gains(product.matrix, code, signed=signed) is not None
        if narrow and _fits(product, found, code, signed=signed):
            return Unit((node,), product, None, signed)
    return None
