"""Scales of weights and activations from calibration data."""

from __future__ import annotations

import torch
from torch import Tensor

from hwq.train.ptq.spec import PtqSpec

_CANDIDATES, _OCTAVES = 80, 8


def find_scale(rows: Tensor, low: int, high: int, spec: PtqSpec, *, power_of_two: bool = False) -> Tensor:
    """The scale of each row of (R, N), whose integers are low .. high; 1 where a row is all zeros."""
    largest = (rows / torch.where(rows < 0, min(low, -1), high)).abs().amax(1)
    if spec.calibration == "percentile":
        magnitudes = rows.abs()
        rank = max(1, round(magnitudes.shape[1] * spec.percentile / 100))
        found = magnitudes.kthvalue(rank, dim=1).values / high
        largest = torch.where(found > 0, found, largest)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest))
    if power_of_two:
        largest = largest.log2().ceil().exp2()
        factors = [2.0**-i for i in range(_OCTAVES)]
    else:
        factors = [i / _CANDIDATES for i in range(_CANDIDATES, 0, -1)]
    return _least_error(rows, largest, low, high, factors) if spec.calibration == "mse" else largest


def _least_error(rows: Tensor, largest: Tensor, low: int, high: int, factors: list[float]) -> Tensor:
    best, chosen = torch.full_like(largest, float("inf")), largest
    for factor in factors:
        scale = largest * factor
        quantised = (rows / scale[:, None]).round().clamp(low, high) * scale[:, None]
        error = (quantised - rows).square().sum(1)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, scale, chosen)
    return chosen
