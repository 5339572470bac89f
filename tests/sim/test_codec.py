"""The host's fast conversions against exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from hwq.ir import InputQuantizer
from hwq.rounding import Rounding
from hwq.sim import codec, ports

SPECIAL = np.array([0, -0.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38], dtype=np.float32)


def quantizer(rng: np.random.Generator) -> InputQuantizer:
    def number() -> float:
        return float(np.float32(rng.random() + 0.01) * np.float32(2.0) ** int(rng.integers(-8, 3)))

    bits = int(rng.integers(1, 9))
    lo, hi = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if rng.integers(2) else (0, 2**bits - 1)
    scale, step = (np.array([number() if rng.integers(2) else 0.5]) for _ in range(2))
    offset = np.array([number() - number() if rng.integers(2) else 0.0])
    zero, mode = int(rng.integers(lo, hi + 1)) * int(rng.integers(2)), list(Rounding)[rng.integers(7)]
    return InputQuantizer(scale, offset, step, zero, lo, hi, mode, bipolar=bool(rng.integers(8) == 0))


def near_boundaries(
    q: InputQuantizer, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    steps = (np.arange(q.lo - 2, q.hi + 3)[:, None] + np.array([0, 0.5])).ravel() - q.zero
    x = ((steps * q.step[0] - q.offset[0]) / q.scale[0]).astype(np.float32)
    around = [np.nextafter(x, np.float32(end)) for end in (-np.inf, np.inf)]
    return np.concatenate([x, *around, SPECIAL, rng.normal(size=20).astype(np.float32)])


@pytest.mark.parametrize("block", range(8))
def test_encoders_are_exact_at_every_boundary(block: int) -> None:
    fast = 0
    for seed in range(40 * block, 40 * (block + 1)):
        rng = np.random.default_rng(seed)
        q = quantizer(rng)
        encode = codec._encoder(q, np.int16)
        if encode is None:
            continue
        fast += 1
        x = near_boundaries(q, rng)
        expected = [ports.exact_code(q, float(v), 0) - q.zero for v in x]
        assert encode(x).tolist() == expected
    assert fast > 25


def test_grids_with_many_levels_are_left_to_the_general_way() -> None:
    one = np.array([1.0])
    q = InputQuantizer(one, np.array([0.0]), one, 0, -(2**31), 2**31 - 1, Rounding.HALF_EVEN)
    assert codec._encoder(q, np.int32) is None
