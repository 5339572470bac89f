"""Memories: the cheapest tiling of block RAMs, LUTs as ROM."""

from __future__ import annotations

import math
from functools import lru_cache

BRAM18_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Width and depth of an 18 Kb block RAM."""
ROM_BITS = 1024
"""Memories below this size become LUTs: fitted to the 871 Resource layers, with `weight_bram18`."""
_LUT_WORDS = 64


def tiles_bram18(words: int, bits: int) -> int:
    """The fewest 18 Kb blocks of one shape that hold so many words.

    >>> tiles_bram18(512, 36), tiles_bram18(513, 36), tiles_bram18(4096, 8)
    (1, 2, 2)
    """
    return min(math.ceil(bits / width) * math.ceil(words / depth) for width, depth in BRAM18_SHAPES)


def rom_luts(words: int, bits: int) -> int:
    """LUTs that hold a ROM: one of 6 inputs holds 64 words of a bit (UG474, UG574), without their multiplexers.

    >>> rom_luts(64, 8), rom_luts(100, 8), rom_luts(0, 8)
    (8, 16, 0)
    """
    return bits * math.ceil(words / _LUT_WORDS)


@lru_cache(maxsize=4096)
def weight_memory(words: int, bits: int) -> tuple[int, int]:
    """(BRAM18, LUTs) of weights that are read one word a cycle.

    UltraRAM is never used: on UltraScale+ it has no content from the start.

    >>> weight_memory(512, 4), weight_memory(100, 8)
    ((1, 0), (0, 16))
    """
    if words * bits >= ROM_BITS:
        return tiles_bram18(words, bits), 0
    return 0, rom_luts(words, bits)
