"""What a folded design must reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwq.errors import InputError
from hwq.folding.selection import Limits

_ENOUGH = 2**48
"""Cycles: days at any clock; more is no limit."""


@dataclass(frozen=True)
class Target:
    """Inferences per second, or microseconds of latency; neither: as fast as fits the board."""

    fps: float | None = None
    latency_us: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.latency_us is not None:
            raise InputError("--target-fps and --target-latency-us: give one of them")
        for option, value in (("--target-fps", self.fps), ("--target-latency-us", self.latency_us)):
            if value is not None and not 1e-9 <= value <= 1e15:
                raise InputError(f"{option} {value:g}: give a number from 1e-9 to 1e15")

    def limits(self, clock_ns: float) -> Limits:
        """In whole cycles of a clock: the most whose rate or time, as an estimate gives it, meets the target.

        >>> Target(fps=1e9 / 36 / 10).limits(10.0).ii, Target(latency_us=1.2).limits(10.0).latency
        (36, 120)
        """
        fps, latency_us = self.fps, self.latency_us
        if fps is not None:
            return Limits(ii=_most(1e9 / (fps * clock_ns), lambda n: 1e9 / (n * clock_ns) >= fps))
        if latency_us is not None:
            near = 1000 * latency_us / clock_ns
            return Limits(latency=_most(near, lambda n: n * clock_ns / 1000 <= latency_us))
        return Limits()

    def __str__(self) -> str:
        """As typed."""
        if self.fps is not None:
            return f"--target-fps {self.fps:g}"
        return f"--target-latency-us {self.latency_us:g}" if self.latency_us is not None else "fastest"


def _most(near: float, meets: Callable[[int], bool]) -> int:
    """The largest number of cycles that meets a target, which the rounding of floats puts near `near`."""
    start = int(min(near, _ENOUGH))
    return max((n for n in range(max(1, start - 1), start + 3) if meets(n)), default=0)
