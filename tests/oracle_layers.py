"""Convolutions, pools and resizing of the oracle, in any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Attributes = dict[str, Any]


def _inner(index: Sequence[Any]) -> tuple[Any, ...]:
    """An index of the dimensions after the first two."""
    return (slice(None), slice(None), *index)


def pads_of(sizes: list[int], kernel: list[int], a: Attributes) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial dimension; auto_pad SAME gives ceil(size / stride) outputs."""
    rank, mode = len(sizes), a.get("auto_pad", "NOTSET")
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    if mode == "NOTSET":
        pads = list(a.get("pads", [0] * 2 * rank))
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    before, after = [], []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((ceil(Fraction(n, s)) - 1) * s + d * (k - 1) + 1 - n, 0)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return before, after


def pad(x: Array, widths: list[tuple[int, int]], value: Any) -> Array:
    """np.pad would make machine integers of Python's."""
    y = np.full([n + b + e for n, (b, e) in zip(x.shape, widths, strict=True)], value, dtype=object)
    y[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, widths, strict=True))] = x
    return y


def conv(x: Array, w: Array, a: Attributes) -> Array:
    """(N, C, ...) and (O, C / groups, ...), summed one kernel position at a time."""
    kernel, rank = list(w.shape[2:]), x.ndim - 2
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    groups = a.get("group", 1)
    before, after = pads_of(list(x.shape[2:]), kernel, a)
    widths = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    padded = pad(x, widths, x.reshape(-1)[0] * 0)
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
    ]
    parts = []
    for xg, wg in zip(np.split(padded, groups, axis=1), np.split(w, groups), strict=True):
        total: Any = 0
        for position in np.ndindex(*kernel):
            window = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(position, dilations, sizes, strides, strict=True)
            )
            product = np.tensordot(wg[_inner(position)], xg[_inner(window)], axes=(1, 1))
            total = total + product
        parts.append(np.moveaxis(total, 0, 1))
    return np.concatenate(parts, axis=1)


def conv_transpose(x: Array, w: Array, a: Attributes) -> Array:
    """(N, C, ...) and (C, O / groups, ...): every input adds its multiple of the kernel to the output."""
    assert "output_shape" not in a
    assert a.get("auto_pad", "NOTSET") == "NOTSET"
    kernel, rank = list(w.shape[2:]), x.ndim - 2
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    extra, pads = a.get("output_padding", [0] * rank), a.get("pads", [0] * 2 * rank)
    groups, sizes = a.get("group", 1), x.shape[2:]
    full = [
        s * (n - 1) + d * (k - 1) + 1 + e
        for n, k, s, d, e in zip(sizes, kernel, strides, dilations, extra, strict=True)
    ]
    parts = []
    for xg, wg in zip(np.split(x, groups, axis=1), np.split(w, groups), strict=True):
        total = np.full((len(x), w.shape[1], *full), x.reshape(-1)[0] * 0, dtype=object)
        for position in np.ndindex(*kernel):
            window = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(position, dilations, sizes, strides, strict=True)
            )
            product = np.tensordot(wg[_inner(position)], xg, axes=(0, 1))
            total[_inner(window)] += np.moveaxis(product, 0, 1)
        parts.append(total)
    y = np.concatenate(parts, axis=1)
    crop = tuple(slice(b, n - e) for b, e, n in zip(pads[:rank], pads[rank:], full, strict=True))
    return np.asarray(y[_inner(crop)])


def _windows(x: Array, a: Attributes) -> tuple[list[int], list[list[list[int]]]]:
    """Output sizes, and for each spatial dimension and output the positions that its window covers."""
    kernel, rank = list(a["kernel_shape"]), x.ndim - 2
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    before, after = pads_of(list(x.shape[2:]), kernel, a)
    covered = []
    for n, k, s, d, b, e in zip(x.shape[2:], kernel, strides, dilations, before, after, strict=True):
        steps = Fraction(n + b + e - d * (k - 1) - 1, s)
        size = (ceil(steps) if a.get("ceil_mode") else floor(steps)) + 1
        if a.get("ceil_mode") and (size - 1) * s >= n + b:
            size -= 1  # no window starts in the padding after the last element
        covered.append([[i * s - b + p * d for p in range(k)] for i in range(size)])
    return [len(c) for c in covered], covered


def max_pool(x: Array, a: Attributes) -> Array:
    """Padding takes no part."""
    sizes, covered = _windows(x, a)
    y = np.empty((*x.shape[:2], *sizes), dtype=object)
    for at in np.ndindex(*sizes):
        inside = [[p for p in covered[i][at[i]] if 0 <= p < n] for i, n in enumerate(x.shape[2:])]
        part = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *inside)]
        y[_inner(at)] = np.max(part.reshape(*x.shape[:2], -1), axis=2)
    return y


def average_pool(x: Array, a: Attributes) -> Array:
    """The mean over the window's elements; padding counts as zeros only with count_include_pad."""
    assert not a.get("ceil_mode")
    sizes, covered = _windows(x, a)
    y = np.empty((*x.shape[:2], *sizes), dtype=object)
    for at in np.ndindex(*sizes):
        inside = [[p for p in covered[i][at[i]] if 0 <= p < n] for i, n in enumerate(x.shape[2:])]
        part = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *inside)].reshape(*x.shape[:2], -1)
        count = prod(a["kernel_shape"]) if a.get("count_include_pad") else part.shape[2]
        y[_inner(at)] = np.sum(part, axis=2) * Fraction(1, count)
    return y


def resize(x: Array, scales: list[Fraction], coordinates: str, mode: str, nearest: str) -> Array:
    """Nearest neighbours, axis by axis."""
    assert mode == "nearest"
    for axis, scale in enumerate(scales):
        n = x.shape[axis]
        sources = []
        for i in range(floor(n * scale)):
            at = {
                "asymmetric": i / scale,
                "half_pixel": (i + Fraction(1, 2)) / scale - Fraction(1, 2),
            }[coordinates]
            source = {"floor": floor(at), "round_prefer_floor": ceil(at - Fraction(1, 2))}[nearest]
            sources.append(min(max(source, 0), n - 1))
        x = np.take(x, sources, axis=axis)
    return x
