"""The integer operations: one file an op, one line here."""

from __future__ import annotations

from hwq.ir import Graph, Node
from hwq.ops import (
    add,
    argmax,
    concat,
    conv,
    dense,
    depth_to_space,
    global_sum,
    lut,
    matmul,
    max_pool,
    mul,
    pad,
    requant,
    reshape,
    sum_pool,
    threshold,
    transpose,
    upsample,
)
from hwq.ops import slice as slice_op
from hwq.ops.spec import OpSpec

OPS: dict[str, OpSpec] = {
    m.SPEC.name: m.SPEC
    for m in (
        dense,
        conv,
        matmul,
        threshold,
        requant,
        lut,
        add,
        mul,
        concat,
        slice_op,
        max_pool,
        sum_pool,
        global_sum,
        pad,
        reshape,
        transpose,
        upsample,
        depth_to_space,
        argmax,
    )
}
"""Every op by name: meaning, interval, emission and cost are looked up here and nowhere else."""


def macs(graph: Graph, node: Node) -> int:
    """Multiplications that a node does for one inference."""
    tensors = (graph.tensors[t] for t in node.inputs)
    return OPS[node.op].macs(node.params, graph.tensors[node.output], *tensors)
