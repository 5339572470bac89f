"""What belongs to no layer: FIFOs (law L7), registers between parallel layers, the design's ports."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from hwq.cost.fits import fits
from hwq.cost.laws.setting import Setting, built, judged, staged
from hwq.cost.model import LayerCost, Value
from hwq.hardware import SHIFT_REGISTER_PIXELS
from hwq.ir import Graph, Node, Tensor

_SHALLOW = 2
"""Pixels of a FIFO that only decouples two layers."""
_SRL_BITS = 512
"""FIFOs of no more bits are shift registers (law L7)."""


if TYPE_CHECKING:
    from hwq.emit.layers import Windowed


_REGISTERS = 2
"""FIFOs no deeper are registers, in Vivado HLS 2020.1 and Vitis HLS."""


class TopStyle(Enum):
    """How hls4ml ties the layers together."""

    PIPELINE = "pipeline"
    DATAFLOW = "dataflow"
    STREAM = "stream"


def fifo_bram18(depth: int, bits: int) -> int:
    """Law L7, Vivado HLS: 10,276 FIFOs, all exact; Vitis HLS follows it for about 73 %.

    >>> fifo_bram18(32, 16), fifo_bram18(1024, 16), fifo_bram18(1025, 9), fifo_bram18(4096, 20)
    (0, 1, 1, 8)
    """
    if depth * bits <= _SRL_BITS or depth <= _REGISTERS:
        return 0
    words = 1 << max(0, (depth - 1).bit_length())
    if bits > 9:
        return math.ceil(bits / 18) * math.ceil(words / 1024)
    return math.ceil(bits / 9) * math.ceil(words / 2048)


def fifo_lut(depth: int, bits: int) -> float:
    """Sheet 8: shift register and block RAM flavours."""
    kind = "bram" if fifo_bram18(depth, bits) else "srl"
    log_depth = math.log2(max(depth, 2))
    return fits()[f"fifo/{kind}/lut"].predict({"fifos": 1, "bits": bits, "log2_depth": log_depth})


def fifo_ff(depth: int, bits: int, *, registers: bool = True) -> float:
    """Sheet 8: 6 for a shift register; with block RAM an output register and the counters.

    Vitis HLS builds the shallowest of registers, Vivado HLS of shift registers.
    """
    if depth <= _REGISTERS and registers:
        return 2 * bits + 4
    return bits + 10 + 2 * math.log2(depth) if fifo_bram18(depth, bits) else 6


def fifos(streams: Iterable[tuple[Tensor, int]], setting: Setting, *, bound: bool) -> LayerCost:
    """The FIFOs between streaming layers, each with its depth: one word a pixel; `bound`, short ones are SRLs."""
    lut = ff = bram = 0.0
    for tensor, depth in streams:
        bits = tensor.shape[-1] * tensor.type.bits
        if bound and depth <= SHIFT_REGISTER_PIXELS:
            lut += fits()["fifo/srl/lut"].predict({"fifos": 1, "bits": bits})
            ff += fifo_ff(depth, 1)
            continue
        lut += fifo_lut(depth, bits)
        ff += fifo_ff(depth, bits)
        bram += fifo_bram18(depth, bits)
    fit = fits()["fifo/srl/lut"]
    return built(
        Node("top", "(fifos)", (), "", None),
        "top/fifos",
        lut=staged(Value(lut, lut * fit.lo, lut * fit.hi), "lut", setting),
        ff=staged(judged("fifo/ff", ff=ff), "ff", setting),
        bram18=staged(judged("fifo/bram18", bram18=bram), "bram18", setting, shared=True),
        outside=True,
    )


def stream_depths(graph: Graph, *, whole: bool) -> list[tuple[Tensor, int]]:
    """Each stream between two layers, with its depth: `whole` tensors, or what the dataflow needs at full rate.

    That is a few pixels, but where branches meet: the one that is ready first waits for the other, whose layers
    hold back rows until their windows are full. The run of the dataflow gives the depths themselves; this is quick.
    """
    late: dict[str, float] = dict.fromkeys((p.tensor for p in graph.inputs), 0.0)
    streams = []
    for node in graph.nodes:
        tensors = [graph.tensors[t] for t in node.inputs]
        slowest = max(late[t.name] for t in tensors)
        late[node.output] = slowest + _held_back(node, tensors[0])
        for tensor in tensors:
            pixels = math.prod(tensor.shape[:-1])
            waits = _SHALLOW + math.ceil((slowest - late[tensor.name]) * pixels)
            if graph.producer(tensor.name) is not None and node.op != "reshape":
                streams.append((tensor, pixels if whole else min(pixels, waits)))
    return streams


def _held_back(node: Node, x: Tensor) -> float:
    """Share of an image that a layer reads before its first output."""
    if hasattr(node.params, "kernel"):
        window: Windowed = node.params
        rows, columns = ((k - 1) * d for k, d in zip(window.kernel, window.dilations, strict=True))
        height, width = x.shape[0], x.shape[1]
        return min(1.0, (rows * width + columns) / (height * width))
    return 1.0 if node.op in ("dense", "global_sum", "transpose", "matmul") else 0.0


def registers(
    between: Iterable[Tensor], ports: Iterable[Tensor], style: TopStyle, setting: Setting
) -> LayerCost:
    """Registers of a parallel design: its inputs, and one for every element that crosses to the next layer.

    In a pipeline every product ends in one, which takes a cycle: on 11 HLS reports of a four-layer MLP
    (16 bits and 6 bits, UltraScale+) the cycles of the layers alone are 4 to 7 fewer than reported.
    """
    crossing = tuple(between)
    bits = sum(math.prod(t.shape) * t.type.bits for t in crossing)
    port_bits = sum(math.prod(t.shape) * t.type.bits for t in ports)
    enables = bits if style is TopStyle.DATAFLOW else 0
    return built(
        Node("top", "(registers)", (), "", None),
        f"top/{style.value}",
        lut=staged(judged("registers/lut", bits=enables), "lut", setting),
        ff=staged(Value.exact(port_bits) + judged("registers/ff", bits=bits), "ff", setting),
        latency_cycles=len(crossing) if style is TopStyle.PIPELINE else 0,
        outside=True,
    )


def schedule(layers: Iterable[LayerCost], style: TopStyle) -> tuple[int, int]:
    """(latency, II) of the whole design in cycles.

    II is the slowest layer's. Parallel layers follow each other, so their latencies add; streaming
    layers overlap, so the slowest counts and each other adds the time to its first output.
    """
    rows = tuple(layers)
    ii = max((row.ii_cycles for row in rows), default=1)
    if style is not TopStyle.STREAM:
        return max(1, sum(row.latency_cycles for row in rows)), max(1, ii)
    slowest = max(rows, key=lambda row: row.latency_cycles)
    return slowest.latency_cycles + sum(r.fill_cycles for r in rows if r is not slowest), max(1, ii)
