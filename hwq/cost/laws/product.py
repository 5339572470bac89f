"""A matrix product at one position: what dense and convolution layers share (laws L1 to L5).

The functions that make features are also what `hwq.cost.calibrate` fits to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwq.cost.fits import fits
from hwq.cost.laws.memory import ROM_BITS, weight_memory
from hwq.cost.laws.setting import (
    DSP_PRODUCT_BITS,
    Setting,
    banded,
    dsp_blocks,
    judged,
    routed,
    staged,
)
from hwq.cost.laws.weights import WeightStatistics
from hwq.cost.model import ZERO, Value


@dataclass(frozen=True)
class Product:
    """Cost of one matrix product and its schedule."""

    path: str
    lut: Value
    ff: Value
    dsp: Value
    bram18: Value
    latency_cycles: int
    ii_cycles: int
    outside: bool


_WIDE_BLOCKS = 4
_VITIS_ADDER = 1.1
"""LUTs of an adder in Vitis HLS over Vivado HLS: reports say 1.35 a bit in 2022.2 and 1.04 to 1.13 in 2019.2; not all
of that reaches a layer's total: of 1, 1.1 and 1.2 this is nearest on layers of left-out sources.
"""
_II_FILL = 3
"""Cycles beyond the constants a multiplier: -3 to 13 on 30 layers of expected weights, 2 on a design of known ones."""
_HELD_CYCLES = 10.0
"""Products wait for the last one: on a folded MLP half of them are held at II 8, nearly all at 32 and beyond."""


def block_factor(n: int, reuse: int) -> int:
    """Multipliers that work at the same time."""
    return math.ceil(n / reuse)


# --- Latency: unrolled logic, weights as constants ------------------------------------------------


def multiplier_limit(w: WeightStatistics, reuse: int) -> int:
    """Multipliers that hls4ml allows a folded product; DSP blocks or LUTs."""
    return max(0, block_factor(w.n, reuse) - (w.n - w.nz) // reuse)


def latency_dsp(w: WeightStatistics, in_bits: int, reuse: int) -> int:
    """Law L1: ``min(u3, ceil(n/RF) - floor(n_zeros/RF))``, 0 where products are narrow.

    Constants of <= 2 signed digits are shift-and-add; equal constants on one input are shared.
    """
    if in_bits * w.bits < DSP_PRODUCT_BITS:
        return 0
    return min(w.u3, multiplier_limit(w, reuse)) * dsp_blocks(in_bits, w.bits)


def turns(w: WeightStatistics, reuse: int) -> int:
    """Constants that take turns on one multiplier; 0 where each has its own, or none is needed."""
    limit = max(1, multiplier_limit(w, reuse))
    return math.ceil(w.u3 / limit) if w.u3 > limit else 0


def latency_schedule(w: WeightStatistics, pipeline: int, reuse: int) -> tuple[int, int]:
    """Law L2: (latency, II) in cycles of a product whose unfolded pipeline has so many stages.

    Shared multipliers work for as many cycles as constants take turns, and some that fill them. Without sharing the
    tool only schedules a function that is not pipelined: a stage more, and a start when it is done (54 folded layers).

    >>> narrow = WeightStatistics(32, 64, 4, 1600, 32, 0)
    >>> latency_schedule(narrow, 1, 512), latency_schedule(narrow, 0, 512), latency_schedule(narrow, 1, 1)
    ((2, 3), (0, 1), (1, 1))
    """
    if reuse == 1:
        return pipeline, 1
    waits = turns(w, reuse)
    if not waits:
        latency = pipeline + 1 if pipeline else 0
        return latency, min(reuse, latency + 1)
    ii = min(reuse, waits + _II_FILL)
    return max(pipeline, 1) + ii - 1, ii


def latency_lut_features(
    w: WeightStatistics, in_bits: int, acc_bits: int, dsp: int, reuse: int = 1, *, vitis: bool = False
) -> dict[str, float]:
    """Law L3: adders of the sums, shift-and-add constants, glue of the DSPs, constants that got none.

    With reuse the constants beyond the limit take turns on the DSPs that there are. Adders are larger in Vitis HLS.
    """
    return {
        "adder_bits": w.nz * acc_bits * (_VITIS_ADDER if vitis else 1.0),
        "shift_add_bits": (w.u2 - w.u3) * in_bits,
        "dsp": dsp,
        "lut_product_bits": max(0, w.u3 - dsp) * in_bits if reuse == 1 or not dsp else 0,
    }


def tree_bits(w: WeightStatistics, in_bits: int, acc_bits: int) -> float:
    """Bits of all adders if every level of the trees were only as wide as its sums.

    >>> tree_bits(WeightStatistics(4, 1, 2, 4, 0, 0), 2, 8)   # two adders of 4 bits, one of 5
    13.0
    """
    terms, width, bits = w.nz / w.n_out, in_bits + w.bits - 1, 0.0
    while terms > 1:
        width += 1
        bits += terms / 2 * min(width, acc_bits)
        terms /= 2
    return bits * w.n_out


def terms(w: WeightStatistics, *, dsp: bool) -> int:
    """Summands of all outputs: products of DSP blocks, or the digits of constants."""
    return w.nz if dsp else max(w.nz, w.csd_adders + w.n_out)


def live_bits(w: WeightStatistics, acc_bits: int, cycles: int, setting: Setting, *, dsp: bool) -> float:
    """Bits that cross the cuts between pipeline stages: the sums that are left at each."""
    bits, floor, first = 0.0, float(w.n_out), terms(w, dsp=dsp)
    for cut in range(1, cycles + 1):
        levels = max(0.0, cut * setting.usable_ns - (setting.t_mul_ns if dsp else 0.0)) / setting.t_add_ns
        bits += max(floor, first * 2.0 ** -min(levels, 60.0)) * acc_bits
    return bits


def held_share(ii: int) -> float:
    """Share of a folded product's results that wait in registers until the last one is there.

    >>> round(held_share(2), 3), round(held_share(8), 3), round(held_share(64), 3)
    (0.095, 0.503, 0.998)
    """
    return -math.expm1(-(ii - 1) / _HELD_CYCLES)


def latency_delay_ns(w: WeightStatistics, setting: Setting, *, dsp: bool) -> float:
    """A multiplication in a DSP, else the digits of the constants; and the levels of the adder tree (law L8)."""
    levels = math.log2(max(1.0, terms(w, dsp=dsp) / w.n_out))
    return (setting.t_mul_ns if dsp else 0.0) + levels * setting.t_add_ns


def latency_product(w: WeightStatistics, in_bits: int, acc_bits: int, setting: Setting) -> Product:
    """A product of the Latency strategy."""
    fit, ff_fit = fits()["dense/latency/lut"], fits()["dense/latency/ff"]
    dsp = latency_dsp(w, in_bits, setting.reuse)
    outside = setting.reuse > 1 or not fit.holds(
        n_in=w.n_in, n_out=w.n_out, in_bits=in_bits, acc_bits=acc_bits
    )
    features = latency_lut_features(w, in_bits, acc_bits, dsp, setting.reuse, vitis=setting.vitis)
    judgement = "outside_calibration" if w.u2 else "adders_only"
    lut = banded(fit, features, outside=outside, judgement=judgement)
    narrow = fit.coefficients["adder_bits"] * tree_bits(w, in_bits, acc_bits) * fit.lo
    lut = lut.spanning(min(narrow, lut.lo), lut.hi)
    pipeline = setting.cycles(latency_delay_ns(w, setting, dsp=dsp > 0))
    cycles, ii = latency_schedule(w, pipeline, setting.reuse)
    held = held_share(ii) if turns(w, setting.reuse) else 0.0
    stages = pipeline if held else cycles
    bits = {"live_bits": (1 - held) * live_bits(w, acc_bits, stages, setting, dsp=dsp > 0)}
    ff = banded(ff_fit, bits, outside=outside)
    if held:
        ff += fits()["dense/latency/held_ff"].value({"held_bits": held * w.nz * acc_bits})
    ff = ff.spanning(0, w.n_out * acc_bits)
    return Product(
        path="latency",
        lut=staged(lut, "lut", setting),
        ff=staged(ff, "ff", setting),
        dsp=_dsp_value(dsp, setting),
        bram18=ZERO,
        latency_cycles=cycles,
        ii_cycles=ii,
        outside=outside,
    )


def _dsp_value(dsp: int, setting: Setting) -> Value:
    """The law is exact at reuse 1; with an allocation limit the tool may stop short of it."""
    value = Value.exact(dsp) if setting.reuse == 1 else judged("dense/latency/dsp_limited", dsp=dsp)
    return staged(value, "dsp", setting)


# --- Distributed arithmetic: one adder graph for all outputs -------------------------------------


def distributed_lut_features(w: WeightStatistics, in_bits: int, acc_bits: int) -> dict[str, float]:
    """Adders without sharing between outputs; da4ml shares, and finding how much takes its solver."""
    return {"adder_bits": w.csd_adders * (in_bits + acc_bits) / 2}


def distributed_product(w: WeightStatistics, in_bits: int, acc_bits: int, setting: Setting) -> Product:
    """A product as da4ml's adder graph: no DSP, no memory, a level deeper than the tree of its digits."""
    levels = 1 + math.log2(max(1.0, (w.csd_adders + w.n_out) / w.n_out))
    cycles = setting.cycles(levels * setting.t_add_ns)
    ff = banded(
        fits()["dense/latency/ff"],
        {"live_bits": live_bits(w, acc_bits, cycles, setting, dsp=False)},
        outside=True,
    ).spanning(0, w.n_out * acc_bits)
    lut = judged("dense/distributed/lut", **distributed_lut_features(w, in_bits, acc_bits))
    return Product(
        path="distributed",
        lut=routed(lut, setting),
        ff=staged(ff, "ff", setting),
        dsp=ZERO,
        bram18=ZERO,
        latency_cycles=cycles,
        ii_cycles=1,
        outside=True,
    )


