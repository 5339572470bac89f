"""Exact 3x3 convolution by Winograd's F(2x2, 3x3): 16 products for 4 results instead of 36.

The weights' transform is in quarters, so every number is an integer of quarters; all that the transforms compute is
a linear function of one input patch, whose range is known from the weights, and this range is the proof.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, sec. 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import ceil

import numpy as np

from hwq.ir import IntType, Tensor
from hwq.ops.conv import Conv
from hwq.rounding import FloatArray
from hwq.sim.activations import Activation
from hwq.sim.packing import Packing, best, cost, pack, scratch, unpack
from hwq.sim.products import Kernel, Strips, magnitude
from hwq.sim.products import conv as conv_directly
from hwq.sim.step import Array

_B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice the paper's."""
_BLOCK_BYTES = 2**20
_PROOF_ELEMENTS = 2**21
_FEW_TILES = 16
_MOVES = 6
"""Elementwise operations cost as many multiplications of a matrix product."""


def conv(
    params: Conv, source: Tensor, out: Tensor, act: Activation, *, pooled: bool = False
) -> Kernel | None:
    """A 3x3 convolution of stride 1, or None where this is impossible or no gain.

    Args:
        params: The convolution.
        source: What it reads.
        out: Its accumulators.
        act: What is made of them.
        pooled: Take the largest of each 2x2 pixels too: of each tile.
    """
    weight = params.weight
    kh, kw, c_in, c_out = weight.shape
    plain = (params.strides, params.dilations, params.input_dilations, params.groups)
    if (kh, kw) != (3, 3) or plain != ((1, 1), (1, 1), (1, 1), 1) or min(c_in, c_out) < 8:
        return None
    result = magnitude(weight.reshape(-1, c_out), source.type)
    direct = best(result, result, 9 * c_in)
    usual = (
        out.shape[0] * out.shape[1] * (c_out * cost(direct, 9 * c_in) + _MOVES * 9 * c_in / direct.samples)
    )
    hoped = Packing(np.dtype(np.float32), direct.samples)
    if result * 4 > 2**24 or _cost(params, out, hoped) > usual:
        return None
    packing = _packing(params, source.type, result)
    if packing.dtype != np.float32 or _cost(params, out, packing) > usual:
        return None
    kernel = _Winograd(params, out, act, packing, pooled=pooled)
    one = _one_image(kernel, params, source, out)

    def run(x: Array) -> Array:
        return one(x) if len(x) == 1 else kernel.run(x)

    return Kernel(run, f"Winograd{' and pool' if pooled else ''}, {packing}", result)


def _one_image(kernel: _Winograd, params: Conv, source: Tensor, out: Tensor) -> Callable[[Array], Array]:
    """In strips that share numbers; directly if a product has so few rows that weights cost more than work."""
    samples, (rows, columns) = kernel.packing.samples, kernel.tiles
    if rows * columns < _FEW_TILES * samples:
        direct = conv_directly(params, source, out, kernel.act).run
        return (lambda x: _largest_of_tiles(direct(x))) if kernel.pooled else direct
    strips = Strips(min(samples, rows), kernel.height, params, multiple=2)
    if strips.count == 1:
        return kernel.run
    strip = copy(kernel)
    strip.lay_out(strips.rows, kernel.width, (0, params.pads[1], 0, params.pads[3]))
    height = kernel.height // 2 if kernel.pooled else kernel.height
    return lambda x: strips.join(strip.run(strips.split(x, params.pads[0])), height)


def _largest_of_tiles(y: Array) -> Array:
    height, width = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
    pairs = np.maximum(y[:, :height:2, :width], y[:, 1:height:2, :width])
    return np.maximum(pairs[:, :, ::2], pairs[:, :, 1::2])


