"""Energy and power, as far as measurements go: a board's energy where its power was measured, ranges elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_BOARD_W = {"pynq-z2": (1.60, 1.76), "arty-a7-100t": (1.62, 3.02)}
"""Least and most average power of a whole board over four networks each, 17 us to 33 ms an inference.

Source: MLCommons, MLPerf Tiny v0.7, open division (mlcommons/tiny_results_v0.7 64623f4); power derived from the
published energy and rate, not verified by MLCommons.
"""
_LUT_PJ = (0.01, 0.28)
"""A used LUT with its wires, a cycle: vectorless reports by Vivado of two designs of hls4ml, default toggle rates."""
_DSP_PJ = 7.0


@dataclass(frozen=True)
class Energy:
    """What can be said.

    Attributes:
        board_uj: Least and most energy of the whole board an inference, in microjoules; None where no power of the
            board was measured.
        logic_w: Range of the dynamic power of the design's LUTs and DSP blocks alone, in watts: not the chip's.
    """

    board_uj: tuple[float, float] | None
    logic_w: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        board = None if self.board_uj is None else {"lo": self.board_uj[0], "hi": self.board_uj[1]}
        return {"board_uj_per_inference": board, "logic_w": {"lo": self.logic_w[0], "hi": self.logic_w[1]}}

    def text(self) -> str:
        """One line."""
        logic = f"dynamic power of the logic {self.logic_w[0]:.2g} to {self.logic_w[1]:.2g} W (range, not measured)"
        if self.board_uj is None:
            return f"board energy unknown: no power of this board was measured; {logic}"
        lo, hi = self.board_uj
        return f"{lo:.3g} to {hi:.3g} uJ an inference for the whole board (power measured on other networks); {logic}"


def energy(board: str, ii_cycles: int, clock_ns: float, luts: tuple[float, float], dsp: float) -> Energy:
    """Of a design that never waits for inputs.

    Args:
        board: Its name.
        ii_cycles: Cycles between inferences.
        clock_ns: Period.
        luts: Least and most LUTs.
        dsp: DSP blocks.

    >>> [round(uj, 1) for uj in energy("pynq-z2", 1000, 10, (0, 0), 0).board_uj or ()]
    [16.0, 17.6]
    """
    seconds = ii_cycles * clock_ns * 1e-9
    known = _BOARD_W.get(board)
    board_uj = None if known is None else (known[0] * seconds * 1e6, known[1] * seconds * 1e6)
    lo, hi = ((n * pj + dsp * _DSP_PJ) * 1e-3 / clock_ns for n, pj in zip(luts, _LUT_PJ, strict=True))
    return Energy(board_uj, (lo, hi))
