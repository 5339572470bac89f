"""Learning rate and momentum as functions of the step."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from hwq.train.schedules import learning_rate, momentum
from hwq.train.train_spec import TrainSpec


def test_cosine_rises_linearly_and_falls_to_zero() -> None:
    spec = TrainSpec(epochs=1, learning_rate=1.0, warmup=0.5)
    rates = [learning_rate(spec, step, 100) for step in range(100)]
    assert rates[:50] == pytest.approx([(step + 1) / 50 for step in range(50)])
    assert all(a >= b for a, b in pairwise(rates[50:]))
    assert rates[-1] < 0.01


def test_constant_stays_at_the_peak() -> None:
    spec = TrainSpec(epochs=1, learning_rate=1.0, warmup=0.0, schedule="constant")
    assert {learning_rate(spec, step, 10) for step in range(10)} == {1.0}
    assert momentum(spec, 3, 10) is None


@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.3), (10, 0.5), (1000, 0.25)])
def test_one_cycle_is_torchs(steps: int, warmup: float) -> None:
    spec = TrainSpec(epochs=1, learning_rate=0.3, warmup=warmup, schedule="one-cycle", optimiser="sgd")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    expected = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.3, total_steps=steps, pct_start=warmup)
    for step in range(steps):
        group = optimiser.param_groups[0]
        assert learning_rate(spec, step, steps) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum(spec, step, steps) == pytest.approx(group["momentum"], rel=1e-9)
        optimiser.step()
        if step < steps - 1:
            expected.step()


def test_one_cycle_without_warm_up_begins_at_the_peak() -> None:
    spec = TrainSpec(epochs=1, learning_rate=1.0, warmup=0.0, schedule="one-cycle")
    assert learning_rate(spec, 0, 100) == pytest.approx(1.0, abs=1e-3)
