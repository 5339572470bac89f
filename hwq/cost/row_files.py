"""Rows of designs from JSON files of others: what a row does not say, or says wrongly, is left out and listed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hwq.cost.row_schema import Row
from hwq.errors import InputError

_MAX_BYTES = 1 << 28
_MAX_IGNORED = 256
"""A row with more unusable fields is no row of a design."""
_NEEDED = "layers"
_LAYER_STEPS = 2
"""From a row to one layer of it."""
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<place>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_KINDS = {
    "qdense": "dense", "fc": "dense", "linear": "dense", "gemm": "dense",
    "qconv1d": "conv1d", "qconv2d": "conv2d", "pointwiseconv1d": "conv1d", "pointwiseconv2d": "conv2d",
    "depthwiseconv1d": "depthwise_conv1d", "depthwiseconv2d": "depthwise_conv2d",
    "maxpooling1d": "pooling1d", "averagepooling1d": "pooling1d",
    "maxpooling2d": "pooling2d", "averagepooling2d": "pooling2d",
    "batchnormalization": "batchnorm", "qbatchnormalization": "batchnorm",
    "zeropadding1d": "pad", "zeropadding2d": "pad", "upsampling2d": "resize",
    "concatenate": "concat", "add": "merge",
}  # fmt: skip
"""Names of the same kinds in Keras and QKeras."""
_ACTIVATIONS = ("relu", "sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "leaky_relu", "prelu")


@dataclass(frozen=True)
class Refused:
    """A row of which nothing can be estimated, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A field that is not as it should be: the row is estimated as if it did not have it."""

    id: str
    field: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a file held."""

    rows: list[Row]
    refused: list[Refused]
    ignored: list[Ignored]


def read(path: Path) -> Reading:
    """Rows of a JSON file: a list of designs with their layers, or an object with such a list as ``rows``.

    Raises:
        InputError: The file cannot be read, or holds no list.
    """
    found = _list(path)
    reading = Reading([], [], [])
    for index, raw in enumerate(found):
        _add(raw, index, reading)
    return reading


def _list(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON list of designs: {error}") from error
    found = found.get("rows", found) if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise InputError(f"{path} is no JSON list of designs: found {type(found).__name__}")
    return found


def _add(raw: Any, index: int, reading: Reading) -> None:
    """One row to what was read."""
    if not isinstance(raw, dict):
        reading.refused.append(Refused(str(index), f"an object was expected, found {type(raw).__name__}"))
        return
    data = _named(raw, index)
    for _ in range(_MAX_IGNORED):
        fault = _fault(data, reading)
        if fault is None:
            return
        what, steps = fault
        name = ".".join(map(str, steps))
        if not steps or (steps[0] == _NEEDED and len(steps) <= _LAYER_STEPS):
            reading.refused.append(Refused(data["id"], f"{name or 'row'}: {what}"))
            return
        _remove(data, steps)
        reading.ignored.append(Ignored(data["id"], name, what))
    reading.refused.append(Refused(data["id"], f"more than {_MAX_IGNORED} unusable fields"))


def _fault(data: dict[str, Any], reading: Reading) -> tuple[str, list[str | int]] | None:
    """What is wrong with a row and where; a row with nothing wrong is added."""
    try:
        row = msgspec.convert(data, Row, strict=False)
    except msgspec.ValidationError as error:
        return _place(str(error))
    reading.rows.append(row)
    return None


def _named(raw: dict[str, Any], index: int) -> dict[str, Any]:
    """A copy with an id, and layers of kinds that hwq names so."""
    data = {k: v for k, v in raw.items() if v is not None} | {"id": str(raw.get("id", index))}
    if isinstance(data.get(_NEEDED), list):
        data[_NEEDED] = [_layer(entry) for entry in data[_NEEDED]]
    return data


def _layer(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    kind = str(entry.get("type") or "unknown").lower()
    if kind in _ACTIVATIONS:
        return {**entry, "type": "activation", "act": entry.get("act") or kind}
    return {**entry, "type": _KINDS.get(kind, kind)}


def _place(message: str) -> tuple[str, list[str | int]]:
    """What msgspec says, and where: keys and indices from the row down.

    >>> _place("Expected `int` >= 1 - at `$.layers[0].rf`")
    ('Expected `int` >= 1', ['layers', 0, 'rf'])
    """
    match = _PLACE.match(message)
    what, place = (match["what"], match["place"] or "") if match else (message, "")
    return what, [int(index) if index else key for key, index in _STEP.findall(place)]


def _remove(data: dict[str, Any], steps: Sequence[str | int]) -> None:
    inner: Any = data
    for step in steps[:-1]:
        inner = inner[step]
    del inner[steps[-1]]
