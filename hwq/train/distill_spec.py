"""The recipe's section [distill]: what a student learns from a teacher."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

EMA = "ema"

Weight: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e6)]


class LayerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one layer of the student takes from one layer of the teacher.

    Attributes:
        teacher: Name of the teacher's module.
        loss: "hint" is the squared difference of the outputs, after a learned linear layer or 1×1 convolution
            (FitNets, Romero 2015); "attention" that of the normalised maps of where the channels are active
            (Zagoruyko 2017); "relation" that of how alike the samples of a batch are (Tung 2019).
        weight: Of this loss in the sum.
    """

    teacher: str
    loss: Literal["hint", "attention", "relation"] = "hint"
    weight: Weight = 1.0


class DistillSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Loss (1 − alpha) · task + alpha · temperature² · KL(teacher, student), and a term for each layer.

    Attributes:
        teacher: Checkpoint of another run, or its folder; several are an ensemble, of which the first one's layers
            are used. "ema" is the moving average of the student itself (mean teacher, Tarvainen 2017).
        temperature: Both networks' logits are divided by it (Hinton 2015).
        alpha: Share of the teacher's logits in the loss; 0 takes from the layers alone.
        ema_decay: Of the moving average, in each step; less in the first steps.
        layers: By the student's module name, what it takes from the teacher's layers.
    """

    teacher: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = EMA
    temperature: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 4.0
    alpha: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    ema_decay: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.999
    layers: dict[str, LayerSpec] = {}

    def __post_init__(self) -> None:
        if not self.alpha and not self.layers:
            raise ValueError("alpha is 0 and there are no layers: nothing is taken from the teacher")
        if EMA in self.teachers and len(self.teachers) > 1:
            raise ValueError("teacher 'ema' stands alone: it is no member of an ensemble")

    @property
    def teachers(self) -> tuple[str, ...]:
        """One or several."""
        return (self.teacher,) if isinstance(self.teacher, str) else self.teacher
