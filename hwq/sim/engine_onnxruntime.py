"""The optional int8 engine: runs of layers as one onnxruntime session each, exactly; NumPy runs the rest.

A product and its requantisation are one QLinearConv on uint8 codes, which computes
``saturate(rint(float32(acc + bias[c]) · scale[c]) + zero point)``. That this gives the right level is proven at every
boundary with the same float32 arithmetic, and the kernel itself is asked for every one of them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from hwq.ir import Graph, IntType, Node
from hwq.sim.int8 import Rescale, zero_point
from hwq.sim.int8_products import Unit, unit
from hwq.sim.onnx_session import MOVES, Builder, QLinear, product, runtime
from hwq.sim.step import Array, Step, ordered, requantiser, storage

_Part = Unit | Node
"""A product, or a node of `MOVES`."""


def segments(graph: Graph, kept: frozenset[str]) -> tuple[Step, ...]:
    """The runs of nodes, consecutive in `ordered`, that onnxruntime does better than NumPy.

    Args:
        graph: The network.
        kept: Tensors that are needed besides those that nodes outside a run read.

    Raises:
        ToolMissing: There is no onnxruntime.
    """
    runtime()
    parts = _parts(graph, kept, rescaling=True)
    found = [p.rescale for p in parts if isinstance(p, Unit) and p.rescale]
    if found and not _probed(found):
        parts = _parts(graph, kept, rescaling=False)
    runs: list[list[_Part]] = [[]]
    for part in parts:
        if part is None:
            runs.append([])
        else:
            runs[-1].append(part)
    return tuple(_step(graph, run, kept) for run in runs if any(_heavy(part) for part in run))


def _heavy(part: _Part) -> bool:
    return isinstance(part, Unit) and part.product.heavy


def _parts(graph: Graph, kept: frozenset[str], *, rescaling: bool) -> list[_Part | None]:
    """In order; None where NumPy computes; it requantises its products itself."""
    parts: list[_Part | None] = []
    taken: set[str] = set()
    for node in ordered(graph, kept):
        if node.name in taken:
            continue
        part: _Part | None = unit(graph, node, kept, rescaling=rescaling)
        if part is None and _moves(graph, node):
            part = node
        follower = requantiser(graph, node, kept)
        if isinstance(part, Unit):
            taken |= {n.name for n in part.nodes}
        elif part is None and follower:
            taken.add(follower.name)
        parts.append(part)
    return parts


def _moves(graph: Graph, node: Node) -> bool:
    zeros = {zero_point(graph.tensors[t].type) for t in (*node.inputs, node.output)}
    return type(node.params) in MOVES and len(zeros) == 1 and None not in zeros


def _probed(found: Sequence[Rescale]) -> bool:
    """Whether QLinearConv itself gives the right level at every boundary, plain and depthwise."""
    sums = [x.boundaries() for x in found]
    bias = np.concatenate([s.ravel() for s in sums])
    scale = np.concatenate(
        [np.broadcast_to(x.scale[:, None], s.shape).ravel() for x, s in zip(found, sums, strict=True)]
    )
    if not len(bias):
        return True
    return all(_right(found, given) for given in (_asked(bias, scale, groups) for groups in (1, len(bias))))


def _asked(bias: Array, scale: Array, groups: int) -> Array:
    """What the kernel makes of sums that are all bias."""
    builder = Builder(Graph("probe", (), (), (), {}))
    weight = np.zeros((1, 1, 1, len(bias)), dtype=np.int64)
    QLinear(weight, bias, scale).add(builder, "x", "y", group=groups)
    session = builder.start_fixed([1, 1, 1, groups], [1, 1, 1, len(bias)])
    (given,) = session.run(None, {"x": np.zeros((1, 1, 1, groups), np.uint8)})
    return np.asarray(given).ravel()


def _right(found: Sequence[Rescale], given: Array) -> bool:
    """Whether codes, one a boundary, are the levels."""
    sizes = [2 * x.thresholds.size for x in found]
    each = np.split(given.astype(np.int64), np.cumsum(sizes)[:-1])
    return all(x.right(g.reshape(2, *x.thresholds.shape)).all() for x, g in zip(found, each, strict=True))


def _step(graph: Graph, parts: Sequence[_Part], kept: frozenset[str]) -> Step:
    builder = Builder(graph)
    for part in parts:
        if isinstance(part, Unit):
            product(builder, part)
        else:
            MOVES[type(part.params)](builder, part, part.params)
    nodes = tuple(n for part in parts for n in (part.nodes if isinstance(part, Unit) else (part,)))
    made, inside = {n.output for n in nodes}, {n.name for n in nodes}
    inputs = tuple(dict.fromkeys(t for n in nodes for t in n.inputs if t not in made))
    outputs = tuple(
        n.output
        for n in nodes
        if n.output in kept or any(reader.name not in inside for reader in graph.consumers(n.output))
    )
    session = builder.start(inputs, outputs)

    def run(*arrays: Array) -> tuple[Array, ...]:
        if not len(arrays[0]):
            return tuple(np.zeros((0, *graph.tensors[t].shape), _kind(builder, t)) for t in outputs)
        feeds = {t: _codes(x, builder.zero(t)) for t, x in zip(inputs, arrays, strict=True)}
        made = session.run(list(outputs), feeds)
        return tuple(
            y if t in builder.wide else _values(y, graph.tensors[t].type)
            for t, y in zip(outputs, made, strict=True)
        )

    products = [part for part in parts if isinstance(part, Unit)]
    method = f"onnxruntime int8: {len(nodes)} nodes, {_kernels(products)}"
    bound = max(int(np.abs([p.product.lo, p.product.hi]).max()) for p in products)
    size = sum(prod(graph.tensors[t].shape) * np.dtype(_kind(builder, t)).itemsize for t in outputs)
    return Step(nodes, inputs, outputs, run, method, bound, size)


def _kernels(products: Sequence[Unit]) -> str:
    wide = sum(p.rescale is None for p in products)
    counts = {"QLinearConv": len(products) - wide, "MatMulInteger": wide}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _kind(builder: Builder, tensor: str) -> type:
    return np.int32 if tensor in builder.wide else storage(builder.graph.tensors[tensor].type)


def _codes(x: Array, zero: int) -> Array:
    """Values to uint8; adding in one byte wraps around to the right code."""
    x = x.view(np.uint8) if x.itemsize == 1 else x.astype(np.uint8)
    return np.ascontiguousarray(x + np.uint8(zero) if zero else x)


def _values(y: Array, interval: IntType) -> Array:
    """Codes to values, in the smallest type."""
    kind, zero = storage(interval), zero_point(interval) or 0
    if np.dtype(kind).itemsize > 1:
        return np.asarray(y.astype(kind) - kind(zero))
    return np.asarray((y - np.uint8(zero) if zero else y).view(kind))
