"""One step of a plan, and what its tensors are stored as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hwq.ir import Graph, IntType, Node

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Step:
    """Nodes that run as one kernel.

    Attributes:
        nodes: What it computes; tensors between them are never made.
        inputs: Tensors that it reads, stored as `storage` says or in any wider type.
        outputs: Tensors that it makes, in the order in which `run` returns them.
        run: (input arrays (N, *shape)) -> output arrays (N, *shape), all of integer values.
        method: How, for people: for example ``im2col, float32, 2 samples a number``.
        bound: Largest magnitude of an accumulator and its partial sums, where there is one.
        bytes: Of its outputs, a sample.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[..., tuple[Array, ...]]
    method: str
    bound: int | None = None
    bytes: int = 0


ACTIVATIONS = ("threshold", "requant", "lut")


def requantiser(graph: Graph, node: Node, kept: frozenset[str]) -> Node | None:
    """The one reader of a node's result, if it requantises it and no one else needs it."""
    readers = graph.consumers(node.output)
    if node.output in kept or len(readers) != 1 or readers[0].op not in ACTIVATIONS:
        return None
    return readers[0]


def ordered(graph: Graph, kept: frozenset[str]) -> tuple[Node, ...]:
    """The nodes in an order in which a requantiser of one reader follows what it reads at once."""
    order: dict[str, Node] = {}
    for node in graph.nodes:
        order.setdefault(node.name, node)
        if follower := requantiser(graph, node, kept):
            order.setdefault(follower.name, follower)
    return tuple(order.values())


@cache
def storage(interval: IntType) -> type[np.signedinteger[Any]] | type[np.unsignedinteger[Any]]:
    """The smallest integer type that holds an interval."""
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        info = np.iinfo(kind)
        if info.min <= interval.lo and interval.hi <= info.max:
            return kind
    return np.int64


def number_type(bound: int) -> Any:
    """The fastest number type that holds every integer of magnitude up to `bound`."""
    return np.float32 if bound <= 2**24 else np.float64 if bound <= 2**53 else np.int64
