"""Requantisation as levels: every non-decreasing function of one integer is a list of thresholds a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.ir import IntType, Node
from hwq.ops.requant import Requant, apply
from hwq.ops.threshold import Threshold
from hwq.rounding import IntArray

MAX_LEVELS = 2**16


@dataclass(frozen=True)
class Levels:
    """``y = base + step · #{k : x >= thresholds[c, k]}``.

    Thresholds (channels or 1, K) lie in lo + 1..hi + 1 of the input's interval and do not fall along k;
    hi + 1 is never met. Each is met, and missed, by some input in some channel, or it would not be here.
    """

    thresholds: IntArray
    base: int
    step: int

    @property
    def count(self) -> int:
        """K."""
        return int(self.thresholds.shape[1])


def levels(node: Node, interval: IntType) -> Levels | None:
    """The levels of a threshold or requant node, or None if it has too many or decreases.

    Args:
        node: Of any op.
        interval: Of its input.
    """
    if isinstance(node.params, Threshold):
        return _reached(node.params.thresholds, node.params.base, node.params.step, interval)
    if isinstance(node.params, Requant):
        return _of_requant(node.params, interval)
    return None


def _reached(thresholds: IntArray, base: int, step: int, interval: IntType) -> Levels:
    """Without thresholds that are met, or missed, by every input in every channel."""
    clipped = np.clip(thresholds, interval.lo, interval.hi + 1)
    always = (clipped <= interval.lo).all(axis=0)
    never = (clipped > interval.hi).all(axis=0)
    return Levels(clipped[:, ~always & ~never], base + step * int(always.sum()), step)


def _of_requant(params: Requant, interval: IntType) -> Levels | None:
    """Thresholds in closed form: ``x·M + B`` reaches the edge below level k from ``ceil((edge - B) / M)`` on."""
    low = params.low
    if (params.mult < 0).any() or (low is not None and (low.mult < 0).any()):
        return None
    ends = [apply(params, np.full(1, v, dtype=np.int64)) for v in (interval.lo, interval.hi)]
    if low is not None:
        before, after = (apply(params, low.pivot - d) for d in (1, 0))
        if (before > after).any():
            return None
    first, last = int(ends[0].min()), int(ends[1].max())
    if last - first > MAX_LEVELS:
        return None
    level = np.arange(first + 1, last + 1, dtype=np.int64)
    if params.shift == 0 or not params.half_even:
        edge = level << params.shift
    else:
        edge = ((2 * level - 1) << (params.shift - 1)) + level % 2
    table = _from(params.mult, params.add, edge, interval)
    if low is not None:
        below, pivot = _from(low.mult, low.add, edge, interval), low.pivot[:, None]
        table = np.where(below < pivot, below, np.maximum(table, pivot))
    return _reached(table, first, 1, interval)


def _from(mult: IntArray, add: IntArray, edge: IntArray, interval: IntType) -> IntArray:
    """(channels, K): the first x with ``x·mult + add >= edge``."""
    missing = edge[None, :] - add[:, None]
    slope = np.maximum(mult, 1)[:, None]
    constant = np.where(missing <= 0, interval.lo, interval.hi + 1)
    return np.where(mult[:, None] > 0, -(-missing // slope), constant)
