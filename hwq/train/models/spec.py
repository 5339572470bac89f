"""The recipe's section [model]: architectures, without any bits."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

Width: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Padding: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=5)]
Window: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Widths: TypeAlias = Annotated[tuple[Width, ...], msgspec.Meta(min_length=1, max_length=64)]


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

    The fields mean what they mean in `ConvNetSpec`; `widths` are the hidden layers' outputs.
    """

    widths: Widths
    bias: bool = False


ModelSpec: TypeAlias = ConvNetSpec | MlpSpec
