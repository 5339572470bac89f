"""Depthwise convolution as a sum of taps: each an offset in one long row of pixels, times its row of weights.

NumPy is fast on long rows, so whole padded images are treated as one; what this computes across the edges of images
is cut away. It is faster still on 16-bit integers, where these hold the sums. With strides, pixels are first sorted
by their remainder, so that each tap is an offset again.
"""

from __future__ import annotations

import numpy as np

from hwq.ir import Tensor
from hwq.ops.conv import Conv
from hwq.sim.activations import Activation
from hwq.sim.packing import Packing, best, pack, scratch, unpack
from hwq.sim.products import Kernel, magnitude
from hwq.sim.step import Array

_BLOCK_BYTES = 2**19
_LONG = 4096
"""Elements of the rows that NumPy gets."""
_INT16 = 2**15 - 1
"""Twice as many of such integers as of float32 numbers fit into a register, and none has to be taken apart."""
_TAP_COST = 8
"""Of a tap, in multiplications of a matrix product."""


def conv(params: Conv, source: Tensor, out: Tensor, act: Activation) -> Kernel | None:
    """One filter a channel; None for other convolutions."""
    kh, kw, per_group, c_out = params.weight.shape
    if per_group != 1 or params.groups != c_out or params.input_dilations != (1, 1):
        return None
    if params.strides != (1, 1) and params.dilations != (1, 1):
        return None
    bound = magnitude(params.weight.reshape(-1, c_out), source.type)
    kernel = _Depthwise(params, out, act, bound)
    return Kernel(kernel.run, f"{kh * kw} taps, {kernel.packing}", bound)


class _Depthwise:
    """The kernel."""

    def __init__(self, params: Conv, out: Tensor, act: Activation, bound: int) -> None:
        self.params, self.act, self.size = params, act, out.shape
        wide = best(bound, bound, _TAP_COST * params.weight[..., 0].size)
        self.packing = Packing(np.dtype(np.int16)) if bound <= _INT16 else wide
        (sh, sw), (dh, dw) = params.strides, params.dilations
        self.taps = [
            ((u % sh, v % sw), (u // sh * dh, v // sw * dw))
            if (sh, sw) != (1, 1)
            else ((0, 0), (u * dh, v * dw))
            for u, v in np.ndindex(*params.kernel)
        ]
        self.rows = out.shape[0] + max(down for _, (down, _) in self.taps)
        self.columns = out.shape[1] + max(right for _, (_, right) in self.taps)
        channels = out.shape[2]
        weight = params.weight.reshape(-1, channels).astype(self.packing.dtype)
        self.weight = np.tile(weight, max(1, _LONG // channels))
        image = self.rows * self.columns * channels * self.packing.dtype.itemsize * sh * sw
        self.images = max(1, _BLOCK_BYTES // image) * self.packing.samples

    def run(self, x: Array) -> Array:
        """(N, H, W, channels) -> (N, height, width, channels)."""
        height, width, channels = self.size
        y = np.empty((len(x), *self.size), dtype=self.act.dtype)
        for i in range(0, len(x), self.images):
            part = x[i : i + self.images]
            pixels, count = self._pixels(part)
            n = pixels.shape[2]
            total = self._sum(pixels)
            codes = scratch.get("codes of rows", (n, self.rows, self.columns, channels), self.act.dtype)
            for j, values in enumerate(unpack(total, count, self.packing)):
                self.act.requantise(values.reshape(-1, channels), codes.reshape(-1, channels))
                target = y[i + j * n : min(i + (j + 1) * n, i + len(part))]
                target[...] = codes[: len(target), :height, :width]
        return y

    def _pixels(self, x: Array) -> tuple[Array, int]:
        """Packed and padded (stride_h, stride_w, images, rows, columns, channels), and how many a number holds."""
        (sh, sw), (top, left, _, _) = self.params.strides, self.params.pads
        n, h, w, c = x.shape
        shape = (-(-n // self.packing.samples), self.rows * sh, self.columns * sw, c)
        h, w = min(h, shape[1] - top), min(w, shape[2] - left)
        padded = scratch.get("padded", shape, self.packing.dtype)
        padded[:, :top] = padded[:, top + h :] = 0
        padded[:, :, :left] = padded[:, :, left + w :] = 0
        count = pack(x[:, :h, :w], padded[:, top : top + h, left : left + w], self.packing)
        if (sh, sw) == (1, 1):
            return padded[None, None], count
        sorted_out = scratch.get("pixels", (sh, sw, shape[0], self.rows, self.columns, c), self.packing.dtype)
        view = padded.reshape(shape[0], self.rows, sh, self.columns, sw, c)
        sorted_out[...] = view.transpose(2, 4, 0, 1, 3, 5)
        return sorted_out, count

    def _sum(self, pixels: Array) -> Array:
        """(images, rows, columns, channels) as one long row; what is not a result is finite, and of no use."""
        channels = self.size[2]
        size = pixels[0, 0].size
        total = scratch.get("total", (size,), self.packing.dtype)
        term = scratch.get("term", (size,), self.packing.dtype)
        end = size - max((down * self.columns + right) * channels for _, (down, right) in self.taps)
        total[end:] = 0
        whole = end // self.weight.shape[1] * self.weight.shape[1]
        for k, ((a, b), (down, right)) in enumerate(self.taps):
            row = pixels[a, b].reshape(-1)[(down * self.columns + right) * channels :]
            out = term if k else total
            long = (-1, self.weight.shape[1])
            np.multiply(row[:whole].reshape(long), self.weight[k], out=out[:whole].reshape(long))
            rest = (-1, channels)
            weight = self.weight[k, :channels]
            np.multiply(row[whole:end].reshape(rest), weight, out=out[whole:end].reshape(rest))
            if k:
                np.add(total[:end], term[:end], out=total[:end])
        return total
