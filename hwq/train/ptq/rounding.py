"""Integers of a layer's weights by error feedback; weights are (G, O, K), inputs (G, N, K), G groups."""

from __future__ import annotations

import torch
from torch import Tensor

_DAMPING = 0.01


def nearest(weight: Tensor, scale: Tensor, levels: int) -> Tensor:
    """round(weight / scale), half to even, clipped to −levels .. levels; `scale` is (G, O, 1)."""
    return (weight / scale).round().clamp(-levels, levels)


def gptq(weight: Tensor, scale: Tensor, levels: int, inputs: Tensor) -> Tensor:
    """Columns in order of falling input energy, each error moved to later columns by the inverse Hessian.

    Source: Frantar et al., GPTQ (2022), with act_order.
    """
    parts = [_gptq_group(*group, levels) for group in zip(weight, scale, inputs, strict=True)]
    return torch.stack(parts)


def _gptq_group(weight: Tensor, scale: Tensor, inputs: Tensor, levels: int) -> Tensor:
    hessian = inputs.double().T @ inputs.double()
    energy = hessian.diagonal()
    order = energy.argsort(descending=True, stable=True)
    damping = _DAMPING * energy.mean().clamp_min(1e-12)
    hessian = hessian[order][:, order] + damping * torch.eye(len(order), dtype=torch.double)
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    left, step = weight.double()[:, order], scale.double()[:, 0]
    codes = torch.empty_like(left)
    for k in range(left.shape[1]):
        codes[:, k] = (left[:, k] / step).round().clamp(-levels, levels)
        error = (left[:, k] - codes[:, k] * step) / inverse[k, k]
        left[:, k:] -= error[:, None] * inverse[k, k:]
    return codes[:, order.argsort()].to(weight.dtype)


def gpfq(weight: Tensor, scale: Tensor, levels: int, floats: Tensor, inputs: Tensor) -> Tensor:
    """Each column is chosen so that the running output error of the float network becomes least.

    Source: Lybrand & Saab, A Greedy Algorithm for Quantizing Neural Networks (2021).
    """
    groups = zip(weight, scale, floats, inputs, strict=True)
    return torch.stack([_gpfq_group(*group, levels) for group in groups])


def _gpfq_group(weight: Tensor, scale: Tensor, floats: Tensor, inputs: Tensor, levels: int) -> Tensor:
    w, step = weight.double(), scale.double()[:, 0]
    x, q = floats.double(), inputs.double()
    error = torch.zeros(len(w), len(x), dtype=torch.double)
    codes = torch.empty_like(w)
    for k in q.square().sum(0).argsort(descending=True, stable=True).tolist():
        error += w[:, k, None] * x[:, k]
        energy = q[:, k] @ q[:, k]
        wanted = error @ q[:, k] / energy if energy > 0 else w[:, k]
        codes[:, k] = (wanted / step).round().clamp(-levels, levels)
        error -= (codes[:, k] * step)[:, None] * q[:, k]
    return codes.to(weight.dtype)
