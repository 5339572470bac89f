"""Learned rounding: AdaRound (Nagel 2020) and QDrop (Wei 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hwq.train.ptq.chain import Block
from hwq.train.ptq.spec import PtqSpec

_STRETCH, _OFFSET = 1.2, -0.1
_REGULARISER, _WARMUP, _BETA = 0.01, 0.2, (20.0, 2.0)
_RATE = 0.01


def learn_rounding(
    block: Block, scale: Tensor, levels: int, floats: Tensor, inputs: Tensor, spec: PtqSpec
) -> Tensor:
    """Integers, each floor or ceiling of weight / scale, that reproduce the float layer on calibration data.

    AdaRound reads the quantised inputs; QDrop reads a random mixture of quantised and float ones, drawn
    anew each step. The target is the float output after the ReLU, if there is one.
    """
    ratio = block.layer.weight.detach() / scale
    floor = ratio.floor()
    start = ((ratio - floor - _OFFSET) / _STRETCH).clamp(1e-4, 1 - 1e-4)
    logits = torch.logit(start).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=_RATE)
    generator = torch.Generator().manual_seed(spec.seed)
    target = block.activated(block.output(floats)).detach()
    for step in range(spec.steps):
        rows = torch.randint(len(inputs), (min(spec.batch, len(inputs)),), generator=generator)
        x = inputs[rows]
        if spec.method == "qdrop":
            dropped = torch.rand(x.shape, generator=generator) < spec.drop
            x = torch.where(dropped, floats[rows], x)
        up = _rectified(logits)
        weight = (floor + up).clamp(-levels, levels) * scale
        got = block.activated(block.output(x, weight))
        loss = functional.mse_loss(got, target[rows]) * got[0].numel() + _penalty(up, step / spec.steps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (floor + (_rectified(logits) >= 0.5)).clamp(-levels, levels).detach()


def _rectified(logits: Tensor) -> Tensor:
    return (torch.sigmoid(logits) * _STRETCH + _OFFSET).clamp(0, 1)


def _penalty(up: Tensor, done: float) -> Tensor:
    if done < _WARMUP:
        return torch.zeros(())
    progress = (done - _WARMUP) / (1 - _WARMUP)
    beta = _BETA[0] + (_BETA[1] - _BETA[0]) * progress
    return _REGULARISER * (1 - (2 * up - 1).abs().pow(beta)).sum()
