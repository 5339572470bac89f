"""What a folded design must reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from hwq.errors import InputError
from hwq.folding.selection import Limits


@dataclass(frozen=True)
class Target:
    """Inferences per second, or microseconds of latency; neither: as fast as fits the board."""

    fps: float | None = None
    latency_us: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.latency_us is not None:
            raise InputError("--target-fps and --target-latency-us: give one of them")
        for option, value in (("--target-fps", self.fps), ("--target-latency-us", self.latency_us)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{option} {value:g}: give a number above 0")

    def limits(self, clock_ns: float) -> Limits:
        """In whole cycles of a clock.

        >>> Target(fps=1e6).limits(3.0).ii, Target(latency_us=1.2).limits(10.0).latency
        (333, 120)
        """
        period = Fraction(str(clock_ns))
        if self.fps is not None:
            return Limits(ii=math.floor(10**9 / (Fraction(str(self.fps)) * period)))
        if self.latency_us is not None:
            return Limits(latency=math.floor(1000 * Fraction(str(self.latency_us)) / period))
        return Limits()

    def __str__(self) -> str:
        """As typed."""
        if self.fps is not None:
            return f"--target-fps {self.fps:g}"
        return f"--target-latency-us {self.latency_us:g}" if self.latency_us is not None else "fastest"
