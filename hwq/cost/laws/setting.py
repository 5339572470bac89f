"""Where a layer is built, and the helpers that every law shares: timing, stages, DSP tiling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwq.cost.fits import Fit, fits
from hwq.cost.model import ZERO, LayerCost, Stage, Value
from hwq.ir import Node

CLOCK_UNCERTAINTY = 0.27
"""Share of the period that hls4ml's Vitis backend holds back (its default)."""
VIVADO_UNCERTAINTY = 0.125
"""What Vivado HLS holds back by default."""
DSP_PRODUCT_BITS = 76
"""Products of fewer bits (input bits x weight bits) go to LUTs: 72 does, 80 does not (law L1, width rule)."""


@dataclass(frozen=True)
class Setting:
    """Where a layer is built.

    Attributes:
        stream: Pixel by pixel through FIFOs, else whole tensors as wires.
        resource: hls4ml's Resource strategy, else Latency or distributed arithmetic.
        reuse: Reuse factor of this layer.
        clock_ns: Target period.
        t_add_ns: Delay of an adder with its wiring.
        t_mul_ns: Delay of a DSP multiplication.
        series7: 7-series fabric, else UltraScale+.
        stage: Whose numbers are asked for.
        distributed: Distributed arithmetic.
        uncertainty: Share of the period that the HLS tool holds back.
        vitis: Vitis HLS, else Vivado HLS.
    """

    stream: bool
    resource: bool
    reuse: int
    clock_ns: float
    t_add_ns: float
    t_mul_ns: float
    series7: bool
    stage: Stage
    distributed: bool = False
    uncertainty: float = CLOCK_UNCERTAINTY
    vitis: bool = True

    @property
    def usable_ns(self) -> float:
        """What of the period the HLS scheduler fills."""
        return self.clock_ns * (1 - self.uncertainty)

    @property
    def synthesised(self) -> bool:
        """Whether logic synthesis has simplified the circuit at this stage."""
        return self.stage is not Stage.CSYNTH

    def chained(self, delay_ns: float) -> int:
        """Pipeline stages of element-wise logic, which the scheduler chains to what stands before it."""
        return math.floor(delay_ns / self.usable_ns)

    def cycles(self, delay_ns: float) -> int:
        """Pipeline stages that a combinational delay is cut into (law L8).

        Rounded down on UltraScale+, up and one more on 7-series.
        """
        ratio = delay_ns / self.usable_ns
        return math.ceil(ratio) + 1 if self.series7 else math.floor(ratio)


def staged(value: Value, resource: str, setting: Setting, *, shared: bool = False) -> Value:
    """A csynth value at the asked stage, by the ratios of whole designs that were also synthesised.

    Args:
        value: What the HLS tool would report.
        resource: ``lut``, ``ff``, ``dsp`` or ``bram18``.
        setting: Stage and strategy.
        shared: Logic of the Resource strategy (shared multipliers), else unrolled logic.
    """
    if not setting.synthesised:
        return value
    ratio = fits()[f"stage/{'resource' if shared else 'latency'}/{resource}"]
    middle = ratio.coefficients["ratio"]
    scaled = value.scaled(middle, middle * ratio.lo, middle * ratio.hi)
    return routed(scaled, setting)


def routed(value: Value, setting: Setting) -> Value:
    """A post-synthesis value at the asked stage."""
    if setting.stage is not Stage.POST_ROUTE or value.hi == value.lo:
        return value
    fit = fits()["stage/post_route"]
    return value.scaled(1, fit.lo, fit.hi)


def judged(name: str, **features: float) -> Value:
    """The value of a law by its name in ``fits.json``."""
    return fits()[name].value(features)


def banded(
    fit: Fit, features: dict[str, float], *, outside: bool, judgement: str = "outside_calibration"
) -> Value:
    """A fit's value; outside its calibration the band is wider by a stated judgement."""
    wide = fits()[judgement]
    value = fit.value(features)
    return value.scaled(1, wide.lo, wide.hi) if outside else value


def dsp_blocks(a_bits: int, b_bits: int) -> int:
    """DSP blocks of one product, both operands variable (or a constant that is no shift-and-add).

    Source: 10,112 multipliers of HLS reports (estimation law sheet 11): 16x13 -> 1, 32x6 -> 2, 33x32 -> 4.

    >>> [dsp_blocks(*p) for p in ((8, 8), (16, 4), (16, 5), (32, 6), (33, 32))]
    [0, 0, 1, 2, 4]
    """
    if a_bits * b_bits < DSP_PRODUCT_BITS:
        return 0
    wide, narrow = max(a_bits, b_bits), min(a_bits, b_bits)
    if narrow <= 18:
        return math.ceil(wide / 25)
    return math.ceil(wide / 24) * math.ceil(narrow / 17)


def built(
    node: Node,
    path: str,
    *,
    lut: Value = ZERO,
    ff: Value = ZERO,
    dsp: Value = ZERO,
    bram18: Value = ZERO,
    latency_cycles: int = 0,
    ii_cycles: int = 1,
    fill_cycles: int = 0,
    outside: bool = False,
) -> LayerCost:
    """The record of one node; UltraRAM is never used (it cannot hold weights from the start)."""
    return LayerCost(
        node.name, node.op, path, lut, ff, dsp, bram18, ZERO, latency_cycles, ii_cycles, outside, fill_cycles
    )
