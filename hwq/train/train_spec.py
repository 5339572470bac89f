"""The recipe's section [train]."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class TrainSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how fast: Adam, with a linear warm-up and then a cosine to zero, or a constant rate.

    Attributes:
        learning_rate: The peak of the schedule.
        warmup: Fraction of all steps during which the rate rises.
        weight_decay: Decoupled, on weights only (not on batch normalisation, biases and scales).
        label_smoothing: Probability mass moved from the true class to all classes.
    """

    epochs: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    batch_size: Annotated[int, msgspec.Meta(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.01
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.2
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.0
