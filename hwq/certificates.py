"""Why a float32 stage may differ from the exact integers: a proof that a rounding boundary is too near.

A float32 evaluation of a product of n terms and m further operators is off by at most
``(n + 6·m + 8)·2**-24`` times the sum of the magnitudes that were added up (Higham 2002, sec. 3.1
and 3.5). Where the exact real value lies nearer than that to the boundary between two codes,
float32 may fall on either side; everywhere else a difference is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.exact import Surd, at
from hwq.ir import Graph, Port
from hwq.lowering.builder import Resolution
from hwq.lowering.pending import Affine, Steps, evaluate, evaluate_exact
from hwq.lowering.thresholds import NO_TIE
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.rounding import FloatArray, IntArray

_UNIT = 2.0**-24


@dataclass(frozen=True)
class Certificate:
    """One difference that float32 rounding explains: distance <= bound, both in the tensor's real unit."""

    stage: str
    tensor: str
    row: int
    index: tuple[int, ...]
    code: int
    stage_code: int
    distance: float
    bound: float


def accumulation(graph: Graph, tensor: str) -> tuple[int, FloatArray]:
    """Number of terms, and the largest sum of magnitudes a channel, of the product that `tensor` comes from."""
    node = graph.producer(tensor)
    while node is not None and not isinstance(node.params, (Dense, Conv)):
        if node.op == "threshold":
            node = None
            break
        tensor = node.inputs[0]
        node = graph.producer(tensor)
    interval = graph.tensors[tensor if node is None else node.inputs[0]].type
    largest = float(max(abs(interval.lo), abs(interval.hi)))
    if node is None:
        return 1, np.array([largest])
    weight: IntArray = node.params.weight.reshape(-1, node.params.weight.shape[-1])
    return weight.shape[0], np.abs(weight).sum(axis=0) * largest


def error_bound(graph: Graph, tensor: str, steps: Steps) -> FloatArray:
    """Largest float32 error of the steps on an accumulator, one element or one a channel."""
    terms, magnitude = accumulation(graph, tensor)
    if len(magnitude) > 1 and graph.tensors[tensor].shape[-1] != len(magnitude):
        magnitude = magnitude.max(keepdims=True)
    _, total = evaluate(steps, magnitude[:, None], magnitude[:, None])
    bound: FloatArray = (terms + 6 * len(steps) + 8) * _UNIT * total[:, 0]
    return bound


def certify(
    resolution: Resolution,
    bound: FloatArray,
    accumulator: int | float,
    channel: int,
    code: int,
    stage_code: int,
) -> tuple[bool, float, float]:
    """(whether float32 may have given `stage_code`, distance to the farthest boundary between, bound)."""
    quantizer = resolution.quantizer
    real = evaluate_exact(resolution.steps, Surd.of(accumulator).rational(), channel)
    edges = quantizer.boundaries()
    low, high = sorted((v - quantizer.base) // quantizer.stride for v in (code, stage_code))
    if low < 0 or high > len(edges) or (stage_code - quantizer.base) % quantizer.stride:
        return False, float("inf"), 0.0
    step = at(quantizer.step, channel)
    distances = [abs(float(real - step * edge)) for edge, _ in edges[low:high]]
    allowed = float(bound[channel if len(bound) > 1 else 0])
    return max(distances) <= allowed, max(distances), allowed


def ties_hit(resolution: Resolution, accumulator: IntArray) -> int:
    """How many accumulators (N, ..., channels) lie exactly on a rounding boundary."""
    if resolution.table is None:
        return 0
    flat = accumulator.reshape(-1, accumulator.shape[-1])
    ties = np.where(resolution.table.ties == NO_TIE, np.iinfo(np.int64).max, resolution.table.ties)
    return sum(int((flat == ties[:, k]).sum()) for k in range(ties.shape[1]))


def output_steps(graph: Graph, port: Port) -> Steps:
    """The affine meaning of an output as steps."""
    real = graph.tensors[port.tensor].real
    return () if real is None else (Affine(real.scale, real.offset),)
