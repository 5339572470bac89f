"""Matrix products and convolutions on packed floats, block by block, each block requantised while it is in cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hwq.ir import IntType, Tensor
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.spec import product_bounds
from hwq.ops.window import spread
from hwq.rounding import IntArray
from hwq.sim.activations import Activation
from hwq.sim.packing import Packing, best, pack, scratch, unpack
from hwq.sim.step import Array

_BLOCK_BYTES = 2**20
"""Of what a product reads at once."""
_DEEP = 64
"""Multiplications a result that are worth packing strips of one image."""
_FEW_ROWS = 128
"""Results a channel of a product that takes as long as reading its weights."""
_LARGE = 2**17
"""Bytes of weights whose reading counts."""


@dataclass(frozen=True)
class Kernel:
    """x (N, *shape) of integers -> requantised results (N, *shape)."""

    run: Callable[[Array], Array]
    method: str
    bound: int


def magnitude(weight: IntArray, interval: IntType) -> int:
    """Largest magnitude of ``x @ weight`` and of all its partial sums; weight is (n_in, n_out)."""
    lo, hi = product_bounds(weight, IntType(min(interval.lo, 0), max(interval.hi, 0)))
    return max(-int(lo.min()), int(hi.max()), 1)


def dense(params: Dense, source: Tensor, act: Activation) -> Kernel:
    """Rows of all leading axes are samples of one matrix product."""
    bound = magnitude(params.weight, source.type)
    packing = best(bound, bound, params.weight.shape[0])
    weight = params.weight.astype(packing.dtype)
    n_in, n_out = weight.shape
    block = max(1, _BLOCK_BYTES // (packing.dtype.itemsize * n_in)) * packing.samples
    few = few_rows(params.weight, packing)

    def run(x: Array) -> Array:
        rows = x.reshape(-1, n_in)
        out = np.empty((len(rows), n_out), dtype=act.dtype)
        if len(rows) == 1:
            act.requantise(few(rows.astype(packing.dtype)), out)
            return out.reshape(*x.shape[:-1], n_out)
        for i in range(0, len(rows), block):
            part = rows[i : i + block]
            packed = scratch.get("packed", (-(-len(part) // packing.samples), n_in), packing.dtype)
            count = pack(part, packed, packing)
            y = scratch.get("product", (len(packed), n_out), packing.dtype)
            np.matmul(packed, weight, out=y)
            _finish(y, count, packing, act, out[i : i + block])
        return out.reshape(*x.shape[:-1], n_out)

    return Kernel(run, str(packing), bound)


def few_rows(weight: IntArray, packing: Packing) -> Callable[[Array], Array]:
    """Rows of numbers (M, n_in) -> their products (M, n_out), with several *outputs* in a number.

    So there are fewer weights to read. A packed weight is ``w_0 + S·w_1 + …``: the sums are those of packed samples.
    """
    n_in, n_out = weight.shape
    if packing.samples == 1 or weight.size * packing.dtype.itemsize < _LARGE:
        plain = weight.astype(packing.dtype)
        return lambda rows: np.matmul(rows, plain)
    each = -(-n_out // packing.samples)
    packed = np.empty((each, n_in), packing.dtype)
    count = pack(weight.T, packed, packing)
    columns = np.ascontiguousarray(packed.T)

    def multiply(rows: Array) -> Array:
        results = np.empty((len(rows), count * each), packing.dtype)
        for i, part in enumerate(unpack(np.matmul(rows, columns), count, packing)):
            results[:, i * each : (i + 1) * each] = part
        return results[:, :n_out]

    return multiply


def _finish(y: Array, count: int, packing: Packing, act: Activation, out: Array) -> None:
    """Take packed results (rows, channels) apart, and requantise them into out (samples of all, channels)."""
    rows = len(y)
    for i, values in enumerate(unpack(y, count, packing)):
        target = out[i * rows : (i + 1) * rows]
        act.requantise(values[: len(target)], target)


def conv(params: Conv, source: Tensor, out: Tensor, act: Activation) -> Kernel:
    """A convolution as the products of its patches (im2col)."""
    weight = params.weight
    kh, kw, per_group, c_out = weight.shape
    bound = magnitude(weight.reshape(-1, c_out), source.type)
    packing = best(bound, bound, kh * kw * per_group)
    multiply = _patches(params, packing)
    size = (out.shape[0], out.shape[1])
    patch = kh * kw * per_group * params.groups
    at_once = max(1, _BLOCK_BYTES // (packing.dtype.itemsize * patch * out.shape[1]))
    images = max(1, at_once // size[0])
    top_pad, left, _, right = params.pads
    deep = kh * kw * per_group >= _DEEP
    strips = Strips(min(packing.samples, size[0]) if deep else 1, size[0], params)

    few = _few_pixels(params, packing, act, size)

    def run(x: Array) -> Array:
        x = spread(x, params.input_dilations)
        if len(x) == 1 and few:
            return few(x)
        if len(x) > 1 or strips.count == 1:
            return convolve(x, params.pads, size[0])
        return strips.join(convolve(strips.split(x, top_pad), (0, left, 0, right), strips.rows))

    def convolve(x: Array, pads: tuple[int, int, int, int], height: int) -> Array:
        y = np.empty((len(x), height, size[1], c_out), dtype=act.dtype)
        strip = min(at_once, height)
        for i in range(0, len(x), images * packing.samples):
            part = x[i : i + images * packing.samples]
            padded, count = _padded(part, pads, packing)
            for top in range(0, height, strip):
                rows = min(strip, height - top)
                product = scratch.get("product", (len(padded), rows, size[1], c_out), packing.dtype)
                multiply(padded, top, product)
                target = y[i : i + len(part), top : top + rows]
                _finish_images(product, count, packing, act, target)
        return y

    return Kernel(run, f"im2col, {packing}", bound)


def _few_pixels(
    params: Conv, packing: Packing, act: Activation, size: tuple[int, int]
) -> Callable[[Array], Array] | None:
    """One image to few pixels, (1, H, W, channels) -> (1, height, width, c_out); None where there are more."""
    kh, kw, per_group, c_out = params.weight.shape
    if params.groups > 1 or size[0] * size[1] > _FEW_ROWS:
        return None
    multiply = few_rows(params.weight.reshape(-1, c_out), packing)
    plain = replace(packing, samples=1)

    def run(x: Array) -> Array:
        padded, _ = _padded(x, params.pads, plain)
        patches = scratch.get("patches", (*size, kh, kw, per_group), packing.dtype)
        np.copyto(patches, _windows(padded, params, 0, *size)[0])
        out = np.empty((size[0] * size[1], c_out), dtype=act.dtype)
        act.requantise(multiply(patches.reshape(len(out), -1)), out)
        return out.reshape(1, *size, c_out)

    return run


def _finish_images(product: Array, count: int, packing: Packing, act: Activation, out: Array) -> None:
    """As `_finish`, for images whose rows may be a strip of out's."""
    rows, channels = len(product), product.shape[-1]
    for i, values in enumerate(unpack(product.reshape(-1, channels), count, packing)):
        target = out[i * rows : (i + 1) * rows]
        used = values[: prod(target.shape[:-1])]
        if target.flags.c_contiguous:
            act.requantise(used, target.reshape(-1, channels))
        else:
            codes = scratch.get("strip", used.shape, act.dtype)
            act.requantise(used, codes)
            target[...] = codes.reshape(target.shape)