# --- Resource: shared multipliers, weights in memory ----------------------------------------------


def resource_lut_features(n_in: int, n_out: int, reuse: int, in_bits: int, acc_bits: int) -> dict[str, float]:
    """Law L4: input multiplexer, accumulators, and for RF > 2 n_in their write multiplexer.

    The constant shrinks with the operands below 16 bits: structure, not measurement.
    """
    small = min(1.0, n_in / 32) * max(in_bits, acc_bits) / 16
    return {
        "one": small,
        "in_bits": n_in * in_bits,
        "acc_bits": n_out * acc_bits,
        "write_mux_bits": block_factor(n_in * n_out, reuse) * 2.0 ** math.ceil(math.log2(n_out)) * acc_bits,
    }


def resource_ff_features(n_in: int, n_out: int, reuse: int, acc_bits: int, w_bits: int) -> dict[str, float]:
    """Accumulators, and pipeline registers at the multipliers."""
    multipliers = block_factor(n_in * n_out, reuse)
    return {
        "one": 1.0,
        "acc_bits": n_out * acc_bits,
        "multipliers": multipliers,
        "weight_bits": multipliers * w_bits,
    }


def weight_bram18(n_in: int, n_out: int, reuse: int, w_bits: int) -> int:
    """Block RAMs of the weights (one word of all multipliers a cycle), and of the table of output steps.

    >>> weight_bram18(32, 128, 512, 2), weight_bram18(96, 64, 384, 8), weight_bram18(64, 128, 1024, 14)
    (2, 4, 8)
    """
    if reuse == 1:
        return 0
    width = block_factor(n_in * n_out, reuse) * w_bits
    steps = reuse // n_in
    table_bits = reuse * math.ceil(math.log2(steps)) if steps > 1 else 0
    return weight_memory(reuse, width)[0] + (table_bits >= ROM_BITS)


