"""The recipe's sections [input] and [quantize]."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

Bits: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Granularity: TypeAlias = Literal["tensor", "channel"]
ScaleType: TypeAlias = Literal["float", "power-of-two"]
EstimatorName: TypeAlias = Literal["ste", "clipped-ste", "ewgs", "ewgs-hessian", "lsq", "dorefa", "reste"]
WeightName: TypeAlias = Literal["binary", "ternary", "int2", "int3", "int4", "int5", "int6", "int7", "int8"]
ActivationName: TypeAlias = Literal[
    "binary", "ternary", "int2", "int3", "int4", "int5", "int6", "int7", "int8",
    "uint2", "uint3", "uint4", "uint5", "uint6", "uint7", "uint8",
]  # fmt: skip
WeightSource: TypeAlias = Literal["learned", "statistics", "constant"]
ActivationSource: TypeAlias = Literal["learned", "pact", "statistics", "constant"]
AccumulatorBits: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=32)]
Delta: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=10)]


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed-point type of the network's input: codes of `bits` bits, each worth 2**-fraction_bits."""

    bits: Annotated[int, msgspec.Meta(ge=2, le=8)] = 8
    fraction_bits: Annotated[int, msgspec.Meta(ge=-16, le=16)] = 8
    signed: bool = False


class LayerQuant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What some layers do otherwise than `QuantizeSpec` says, whose fields these are; None is as there."""

    weights: Bits | WeightName | None = None
    activations: Bits | ActivationName | None = None
    weight_scale: Granularity | None = None
    weight_scale_type: ScaleType | None = None
    weight_scale_source: WeightSource | None = None
    weight_estimator: EstimatorName | None = None
    activation_scale_type: ScaleType | None = None
    activation_scale_source: ActivationSource | None = None
    activation_estimator: EstimatorName | None = None
    learned_bits: bool | None = None
    accumulator_bits: AccumulatorBits | None = None
    accumulator: Literal["a2q", "a2q+"] | None = None
    ewgs_delta: Delta | None = None


class QuantizeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a float network becomes a quantised one.

    Attributes:
        weights: Bits or a name. 1 or "binary" is −1, +1; "ternary" is −1, 0, +1; 2..8 or "int2".. are the
            integers −(2**(b−1)−1) .. 2**(b−1)−1.
        activations: Bits or a name. 1 or "binary" is −1, +1; 2..8 are unsigned where values cannot be
            negative, else signed; "uint4" and "int4" say which; "ternary" is −1, 0, +1.
        weight_scale: One weight scale a layer, or one an output channel; a layer whose result is the
            network's output has one a layer, unless `last` or `layers` says otherwise.
        weight_scale_type: Any float, or the nearest power of two.
        weight_scale_source: A parameter; statistics of the weights at every step (largest magnitude; mean
            magnitude for binary; least squared error for ternary); or a constant, set when the network is
            made. By default a constant for binary weights, else a parameter.
        weight_estimator: Gradient of rounding weights, see `hwq.train.estimators`.
        activation_scale_type: As for weights; activations have one scale a tensor.
        activation_scale_source: A parameter; one that learns from clipped values alone (PACT); a moving mean of
            each batch's largest magnitude; or a constant. By default a constant for binary, else a parameter.
        activation_estimator: Gradient of rounding activations.
        learned_bits: Weights' bits are learned, from `weights` as the start; see `bit_penalty`.
        bit_penalty: Added to the loss times the mean number of bits a weight, where bits are learned.
        accumulator_bits: No sum of a layer needs a wider accumulator.
        accumulator: How: A2Q bounds each channel's weight magnitudes, A2Q+ centres them first and bounds less.
        ewgs_delta: δ of the estimator ewgs, on the integer grid.
        ewgs_every: Optimiser steps between two measurements of curvature by ewgs-hessian.
        reste_power: o of the estimator reste at the end of training, from 1 at the start.
        clip_decay: Times the squared clipping points of PACT, added to the loss.
        batch_norm: Left for the lowering to fold exactly, or folded into the weights now, for good.
        calibration: How clipping points come from calibration data, where it is given.
        percentile: Of the magnitudes, where calibration is "percentile".
        sums: Whether the branches of a sum have one scale, so that integers are added, or one each.
        output: Bits of a signed quantiser after the last layer; none leaves its sums as they are.
        first: What the layers do that read the network's input.
        last: What the layers do whose result is the network's output.
        layers: By pattern of module names (`stages.0`, `stages.*`); a later pattern wins, and all win over the above.
        ignore: Patterns of modules that stay in float.
    """

    weights: Bits | WeightName
    activations: Bits | ActivationName
    weight_scale: Granularity = "tensor"
    weight_scale_type: ScaleType = "float"
    weight_scale_source: WeightSource | None = None
    weight_estimator: EstimatorName = "ste"
    activation_scale_type: ScaleType = "float"
    activation_scale_source: ActivationSource | None = None
    activation_estimator: EstimatorName = "clipped-ste"
    learned_bits: bool = False
    bit_penalty: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    accumulator_bits: AccumulatorBits | None = None
    accumulator: Literal["a2q", "a2q+"] = "a2q"
    ewgs_delta: Delta = 0.1
    ewgs_every: Annotated[int, msgspec.Meta(ge=1)] = 200
    reste_power: Annotated[float, msgspec.Meta(ge=1, le=10)] = 3.0
    clip_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    batch_norm: Literal["keep", "fold"] = "keep"
    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.9
    sums: Literal["shared", "separate"] = "shared"
    output: Annotated[int, msgspec.Meta(ge=2, le=8)] | None = None
    first: LayerQuant = LayerQuant()
    last: LayerQuant = LayerQuant()
    layers: dict[str, LayerQuant] = {}
    ignore: tuple[str, ...] = ()


def changed(spec: QuantizeSpec, layer: LayerQuant) -> QuantizeSpec:
    """The specification with a layer's own fields."""
    fields: dict[str, Any] = {
        name: value for name in layer.__struct_fields__ if (value := getattr(layer, name)) is not None
    }
    return msgspec.structs.replace(spec, **fields)
