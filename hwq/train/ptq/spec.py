"""The [ptq] section: how a trained float network is quantised without training it again."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Unit: TypeAlias = Literal["layer", "block", "network"]
Nearby: TypeAlias = Literal["nearest", "gptq", "gpfq"]


class PtqSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Post-training quantisation; bits, granularity and kinds of scales stand in [quantize].

    Attributes:
        method: How integers are chosen. Layer by layer: to nearest, GPTQ (Frantar 2022), GPFQ (Lybrand &
            Saab 2021). Learned on the calibration data: AdaRound (Nagel 2020: each weight up or down),
            QDrop (Wei 2022: the same, with activations quantised at random and their scales learned),
            AdaQuant (Hubara 2020: weights, biases and scales move freely).
        unit: What a learned method makes equal to the float network at a time: a layer with its
            activation, a block (BRECQ, Li 2021: cut where one value alone passes), or the whole network
            (its class probabilities then, as in distillation without labels). By default what each paper
            does, and for AdaQuant, which alone can, the network.
        start: Rounding from which a learned method starts.
        calibration: Clipping range of weights and activations: the largest magnitude, a percentile of
            the magnitudes, or the range of least squared error.
        percentile: The percentile, where calibration is "percentile".
        samples: How many training inputs are read; all if there are fewer.
        bias_correction: Take the mean output error on the calibration data from each layer's bias.
        equalize: Balance the channel ranges of neighbouring layers first (Nagel 2019).
        steps: Optimiser steps a unit of the learned methods.
        batch: Calibration samples a step.
        learning_rate: Adam's, in steps of a weight's scale; in AdaRound and QDrop of the logit of rounding
            up. It falls as half a cosine; scales and biases move slower.
        drop: Probability with which QDrop leaves an activation unquantised.
    """

    method: Literal["nearest", "gptq", "gpfq", "adaround", "qdrop", "adaquant"] = "adaquant"
    unit: Unit | None = None
    start: Nearby = "gpfq"
    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.9
    samples: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 4096
    bias_correction: bool = True
    equalize: bool = False
    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2000
    batch: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    drop: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        if self.unit == "network" and self.method in ("adaround", "qdrop"):
            raise ValueError(
                f"unit 'network' needs method 'adaquant': roundings that {self.method} learns all at once for "
                "a whole network end far from it"
            )

    @property
    def learned(self) -> bool:
        """Whether the method runs an optimiser."""
        return self.method in _UNITS

    @property
    def learned_unit(self) -> Unit | None:
        """The unit of a learned method."""
        return self.unit or _UNITS.get(self.method)


_UNITS: dict[str, Unit] = {"adaround": "layer", "qdrop": "block", "adaquant": "network"}
