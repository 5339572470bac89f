"""Networks of the usual sizes with random 4-bit weights: ResNet-18 and MobileNet-V1 for images of 224 x 224."""

from __future__ import annotations

import numpy as np
import onnx

from tests.networks import Net


class Builder:
    """A network layer by layer; per-channel float32 scales, BatchNormalization, 4 bits."""

    def __init__(self, size: int, bits: int = 4) -> None:
        self.net, self.bits = Net([3, size, size]), bits
        self.rng = np.random.default_rng(0)

    def activation(self, x: str, *, signed: int = 0, bits: int | None = None) -> str:
        scale = np.float32(self.rng.uniform(0.05, 0.3))
        return self.net.quant(x, scale, bits or self.bits, signed=signed)

    def conv(self, x: str, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        shape = (c_out, c_in // groups, kernel, kernel)
        scale = self.rng.uniform(0.01, 0.1, (c_out, 1, 1, 1)).astype(np.float32)
        limit = 2 ** (self.bits - 1) - 1
        codes = self.rng.integers(-limit, limit + 1, shape).astype(np.float32)
        weight = self.net.quant(self.net.constant(codes * scale), scale, self.bits, narrow=1)
        pads = [kernel // 2] * 4
        sizes = [kernel] * 2, [stride] * 2
        x = self.net.node(
            "Conv", [x, weight], group=groups, kernel_shape=sizes[0], strides=sizes[1], pads=pads
        )
        values = (
            self.rng.uniform(-0.2, 1, c_out),
            self.rng.normal(size=c_out),
            self.rng.normal(size=c_out),
            self.rng.uniform(0.5, 20, c_out),
        )
        return self.net.node("BatchNormalization", [x, *(self.net.constant(v) for v in values)], epsilon=1e-5)

    def classes(self, x: str, features: int) -> onnx.ModelProto:
        x = self.net.node("Flatten", [self.net.node("GlobalAveragePool", [x])])
        x = self.activation(x)
        codes = self.rng.integers(-7, 8, (1000, features))
        return self.net.model(self.net.node("Gemm", [x, self.net.weight(codes, 0.03)], transB=1))


def resnet18(size: int = 224) -> onnx.ModelProto:
    """He et al. 2016, with raw accumulators added to quantised skips."""
    b = Builder(size)
    x = b.activation(b.net.node("Relu", [b.conv(b.activation("x", signed=1, bits=8), 3, 64, 7, 2)]))
    x = b.net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if width != channels else 1
            y = b.activation(b.net.node("Relu", [b.conv(x, channels, width, 3, stride)]))
            y = b.conv(y, width, width, 3)
            skip = (
                b.activation(b.conv(x, channels, width, 1, stride), signed=1)
                if block == 0 and stride == 2
                else x
            )
            x = b.activation(b.net.node("Relu", [b.net.node("Add", [y, skip])]))
            channels = width
    return b.classes(x, 512)


def mobilenet_v1(size: int = 224) -> onnx.ModelProto:
    """Howard et al. 2017."""
    b = Builder(size)
    x = b.activation(b.net.node("Relu", [b.conv(b.activation("x", signed=1, bits=8), 3, 32, 3, 2)]))
    channels = 32
    for width, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ):
        x = b.activation(b.net.node("Relu", [b.conv(x, channels, channels, 3, stride, groups=channels)]))
        x = b.activation(b.net.node("Relu", [b.conv(x, channels, width, 1)]))
        channels = width
    return b.classes(x, 1024)
