"""Where a quantiser's clipping point comes from: the largest magnitude that it can represent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwq.train.quantize_spec import ActivationSource, WeightSource

# Clipping point at the start, in standard deviations: about that of least squared error for a uniform
# quantiser of a half-normal variable.
CLIP = {1: 1.0, 2: 2.0, 3: 2.5, 4: 3.0, 5: 3.4, 6: 3.8, 7: 4.2, 8: 4.5}
TERNARY = 1.2

_BINARY_WEIGHT = 0.1
_TINY = 1e-10
_MOMENTUM = 0.1
_LLOYD_STEPS = 8


class LearnedClip(nn.Module):
    """A parameter; its sign does not count."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(start.detach().clone())

    def forward(self, _: Tensor) -> Tensor:
        """The clipping point."""
        return self.value.abs().clamp_min(_TINY)

    def set(self, clip: Tensor) -> None:
        """Start from here."""
        self.value.data.copy_(clip)


class ConstantClip(nn.Module):
    """A number that no training moves."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", start.detach().clone())

    def forward(self, _: Tensor) -> Tensor:
        """The clipping point."""
        return self.get_buffer("value")

    def set(self, clip: Tensor) -> None:
        """Stay here."""
        self.get_buffer("value").copy_(clip)


class WeightClip(nn.Module):
    """A statistic of the weights, computed anew from them every time."""

    def __init__(self, kind: str, axis: int | None) -> None:
        super().__init__()
        self.kind, self.axis = kind, axis

    def forward(self, weight: Tensor) -> Tensor:
        """The clipping point."""
        return weight_clip(weight, self.kind, self.axis).clamp_min(_TINY)


class RunningClip(nn.Module):
    """A moving mean of each training batch's largest magnitude."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", start.detach().clone())
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """The clipping point."""
        if self.training:
            with torch.no_grad():
                largest = x.abs().max()
                first = self.get_buffer("batches") == 0
                value = self.get_buffer("value")
                value.copy_(torch.where(first, largest, value.lerp(largest, _MOMENTUM)))
                self.get_buffer("batches").add_(1)
        return self.get_buffer("value").clamp_min(_TINY)

    def set(self, clip: Tensor) -> None:
        """Go on from here."""
        self.get_buffer("value").copy_(clip)
        self.get_buffer("batches").fill_(1)


Clip = LearnedClip | ConstantClip | RunningClip | WeightClip


def weight_clip(weight: Tensor, kind: str, axis: int | None) -> Tensor:
    """A statistic of the magnitudes, of the whole tensor (), or one an index of `axis` (1, .., n, .., 1).

    Args:
        weight: The tensor.
        kind: "max", "mean" (as XNOR-Net has it), "ternary" (the scale of least squared error, by Lloyd's
            iteration; the threshold is half of it), or "sigma<b>" (mean and some deviations, for b bits, of
            the weights that are not 0: pruned ones say nothing of the others' range).
        axis: The output channels' axis, if each has its own.
    """
    magnitudes = weight.abs()
    rows = magnitudes.reshape(1, -1) if axis is None else magnitudes.movedim(axis, 0).flatten(1)
    if kind == "max":
        found = rows.amax(1)
    elif kind == "mean":
        found = rows.mean(1)
    elif kind == "ternary":
        found = _ternary(rows)
    else:
        found = _deviations(rows, CLIP[int(kind.removeprefix("sigma"))])
    return (
        found.reshape(())
        if axis is None
        else found.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    )


def _deviations(rows: Tensor, count: float) -> Tensor:
    """Mean and so many standard deviations of each row; without zeros where there are some."""
    if bool((rows != 0).all()):
        return rows.mean(1) + count * rows.std(1, unbiased=rows.shape[1] > 1)
    live, number = rows != 0, (rows != 0).sum(1)
    mean = rows.sum(1) / number.clamp_min(1)
    squares = ((rows - mean[:, None]).square() * live).sum(1)
    return mean + count * (squares / (number - 1).clamp_min(1)).sqrt()


def _ternary(rows: Tensor) -> Tensor:
    scale = rows.detach().mean(1)
    for _ in range(_LLOYD_STEPS):
        chosen = rows > scale[:, None] / 2
        scale = (rows.detach() * chosen).sum(1) / chosen.sum(1).clamp_min(1)
    chosen = rows > scale[:, None] / 2
    return (rows * chosen).sum(1) / chosen.sum(1).clamp_min(1)


def weight_source(
    weight: Tensor, source: WeightSource | None, kind: str, start: str, axis: int | None
) -> Clip:
    """The clipping point of a weight, by `QuantizeSpec.weight_scale_source`; `kind` and `start` are statistics."""
    if source == "statistics":
        return WeightClip(kind, axis)
    if source is None and kind == "mean":
        return ConstantClip(torch.full_like(weight_clip(weight, "mean", axis), _BINARY_WEIGHT))
    made = LearnedClip if source in (None, "learned") else ConstantClip
    return made(weight_clip(weight, start, axis))


def activation_source(source: ActivationSource | None, start: float, *, bipolar: bool) -> Clip:
    """The clipping point of an activation, by `QuantizeSpec.activation_scale_source`."""
    if source == "statistics":
        return RunningClip(torch.tensor(start))
    constant = source == "constant" or (source is None and bipolar)
    return (ConstantClip if constant else LearnedClip)(torch.tensor(start))
