"""Data sets: arrays in memory, with a split that no training run can move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwq.errors import InputError
from hwq.train.recipe import nearest
from hwq.train.require import require_training

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Images (N, C, H, W) float32 and labels (N,) int64, in three disjoint parts.

    Training fits the train part and selects on the validation part; the test part is only ever scored.
    """

    name: str
    x_train: Images
    y_train: Labels
    x_validation: Images
    y_validation: Labels
    x_test: Images
    y_test: Labels
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.x_train.shape
        return channels, height, width


def load(name: str, seed: int = 0) -> Dataset:
    """Load a data set by name; `seed` draws its split and nothing else.

    Raises:
        InputError: No such data set.
        ToolMissing: The package that holds it is not installed.
    """
    if name not in _LOADERS:
        raise InputError(f"key 'data.name': no data set is called '{name}'{nearest(name, _LOADERS)}\n"
                         f"  known: {', '.join(_LOADERS)}")  # fmt: skip
    require_training()
    return _LOADERS[name](seed)


def _load_digits(seed: int) -> Dataset:
    """scikit-learn's 1797 handwritten digits, 8×8 pixels of 0..16, here 0..1 in exact steps of 1/16."""
    from sklearn.datasets import load_digits  # heavy, and part of an extra

    pixels, labels = load_digits(return_X_y=True)
    x = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    return _split("digits", x, labels.astype(np.int64), seed)


def _split(name: str, x: Images, y: Labels, seed: int) -> Dataset:
    """A stratified split: a fifth for test, an eighth of the rest for validation."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=seed)
    train, validation = train_test_split(rest, test_size=0.125, stratify=y[rest], random_state=seed)
    return Dataset(
        name, x[train], y[train], x[validation], y[validation], x[test], y[test], classes=int(y.max()) + 1
    )


_LOADERS: dict[str, Callable[[int], Dataset]] = {"digits": _load_digits}
