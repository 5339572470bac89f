"""The grid of inputs that a file does not quantise, as the user states it: ``--input-type``."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hwq.errors import InputError
from hwq.lowering.thresholds import Quantizer
from hwq.rounding import Rounding

_PATTERN = re.compile(r"(u?)(fixed|int)<\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?>")


@dataclass(frozen=True)
class InputType:
    """``fixed<W,I>`` and its kin, as in ap_fixed: W bits, I of them before the point (sign included)."""

    width: int
    integer_bits: int
    signed: bool

    def quantizer(self) -> Quantizer:
        """Rounding half to even and saturation to the grid."""
        step = np.array([2.0 ** (self.integer_bits - self.width)])
        lo, hi = (
            (-(2 ** (self.width - 1)), 2 ** (self.width - 1) - 1) if self.signed else (0, 2**self.width - 1)
        )
        return Quantizer(step, 0, lo, hi, Rounding.HALF_EVEN)


def parse(text: str) -> InputType:
    """Read an input type.

    >>> parse("fixed<16,6>"), parse("uint<8>")
    (InputType(width=16, integer_bits=6, signed=True), InputType(width=8, integer_bits=8, signed=False))

    Raises:
        InputError: Not such a type.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match:
        unsigned, kind, width, integer_bits = match.groups()
        bits = int(width)
        whole = bits if kind == "int" else int(integer_bits or 0)
        if 1 <= bits <= 32 and -64 <= whole <= 64 and (kind == "fixed") == (integer_bits is not None):
            return InputType(bits, whole, not unsigned)
    raise InputError(
        f"--input-type '{text}': give fixed<W,I>, ufixed<W,I>, int<W> or uint<W> with W from 1 to 32 bits"
    )
