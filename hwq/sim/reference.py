"""The plain slow run of the integer graph: every op as `OPS` defines it, in int64."""

from __future__ import annotations

from collections.abc import Mapping

from hwq.ir import Graph
from hwq.ops import OPS
from hwq.rounding import IntArray


def run(graph: Graph, codes: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """Every tensor of the graph.

    Args:
        graph: The network.
        codes: Input integers, int64 (N, *shape), by tensor name.

    Returns:
        All tensors (inputs too) by name, int64 (N, *shape).
    """
    values = {name: array.astype("int64") for name, array in codes.items()}
    for node in graph.nodes:
        values[node.output] = OPS[node.op].run(node.params, *(values[t] for t in node.inputs))
    return values