def resource_dsp(w: WeightStatistics, in_bits: int, reuse: int) -> int:
    """Law L5: one a multiplier, if products are wide enough; of two 32-bit numbers four, and two fewer in all."""
    blocks = dsp_blocks(in_bits, w.bits)
    return block_factor(w.n, reuse) * blocks - (2 if blocks == _WIDE_BLOCKS else 0)


def resource_fit_name(n_in: int, reuse: int) -> str:
    """The law's branch: whether the accumulators need a write multiplexer."""
    return "dense/resource/lut/mux" if reuse > 2 * n_in else "dense/resource/lut/direct"


def _resource_lut(w: WeightStatistics, in_bits: int, acc_bits: int, reuse: int, *, outside: bool) -> Value:
    """Law L4, and what lies beside it: adders beyond one an output, and products in LUTs."""
    name = resource_fit_name(w.n_in, reuse)
    lut = banded(
        fits()[name], resource_lut_features(w.n_in, w.n_out, reuse, in_bits, acc_bits), outside=outside
    )
    multipliers = block_factor(w.n, reuse)
    lut += Value.exact(weight_memory(reuse, multipliers * w.bits)[1])
    extra = fits()["dense/resource/lut/extra"].value(
        {
            "adder_bits": max(0, multipliers - w.n_out) * acc_bits,
            "product_bits": 0 if resource_dsp(w, in_bits, reuse) else multipliers * in_bits * w.bits,
        }
    )
    return lut + extra


