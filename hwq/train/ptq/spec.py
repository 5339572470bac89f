"""The [ptq] section: how a trained float network is quantised without training it again."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

PtqBits = Annotated[int, msgspec.Meta(ge=2, le=8)]


class PtqSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Post-training quantisation.

    Attributes:
        weight_bits: Symmetric integers −(2**(b−1)−1) .. 2**(b−1)−1.
        act_bits: Unsigned codes after each ReLU.
        weight_scale: One scale a layer, or one an output channel.
        calibration: Clipping range of weights and activations: the largest magnitude, a percentile of
            the magnitudes, or the range of least squared error.
        percentile: The percentile, where calibration is "percentile".
        bias_correction: Add to each bias the mean output error on the calibration data.
        equalize: Balance the channel ranges of neighbouring layers first (Nagel 2019).
        method: Rounding: to nearest, GPTQ (Frantar 2022), GPFQ (Lybrand & Saab 2021), AdaRound
            (Nagel 2020) or QDrop (Wei 2022; a block is one layer with its ReLU).
        steps: Optimiser steps a layer of AdaRound and QDrop.
        batch: Calibration samples (for a convolution: images) a step.
        drop: Probability with which QDrop leaves an input value unquantised.
        seed: Draws batches and drops.
        input_bits: Width of the network's input codes.
        input_fraction_bits: An input code is worth 2**-input_fraction_bits.
        input_signed: Whether input codes are signed.
    """

    weight_bits: PtqBits = 4
    act_bits: PtqBits = 8
    weight_scale: Literal["channel", "tensor"] = "channel"
    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.9
    bias_correction: bool = True
    equalize: bool = False
    method: Literal["nearest", "gptq", "gpfq", "adaround", "qdrop"] = "gpfq"
    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    batch: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    drop: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    input_bits: PtqBits = 8
    input_fraction_bits: Annotated[int, msgspec.Meta(ge=-16, le=16)] = 8
    input_signed: bool = False
