"""Penalties that make weights small, so that pruning them costs little."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwq.train.prune.layers import Target


def penalty(kind: str, targets: Sequence[Target]) -> Tensor:
    """Over all layers: the sum of magnitudes, or of each output's Euclidean norm times sqrt(its weights).

    Source: Tibshirani 1996 (lasso); Yuan & Lin 2006, as Wen 2016 uses it (group lasso).
    """
    if kind == "l1":
        return torch.stack([t.weight.abs().sum() for t in targets]).sum()
    norms = [_norms(t.weight.flatten(1)) * t.weight[0].numel() ** 0.5 for t in targets]
    return torch.stack(norms).sum()


def _norms(rows: Tensor) -> Tensor:
    """The gradient of a norm at 0 is not defined; the smallest offset makes it 0."""
    return (rows.square().sum(dim=1) + torch.finfo(rows.dtype).tiny).sqrt().sum()
