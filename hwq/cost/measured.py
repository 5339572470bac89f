"""The measured points and designs that hwq ships, without the sources that are left out for the moment."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

from hwq.cost.row_schema import Row as Design

POINTS = Path(__file__).with_name("points")
Row = Mapping[str, str]
FILES = ("dense_latency", "dense_resource", "conv", "max_pool", "synthesis_pairs")

_left_out: list[str] = []


@contextmanager
def leaving_out(source: str) -> Iterator[None]:
    """Calibrate without the points and the designs of a source; may be nested."""
    _left_out.append(source)
    try:
        yield
    finally:
        _left_out.pop()


@contextmanager
def leaving_exactly(sources: frozenset[str]) -> Iterator[None]:
    """Calibrate without these sources, whatever else is left out for the moment."""
    before = _left_out.copy()
    _left_out[:] = sorted(sources)
    try:
        yield
    finally:
        _left_out[:] = before


def left_out() -> frozenset[str]:
    """Sources without which is calibrated."""
    return frozenset(_left_out)


@cache
def _points(name: str) -> tuple[Row, ...]:
    with (POINTS / f"{name}.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


def points(name: str) -> list[Row]:
    """Rows of one file of measured layers."""
    return [row for row in _points(name) if row["source"] not in _left_out]


@cache
def point_sources() -> frozenset[str]:
    """All sources of the files of layers."""
    return frozenset(row["source"] for name in FILES for row in _points(name))


@cache
def _designs() -> tuple[Design, ...]:
    return msgspec.json.decode((POINTS / "designs.json").read_bytes(), type=tuple[Design, ...])


def designs() -> list[Design]:
    """The measured designs with their layers."""
    return [row for row in _designs() if row.source not in _left_out]


def integer(row: Row, *keys: str) -> tuple[int, ...]:
    """Columns as integers."""
    return tuple(int(float(row[k])) for k in keys)
