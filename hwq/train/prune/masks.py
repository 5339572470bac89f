"""From scores to masks: True where a weight stays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Scores = Mapping[str, Tensor]
Masks = dict[str, Tensor]


def best(scores: Scores, kept: int) -> Masks:
    """Keep the `kept` weights with the highest scores of all layers together, and one of each layer.

    Among equals the first in memory goes first, so the result does not depend on the machine.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    flat = flat.clone()
    start = 0
    for score in scores.values():  # a layer without weights would cut the network
        flat[start + int(score.argmax())] = torch.inf
        start += score.numel()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.argsort(descending=True, stable=True)[: max(kept, len(scores))]] = True
    parts = torch.split(chosen, [score.numel() for score in scores.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def kept_of(count: int, sparsity: float) -> int:
    """How many of `count` weights stay, so that at least this share is zero.

    >>> kept_of(10, 0.75), kept_of(10, 0.0)
    (2, 10)
    """
    return count - math.ceil(round(sparsity * count, 6))


def pattern_mask(score: Tensor, kept: int, group: int) -> Tensor:
    """Keep the best `kept` of each `group` successive inputs, at each kernel position of each output.

    Args:
        score: (outputs, inputs, ...), inputs a multiple of `group`.
        kept: Weights that stay in a group.
        group: Its size.
    """
    last = score.movedim(1, -1)
    groups = last.reshape(*last.shape[:-1], -1, group)
    order = groups.argsort(dim=-1, descending=True, stable=True)[..., :kept]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter(-1, order, value=True)
    return mask.reshape(last.shape).movedim(-1, 1)


def erdos_renyi_kernel(shapes: Mapping[str, tuple[int, ...]], sparsity: float) -> dict[str, float]:
    """The sparsity of each layer: density proportional to the sum of its dimensions over their product.

    Layers whose density would be above 1 are dense, and the others share what is left.
    Source: Evci et al., Rigging the Lottery (2020), section 3, (1) Sparse Distribution.

    >>> found = erdos_renyi_kernel({"a": (100, 100), "b": (10, 100)}, 0.9)
    >>> {name: round(sparsity, 4) for name, sparsity in found.items()}
    {'a': 0.929, 'b': 0.6097}
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        budget = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in dense)
        rest = [name for name in shapes if name not in dense]
        factor = budget / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        full = [name for name in rest if factor * raw[name] > 1]
        if not full:
            return {name: 0.0 if name in dense else 1 - factor * raw[name] for name in shapes}
        dense.update(full)


def random_mask(shape: torch.Size, kept: int, generator: torch.Generator) -> Tensor:
    """`kept` weights anywhere."""
    mask = torch.zeros(shape.numel(), dtype=torch.bool)
    mask[torch.randperm(shape.numel(), generator=generator)[:kept]] = True
    return mask.reshape(shape)


def exchange(mask: Tensor, weight: Tensor, gradient: Tensor, share: float) -> Tensor:
    """Drop a share of the live weights, the smallest, and grow as many where the gradient is largest.

    Source: Evci et al., Rigging the Lottery (2020), section 3, (3) Drop and (4) Grow criterion. A
    weight just dropped may grow again, and then nothing has happened to it.
    """
    live = int(mask.sum())
    moved = min(round(share * live), mask.numel() - live)
    magnitude = torch.where(mask, weight.abs(), -torch.inf)
    keep = _top(magnitude, live - moved)
    growth = torch.where(keep, -torch.inf, gradient.abs())
    return keep | _top(growth, moved)


def _top(score: Tensor, count: int) -> Tensor:
    mask = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    mask[score.flatten().argsort(descending=True, stable=True)[:count]] = True
    return mask.reshape(score.shape)
