"""Learning rate and momentum as functions of the step number, so that a resumed run needs no state for them."""

from __future__ import annotations

import math

from hwq.train.train_spec import TrainSpec

_ONE_CYCLE_START, _ONE_CYCLE_END = 1 / 25, 1 / 250_000
_MOMENTA = 0.85, 0.95


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """The rate of step 0 ≤ `step` < `steps`.

    One-cycle goes by half cosines from a 25th of the peak to the peak to a 250,000th, as torch's OneCycleLR
    does (Smith & Topin 2017, "Super-Convergence"); the others rise by a line.

    >>> spec = TrainSpec(epochs=1, learning_rate=0.1, warmup=0.25)
    >>> [round(learning_rate(spec, step, 8), 4) for step in range(8)]
    [0.05, 0.1, 0.1, 0.0933, 0.075, 0.05, 0.025, 0.0067]
    """
    rise = round(spec.warmup * steps)
    if spec.schedule == "one-cycle":
        return spec.learning_rate * _one_cycle(step, rise, steps, (_ONE_CYCLE_START, 1.0, _ONE_CYCLE_END))
    if step < rise:
        return spec.learning_rate * (step + 1) / rise
    if spec.schedule == "constant":
        return spec.learning_rate
    return spec.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def momentum(spec: TrainSpec, step: int, steps: int) -> float | None:
    """One-cycle's momentum (Adam's first beta), low where the rate is high; None leaves it alone."""
    if spec.schedule != "one-cycle" or (spec.optimiser == "sgd" and spec.momentum == 0):
        return None
    low, high = _MOMENTA
    return _one_cycle(step, round(spec.warmup * steps), steps, (high, low, high))


def _one_cycle(step: int, rise: int, steps: int, values: tuple[float, float, float]) -> float:
    start, peak, end = values
    if step < rise:
        return _cosine(start, peak, step / max(rise - 1, 1))
    return _cosine(peak, end, (step - rise + 1) / (steps - rise))


def _cosine(first: float, last: float, fraction: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * fraction)) / 2
