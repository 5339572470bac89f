"""One network on every board: where it fits, how fast it is, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hwq import cost
from hwq.boards import Board
from hwq.errors import CheckFailed
from hwq.hardware import HardwareConfig
from hwq.ir import Graph

_ORDER = {"yes": 0, "uncertain": 1, "no": 2}


@dataclass(frozen=True)
class Ranked:
    """A board; without an estimate, why there is none."""

    board: Board
    estimate: cost.Estimate | None
    reason: str = ""

    @property
    def fits(self) -> str:
        """``yes``, ``uncertain`` or ``no``."""
        return self.estimate.fits.value if self.estimate else "no"

    def to_json(self) -> dict[str, Any]:
        """For machines; utilisations are fractions."""
        content: dict[str, Any] = {"board": self.board.name, "part": self.board.part, "fits": self.fits}
        if self.estimate is None:
            return content | {"reason": self.reason}
        e = self.estimate.to_json()
        keys = ("clock_ns", "latency_us", "inferences_per_second", "utilisation", "bottleneck")
        return content | {k: e[k] for k in keys}


def rank(
    graph: Graph,
    boards: Iterable[Board],
    configure: Callable[[Graph, Board], HardwareConfig],
    stage: cost.Stage = cost.Stage.POST_SYNTH,
) -> list[Ranked]:
    """Boards that fit first, then the fastest, then those with the most room left.

    Args:
        graph: The network.
        boards: To rank.
        configure: The hardware for a board; where it raises `CheckFailed` (no folding reaches the target or fits),
            the board is listed with the reason.
        stage: Whose numbers decide.
    """
    ranked = [_ranked(graph, board, configure, stage) for board in boards]
    return sorted(ranked, key=_key)


def _ranked(
    graph: Graph, board: Board, configure: Callable[[Graph, Board], HardwareConfig], stage: cost.Stage
) -> Ranked:
    try:
        config = configure(graph, board)
    except CheckFailed as error:
        return Ranked(board, None, str(error).splitlines()[0])
    return Ranked(board, cost.estimate(graph, config, stage))


def _key(ranked: Ranked) -> tuple[float, ...]:
    if ranked.estimate is None:
        return (3.0,)
    content = ranked.estimate.to_json()
    fullest = max(share["value"] for share in content["utilisation"].values())
    return (_ORDER[ranked.fits], -content["inferences_per_second"], fullest)
