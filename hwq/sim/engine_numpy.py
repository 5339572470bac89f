"""The NumPy engine: exact, at the speed of the machine's matrix product; memory bounded by chunks of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hwq.ir import Graph
from hwq.ops import macs
from hwq.ops.conv import Conv
from hwq.rounding import IntArray
from hwq.sim.plan import Plan, compile_graph, storage

_CHUNK_BYTES = 64 * 2**20
_WORTH_A_THREAD = 10_000_000


def run(
    graph: Graph,
    codes: Mapping[str, IntArray],
    *,
    trace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, IntArray]:
    """Integers in, integers out.

    Args:
        graph: The network.
        codes: Inputs (N, *shape) by tensor name.
        trace: Return every tensor, not only the outputs.
        progress: Called with the number of rows just done.

    Returns:
        int64 (N, *shape) by tensor name.
    """
    plan = compile_graph(graph)
    rows = len(next(iter(codes.values())))
    narrow = {n: a.astype(storage(graph.tensors[n].type), copy=False) for n, a in codes.items()}
    size = max(1, min(50, _CHUNK_BYTES // _peak_bytes(graph)))
    chunks = [{n: a[i : i + size] for n, a in narrow.items()} for i in range(0, rows, size)]
    work = rows * sum(macs(graph, n) for n in graph.nodes)
    workers = min(len(chunks), os.cpu_count() or 1) if work >= _WORTH_A_THREAD else 1
    parts = _run_chunks(plan, chunks, workers, trace=trace, progress=progress)
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _run_chunks(
    plan: Plan,
    chunks: list[dict[str, Any]],
    workers: int,
    *,
    trace: bool,
    progress: Callable[[int], None] | None,
) -> list[dict[str, IntArray]]:
    """One BLAS thread a worker: BLAS's own threads collapse when another process shares the machine."""
    parts = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        for part in pool.map(lambda chunk: plan.run(chunk, trace=trace), chunks):
            parts.append(part)
            if progress:
                progress(len(next(iter(part.values()))))
    return parts


def _peak_bytes(graph: Graph) -> int:
    """Rough size of one row's largest im2col block and tensors in float64."""
    largest = 1
    for node in graph.nodes:
        out = prod(graph.tensors[node.output].shape)
        read = sum(prod(graph.tensors[t].shape) for t in node.inputs)
        block = 0
        if isinstance(node.params, Conv):
            read *= prod(node.params.input_dilations)
            block = out // node.params.weight.shape[3] * prod(node.params.weight.shape[:3])
        largest = max(largest, 8 * (block + read + 2 * out))
    return largest
