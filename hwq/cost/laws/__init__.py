"""Cost laws, one file a family: from a node, its tensors and its `Setting` to a `LayerCost`.

L1  DSPs of a Latency product: ``min(u3, ceil(n/RF) - floor(n_zeros/RF))``.
L2  II of a Latency product with RF > 1: multipliers over the allocation limit, plus 3 to 6.
L3  LUTs of a Latency product: adders, shift-and-add constants, DSP glue.
L4  LUTs of a Resource product: input multiplexer, accumulators, their write multiplexer if RF > 2 n_in.
L5  Resource product: II = RF, cycles = RF + 2, one DSP a multiplier.
L6  Streaming convolution, Resource: pixels * (RF + 7).
L7  Block RAMs of a FIFO.
L8  Cycles of a Latency product: delay over the usable period.
Sheets 4, 6, 8, 11 are smaller formulas for line buffers, pools, FIFOs and multipliers.

n = n_in * n_out weights, RF the reuse factor, u3 the distinct constants of three or more signed digits.
Measured on HLS reports of public hls4ml projects; what stands behind each number is in ``fits.json``.
"""
