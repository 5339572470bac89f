"""Data sets of openml.org, by scikit-learn, which keeps what it has fetched."""

from __future__ import annotations

import numpy as np

from hwq.errors import InputError
from hwq.train.data.dataset import Raw
from hwq.train.data_spec import DataSpec


def read_openml(spec: DataSpec) -> Raw:
    """The data set called `data.path` on OpenML, of version `data.version`.

    Raises:
        InputError: OpenML cannot be reached, has no such data set, or it holds features that are not numbers.
    """
    from sklearn.datasets import fetch_openml

    target = "default-target" if spec.label == "last" else spec.label
    named = f"OpenML data set '{spec.path}' version {spec.version}"
    try:
        found = fetch_openml(
            spec.path, version=spec.version, target_column=target, as_frame=False, parser="liac-arff"
        )
    except OSError as error:  # URLError and HTTPError among them
        raise InputError(
            f"{named} cannot be fetched: {error}\n  cure: go online once (scikit-learn keeps the data set), "
            "or get it as a file and use data.name=csv or npz"
        ) from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{named}: {error}") from error
    x, y = np.asarray(found.data), np.asarray(found.target)
    try:
        return Raw(named, x.astype(np.float64), y.astype(str))
    except ValueError as error:
        raise InputError(f"{named}: every feature must be a number: {error}") from error
