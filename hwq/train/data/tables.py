"""Tables of text: one row a line, features and a label."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hwq.errors import InputError
from hwq.train.data.dataset import Raw
from hwq.train.data_spec import DataSpec

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def read_csv(spec: DataSpec) -> Raw:
    """Numbers (N, F) and labels (N,) as texts; whole numbers among the labels sort as numbers.

    Raises:
        InputError: A row of another length or a field that is not a number; the message has its line.
    """
    path = Path(spec.path)
    lines = _lines(path, spec.delimiter)
    names = lines.pop(0)[1] if spec.header and lines else []
    if not lines:
        raise InputError(f"{path} has no rows")
    width = len(lines[0][1])
    column = _column(spec, names, width)
    features = np.empty((len(lines), width - 1))
    labels = []
    for row, (number, fields) in enumerate(lines):
        if len(fields) != width:
            raise InputError(f"{path}, line {number}: {len(fields)} columns, the first row has {width}")
        labels.append(fields[column].strip())
        try:
            features[row] = [float(field) for field in fields[:column] + fields[column + 1 :]]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}\n  cure: {_cure(spec)}") from error
    try:
        return Raw(str(path), features, np.array([int(label) for label in labels]))
    except ValueError:
        return Raw(str(path), features, np.array(labels))


def _lines(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """The fields of every line that is not blank, with the line's number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if delimiter == "space":
            rows = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1)]
        else:
            reader = csv.reader(text.splitlines(), delimiter=_DELIMITERS[delimiter])
            rows = [(reader.line_num, fields) for fields in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table of text: {error}") from error
    return [(number, fields) for number, fields in rows if fields]


def _column(spec: DataSpec, names: list[str], width: int) -> int:
    if width < 2:
        raise InputError(f'{spec.path}: one column only: set data.delimiter (now "{spec.delimiter}")')
    if spec.label in {"first", "last"}:
        return 0 if spec.label == "first" else width - 1
    known = [name.strip() for name in names]
    if spec.label not in known:
        raise InputError(f"key 'data.label': {spec.path} has no column '{spec.label}'; known: first, last"
                         + "".join(f", {name}" for name in known)
                         + ("" if spec.header else "; names need data.header=true"))  # fmt: skip
    return known.index(spec.label)


def _cure(spec: DataSpec) -> str:
    if not spec.header:
        return f'set data.header=true where the first line names columns; the label is "{spec.label}" (data.label)'
    return f'every column but the label ("{spec.label}", data.label) must hold numbers'
