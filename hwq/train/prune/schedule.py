"""How sparse, and when: pure functions of where training stands."""

from __future__ import annotations

import math

from hwq.train.prune.spec import PruneSpec
from hwq.train.technique import Moment


def span(spec: PruneSpec, steps: int) -> tuple[int, int]:
    """First and last optimiser step (numbers from 0) of pruning in a run of `steps`."""
    last = max(steps - 1, 0)
    return min(round(spec.start * steps), last), min(round(spec.end * steps), last)


def due(spec: PruneSpec, moment: Moment) -> bool:
    """Whether the masks change after this step.

    >>> spec = PruneSpec(sparsity=0.8, start=0.2, end=0.6, every=2)
    >>> [step for step in range(10) if due(spec, Moment(step, 10, 0, 1))]
    [2, 4, 6]
    """
    first, last = span(spec, moment.steps)
    if spec.method == "one-shot":
        return moment.step == first
    if not first <= moment.step <= last:
        return False
    return (moment.step - first) % spec.every == 0 or moment.step == last


def progress(spec: PruneSpec, moment: Moment) -> float:
    """From 0 (nothing but `initial` is pruned) to 1, as a cubic: much while weights are still redundant.

    Source: Zhu & Gupta, To prune, or not to prune (2017), equation 1.

    >>> spec = PruneSpec(sparsity=0.8, start=0.0, end=0.8)
    >>> [progress(spec, Moment(step, 10, 0, 1)) for step in (0, 4, 8, 9)]
    [0.0, 0.875, 1.0, 1.0]
    """
    first, last = span(spec, moment.steps)
    if spec.method == "one-shot" or moment.step >= last:
        return 1.0
    if moment.step <= first:
        return 0.0
    return 1 - (1 - (moment.step - first) / (last - first)) ** 3


def between(initial: float, target: float, share: float) -> float:
    """The sparsity at a share of the way.

    >>> between(0.1, 0.9, 0.5)
    0.5
    """
    return initial + (target - initial) * share


def exchanged(spec: PruneSpec, moment: Moment) -> float:
    """Share of a layer's live weights that rigl moves now (Evci 2020, section 3, cosine annealing)."""
    _, last = span(spec, moment.steps)
    return spec.exchange / 2 * (1 + math.cos(math.pi * min(1.0, moment.step / max(last, 1))))


def settled(spec: PruneSpec, moment: Moment) -> bool:
    """Whether the masks are final after this step."""
    if spec.method == "hold" or not spec.makes_zeros:
        return True
    if spec.method == "lottery":
        return moment.epoch >= moment.epochs // (spec.rounds + 1) * spec.rounds
    first, last = span(spec, moment.steps)
    return moment.step >= (first if spec.method == "one-shot" else last)
