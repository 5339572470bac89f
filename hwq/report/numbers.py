"""Numbers as an engineer reads them; a value that is missing is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwq.report.schema import Band

MISSING = "–"
_SPACE = "\u00a0"  # a number and its unit stay on one line


def count(value: float | None) -> str:
    """A whole number with thousands separators.

    >>> count(21834.4), count(None)
    ('21,834', '–')
    """
    return MISSING if value is None or not math.isfinite(value) else f"{round(value):,}"


def plain(value: float | None) -> str:
    """A number without needless digits: 2, 1.58, 10."""
    return MISSING if value is None else f"{value:g}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage with a fixed number of digits."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f}{_SPACE}%"


def share(fraction: float | None) -> str:
    r"""A share of a board: a digit after the point only below 10 %.

    >>> share(0.041), share(0.412)
    ('4.1\xa0%', '41\xa0%')
    """
    return MISSING if fraction is None else percent(fraction, 1 if 0 < fraction < 0.0995 else 0)


def band(value: Band | None) -> str:
    """The ends of a band as whole numbers."""
    return MISSING if value is None else f"{count(value.lo)}–{count(value.hi)}"


def shape(sizes: Sequence[int]) -> str:
    """Sizes joined by ×."""
    return "×".join(str(size) for size in sizes) or "scalar"


def interval(lo: int | None, hi: int | None) -> str:
    """A closed interval, or nothing when an end is unknown."""
    return "" if lo is None or hi is None else f"[{lo}, {hi}]".replace("-", "−")


def duration(seconds: float | None) -> str:
    r"""Seconds, or minutes from two of them on.

    >>> duration(0.25), duration(75.2), duration(600)
    ('0.25\xa0s', '75\xa0s', '10\xa0min')
    """
    if seconds is None:
        return MISSING
    if seconds >= 120:
        return f"{seconds / 60:.0f}{_SPACE}min"
    return f"{seconds:.0f}{_SPACE}s" if seconds >= 10 else f"{seconds:.2g}{_SPACE}s"


def latency(microseconds: float | None) -> str:
    """Microseconds, or milliseconds from 1000 of them on."""
    if microseconds is None:
        return MISSING
    if microseconds >= 1000:
        return f"{microseconds / 1000:.3g}{_SPACE}ms"
    return f"{microseconds:.3g}{_SPACE}µs"


def plural(number: float, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "stage"), plural(1200, "stage")
    ('1 stage', '1,200 stages')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
