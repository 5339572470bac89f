"""The networks of `hwq bench sim`, untrained: Brevitas models with settled scales, and their float32 twins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_SEED = 1
_SETTLING = 20
"""Batches that set scales and statistics."""


@dataclass(frozen=True)
class Subject:
    """One network to measure.

    Attributes:
        name: For people.
        shape: Of one sample.
        batch: Rows a call.
        build: Makes the Brevitas model.
        single: Whether it is measured sample by sample too.
        emitted: Whether its C++ is measured too.
    """

    name: str
    shape: tuple[int, ...]
    batch: int
    build: Callable[[], nn.Module]
    single: bool = False
    emitted: bool = False


def _fc(
    width: int, bits: tuple[int, int, int], inputs: tuple[int, ...], classes: int
) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from brevitas_examples.bnn_pynq.models.FC import FC

        weight, act, given = bits
        model: nn.Module = FC(classes, weight, act, given, 1, [width] * 3, inputs)
        return model

    return build


def _cnv(bits: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from brevitas_examples.bnn_pynq.models.CNV import CNV

        model: nn.Module = CNV(10, bits, bits, 8, 3)
        return model

    return build


def _conv(c_in: int, c_out: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution of 4-bit weights and BatchNorm."""
    from brevitas.nn import QuantConv2d
    from torch import nn

    options = {"padding": size // 2, "groups": groups, "bias": False, "weight_bit_width": 4}
    return [QuantConv2d(c_in, c_out, size, stride=stride, **options), nn.BatchNorm2d(c_out)]


def _head(channels: int) -> list[nn.Module]:
    from brevitas.nn import QuantIdentity, QuantLinear
    from torch import nn

    classify = QuantLinear(channels, 10, bias=False, weight_bit_width=8)
    return [nn.AvgPool2d(8), QuantIdentity(bit_width=8), nn.Flatten(), classify]


def _relu() -> nn.Module:
    from brevitas.nn import QuantReLU

    layer: nn.Module = QuantReLU(bit_width=4)
    return layer


def _block(c_in: int, c_out: int, stride: int) -> nn.Module:
    from brevitas.nn import QuantIdentity
    from torch import nn

    class Block(nn.Module):
        """Two convolutions and a skip, both brought to one scale before they are added."""

        def __init__(self) -> None:
            super().__init__()
            self.main = nn.Sequential(*_conv(c_in, c_out, 3, stride), _relu(), *_conv(c_out, c_out, 3))
            self.skip = nn.Sequential(*(_conv(c_in, c_out, 1, stride) if stride > 1 else []))
            self.join, self.out = QuantIdentity(bit_width=4), _relu()

        def forward(self, x: torch.Tensor) -> Any:
            return self.out(self.join(self.main(x)) + self.join(self.skip(x)))

    return Block()


def _resnet8() -> nn.Module:
    from brevitas.nn import QuantIdentity
    from torch import nn

    blocks = [_block(16, 16, 1), _block(16, 32, 2), _block(32, 64, 2)]
    return nn.Sequential(QuantIdentity(bit_width=8), *_conv(3, 16, 3), _relu(), *blocks, *_head(64))


def _depthwise() -> nn.Module:
    from brevitas.nn import QuantIdentity
    from torch import nn

    layers = [QuantIdentity(bit_width=8), *_conv(3, 32, 3), _relu()]
    for c_in, c_out, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 2)):
        layers += [*_conv(c_in, c_in, 3, stride, groups=c_in), _relu(), *_conv(c_in, c_out, 1), _relu()]
    return nn.Sequential(*layers, *_head(128))


_IMAGE = (3, 32, 32)
SUBJECTS = {
    s.name: s
    for s in (
        Subject("TFC 1W1A", (1, 28, 28), 1000, _fc(64, (1, 1, 1), (28, 28), 10)),
        Subject("TFC 2W2A", (1, 28, 28), 1000, _fc(64, (2, 2, 2), (28, 28), 10), single=True, emitted=True),
        Subject("SFC 1W1A", (1, 28, 28), 1000, _fc(256, (1, 1, 1), (28, 28), 10)),
        Subject("KWS MLP 3W3A", (1, 10, 49), 1000, _fc(256, (3, 3, 8), (10, 49), 12)),
        Subject("CNV 1W1A", _IMAGE, 100, _cnv(1)),
        Subject("CNV 2W2A", _IMAGE, 100, _cnv(2), single=True),
        Subject("ResNet-8 4W4A", _IMAGE, 100, _resnet8),
        Subject("depthwise 4W4A", _IMAGE, 100, _depthwise),
    )
}


@dataclass(frozen=True)
class Models:
    """The Brevitas model, its QONNX file, and a float32 twin of the same shape."""

    quantised: nn.Module
    twin: nn.Module
    qonnx: Path
    twin_onnx: Path


def make(subject: Subject, folder: Path) -> Models:
    """Build, settle and export a subject; seeded."""
    import torch

    from hwq.train.export import export_model

    torch.manual_seed(_SEED)
    model = subject.build().train()
    with torch.no_grad():
        for _ in range(_SETTLING):
            model(torch.rand(64, *subject.shape) * 2 - 1)
    model.eval()
    example = torch.rand(1, *subject.shape)
    export_model(model, example, folder / "model.onnx")
    twin = _float(copy.deepcopy(model)).eval()
    torch.onnx.export(
        twin,
        (example,),
        folder / "twin.onnx",
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
    )
    return Models(model, twin, folder / "model.onnx", folder / "twin.onnx")


def _float(model: nn.Module) -> nn.Module:
    """The model with float layers; activations become ReLU, quantisers of inputs and joins nothing."""
    from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
    from torch import nn

    for name, child in list(model.named_children()):
        if isinstance(child, QuantConv2d):
            shape = (child.in_channels, child.out_channels, child.kernel_size, child.stride, child.padding)
            layer: nn.Module = nn.Conv2d(*shape, groups=child.groups, bias=child.bias is not None)
        elif isinstance(child, QuantLinear):
            layer = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None)
        elif isinstance(child, QuantReLU):
            layer = nn.ReLU()
        elif isinstance(child, QuantIdentity):
            layer = nn.Identity() if name in ("0", "join") else nn.ReLU()
        else:
            _float(child)
            continue
        if hasattr(child, "weight") and child.weight is not None:
            layer.load_state_dict({"weight": child.quant_weight().value.detach()}, strict=False)
        setattr(model, name, layer)
    return model
