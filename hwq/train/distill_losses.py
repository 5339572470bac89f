"""Losses between a student and its teacher; features are (N, F), (N, C, L) or (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def logits_loss(student: Tensor, teachers: Sequence[Tensor], temperature: float) -> Tensor:
    """Kullback–Leibler divergence of softened outputs, times the temperature squared, so that gradients keep size.

    Several teachers speak with the mean of their probabilities. Source: Hinton et al., Distilling the Knowledge in a
    Neural Network (2015), section 2.

    >>> same = torch.tensor([[1.0, 2.0, 3.0]])
    >>> float(logits_loss(same, [same], 4.0))
    0.0
    """
    target = torch.stack([(logits / temperature).softmax(dim=1) for logits in teachers]).mean(0)
    found = (student / temperature).log_softmax(dim=1)
    return functional.kl_div(found, target, reduction="batchmean") * temperature**2


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference. Source: Romero et al., FitNets (2015), equation 3."""
    return functional.mse_loss(*same_places(student, teacher))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of activation maps, of any numbers of channels.

    A map is the mean square over the channels, of unit length. Source: Zagoruyko & Komodakis, Paying More Attention to
    Attention (2017), equation 2.
    """
    maps = [functional.normalize(x.square().mean(1).flatten(1)) for x in same_places(student, teacher)]
    return (maps[0] - maps[1]).square().sum(1).mean()


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of the similarities between the samples of a batch, of any two shapes.

    Source: Tung & Mori, Similarity-Preserving Knowledge Distillation (2019), equations 1 to 4.
    """
    alike = [functional.normalize(x.flatten(1) @ x.flatten(1).T) for x in (student, teacher)]
    return (alike[0] - alike[1]).square().sum(1).mean() / len(student)


def same_places(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both averaged down to the smaller size of each axis after the channels."""
    sizes = [min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return _pooled(student, sizes), _pooled(teacher, sizes)


def _pooled(x: Tensor, sizes: list[int]) -> Tensor:
    return x if list(x.shape[2:]) == sizes else functional.interpolate(x, size=sizes, mode="area")


def adapter(student: Tensor, teacher: Tensor) -> nn.Module:
    """From the student's features or channels to the teacher's: a linear layer, or a 1×1 convolution."""
    ends = student.shape[1], teacher.shape[1]
    if student.ndim == 2:
        return nn.Linear(*ends)
    return nn.Conv1d(*ends, 1) if student.ndim == 3 else nn.Conv2d(*ends, 1)
