"""Layers of linear, batch normalisation, activation; then one linear layer."""

from __future__ import annotations

import math

import torch
from torch import nn

from hwq.train.models.spec import MlpSpec


class Mlp(nn.Module):
    """A fully connected classifier: (N, C, H, W) images in, flattened inside, (N, classes) logits out."""

    def __init__(self, spec: MlpSpec, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        features = math.prod(input_shape)
        dropout = [nn.Dropout(spec.dropout)] if spec.dropout else []
        layers: list[nn.Module] = [nn.Flatten(), *dropout]
        for outputs in spec.widths:
            layers += [nn.Linear(features, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(), *dropout]
            features = outputs
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, classes, bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: torch.Tensor = self.classifier(self.layers(x))
        return logits
