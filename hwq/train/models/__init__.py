"""The networks that a recipe can name: plain float modules, quantised by `hwq.train.quantize` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwq.errors import InputError
from hwq.train.models.spec import ConvNetSpec, ModelSpec

if TYPE_CHECKING:
    from torch import nn


def build(spec: ModelSpec, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The untrained float network, for inputs of this shape; draws from torch's global generator."""
    from hwq.train.models.convnet import ConvNet  # torch takes seconds to import
    from hwq.train.models.mlp import Mlp

    if isinstance(spec, ConvNetSpec):
        if len(input_shape) != 3:
            raise InputError(
                f"key 'model.kind': a convnet needs inputs (C, H, W), the data's are {input_shape}"
            )
        return ConvNet(spec, input_shape, classes)
    return Mlp(spec, input_shape, classes)
