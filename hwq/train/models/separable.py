"""Networks of depthwise separable convolutions: DS-CNN for spectra, MobileNet for images."""

from __future__ import annotations

import torch
from torch import nn

from hwq.train.models.spec import DsCnnSpec, MobileNetSpec

_MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
_MOBILENET_END = ((1024, 2), (1024, 1))
_LEAST_CHANNELS = 8


class Separable(nn.Module):
    """A stem, pairs of depthwise 3×3 and pointwise convolutions, a global average, one linear layer."""

    def __init__(
        self,
        stem: list[nn.Module],
        pairs: list[tuple[int, int, int]],
        classes: int,
        *,
        dropout: float,
        bias: bool,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*stem)
        self.pairs = nn.Sequential(*(_separable(*pair) for pair in pairs))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(pairs[-1][1], classes, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of (N, C, H, W)."""
        pooled = self.flatten(self.pool(self.pairs(self.stem(x))))
        logits: torch.Tensor = self.classifier(self.dropout(pooled))
        return logits


def ds_cnn(spec: DsCnnSpec, input_shape: tuple[int, int, int], classes: int) -> Separable:
    """The keyword-spotting network of MLPerf Tiny: spectra (N, 1, frames, bands), 49×10 there.

    Source: Zhang et al., Hello Edge (2017); Banbury et al., MLPerf Tiny Benchmark (2021).
    """
    height, width = (
        _padding(side, kernel, stride)
        for side, kernel, stride in zip(input_shape[1:], spec.kernel, spec.stride, strict=True)
    )
    stem = nn.Conv2d(input_shape[0], spec.width, spec.kernel, spec.stride, (height, width), bias=False)
    layers = [stem, nn.BatchNorm2d(spec.width), nn.ReLU()]
    pairs = [(spec.width, spec.width, 1)] * spec.blocks
    return Separable(layers, pairs, classes, dropout=spec.dropout, bias=spec.bias)


def mobilenet(spec: MobileNetSpec, input_shape: tuple[int, int, int], classes: int) -> Separable:
    """MobileNet-V1: images (N, C, H, W) of any size; channels are multiplied, at least eight.

    Source: Howard et al., MobileNets (2017), table 1.
    """
    table = (*_MOBILENET, *(((512, 1),) * spec.repeats), *_MOBILENET_END)
    widths = [max(_LEAST_CHANNELS, round(spec.multiplier * width)) for width in (32, *(w for w, _ in table))]
    stem = nn.Conv2d(input_shape[0], widths[0], 3, stride=spec.stem_stride, padding=1, bias=False)
    layers = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
    pairs = [(widths[i], widths[i + 1], stride) for i, (_, stride) in enumerate(table)]
    return Separable(layers, pairs, classes, dropout=spec.dropout, bias=spec.bias)


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _padding(side: int, kernel: int, stride: int) -> int:
    """Zeros at each end so that side / stride places, rounded up, come out (one more for an even kernel at 1).

    >>> _padding(49, 10, 2), _padding(10, 4, 2), _padding(28, 3, 1)
    (5, 1, 1)
    """
    places = -(-side // stride)
    return max(0, -(-((places - 1) * stride + kernel - side) // 2))
