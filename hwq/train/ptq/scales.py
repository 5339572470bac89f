"""Clipping ranges of weights and activations from calibration data."""

from __future__ import annotations

import torch
from torch import Tensor

from hwq.train.ptq.spec import PtqSpec

_CANDIDATES = 80


def clip_range(rows: Tensor, levels: int, spec: PtqSpec, *, signed: bool) -> Tensor:
    """The largest representable magnitude of each row of (R, N); the scale is this over `levels`."""
    magnitudes = rows.abs()
    largest = magnitudes.amax(1)
    if spec.calibration == "percentile":
        rank = max(1, round(magnitudes.shape[1] * spec.percentile / 100))
        found = magnitudes.kthvalue(rank, dim=1).values
        largest = torch.where(found > 0, found, largest)
    elif spec.calibration == "mse":
        largest = _least_error(rows, largest, levels, signed)
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _least_error(rows: Tensor, largest: Tensor, levels: int, signed: bool) -> Tensor:
    best, chosen = torch.full_like(largest, float("inf")), largest
    for i in range(_CANDIDATES, 0, -1):
        clip = largest * (i / _CANDIDATES)
        scale = (clip / levels).clamp_min(torch.finfo(rows.dtype).tiny)[:, None]
        quantised = (rows / scale).round().clamp(-levels if signed else 0, levels) * scale
        error = (quantised - rows).square().sum(1)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, clip, chosen)
    return chosen
