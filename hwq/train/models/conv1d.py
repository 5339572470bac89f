"""Stages of 1-D convolution, batch normalisation, activation, max pooling over series; then one linear layer."""

from __future__ import annotations

import torch
from torch import nn

from hwq.errors import InputError
from hwq.train.models.spec import Conv1dSpec


class Conv1dNet(nn.Module):
    """A classifier of series: (N, C, T) in, (N, classes) logits out.

    Raises:
        InputError: The series is shorter than a kernel or a pooling window.
    """

    def __init__(self, spec: Conv1dSpec, input_shape: tuple[int, int], classes: int) -> None:
        super().__init__()
        channels, length = input_shape
        stages: list[nn.Module] = []
        for index, outputs in enumerate(spec.widths, 1):
            layer = nn.Conv1d(channels, outputs, spec.kernel, spec.stride, spec.padding, bias=False)
            stages += [layer, nn.BatchNorm1d(outputs), nn.ReLU()]
            stages += [nn.MaxPool1d(spec.pool)] if spec.pool > 1 else []
            places = (length + 2 * spec.padding - spec.kernel) // spec.stride + 1
            channels, length = outputs, places // spec.pool
            if length < 1:
                raise InputError(
                    f"key 'model.widths': after {index} of {len(spec.widths)} stages nothing is left of "
                    f"{input_shape[1]} places: use fewer stages, padding, or less stride or pooling"
                )
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool1d(1) if spec.head == "average" else nn.Identity()
        self.flatten = nn.Flatten()
        features = channels if spec.head == "average" else channels * length
        self.classifier = nn.Linear(features, classes, bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of series (N, C, T)."""
        logits: torch.Tensor = self.classifier(self.flatten(self.pool(self.stages(x))))
        return logits