class Strips:
    """One image as strips of `rows` output rows, so that it fills numbers that hold several samples."""

    def __init__(self, count: int, height: int, params: Conv, multiple: int = 1) -> None:
        self.rows = -(-height // (count * multiple)) * multiple
        self.count, self.height = -(-height // self.rows), height
        self.step = self.rows * params.strides[0]
        self.reads = (self.rows - 1) * params.strides[0] + (params.kernel[0] - 1) * params.dilations[0] + 1

    def split(self, x: Array, top: int) -> Array:
        """(1, H, W, channels) -> what each strip reads (count, reads, W, channels), `top` rows of zeros above."""
        height = (self.count - 1) * self.step + self.reads
        if top or height > x.shape[1]:
            image = scratch.get("image", (height, *x.shape[2:]), x.dtype)
            inside = image[top : top + x.shape[1]]
            inside[...] = x[0, : len(inside)]
            image[:top] = image[top + len(inside) :] = 0
        else:
            image = np.ascontiguousarray(x[0])
        by_row, *rest = image.strides
        shape = (self.count, self.reads, *image.shape[1:])
        strips: Array = np.ndarray(shape, image.dtype, image, 0, (by_row * self.step, by_row, *rest))
        return strips

    def join(self, y: Array, height: int | None = None) -> Array:
        """(count, rows, width, channels) -> (1, height, width, channels)."""
        return y.reshape(1, -1, *y.shape[2:])[:, : height or self.height]


def _padded(x: Array, pads: tuple[int, int, int, int], packing: Packing) -> tuple[Array, int]:
    """Packed images with zeros around them, and how many samples a number holds."""
    top, left, bottom, right = pads
    n, h, w, c = x.shape
    rows = -(-n // packing.samples)
    shape = (rows, h + top + bottom, w + left + right, c)
    out = scratch.get("padded", shape, packing.dtype)
    out[:, :top] = out[:, top + h :] = 0
    out[:, :, :left] = out[:, :, left + w :] = 0
    return out, pack(x, out[:, top : top + h, left : left + w], packing)


def _patches(params: Conv, packing: Packing) -> Callable[[Array, int, Array], None]:
    """(images, first output row, result (images, rows, width, c_out)): one product a group."""
    kh, kw, per_group, c_out = params.weight.shape
    groups, per_out = params.groups, c_out // params.groups
    weights = [
        np.ascontiguousarray(params.weight[..., g * per_out : (g + 1) * per_out])
        .reshape(-1, per_out)
        .astype(packing.dtype)
        for g in range(groups)
    ]
    pointwise = (kh, kw, params.strides) == (1, 1, (1, 1))

    def multiply(padded: Array, top: int, out: Array) -> None:
        n, rows, width = out.shape[:3]
        for g, weight in enumerate(weights):
            view = _windows(padded, params, top, rows, width, g)
            if pointwise and groups == 1:
                patches = view
            else:
                patches = scratch.get("patches", (n, rows, width, kh, kw, per_group), packing.dtype)
                np.copyto(patches, view)
            matrix = patches.reshape(n * rows * width, -1)
            if groups == 1:
                np.matmul(matrix, weight, out=out.reshape(-1, c_out))
            else:
                out[..., g * per_out : (g + 1) * per_out] = (matrix @ weight).reshape(n, rows, width, per_out)

    return multiply


def _windows(padded: Array, params: Conv, top: int, rows: int, width: int, group: int = 0) -> Array:
    """View (N, rows, width, kernel_h, kernel_w, channels) of a contiguous array, from output row `top` on.

    `np.lib.stride_tricks` would take longer than some products.
    """
    kh, kw, channels, _ = params.weight.shape
    (sh, sw), (dh, dw) = params.strides, params.dilations
    by_image, by_row, by_column, by_channel = padded.strides
    strides = (by_image, by_row * sh, by_column * sw, by_row * dh, by_column * dw, by_channel)
    shape = (len(padded), rows, width, kh, kw, channels)
    first = top * sh * by_row + group * channels * by_channel
    view: Array = np.ndarray(shape, padded.dtype, padded, first, strides)
    return view