def resource_product(w: WeightStatistics, in_bits: int, acc_bits: int, setting: Setting) -> Product:
    """A product of the Resource strategy; with RF = 1 its weights are constants, as in Latency."""
    reuse = setting.reuse
    if reuse == 1:
        return latency_product(w, in_bits, acc_bits, setting)
    fit = fits()[resource_fit_name(w.n_in, reuse)]
    inside = fit.holds(n_in=w.n_in, n_out=w.n_out, in_bits=in_bits, acc_bits=acc_bits, reuse=reuse)
    outside = not inside or reuse % w.n_in != 0
    lut = _resource_lut(w, in_bits, acc_bits, reuse, outside=outside)
    ff = banded(
        fits()["dense/resource/ff"],
        resource_ff_features(w.n_in, w.n_out, reuse, acc_bits, w.bits),
        outside=outside,
    )
    dsp, bram = resource_dsp(w, in_bits, reuse), weight_bram18(w.n_in, w.n_out, reuse, w.bits)
    return Product(
        path=f"resource osc={reuse / w.n_in:g} n_out={w.n_out}",
        lut=staged(lut, "lut", setting, shared=True),
        ff=staged(ff, "ff", setting, shared=True),
        dsp=staged(Value.exact(dsp), "dsp", setting, shared=True),
        bram18=_bram_value(bram, reuse, setting),
        latency_cycles=reuse + 2,
        ii_cycles=reuse,
        outside=outside,
    )


def _bram_value(bram: int, reuse: int, setting: Setting) -> Value:
    """A ROM of weights keeps its size in synthesis or shrinks; one with few words may become LUTs."""
    fit = fits()["dense/resource/bram18"]
    value = fit.value({"bram18": bram})
    if not fit.holds(reuse=reuse):
        value = value.spanning(0, value.hi)
    if not setting.synthesised:
        return value
    ratio = fits()["stage/resource/bram18"].coefficients["ratio"]
    return value.scaled(1, ratio, 1)


def product(w: WeightStatistics, in_bits: int, acc_bits: int, setting: Setting) -> Product:
    """A matrix product by the setting's strategy."""
    if setting.distributed:
        return distributed_product(w, in_bits, acc_bits, setting)
    return (resource_product if setting.resource else latency_product)(w, in_bits, acc_bits, setting)
