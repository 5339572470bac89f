"""Coefficients that no measured design stands behind: structure and cited single numbers, with wide bands."""

from __future__ import annotations

from hwq.cost.fits import Basis, Fit


def structural(source: str, lo: float, hi: float, **coefficients: float) -> Fit:
    """A law from the circuit's structure; the band is a judgement."""
    return Fit(coefficients=coefficients, lo=lo, hi=hi, basis=Basis.STRUCTURAL, source=source)


def cited(source: str, lo: float, hi: float, points: int, **coefficients: float) -> Fit:
    """A law with numbers taken from measured reports by hand; the points are not in this repository."""
    return Fit(coefficients=coefficients, lo=lo, hi=hi, basis=Basis.MEASURED, source=source, points=points)


JUDGEMENTS: dict[str, Fit] = {
    "outside_calibration": structural("factor on a band outside the range of its points", 0.5, 2.0),
    "adders_only": structural(
        "factor on the band where all weights are powers of two: fewer than nz adders of at most the "
        "accumulator's width; HLS reports adders at a mean of 1.04 to 1.35 LUTs a bit, 72 % at 1",
        0.5,
        1.35,
    ),
    "stage/post_route": structural("routing changes little; no pairs are known", 0.9, 1.15, ratio=1.0),
    "registers/ff": structural("a register a bit: buffers and channels", 0.5, 2.0, bits=1.0),
    "registers/lut": structural("enables and multiplexers of the channels", 0.0, 4.0, bits=0.25),
    "window/ff": structural("the window of a streaming conv, and copies", 1.0, 3.0, bits=1.0),
    "line_buffer/lut": structural("one LUT a shift register of 32 bits", 1.0, 1.5, shift_registers=1.0),
    "max_pool/stream/ff": structural("window and output registers", 0.5, 2.0, window_bits=2.0),
    "transpose/lut": structural("multiplexer of a tensor in registers", 0.5, 4.0, bits=0.5),
    "table/lut": structural("a function of few bits as 6-input LUTs", 0.5, 1.5, table=1.0),
    "fifo/ff": structural("sheet 8, read from Vivado HLS; Vitis differs", 0.7, 1.5, ff=1.0),
    "fifo/bram18": structural("law L7, exact for Vivado HLS; Vitis differs", 0.5, 1.5, bram18=1.0),
    "dense/latency/dsp_limited": structural("an allocation limit that the tool may miss", 0.9, 1.2, dsp=1.0),
    "dense/distributed/lut": structural(
        "da4ml 0.6.0's adder bits over those of every output's own signed digits at the mean of input and "
        "accumulator width: .26 to .63 on 130 random matrices of 1 to 8 bits (9x16 to 64x5); sharing can only "
        "save; da4ml's count is within 7 % of yosys' LUTs for nets of adders alone",
        0.5,
        2.2,
        adder_bits=0.46,
    ),
    "dense/resource/lut/extra": structural(
        "adders beyond one an output; products in LUTs at .33 a bit pair (8x8 is reported as 40, 6x6 as 24)",
        0.0,
        2.0,
        adder_bits=1.0,
        product_bits=0.33,
    ),
    "activation/relu/lut": cited(
        "a ReLU of one width in io_parallel: 28 LUTs a lane of 16 bits, in 8 reports of 3 tool versions",
        0.9,
        1.5,
        8,
        lane_bits=1.75,
    ),
    "activation/narrow/lut": cited(
        "a ReLU from 16 to 6 bits: 56 to 73 LUTs a lane in 6 reports", 0.6, 1.4, 6, lane_bits=4.0
    ),
    "activation/linear/lut": structural("a copy, or a cut", 0.0, 4.0, lane_bits=0.0),
    "activation/table/lut": cited(
        "sigmoid and ELU of 64 lanes of 16 bits as tables: 65 to 160 LUTs a lane in 9 reports",
        0.5,
        1.6,
        9,
        lane_bits=6.5,
    ),
    "activation/stream/lut": cited("handshake of a streaming activation", 0.5, 2.0, 7, layers=125.0),
    "design/new path": structural(
        "least factor of a band, by target, of a design whose path was measured in one source or none",
        1.0,
        1.0,
        lut=1.3,
        ff=1.4,
        dsp=1.1,
        bram18=1.25,
        lat_max=1.1,
        ii_max=1.05,
    ),
    "design/outside": structural("band of a design of a kind that was never measured", 0.3, 3.0),
    "design/outside/dsp": structural("DSP blocks of such a design: the laws count them", 0.8, 1.25),
    "design/outside/cycles": structural("cycles of such a design: the laws count them", 0.85, 1.25),
    "axis/ff": structural(
        "registers of an AXI4-Stream port and of the pixel or tensor behind it", 0.6, 1.6, bits=1.0
    ),
    "axis/lut": structural("multiplexers between words and codes, handshake", 0.4, 2.5, bits=0.5),
    "finn/mvau/lut": cited(
        "a product of one bit of a weight and one of an activation takes 3.6 and 3.7 LUTs in two binary networks of "
        "BNN-PYNQ and 4.4 in the 32 units of a residual network of 4 bits (FINN-plus, ZCU104); all else of a "
        "convolution 2,800 to 4,700 in three of BNN-PYNQ and 3,400 in that network, after routing and synthesis",
        0.7,
        1.4,
        6,
        units=300.0,
        bit_products=4.0,
        windows=3300.0,
    ),
    "finn/mvau/dsp": cited(
        "addresses of units and windows: 4 in two BNN-PYNQ networks of 4 dense units, 24 to 32 in three of 6 "
        "convolutions and 3 dense units; their products are in LUTs",
        0.8,
        1.3,
        5,
        units=1.0,
        windows=3.0,
    ),
    "finn/mvau/ff": cited("flip-flops over LUTs of the same 6 builds: .93 to 1.58", 0.75, 1.35, 6, lut=1.2),
    "conv/stream/resource/ff": cited(
        "streaming convolutions with shared multipliers: within 3 % on 5 designs of 32 bits, 20 % on 2 of 16",
        0.7,
        1.5,
        7,
        one=474.0,
        window_bits=1.12,
        shift_registers=64.0,
        multipliers=214.0,
        multiplier_bits=4.0,
    ),
    "conv/stream/resource/wide/lut": cited(
        "streaming convolutions with shared multipliers of 32 bits: within 3 % on 7 designs of one source",
        0.5,
        4.0,
        7,
        one=907.0,
        taps=1.0,
        multipliers=58.0,
    ),
    "softmax/lut": cited(
        "stable softmax of 5 lanes: 484 to 833 LUTs in 4 reports; its code is linear in the lanes (maximum, "
        "difference, table, sum, product)",
        0.6,
        1.4,
        4,
        lanes=135.0,
    ),
    "threshold/lut": structural(
        "a comparator of w bits as .6 w + 3 (a 16-bit ReLU is reported as 28 = 13 + 15), 1 more to count it",
        0.4,
        2.0,
        comparator_bits=0.6,
        comparators=4.0,
    ),
    "requant/lut": structural(
        "adders of a shift-and-add constant, of the summand, of rounding; saturation as two comparisons",
        0.4,
        2.0,
        adder_bits=1.0,
        round_bits=1.0,
    ),
    "stream/control/lut": structural("handshake and counters of a streaming layer", 0.25, 3.0, layers=150.0),
    "fifo/srl/lut": cited(
        "FIFO totals of 43 Vivado HLS reports of hls4ml projects, 5.9 % error there; Vitis HLS differs",
        0.5,
        1.5,
        43,
        fifos=11.8,
        bits=1.4,
    ),
    "fifo/bram/lut": cited(
        "FIFO totals of 43 Vivado HLS reports of hls4ml projects, 5.9 % error there; Vitis HLS differs",
        0.5,
        1.5,
        43,
        bits=0.71,
        log2_depth=3.9,
    ),
    "timing/ultrascale_plus": cited(
        "set by hand on csynth cycles of the jet MLP (xczu7ev, xcvu9p, xcu250) and of single layers of 2 to 14 bits "
        "(xcu250: 15 terms in no stage, 45 in one), ns at speed grade 2",
        1.0,
        1.0,
        4,
        t_add_ns=1.0,
        t_mul_ns=2.0,
    ),
    "timing/series7": cited(
        "set by hand on csynth cycles of the jet MLP (xc7z020, xc7z007s), ns at speed grade 2",
        1.0,
        1.0,
        2,
        t_add_ns=1.75,
        t_mul_ns=6.5,
    ),
    "timing/ultrascale": structural(
        "between the two families that were measured", 1.0, 1.0, t_add_ns=1.0, t_mul_ns=3.6
    ),
    "timing/speed_grade": structural(
        "factor on delays by speed grade, grade 2 = 1", 1.0, 1.0, grade1=1.15, grade2=1.0, grade3=0.92
    ),
}
"""By the name under which the laws look them up."""
