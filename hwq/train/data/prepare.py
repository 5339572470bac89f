"""From what a file holds to three checked, normalised parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hwq.errors import InputError
from hwq.train.data.dataset import Dataset, Inputs, Labels, Raw
from hwq.train.data_spec import DataSpec
from hwq.train.recipe import InputSpec


def prepare(raw: Raw, spec: DataSpec) -> Dataset:
    """Check, number the classes, split, and normalise with numbers of the train part alone.

    Raises:
        InputError: Values that are not finite, shapes that do not fit, or a class with too few rows.
    """
    x = _inputs(raw.origin, raw.x, raw.y, spec)
    if raw.x_test is not None and raw.y_test is not None:
        names = np.unique(raw.y)
        unknown = np.setdiff1d(raw.y_test, names)
        if len(unknown):
            raise InputError(
                f"{raw.origin}: the test part has the class {unknown[0]!s}, the train part has not"
            )
        x_test, y_test = _inputs(raw.origin, raw.x_test, raw.y_test, spec), np.searchsorted(names, raw.y_test)
        if x_test.shape[1:] != x.shape[1:]:
            raise InputError(
                f"{raw.origin}: train inputs are {x.shape[1:]}, test inputs are {x_test.shape[1:]}"
            )
        y = np.searchsorted(names, raw.y)
        train, validation = _draw(raw.origin, np.arange(len(y)), y, spec.validation_fraction, spec.split_seed)
    else:
        names, y = np.unique(raw.y, return_inverse=True)
        rest, test = _test_rows(raw.origin, y, spec)
        x_test, y_test = x[test], y[test]
        train, validation = _draw(raw.origin, rest, y, spec.validation_fraction, spec.split_seed)
    if len(names) < 2:
        raise InputError(f"{raw.origin}: {len(names)} class in all; a classifier needs two")
    parts = _normalise((x[train], x[validation], x_test), spec.normalise)
    labels: list[Labels] = [part.astype(np.int64) for part in (y[train], y[validation], y_test)]
    return Dataset(spec.name, parts[0], labels[0], parts[1], labels[1], parts[2], labels[2], len(names))


def off_grid(x: Inputs, grid: InputSpec) -> int:
    """How many inputs the fixed-point type of the network's input would round or clip.

    >>> off_grid(np.float32([0, 0.5, 0.75, 8]), InputSpec(bits=4, fraction_bits=1))
    2
    """
    codes = np.ldexp(x.astype(np.float64), grid.fraction_bits)
    low = -(2 ** (grid.bits - 1)) if grid.signed else 0
    return int(((codes != np.rint(codes)) | (codes < low) | (codes >= low + 2**grid.bits)).sum())


def _inputs(origin: str, x: npt.NDArray[Any], y: npt.NDArray[Any], spec: DataSpec) -> Inputs:
    if len(x) == 0 or len(x) != len(y) or y.ndim != 1:
        raise InputError(
            f"{origin}: inputs of shape {x.shape} and labels of shape {y.shape}; need (N, ...) and (N,)"
        )
    if spec.shape:
        if math.prod(spec.shape) != math.prod(x.shape[1:]):
            raise InputError(
                f"key 'data.shape': {list(spec.shape)} does not hold {origin}'s inputs {x.shape[1:]}"
            )
        x = x.reshape(len(x), *spec.shape)
    if not 2 <= x.ndim <= 4:
        raise InputError(f"{origin}: inputs of shape {x.shape}; need (N, F), (N, C, L) or (N, C, H, W)\n"
                         "  cure: set data.shape, e.g. --set 'data.shape=[1, 28, 28]'")  # fmt: skip
    for key, used in (("shift", spec.shift > 0), ("flip", spec.flip)):
        if used and x.ndim != 4:
            raise InputError(
                f"key 'data.{key}' is for images (N, C, H, W); {origin} holds {x.shape}: leave it out"
            )
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise InputError(f"{origin}: row {row} (from 0) holds a value that is not finite: remove or fill it")
    return ((x.astype(np.float64) - spec.subtract) / spec.divide_by).astype(np.float32)


def _test_rows(origin: str, y: Labels, spec: DataSpec) -> tuple[Labels, Labels]:
    if not spec.test_rows:
        return _draw(origin, np.arange(len(y)), y, spec.test_fraction, spec.split_seed)
    if spec.test_rows >= len(y):
        raise InputError(
            f"key 'data.test_rows': {spec.test_rows} of {origin}'s {len(y)} rows leaves none to train"
        )
    return np.arange(len(y) - spec.test_rows), np.arange(len(y) - spec.test_rows, len(y))


def _draw(origin: str, rows: Labels, y: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Rows split in two, the second of this fraction, each class in proportion."""
    from sklearn.model_selection import train_test_split

    try:
        first, second = train_test_split(rows, test_size=fraction, stratify=y[rows], random_state=seed)
    except ValueError as error:
        raise InputError(f"{origin}: cannot be split by class: {error}\n"
                         "  cure: more rows for each class, or other fractions in [data]") from error  # fmt: skip
    return first, second


def _normalise(parts: tuple[Inputs, Inputs, Inputs], how: str) -> list[Inputs]:
    if how == "none":
        return list(parts)
    train = parts[0].astype(np.float64)
    axes = tuple(axis for axis in range(train.ndim) if axis != 1)
    if how == "01":
        low = train.min(axes, keepdims=True)
        span = train.max(axes, keepdims=True) - low
    else:
        low, span = train.mean(axes, keepdims=True), train.std(axes, keepdims=True)
    span = np.where(span > 0, span, 1.0)  # a constant feature becomes zero
    return [((part - low) / span).astype(np.float32) for part in parts]
