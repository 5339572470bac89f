"""The recipe's sections [input] and [quantize]."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Bits: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Granularity: TypeAlias = Literal["tensor", "channel"]


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed-point type of the network's input: codes of `bits` bits, each worth 2**-fraction_bits."""

    bits: Annotated[int, msgspec.Meta(ge=2, le=8)] = 8
    fraction_bits: Annotated[int, msgspec.Meta(ge=-16, le=16)] = 8
    signed: bool = False


class LayerQuant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What layers of a name pattern do otherwise than `QuantizeSpec` says; None is as there."""

    weights: Bits | None = None
    activations: Bits | None = None
    weight_scale: Granularity | None = None


class QuantizeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a float network becomes a quantised one.

    Attributes:
        weights: 1 is binary (−1, +1); 2..8 are the symmetric integers −(2**(b−1)−1) .. 2**(b−1)−1.
        activations: 1 is bipolar (−1, +1); 2..8 are unsigned, after a ReLU.
        weight_scale: One weight scale a layer, or one an output channel; a layer whose result is the
            network's output has one in any case, unless `layers` says otherwise.
        layers: By pattern of module names (`stages.0`, `stages.*`); a later pattern wins.
        ignore: Patterns of modules that stay in float.
    """

    weights: Bits
    activations: Bits
    weight_scale: Granularity = "tensor"
    layers: dict[str, LayerQuant] = {}
    ignore: tuple[str, ...] = ()
