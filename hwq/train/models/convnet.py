"""Stages of convolution, batch normalisation, activation, max pooling; then one linear layer."""

from __future__ import annotations

import torch
from torch import nn

from hwq.errors import InputError
from hwq.train.quantizers import quant_activation, quant_conv, quant_input, quant_linear
from hwq.train.recipe import ConvNetSpec, InputSpec


class ConvNet(nn.Module):
    """A plain convolutional classifier: (N, C, H, W) images of 0..1 in, (N, classes) logits out.

    Raises:
        InputError: The image is smaller than a kernel or a pooling window.
    """

    def __init__(
        self, spec: ConvNetSpec, input_spec: InputSpec, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        stages: list[nn.Module] = [quant_input(input_spec)]
        for index, (outputs, padding, pool) in enumerate(
            zip(spec.widths, spec.paddings, spec.pools, strict=True)
        ):
            stages += [
                quant_conv(channels, outputs, spec.kernel, padding, spec.weight_bits, spec.weight_scale),
                nn.BatchNorm2d(outputs),
                quant_activation(spec.act_bits),
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
        self.classifier = quant_linear(
            channels * height * width, classes, spec.weight_bits, "tensor", bias=spec.bias
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: torch.Tensor = self.classifier(self.flatten(self.stages(x)))
        return logits
