"""The networks that a recipe can name: plain float modules, quantised by `hwq.train.quantize` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwq.errors import InputError
from hwq.train.models.spec import (
    CnvSpec,
    Conv1dSpec,
    ConvNetSpec,
    DsCnnSpec,
    MlpSpec,
    MobileNetSpec,
    ModelSpec,
    ResNetSpec,
)

if TYPE_CHECKING:
    from torch import nn


def build(spec: ModelSpec, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The untrained float network, for inputs of this shape; draws from torch's global generator.

    Raises:
        InputError: The network cannot take inputs of this shape.
    """
    from hwq.train.models.conv1d import Conv1dNet  # torch takes seconds to import
    from hwq.train.models.mlp import Mlp

    if isinstance(spec, MlpSpec):
        return Mlp(spec, input_shape, classes)
    if isinstance(spec, Conv1dSpec):
        if len(input_shape) != 2:
            raise InputError(_wrong_shape(spec, "series (C, T)", input_shape, "[1, 16000]"))
        return Conv1dNet(spec, input_shape, classes)
    if len(input_shape) != 3:
        raise InputError(_wrong_shape(spec, "images (C, H, W)", input_shape, "[1, 28, 28]"))
    return _of_images(spec, input_shape, classes)


def _of_images(
    spec: ConvNetSpec | CnvSpec | ResNetSpec | DsCnnSpec | MobileNetSpec,
    input_shape: tuple[int, int, int],
    classes: int,
) -> nn.Module:
    from hwq.train.models.cnv import Cnv
    from hwq.train.models.convnet import ConvNet
    from hwq.train.models.resnet import ResNet
    from hwq.train.models.separable import ds_cnn, mobilenet

    match spec:
        case ConvNetSpec():
            return ConvNet(spec, input_shape, classes)
        case CnvSpec():
            return Cnv(spec, input_shape, classes)
        case ResNetSpec():
            return ResNet(spec, input_shape, classes)
        case DsCnnSpec():
            return ds_cnn(spec, input_shape, classes)
        case MobileNetSpec():
            return mobilenet(spec, input_shape, classes)


def _wrong_shape(spec: ModelSpec, wanted: str, found: tuple[int, ...], example: str) -> str:
    kind = spec.__struct_config__.tag
    return (
        f"key 'model.kind': {kind} needs inputs that are {wanted}, the data's are {found}\n"
        f"  cure: set data.shape, e.g. --set 'data.shape={example}', or another model.kind"
    )
