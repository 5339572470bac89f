"""How the loop of each streaming layer reads and writes: a row of steps, without the numbers.

Every process of io_stream is such a loop. A step reads at most one pixel of each input and writes at most one;
what it reads and writes does not depend on the data. So a project is a Kahn process network with known
behaviour, which `hwq.emit.dataflow` runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log2, prod

import numpy as np

from hwq.emit.layers import HlsLayer
from hwq.rounding import IntArray

_Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

LATENCY_CYCLES = 3
"""From a step's read to its write: no HLS loop is shorter than reading, computing and writing."""
_RESOURCE_OVERHEAD_CYCLES = 7
"""Of a pixel in a streaming Resource convolution beyond its reuse factor (cost law L6)."""


@dataclass(frozen=True)
class Flow:
    """The steps of one image.

    Attributes:
        reads: (steps, inputs): whether the step reads a pixel of the input.
        writes: (steps,): whether it writes a pixel.
        cycles: (steps,): from its start to the start of the next.
        latency: Cycles from the start of a step to its write.
        pipelined: A step may start while the one before is under way.
    """

    reads: _Bools
    writes: _Bools
    cycles: IntArray
    latency: int = LATENCY_CYCLES
    pipelined: bool = True


def _flow(reads: list[_Bools], writes: _Bools, cycles: int = 1, latency: int = LATENCY_CYCLES) -> Flow:
    return Flow(np.stack(reads, axis=1), writes, np.full(len(writes), cycles, dtype=np.int64), latency)


def stalling(flow: Flow, factor: int) -> Flow:
    """The same loop as a pipeline that stands still as a whole while anything is missing.

    Its steps are the cycles in which it reads, writes or both; what is on the way leaves only when later
    reads push it, or at the end of the image. Vitis HLS builds loops so by default until 2022.1, and later
    where the free-running style is not possible (UG1399 "Flushing Pipelines", UG1448 messages 200-1550, 200-1553).

    Args:
        flow: As the loop is written.
        factor: Of its latency; a loop that is not pipelined ends each step before the next.

    >>> copied = stalling(copies(4), 1)                # three pixels are on the way
    >>> copied.reads[:, 0].astype(int).tolist(), copied.writes.astype(int).tolist()
    ([1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1])
    """
    start = np.cumsum(flow.cycles) - flow.cycles
    latency = flow.latency * factor
    if not flow.pipelined:
        latency = min(latency, int(flow.cycles.min()) - 1)
    reading, written = flow.reads.any(axis=1), start[flow.writes] + latency
    times = np.union1d(start[reading], written)
    reads = np.zeros((len(times), flow.reads.shape[1]), dtype=bool)
    reads[np.searchsorted(times, start[reading])] = flow.reads[reading]
    end = max(int(flow.cycles.sum()), int(start[-1]) + latency + 1)
    return Flow(reads, np.isin(times, written), np.diff(times, append=end + int(times[0])), 0)


def gather(needed: IntArray, total: int, cycles: int = 1, latency: int = LATENCY_CYCLES) -> Flow:
    """A pixel is written in the step that reads the last one it needs, or in a step of its own.

    Args:
        needed: How many pixels must be read before each write; does not fall.
        total: How many there are to read.
        cycles: Of each step.
        latency: Of each write.

    >>> flow = gather(np.array([2, 2, 3]), 4)
    >>> flow.reads[:, 0].astype(int).tolist(), flow.writes.astype(int).tolist()
    ([1, 1, 0, 1, 1], [0, 1, 1, 1, 0])
    """
    reads: list[bool] = []
    writes: list[bool] = []
    read = 0
    for need in needed.tolist():
        fresh = max(need - read, 0)
        reads += [True] * fresh if fresh else [False]
        writes += [False] * (fresh - 1) + [True]
        read += fresh
    reads += [True] * (total - read)
    writes += [False] * (total - read)
    return _flow([np.array(reads)], np.array(writes), cycles, latency)


def copies(tokens: int) -> Flow:
    """Each pixel is read and written."""
    return gather(np.arange(1, tokens + 1), tokens)


def zero_padding(height: int, width: int, pads: tuple[int, int, int, int]) -> Flow:
    """hls4ml's layer before a padded convolution; pads are top, left, bottom, right."""
    top, left, bottom, right = pads
    inside = np.zeros((height + top + bottom, width + left + right), dtype=bool)
    inside[top : top + height, left : left + width] = True
    return _flow([inside.ravel()], np.ones(inside.size, dtype=bool))


