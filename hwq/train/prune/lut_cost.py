"""What each single weight costs in LUTs, by the cost laws of unrolled products (law L3 of `hwq.cost.laws.product`).

An adder for every weight that is not zero; a shift-and-add network or a multiplier for every distinct
constant on an input, whose cost the weights that share it share equally (Shapley's value of that game).
So the costs of all weights add up to the law's own value for the layer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwq.cost.fits import fits
from hwq.cost.laws.product import latency_lut_features
from hwq.cost.laws.weights import WeightStatistics, count, csd_digits
from hwq.rounding import IntArray

Luts = npt.NDArray[np.float64]


def lut_cost(matrix: IntArray, in_bits: int, acc_bits: int, dsp: int = 0) -> Luts:
    """LUTs (csynth) of every weight of an (n_in, n_out) matrix of integers.

    >>> cost = lut_cost(np.array([[0, 1, 3, 3]]), in_bits=4, acc_bits=8)
    >>> bool(cost[0, 0] == 0 < cost[0, 1] < cost[0, 2] == cost[0, 3])   # 3 = 2 + 1: one network for both
    True
    """
    digits, shared = csd_digits(matrix), _sharing(matrix)
    live = (matrix != 0).astype(np.float64)
    u2, u3 = (digits >= 2) / shared, (digits >= 3) / shared
    adders, two, three = _law(in_bits, acc_bits, dsp, _totals(matrix))
    cost: Luts = live * adders + (u2 - u3) * two + u3 * three
    return cost


def accumulator_bits(matrix: IntArray, in_bits: int) -> int:
    """Width of the largest sum, for unsigned inputs of `in_bits`.

    >>> accumulator_bits(np.array([[3], [-1]]), 2)     # -3 .. 9
    5
    """
    top = 2**in_bits - 1
    low: int = int(np.minimum(matrix, 0).sum(axis=0).min(initial=0)) * top
    high: int = int(np.maximum(matrix, 0).sum(axis=0).max(initial=0)) * top
    return max((-low - 1).bit_length() if low else 0, high.bit_length()) + 1


def _totals(matrix: IntArray) -> WeightStatistics:
    return count(matrix)


def _law(in_bits: int, acc_bits: int, dsp: int, w: WeightStatistics) -> tuple[float, float, float]:
    """LUTs of one non-zero weight, of one constant with two digits, and of one with more."""
    fit = fits()["dense/latency/lut"]

    def value(nz: int = 0, u2: int = 0, u3: int = 0, blocks: int = 0) -> float:
        one = WeightStatistics(w.n_in, w.n_out, w.bits, nz, u2, u3)
        return fit.predict(latency_lut_features(one, in_bits, acc_bits, blocks))

    in_dsp = value(u2=1, u3=1, blocks=1)
    in_lut = value(u2=1, u3=1)
    share = dsp / w.u3 if w.u3 else 0.0
    return value(nz=1), value(u2=1), share * in_dsp + (1 - share) * in_lut


def _sharing(matrix: IntArray) -> Luts:
    """How many weights of its row are the same constant, sign included, as each weight."""
    shared = np.empty(matrix.shape)
    for row, values in enumerate(matrix):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        shared[row] = counts[inverse]
    return shared
