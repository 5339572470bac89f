"""How good a result is: the one scale that words and colours follow."""

from __future__ import annotations

from enum import Enum


class Status(str, Enum):
    """The value is also the name of the CSS class."""

    OK = "ok"
    BAD = "bad"
    UNSURE = "unsure"
    UNKNOWN = "unknown"
    PLAIN = "plain"
