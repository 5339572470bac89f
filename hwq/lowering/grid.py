"""The grid of inputs that a file does not quantise, as the user states it: ``--input-type``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hwq.errors import InputError
from hwq.exact import Surd, exact_array, simplest
from hwq.lowering.thresholds import Quantizer
from hwq.rounding import Rounding

_PATTERN = re.compile(
    r"(?P<unsigned>u?)(?P<kind>fixed|int)(?:<\s*(?P<width>\d{1,3})\s*(?:,\s*(?P<whole>-?\d{1,3})\s*)?>|(?P<plain>\d{1,3}))"
    r"(?:\s*\*\s*(?P<scale>\d{1,20}(?:\.\d{1,20})?(?:[eE]-?\d{1,2})?)(?:\s*/\s*(?P<over>\d{1,20}))?)?"
)


@dataclass(frozen=True)
class InputType:
    """``fixed<W,I>`` and its kin, as in ap_fixed: W bits, I of them before the point (sign included); times `scale`."""

    width: int
    integer_bits: int
    signed: bool
    scale: Fraction = Fraction(1)

    def quantizer(self) -> Quantizer:
        """Rounding half to even and saturation to the grid."""
        step = self.scale * Fraction(2) ** (self.integer_bits - self.width)
        lo, hi = (
            (-(2 ** (self.width - 1)), 2 ** (self.width - 1) - 1) if self.signed else (0, 2**self.width - 1)
        )
        return Quantizer(simplest(exact_array([Surd(step)])), 0, lo, hi, Rounding.HALF_EVEN)


def parse(text: str) -> InputType:
    """Read an input type; a scale may follow.

    >>> parse("fixed<16,6>").quantizer().step, parse("uint<8>").width, parse("uint8 * 1/255").scale
    (array([0.00097656]), 8, Fraction(1, 255))

    Raises:
        InputError: Not such a type.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match:
        bits = int(match["width"] or match["plain"])
        whole = bits if match["kind"] == "int" else int(match["whole"] or 0)
        scale = Fraction(match["scale"] or 1) / max(int(match["over"] or 1), 1)
        fits = 1 <= bits <= 32 and -64 <= whole <= 64 and 0 < scale < 2**32
        if fits and (match["kind"] == "fixed") == (match["whole"] is not None) and match["over"] != "0":
            return InputType(bits, whole, not match["unsigned"], scale)
    raise InputError(
        f"--input-type '{text}': give fixed<W,I>, ufixed<W,I>, int<W> or uint<W> with W from 1 to 32 bits, "
        "and after it, if need be, a scale: uint<8>*1/255"
    )
