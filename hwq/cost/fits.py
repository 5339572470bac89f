"""Coefficients of the laws: read from ``fits.json``, where each stands with its points and its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from pathlib import Path

import msgspec

from hwq.cost.model import Value

FITS_FILE = Path(__file__).with_name("fits.json")


class Basis(str, Enum):
    """What stands behind a fit."""

    MEASURED = "measured"
    STRUCTURAL = "structural, unmeasured"


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A linear law ``value = sum(coefficient * feature)`` with a band ``value * lo .. value * hi``.

    Attributes:
        coefficients: By the feature's name.
        lo: Factor from the value to the band's lower end.
        hi: Factor from the value to the band's upper end.
        basis: Measured, or derived from the structure of the circuit alone.
        source: Where the law or its numbers come from.
        points: Number of measured designs behind it.
        sources: Number of points by source.
        median_ape: Median absolute percentage error, held out, by source; to quote: their mean.
        method: How the error and the band were found.
        coverage: Share of the points inside the band.
        domain: Range of each quantity over the points.
    """

    coefficients: dict[str, float]
    lo: float
    hi: float
    basis: Basis
    source: str
    points: int = 0
    sources: dict[str, int] = {}
    median_ape: dict[str, float] = {}
    method: str = ""
    coverage: float | None = None
    domain: dict[str, tuple[float, float]] = {}

    def predict(self, features: Mapping[str, float]) -> float:
        """The value alone."""
        return sum(c * features[name] for name, c in self.coefficients.items())

    def value(self, features: Mapping[str, float]) -> Value:
        """The value with its band."""
        value = self.predict(features)
        return Value(value, value * self.lo, value * self.hi)

    def holds(self, **quantities: float) -> bool:
        """Whether every quantity named lies in the range of the points."""
        return all(lo <= quantities[name] <= hi for name, (lo, hi) in self.domain.items())


_in_use: list[Mapping[str, Fit]] = []


def fits() -> Mapping[str, Fit]:
    """All fits by name."""
    return _in_use[-1] if _in_use else _shipped()


@cache
def _shipped() -> dict[str, Fit]:
    return msgspec.json.decode(FITS_FILE.read_bytes(), type=dict[str, Fit])


@contextmanager
def using(found: Mapping[str, Fit]) -> Iterator[None]:
    """Let the laws use other fits than the shipped ones: while these are being made."""
    _in_use.append(found)
    try:
        yield
    finally:
        _in_use.pop()
