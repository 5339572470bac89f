"""What readers return, and what training gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Inputs = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Raw:
    """Inputs (N, ...) of any real type and labels (N,), integers or texts, as a file holds them.

    `x_test` and `y_test` are None where the file has no test part of its own.
    """

    origin: str
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    x_test: npt.NDArray[Any] | None = None
    y_test: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Dataset:
    """Inputs (N, F), (N, C, L) or (N, C, H, W) float32 and labels (N,) int64, in three disjoint parts.

    Training fits the train part and selects on the validation part; the test part is only ever scored.
    """

    name: str
    x_train: Inputs
    y_train: Labels
    x_validation: Inputs
    y_validation: Labels
    x_test: Inputs
    y_test: Labels
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (F,), (C, L) or (C, H, W)."""
        return self.x_train.shape[1:]
