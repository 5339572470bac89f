"""A network like VGG: three pairs of unpadded convolutions, then three linear layers."""

from __future__ import annotations

import torch
from torch import nn

from hwq.errors import InputError
from hwq.train.models.spec import CnvSpec


class Cnv(nn.Module):
    """CNV: (N, C, H, W) images in, 32×32 in the papers, (N, classes) logits out.

    Source: Umuroglu et al., FINN (2017), section 6.1.

    Raises:
        InputError: The image is smaller than what the convolutions take away.
    """

    def __init__(self, spec: CnvSpec, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        layers: list[nn.Module] = []
        for stage, factor in enumerate((1, 2, 4), 1):
            outputs = factor * spec.width
            for inputs in (channels, outputs):
                layers += [nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels, height, width = outputs, height - 4, width - 4
            if stage < 3:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            if min(height, width) < 1:
                raise InputError(
                    f"key 'model.kind': after stage {stage} of 3 nothing is left of a "
                    f"{input_shape[1]}×{input_shape[2]} image: cnv needs at least 32×32\n"
                    '  cure: larger images (data.shape resizes those of a folder), or kind = "convnet"'
                )
        self.features = nn.Sequential(*layers)
        self.flatten = nn.Flatten()
        hidden, layers = 8 * spec.width, []
        for inputs in (channels * height * width, hidden):
            layers += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(hidden, classes, bias=spec.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: torch.Tensor = self.classifier(self.hidden(self.flatten(self.features(x))))
        return logits
