"""Layers of linear, batch normalisation, activation; then one linear layer."""

from __future__ import annotations

import math

import torch
from torch import nn

from hwq.train.quantizers import quant_activation, quant_input, quant_linear
from hwq.train.recipe import InputSpec, MlpSpec


class Mlp(nn.Module):
    """A fully connected classifier: (N, C, H, W) images in, flattened inside, (N, classes) logits out."""

    def __init__(
        self, spec: MlpSpec, input_spec: InputSpec, input_shape: tuple[int, ...], classes: int
    ) -> None:
        super().__init__()
        features = math.prod(input_shape)
        layers: list[nn.Module] = [quant_input(input_spec), nn.Flatten()]
        for outputs in spec.widths:
            layers += [
                quant_linear(features, outputs, spec.weight_bits, spec.weight_scale),
                nn.BatchNorm1d(outputs),
                quant_activation(spec.act_bits),
            ]
            features = outputs
        self.layers = nn.Sequential(*layers)
        self.classifier = quant_linear(features, classes, spec.weight_bits, "tensor", bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: torch.Tensor = self.classifier(self.layers(x))
        return logits
