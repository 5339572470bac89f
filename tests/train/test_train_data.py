"""The digits: exact grid, disjoint parts, and a split that the training seed cannot move."""

from __future__ import annotations

import numpy as np
import pytest

from hwq.errors import InputError
from hwq.train.data import load


def test_digits_are_sixteenths_in_nchw() -> None:
    data = load("digits")
    assert data.input_shape == (1, 8, 8)
    assert (data.x_train.dtype.name, data.y_train.dtype.name, data.classes) == ("float32", "int64", 10)
    assert np.array_equal(np.unique(data.x_train * 16), np.arange(17))


def test_the_parts_are_disjoint_stratified_and_complete() -> None:
    data = load("digits")
    labels = (data.y_train, data.y_validation, data.y_test)
    assert [len(y) for y in labels] == [1257, 180, 360]
    for y in labels:
        assert np.bincount(y, minlength=10).min() >= len(y) * 0.09
    rows = np.concatenate([data.x_train, data.x_validation, data.x_test]).reshape(1797, 64)
    assert len(np.unique(rows, axis=0)) == 1797


def test_the_split_repeats_for_a_seed_and_differs_between_seeds() -> None:
    assert np.array_equal(load("digits", 0).x_test, load("digits", 0).x_test)
    assert not np.array_equal(load("digits", 0).x_test, load("digits", 1).x_test)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no data set is called 'digit'; did you mean 'digits'"):
        load("digit")