def _cost(params: Conv, out: Tensor, packing: Packing) -> float:
    """Of one sample, in multiplications of a matrix product."""
    c_in, c_out = params.weight.shape[2:]
    tiles = -(-out.shape[0] // 2) * -(-out.shape[1] // 2)
    moves = _MOVES * (48 * c_in + 28 * c_out) / packing.samples
    return float(tiles * (4 * c_out * cost(packing, 4 * c_in) + moves))


def _transformed(weight: Array) -> Array:
    """(3, 3, c_in, c_out) -> (4, 4, c_in, c_out), times 4."""
    rows = np.tensordot(_G.astype(weight.dtype), weight, (1, 0))
    return np.asarray(np.tensordot(_G.astype(weight.dtype), rows, (1, 1)).swapaxes(0, 1))


def _functionals() -> FloatArray:
    """(functions, 4, 4): everything that is made of the 16 products, and its partial sums."""
    unit = np.eye(16).reshape(4, 4, 4, 4)  # [row, column] of the product
    columns = [_partials([unit[i, j] for j in range(4)]) for i in range(4)]
    ends = [_partials([c[end] for c in columns]) for end in (1, 3)]
    everything = [*unit.reshape(16, 4, 4), *(f for c in columns for f in c), *(f for e in ends for f in e)]
    return np.stack(everything)


def _partials(m: list[FloatArray]) -> list[FloatArray]:
    """What `_Winograd` adds up, in its order."""
    return [m[1] + m[2], m[0] + m[1] + m[2], m[1] - m[2], m[1] - m[2] - m[3]]


def _packing(params: Conv, interval: IntType, result: int) -> Packing:
    """The bound of every intermediate, in quarters, over inputs of the interval and zero padding.

    A function's positive coefficients sum to half of what all magnitudes and all coefficients sum to.
    """
    u = _transformed(params.weight.astype(np.float32)).reshape(16, *params.weight.shape[2:])
    functions = _functionals()
    basis = np.einsum("fuv,ui,vj->fijuv", functions, _B, _B).reshape(-1, 16)
    total = basis.reshape(len(functions), 16, 16).sum(axis=1) @ u.sum(axis=1, dtype=np.float64)
    size = np.empty_like(total)
    at_once = max(1, _PROOF_ELEMENTS // (len(basis) * u.shape[1]))
    for o in range(0, u.shape[2], at_once):
        coefficients = basis.astype(np.float32) @ u[:, :, o : o + at_once].reshape(16, -1)
        np.abs(coefficients, out=coefficients)
        sums = coefficients.reshape(len(functions), 16 * u.shape[1], -1).sum(axis=1)
        size[:, o : o + at_once] = sums * (1 + 2.0**-16)  # more than float32 sums are off
    positive, negative = (size + total) / 2, (size - total) / 2
    lo, hi = min(interval.lo, 0), max(interval.hi, 0)
    up, down = hi * positive - lo * negative, hi * negative - lo * positive
    worst = max(float(up.max()), float(down.max()), 16.0 * max(hi, -lo))
    return best(result, ceil(worst), 4 * u.shape[1], scale=4, most=24)


class _Winograd:
    """The kernel: buffers of (packed images, tile rows, tile columns, channels), even and odd columns apart."""

    def __init__(
        self, params: Conv, out: Tensor, act: Activation, packing: Packing, *, pooled: bool = False
    ) -> None:
        self.act, self.packing, self.pooled = act, packing, pooled
        self.c_out = out.shape[2]
        self.c_in = params.weight.shape[2]
        u = _transformed(params.weight.astype(np.float32)) / 4
        self.weight = np.ascontiguousarray(u.reshape(16, self.c_in, self.c_out).astype(np.float32))
        self.lay_out(out.shape[0], out.shape[1], params.pads)

    def lay_out(self, height: int, width: int, pads: tuple[int, int, int, int]) -> None:
        """For results of another size."""
        self.height, self.width, self.pads = height, width, pads
        self.tiles = (-(-height // 2), -(-width // 2))
        tile = 16 * 4 * max(self.c_in, self.c_out)
        at_once = max(1, _BLOCK_BYTES // tile)
        self.strip = min(self.tiles[0], max(1, at_once // self.tiles[1]))
        self.images = max(1, at_once // (self.tiles[0] * self.tiles[1]))

    def run(self, x: Array) -> Array:
        """(N, H, W, c_in) -> (N, height, width, c_out)."""
        size = (self.height // 2, self.width // 2) if self.pooled else (self.height, self.width)
        y = np.empty((len(x), *size, self.c_out), dtype=self.act.dtype)
        step = self.images * self.packing.samples
        for i in range(0, len(x), step):
            part = x[i : i + step]
            padded, count = self._padded(part)
            for top in range(0, self.tiles[0], self.strip):
                rows = min(self.strip, self.tiles[0] - top)
                products = self._products(padded[:, top : top + rows + 1], rows)
                results = self._results(products)
                self._finish(results, count, y[i : i + len(part)], top)
        return y

    def _padded(self, x: Array) -> tuple[Array, int]:
        """Packed images (n, tile rows + 1, 2, 2, tile columns + 1, c_in): even and odd rows, even and odd columns."""
        (rows, columns), (top, left) = self.tiles, self.pads[:2]
        n, h, w, c = x.shape
        shape = (-(-n // self.packing.samples), rows + 1, 2, 2, columns + 1, c)
        out = scratch.get("padded", shape, np.float32)
        image = out.transpose(0, 1, 2, 4, 3, 5)  # (n, row pair, row, column pair, column, c)
        plain = scratch.get("plain", (len(out), 2 * rows + 2, 2 * columns + 2, c), np.float32)
        plain[:, :top] = plain[:, top + h :] = 0
        plain[:, :, :left] = plain[:, :, left + w :] = 0
        count = pack(x, plain[:, top : top + h, left : left + w], self.packing)
        image[...] = plain.reshape(len(out), rows + 1, 2, columns + 1, 2, c)
        return out, count

    def _products(self, padded: Array, rows: int) -> Array:
        """(16, n, rows, columns, c_out)."""
        n, columns, c = len(padded), self.tiles[1], self.c_in
        even, odd = padded[:, :, 0], padded[:, :, 1]
        t = scratch.get("rows", (4, n, rows, 2, columns + 1, c), np.float32)
        _transform(even[:, :rows], odd[:, :rows], even[:, 1:], odd[:, 1:], t)
        v = scratch.get("patches", (4, 4, n, rows, columns, c), np.float32)
        even, odd = t[:, :, :, 0], t[:, :, :, 1]
        near, far = slice(0, columns), slice(1, columns + 1)
        by_column = v.transpose(1, 0, 2, 3, 4, 5)
        _transform(even[..., near, :], odd[..., near, :], even[..., far, :], odd[..., far, :], by_column)
        products = scratch.get("product", (16, n * rows * columns, self.c_out), np.float32)
        np.matmul(v.reshape(16, -1, c), self.weight, out=products)
        return products.reshape(4, 4, n, rows, columns, self.c_out)

    def _results(self, m: Array) -> Array:
        """(2, 2, n, rows, columns, c_out): the pixels of each tile."""
        z = scratch.get("columns", (2, *m.shape[:1], *m.shape[2:]), np.float32)
        _combine(m[:, 0], m[:, 1], m[:, 2], m[:, 3], z)
        y = scratch.get("results", (2, *z.shape[:1], *z.shape[2:]), np.float32)
        _combine(z[:, 0], z[:, 1], z[:, 2], z[:, 3], y)
        return y

    def _finish(self, results: Array, count: int, out: Array, top: int) -> None:
        """Requantise, and put each tile's pixels, or the largest, in their place; the last row or column may be cut."""
        n, rows = results.shape[2:4]
        codes = scratch.get("tile codes", results.shape, self.act.dtype)
        for i, values in enumerate(unpack(results.reshape(-1, self.c_out), count, self.packing)):
            self.act.requantise(values, codes.reshape(-1, self.c_out))
            if self.pooled:
                largest = np.maximum(codes[0], codes[1], out=codes[0])
                target = out[i * n : (i + 1) * n, top : top + rows]
                largest = np.maximum(largest[0], largest[1], out=largest[0])
                target[...] = largest[: len(target), : target.shape[1], : target.shape[2]]
                continue
            target = out[i * n : (i + 1) * n, 2 * top : 2 * (top + rows)]
            for a, b in np.ndindex(2, 2):
                pixels = target[:, a::2, b::2]
                pixels[...] = codes[a, b, : len(target), : pixels.shape[1], : pixels.shape[2]]


def _transform(d0: Array, d1: Array, d2: Array, d3: Array, out: Array) -> None:
    """B transposed, along one axis."""
    np.subtract(d0, d2, out=out[0])
    np.add(d1, d2, out=out[1])
    np.subtract(d2, d1, out=out[2])
    np.subtract(d1, d3, out=out[3])


def _combine(m0: Array, m1: Array, m2: Array, m3: Array, out: Array) -> None:
    """A transposed, along one axis."""
    np.add(m1, m2, out=out[0])
    np.add(out[0], m0, out=out[0])
    np.subtract(m1, m2, out=out[1])
    np.subtract(out[1], m3, out=out[1])
