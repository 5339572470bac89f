"""Data sets: arrays in memory, with a split that no training run can move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwq.errors import InputError
from hwq.train.data.dataset import Dataset, Inputs, Labels, Raw
from hwq.train.data.images import read_images
from hwq.train.data.openml import read_openml
from hwq.train.data.prepare import off_grid, prepare
from hwq.train.data.sounds import read_sounds
from hwq.train.data.tables import read_csv
from hwq.train.data.tensors import read_idx, read_npz
from hwq.train.data_spec import DataSpec
from hwq.train.recipe import nearest
from hwq.train.require import require_training

__all__ = ["Dataset", "Inputs", "Labels", "load", "off_grid"]


def load(data: str | DataSpec, seed: int = 0) -> Dataset:
    """Load the data set of a recipe's section, or one by name with the section's defaults.

    Args:
        data: The section, or a name such as "digits".
        seed: Draws the split of a data set given by name; a section has its own.

    Raises:
        InputError: No such data set, or its file is missing or is not what it should be.
        ToolMissing: The package that reads it is not installed.
    """
    spec = DataSpec(name=data, split_seed=seed) if isinstance(data, str) else data
    if spec.name not in _READERS:
        raise InputError(f"key 'data.name': no data set is called '{spec.name}'{nearest(spec.name, _READERS)}\n"
                         f"  known: {', '.join(_READERS)}")  # fmt: skip
    if spec.name != "digits" and not spec.path:
        hint = spec.hint or "give a file, a folder, or the data set's name on OpenML"
        raise InputError(f"key 'data.path' is not set: {hint}\n  then: --set data.path=PATH")
    require_training()
    return prepare(_READERS[spec.name](spec), spec)


def _read_digits(_: DataSpec) -> Raw:
    """scikit-learn's 1797 handwritten digits, 8×8 pixels of 0..16, here 0..1 in exact steps of 1/16."""
    from sklearn.datasets import load_digits  # heavy, and part of an extra

    pixels, labels = load_digits(return_X_y=True)
    return Raw("digits", (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels)


_READERS: dict[str, Callable[[DataSpec], Raw]] = {
    "digits": _read_digits,
    "idx": read_idx,
    "npz": read_npz,
    "csv": read_csv,
    "images": read_images,
    "wav": read_sounds,
    "openml": read_openml,
}
