"""FINN's matrix-vector unit: its own published estimate, and what a law of its bits needs.

All properties of `Mvau` but `bit_products` restate FINN's formulas (``matrixvectoractivation_hls.py``), accumulators at
the data types' bound. They leave out flip-flops, FIFOs, width converters and window generators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EMBEDDED_WORDS = 128
"""Weight memories no deeper lie in LUTs."""
_MAX_THRESHOLD_BITS = 8
_LUT_BITS = 64
_BRAM18 = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024))
"""Widths up to which FINN counts so deep a block; 36 x 512 beyond."""


@dataclass(frozen=True)
class Mvau:
    """A matrix of `mh` rows and `mw` columns, `pe` rows and `simd` columns of it at once, `vectors` inputs.

    >>> unit = Mvau(mw=64, mh=32, pe=8, simd=16, weight_bits=2, in_bits=2, out_bits=2)
    >>> unit.cycles, unit.lut, unit.bram18, unit.dsp
    (16, 2888, 0, 0)
    """

    mw: int
    mh: int
    pe: int
    simd: int
    weight_bits: int
    in_bits: int
    out_bits: int
    vectors: int = 1
    in_dsp: bool = False

    @property
    def words(self) -> int:
        """Depth of the weight memory: steps of one product."""
        return math.ceil(self.mw * self.mh / (self.pe * self.simd))

    @property
    def cycles(self) -> int:
        """For all vectors."""
        return self.words * self.vectors

    @property
    def dsp(self) -> int:
        """Only where products were put there; two of 4 bits share none."""
        return self.pe * self.simd * math.ceil((self.weight_bits + self.in_bits) / 48) if self.in_dsp else 0

    @property
    def lut(self) -> int:
        """Multipliers, adder trees, accumulators, thresholds of one lane, times the lanes; weights in LUTs."""
        bits = self.weight_bits + self.in_bits
        products = 0 if self.in_dsp else self.simd * (2 * math.ceil(bits / 6) - 1) * bits
        tree = bits * (2 * self.simd - 1)
        alpha = math.log2(self.mw) + bits - 1
        acc = math.ceil(alpha + math.log2(1 + 2**-alpha) + 1)
        steps = 2**self.out_bits - 1 if self.out_bits <= _MAX_THRESHOLD_BITS else 0
        memory = steps * acc * math.ceil(self.mh / self.pe / _LUT_BITS)
        lane = products + tree + acc + steps * acc + memory
        return int(300 + 1.1 * self.pe * lane + self._weight_lut())

    def _weight_lut(self) -> int:
        if self.words > EMBEDDED_WORDS:
            return 0
        return self.pe * self.simd * self.weight_bits * math.ceil(self.words / _LUT_BITS)

    @property
    def bram18(self) -> int:
        """Of the weights."""
        if self.words <= EMBEDDED_WORDS:
            return 0
        width = self.simd * self.weight_bits * self.pe
        for most, depth in _BRAM18:
            if width <= most or (most == _BRAM18[-1][0] and self.words > _BRAM18[-1][1] // 2):
                return math.ceil(self.words / depth) * (1 if most <= 2 else math.ceil(width / most))
        return math.ceil(self.words / 512) * math.ceil(width / 36)

    @property
    def bit_products(self) -> int:
        """Products of a weight's bit and an activation's, at once."""
        return self.pe * self.simd * self.weight_bits * self.in_bits
