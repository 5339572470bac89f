"""Stages of convolution, batch normalisation, activation, max pooling; then one linear layer."""

from __future__ import annotations

import torch
from torch import nn

from hwq.errors import InputError
from hwq.train.models.spec import ConvNetSpec


class ConvNet(nn.Module):
    """A plain convolutional classifier: (N, C, H, W) images in, (N, classes) logits out.

    Raises:
        InputError: The image is smaller than a kernel or a pooling window.
    """

    def __init__(self, spec: ConvNetSpec, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        stages: list[nn.Module] = []
        for index, (outputs, padding, pool) in enumerate(
            zip(spec.widths, spec.paddings, spec.pools, strict=True)
        ):
            stages += [
                nn.Conv2d(channels, outputs, spec.kernel, padding=padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                *([nn.MaxPool2d(pool)] if pool > 1 else []),
            ]
            channels = outputs
            height, width = ((side + 2 * padding - spec.kernel + 1) // pool for side in (height, width))
            if min(height, width) < 1:
                raise InputError(
                    f"key 'model.widths': after {index + 1} of {len(spec.widths)} stages nothing is left "
                    f"of a {input_shape[1]}×{input_shape[2]} image: use fewer stages, padding or less pooling"
                )
        self.stages = nn.Sequential(*stages)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels * height * width, classes, bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: torch.Tensor = self.classifier(self.flatten(self.stages(x)))
        return logits
