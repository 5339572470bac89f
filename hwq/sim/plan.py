"""A graph compiled once: which kernel runs each node, in which number type, and why that is exact.

Integers up to 2**24 are exact in float32 and up to 2**53 in float64, whatever the order of a sum, as long as the sums
of the magnitudes stay below; so products run in BLAS. Products are requantised while they are in cache, if nothing
else reads their accumulators. Tensors between steps are stored in the smallest integer type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.ir import Graph, Node, Tensor
from hwq.ops import macs
from hwq.ops.add import Add
from hwq.ops.conv import Conv, channel_bounds
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.spec import product_bounds
from hwq.rounding import IntArray
from hwq.sim import depthwise, kernels, products, winograd
from hwq.sim.activations import Activation, activation, integers
from hwq.sim.step import ACTIVATIONS, Array, Step, ordered, requantiser, storage


@dataclass(frozen=True)
class Plan:
    """A compiled graph.

    Attributes:
        graph: What it computes.
        steps: In order.
        dead: For each step the tensors that nothing reads after it.
        row_bytes: Most bytes of tensors that one sample needs at a time, without the kernels' blocks.
        macs: Multiplications of one sample.
        kept: Tensors that a run returns.
    """

    graph: Graph
    steps: tuple[Step, ...]
    dead: tuple[tuple[str, ...], ...]
    row_bytes: int
    macs: int
    kept: frozenset[str]

    def run(self, codes: Mapping[str, Array]) -> dict[str, Array]:
        """Whatever the plan keeps, in the smallest types (N, *shape); codes as `storage` says, or wider."""
        values = dict(codes)
        for step, dead in zip(self.steps, self.dead, strict=True):
            made = step.run(*(values[t] for t in step.inputs))
            values.update(zip(step.outputs, made, strict=True))
            for name in dead:
                del values[name]
        return {name: values[name] for name in self.kept}


def compile_graph(graph: Graph, *, trace: bool = False, covered: tuple[Step, ...] = ()) -> Plan:
    """Choose a kernel for every node.

    Args:
        graph: The network.
        trace: Keep every tensor, so that nothing is fused.
        covered: Steps that another engine runs.
    """
    kept = frozenset(graph.tensors) if trace else frozenset(p.tensor for p in graph.outputs)
    taken = {node.name for step in covered for node in step.nodes}
    starts = {step.nodes[0].name: step for step in covered}
    steps: list[Step] = []
    for node in ordered(graph, kept):
        if node.name in starts:
            steps.append(starts[node.name])
        elif node.name not in taken:
            step = _compile(graph, node, kept)
            taken |= {n.name for n in step.nodes}
            steps.append(step)
    dead = _dead(steps, kept)
    work = sum(macs(graph, node) for node in graph.nodes)
    return Plan(graph, tuple(steps), dead, _row_bytes(graph, steps, dead, frozenset(starts)), work, kept)


def _compile(graph: Graph, node: Node, kept: frozenset[str]) -> Step:
    """A step that begins with a node."""
    inputs, out = [graph.tensors[t] for t in node.inputs], graph.tensors[node.output]
    if node.op in ACTIVATIONS:
        act = activation(node, inputs[0], out)
        return _step(graph, (node,), kernels.requantise(act), act.method)
    fusible = isinstance(node.params, Dense | Conv) or (
        isinstance(node.params, Add) and all(t.shape == out.shape for t in inputs)
    )
    if not fusible:
        return _step(graph, (node,), *kernels.kernel(node, inputs, out))
    last = requantiser(graph, node, kept)
    act = (
        activation(last, out, graph.tensors[last.output], _bounds(node, inputs[0]))
        if last
        else integers(out.type)
    )
    if last and (pool := _pool(graph, last, kept)):
        made = (
            winograd.conv(node.params, inputs[0], out, act, pooled=True)
            if isinstance(node.params, Conv)
            else None
        )
        if made:
            return _step(graph, (node, last, pool), made.run, f"{made.method}; {act.method}", made.bound)
    run, method, bound = _product(graph, node, act)
    return _step(graph, (node, last) if last else (node,), run, f"{method}; {act.method}", bound)


def _pool(graph: Graph, node: Node, kept: frozenset[str]) -> Node | None:
    """The one reader of a node's result, if it takes the largest of each 2x2 pixels."""
    readers = graph.consumers(node.output)
    if node.output in kept or len(readers) != 1 or readers[0].params != MaxPool((2, 2), (2, 2)):
        return None
    return readers[0]


def _product(graph: Graph, node: Node, act: Activation) -> tuple[kernels.Kernel, str, int | None]:
    inputs, out = [graph.tensors[t] for t in node.inputs], graph.tensors[node.output]
    if isinstance(node.params, Add):
        return (*kernels.add(node.params, out, act), None)
    if isinstance(node.params, Dense):
        made = products.dense(node.params, inputs[0], act)
    else:
        choices = (winograd.conv, depthwise.conv, products.conv)
        made = next(m for choice in choices if (m := choice(node.params, inputs[0], out, act)))
    return made.run, made.method, made.bound


def _bounds(node: Node, source: Tensor) -> tuple[IntArray, IntArray] | None:
    """Of a product's accumulators, a channel."""
    if isinstance(node.params, Conv):
        return channel_bounds(node.params, source.type)
    return product_bounds(node.params.weight, source.type) if isinstance(node.params, Dense) else None


def _step(
    graph: Graph, nodes: tuple[Node, ...], run: kernels.Kernel, method: str, bound: int | None = None
) -> Step:
    output = nodes[-1].output
    size = prod(graph.tensors[output].shape) * np.dtype(storage(graph.tensors[output].type)).itemsize
    return Step(nodes, nodes[0].inputs, (output,), lambda *x: (run(*x),), method, bound, size)


def _dead(steps: list[Step], kept: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    last = {name: i for i, step in enumerate(steps) for name in (*step.outputs, *step.inputs)}
    dead: list[list[str]] = [[] for _ in steps]
    for name, i in last.items():
        if name not in kept:
            dead[i].append(name)
    return tuple(map(tuple, dead))


def _row_bytes(
    graph: Graph, steps: list[Step], dead: tuple[tuple[str, ...], ...], starts: frozenset[str]
) -> int:
    """Steps that start with these nodes make the tensors between theirs whole, two of them at a time."""
    sizes = {name: prod(t.shape) * np.dtype(storage(t.type)).itemsize for name, t in graph.tensors.items()}
    held = {p.tensor for p in graph.inputs}
    worst = 1
    for step, gone in zip(steps, dead, strict=True):
        held |= set(step.outputs)
        inside = [sizes[node.output] for node in step.nodes] if step.nodes[0].name in starts else []
        between = max((sum(inside[i : i + 2]) for i in range(len(inside))), default=0)
        worst = max(worst, sum(sizes[name] for name in held) + between)
        held -= set(gone)
    return worst


def narrow(graph: Graph, codes: Mapping[str, IntArray]) -> dict[str, Array]:
    """Inputs in the type that a plan reads."""
    return {n: a.astype(storage(graph.tensors[n].type), copy=False) for n, a in codes.items()}