def flow_of(layer: HlsLayer, pixels: tuple[int, ...], *, reuse: int, resource: bool) -> Flow:
    """The steps of a layer.

    Args:
        layer: As planned, for io_stream.
        pixels: How many each of its inputs has.
        reuse: Its reuse factor.
        resource: Strategy Resource, else Latency.
    """
    if layer.class_name in ("Dense", "Conv2D"):
        return _FLOWS[layer.class_name](layer, pixels, _Folding(reuse, resource))
    if layer.class_name == "HwqDepthwise":
        return _windowed(layer, pixels, reuse)
    return _FLOWS[layer.class_name](layer, pixels)


@dataclass(frozen=True)
class _Folding:
    reuse: int
    resource: bool


def _out_pixels(layer: HlsLayer) -> int:
    return prod(layer.shape[:-1])


def _repack(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    """Pixels may be joined to larger ones, or cut; layers of single elements join those of a flattened stream."""
    read, written = pixels[0], _out_pixels(layer)
    needed = -(-np.arange(1, written + 1) * read // written)
    return gather(needed, read)


def _dense(layer: HlsLayer, pixels: tuple[int, ...], folding: _Folding) -> Flow:
    """All is read, then the product runs, then one pixel is written."""
    flow = gather(np.array([pixels[0]]), pixels[0])
    depth = round(log2(max(layer.attributes["n_in"], 2)))
    cycles = flow.cycles.copy()
    cycles[-1] = folding.reuse
    extra = folding.reuse if folding.resource else 0
    return Flow(flow.reads, flow.writes, cycles, LATENCY_CYCLES + depth + extra)


def _conv(layer: HlsLayer, _pixels: tuple[int, ...], folding: _Folding) -> Flow:
    """A line buffer: a pixel is read each step, one written where a window is complete."""
    a = layer.attributes
    height = a["in_height"] + a["pad_top"] + a["pad_bottom"]
    width = a["in_width"] + a["pad_left"] + a["pad_right"]
    kernel, stride = (a["filt_height"], a["filt_width"]), (a["stride_height"], a["stride_width"])
    writes = _complete((height, width), kernel, stride, (a["out_height"], a["out_width"]))
    shared = folding.resource and folding.reuse > 1
    cycles = folding.reuse + (_RESOURCE_OVERHEAD_CYCLES if shared else 0)
    depth = round(log2(max(prod(kernel) * a["n_chan"], 2)))
    extra = folding.reuse if shared else 0
    flow = _flow([np.ones(len(writes), dtype=bool)], writes, cycles, LATENCY_CYCLES + depth + extra)
    return replace(flow, pipelined=not shared)


def _complete(
    size: tuple[int, int], span: tuple[int, int], strides: tuple[int, int], out: tuple[int, int]
) -> _Bools:
    """At which positions, row by row, a window has its last corner and makes an output."""
    axes = []
    for i in (0, 1):
        first = np.arange(size[i]) - (span[i] - 1)
        axes.append((first >= 0) & (first % strides[i] == 0) & (first // strides[i] < out[i]))
    return np.asarray(np.outer(*axes).ravel())


def _max_pooling(layer: HlsLayer, _pixels: tuple[int, ...]) -> Flow:
    a = layer.attributes
    size, kernel = (a["in_height"], a["in_width"]), (a["pool_height"], a["pool_width"])
    writes = _complete(size, kernel, kernel, (a["out_height"], a["out_width"]))
    return _flow([np.ones(len(writes), dtype=bool)], writes)


def _windowed(layer: HlsLayer, _pixels: tuple[int, ...], reuse: int = 1) -> Flow:
    """hwq_window.h: a step for each position of the padded tensor."""
    a = layer.attributes
    pads = a["pad_top"], a["pad_left"], a["pad_bottom"], a["pad_right"]
    reads = zero_padding(a["in_height"], a["in_width"], pads).reads[:, 0]
    size = a["in_height"] + pads[0] + pads[2], a["in_width"] + pads[1] + pads[3]
    span = tuple((a[f"kernel_{x}"] - 1) * a[f"dilation_{x}"] + 1 for x in ("height", "width"))
    strides, out = (a["stride_height"], a["stride_width"]), (a["out_height"], a["out_width"])
    writes = _complete(size, (span[0], span[1]), strides, out)
    return _flow([reads], writes, reuse, LATENCY_CYCLES + round(log2(prod(span) + 1)))


def _join(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    """What is not in step with the result is read whole before, a first."""
    steps = _out_pixels(layer)
    in_step = layer.attributes["a_in_step"], layer.attributes["b_in_step"]
    whole = [0 if i else n for i, n in zip(in_step, pixels, strict=True)]
    reads = []
    for k in (0, 1):
        before = [np.full(whole[i], i == k) for i in (0, 1)]
        reads.append(np.concatenate([*before, np.full(steps, in_step[k])]))
    writes = np.concatenate([np.zeros(sum(whole), dtype=bool), np.ones(steps, dtype=bool)])
    return _flow(reads, writes)


def _concat(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    if layer.attributes["last"]:
        both = np.ones(pixels[0], dtype=bool)
        return _flow([both, both], both)
    outer = layer.attributes["outer"]
    turn = np.concatenate([np.ones(pixels[0] // outer, dtype=bool), np.zeros(pixels[1] // outer, dtype=bool)])
    first = np.tile(turn, outer)
    return _flow([first, ~first], np.ones(len(first), dtype=bool))


def _matmul(layer: HlsLayer, _pixels: tuple[int, ...]) -> Flow:
    a = layer.attributes
    turn = np.concatenate([np.zeros(a["terms"], dtype=bool), np.ones(a["rows"], dtype=bool)])
    rows = np.tile(turn, a["batch"])
    return _flow([rows, ~rows], rows, 1, LATENCY_CYCLES + round(log2(max(a["terms"], 2))))


def _slice(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    a = layer.attributes
    if a["last"]:
        return copies(pixels[0])
    taken = np.zeros(a["size"], dtype=bool)
    taken[a["start"] :: a["step"]][: a["count"]] = True
    writes = np.tile(np.repeat(taken, pixels[0] // (a["outer"] * a["size"])), a["outer"])
    return _flow([np.ones(len(writes), dtype=bool)], writes)


def _pad(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    a = layer.attributes
    if a["mode"]:
        return _whole(layer, pixels)
    inside = np.ones(1, dtype=bool)
    for axis in range(3):
        mask = np.zeros(a[f"out{axis}"], dtype=bool)
        mask[a[f"before{axis}"] :: a[f"every{axis}"]][: a[f"in{axis}"]] = True
        inside = np.outer(inside, mask).ravel()
    return _flow([inside], np.ones(len(inside), dtype=bool))


def _rows(layer: HlsLayer, _pixels: tuple[int, ...]) -> Flow:
    """Upsampling and depth to space: a row is read as its first repetition is written."""
    a = layer.attributes
    rows, columns = (a["rows"], a["columns"]) if "rows" in a else (a["block"], a["block"])
    reads = np.zeros((a["height"], rows, a["width"], columns), dtype=bool)
    reads[:, 0, :, 0] = True
    return _flow([reads.ravel()], np.ones(reads.size, dtype=bool))


def _whole(layer: HlsLayer, pixels: tuple[int, ...]) -> Flow:
    """All is read, then all is written."""
    reads = np.concatenate([np.ones(pixels[0], dtype=bool), np.zeros(_out_pixels(layer), dtype=bool)])
    return _flow([reads], ~reads)


_FLOWS: Mapping[str, Callable[..., Flow]] = {
    "Dense": _dense,
    "Conv2D": _conv,
    "MaxPooling2D": _max_pooling,
    "HwqReshape": _repack,
    "HwqThreshold": _repack,
    "HwqRequant": _repack,
    "HwqRequantTwoSlopes": _repack,
    "HwqTable": _repack,
    "HwqPieces": _repack,
    "HwqArgmax": _repack,
    "HwqJoin": _join,
    "HwqConcat": _concat,
    "HwqMatmul": _matmul,
    "HwqSlice": _slice,
    "HwqPad": _pad,
    "HwqTranspose": _whole,
    "HwqUpsample": _rows,
    "HwqDepthToSpace": _rows,
    "HwqGlobalSum": _whole,
    "HwqPool": _windowed,
}
