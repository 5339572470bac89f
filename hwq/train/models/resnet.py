"""Residual networks for small images."""

from __future__ import annotations

import torch
from torch import nn

from hwq.train.models.spec import ResNetSpec


class Block(nn.Module):
    """Two convolutions and a shortcut, added; where the shapes differ, the shortcut is a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            project = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut.extend([project, nn.BatchNorm2d(outputs)])
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, outputs, H / stride, W / stride), rounded up, of (N, inputs, H, W)."""
        joined: torch.Tensor = self.relu(self.main(x) + self.shortcut(x))
        return joined


class ResNet(nn.Module):
    """A stem, three stages of blocks that double the channels and halve the sides, a global average.

    Source: He et al., Deep Residual Learning (2016), section 4.2, with projections for shortcuts (option B).
    """

    def __init__(self, spec: ResNetSpec, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        width = spec.width
        self.stem = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        blocks, channels = [], width
        for stage in range(3):
            for index in range((spec.depth - 2) // 6):
                blocks.append(Block(channels, width << stage, 2 if stage and not index else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, classes, bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W) of any size."""
        pooled = self.pool(self.blocks(self.stem(x)))
        logits: torch.Tensor = self.classifier(self.flatten(pooled))
        return logits
