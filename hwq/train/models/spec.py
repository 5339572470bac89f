"""The recipe's section [model]: architectures, without any bits."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Width: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Padding: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=5)]
Window: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Widths: TypeAlias = Annotated[tuple[Width, ...], msgspec.Meta(min_length=1, max_length=64)]
Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=0.9)]
Kernel: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=64)]


class ConvNetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="convnet"):
    """Stages of convolution, batch normalisation, activation and max pooling, then one linear layer.

    Attributes:
        widths: Output channels, one entry a stage.
        kernel: Side of the square kernel, in pixels.
        padding: Zeros added on each side of a stage's input, in pixels; one for all stages or one a stage.
        pool: Side and stride of the max pooling window, 1 is none; one for all stages or one a stage.
        bias: Whether the last linear layer has a (float) bias.
    """

    widths: Widths
    kernel: Annotated[int, msgspec.Meta(ge=1, le=11)] = 3
    padding: Padding | tuple[Padding, ...] = 0
    pool: Window | tuple[Window, ...] = 2
    bias: bool = False

    def __post_init__(self) -> None:
        for key, value in (("padding", self.padding), ("pool", self.pool)):
            if isinstance(value, tuple) and len(value) != len(self.widths):
                raise ValueError(f"{key} has {len(value)} entries for {len(self.widths)} stages in widths")

    @property
    def paddings(self) -> tuple[int, ...]:
        """The padding of every stage."""
        return self.padding if isinstance(self.padding, tuple) else (self.padding,) * len(self.widths)

    @property
    def pools(self) -> tuple[int, ...]:
        """The pooling window of every stage."""
        return self.pool if isinstance(self.pool, tuple) else (self.pool,) * len(self.widths)


class MlpSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mlp"):
    """Hidden layers of linear, batch normalisation and activation, then one linear layer.

    Attributes:
        widths: Outputs of the hidden layers.
        dropout: Share of inputs and activations that training sets to zero.
        bias: Whether the last linear layer has a (float) bias.
    """

    widths: Widths
    dropout: Probability = 0.0
    bias: bool = False


class CnvSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cnv"):
    """Three pairs of unpadded 3×3 convolutions with max pooling between, then three linear layers.

    Attributes:
        width: Channels of the first pair; the next have 2 and 4 times as many, the linear layers 8 times.
        bias: Whether the last linear layer has a (float) bias.
    """

    width: Annotated[int, msgspec.Meta(ge=1, le=512)] = 64
    bias: bool = False


class ResNetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="resnet"):
    """A convolution, three stages of residual blocks, a global average, one linear layer.

    Attributes:
        depth: Layers with weights on the main path: 8 is one block a stage, 20 is three.
        width: Channels of the first stage; the next have 2 and 4 times as many.
        bias: Whether the last linear layer has a (float) bias.
    """

    depth: Literal[8, 14, 20, 32, 44, 56] = 8
    width: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    bias: bool = False


class DsCnnSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="ds-cnn"):
    """A convolution, pairs of depthwise and pointwise convolutions of one width, a global average.

    Attributes:
        width: Channels of every layer.
        blocks: Pairs.
        kernel: Of the first convolution, in frames and bands.
        stride: Of the first convolution, in frames and bands.
        dropout: Share of the averages that training sets to zero.
        bias: Whether the last linear layer has a (float) bias.
    """

    width: Width = 64
    blocks: Annotated[int, msgspec.Meta(ge=1, le=32)] = 4
    kernel: tuple[Kernel, Kernel] = (10, 4)
    stride: tuple[Window, Window] = (2, 2)
    dropout: Probability = 0.0
    bias: bool = False


class MobileNetSpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mobilenet"
):
    """MobileNet-V1: a convolution, pairs of depthwise and pointwise convolutions, a global average.

    Attributes:
        multiplier: Of all widths, which are 32 to 1024 in the paper; no layer has fewer than 8 channels.
        repeats: Pairs of 512 channels that keep their size; 5 in the paper.
        stem_stride: Of the first convolution: 2, or 1 for small images.
        dropout: Share of the averages that training sets to zero.
        bias: Whether the last linear layer has a (float) bias.
    """

    multiplier: Annotated[float, msgspec.Meta(gt=0, le=2)] = 0.25
    repeats: Annotated[int, msgspec.Meta(ge=0, le=16)] = 5
    stem_stride: Literal[1, 2] = 2
    dropout: Probability = 0.0
    bias: bool = False


class Conv1dSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="conv1d"):
    """Stages of 1-D convolution, batch normalisation, activation and max pooling over series (C, T).

    Attributes:
        widths: Output channels, one entry a stage.
        kernel: Places.
        stride: Of every convolution.
        padding: Zeros added at each end of a stage's input.
        pool: Length and stride of the max pooling window, 1 is none.
        head: What the linear layer reads: each channel's average over time, or every place.
        bias: Whether the linear layer has a (float) bias.
    """

    widths: Widths
    kernel: Kernel = 3
    stride: Window = 1
    padding: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0
    pool: Window = 2
    head: Literal["average", "flatten"] = "average"
    bias: bool = False


ModelSpec: TypeAlias = ConvNetSpec | MlpSpec | CnvSpec | ResNetSpec | DsCnnSpec | MobileNetSpec | Conv1dSpec
