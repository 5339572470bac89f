"""How tensors of the file lie in the graph: the usual layouts, and the moves from one to another."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import prod
from operator import mul

import numpy as np

from hwq.ir import Layout
from hwq.rounding import IntArray

Shape = tuple[int, ...]
Placed = tuple[Shape, Layout]
"""The shape of a tensor in the graph, and its layout."""


def as_is(shape: Shape) -> Placed:
    """In the file's own order."""
    return shape, Layout(shape, tuple(range(len(shape))))


def channels_last(shape: Shape) -> Placed:
    """Channels of a file tensor (C, ...) go last; a signal (C, L) is an image of height one.

    >>> channels_last((3, 5))
    ((1, 5, 3), Layout(view=(3, 1, 5), axes=(1, 2, 0)))
    """
    if len(shape) < 2:
        return as_is(shape)
    view = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
    axes = (*range(1, len(view)), 0)
    return tuple(view[a] for a in axes), Layout(view, axes)


def image(shape: Shape, *, last: bool) -> Placed:
    """(height, width, channels) of a file tensor whose channels are the first axis, or the `last`."""
    if not last:
        return channels_last(shape)
    return as_is((1, *shape) if len(shape) == 2 else shape)


def transposed(layout: Layout, shape: Shape, permutation: Shape) -> Layout | None:
    """The layout of a file tensor of `shape` after a file transpose, the graph tensor staying as it is.

    None if the axes of the file are not to be told apart in the graph.
    """
    fine = _refine(layout.view, shape)
    if fine is None:
        return None
    parts = _parts(shape, fine)
    order = [i for p in permutation for i in parts[p]]
    return Layout(tuple(fine[i] for i in order), tuple(order.index(i) for i in _split(layout, fine)))


def composed(first: Layout, second: Layout) -> Layout | None:
    """One layout that does what two do in turn; None if their axes do not correspond."""
    between = tuple(first.view[a] for a in first.axes)
    fine = _refine(between, second.view)
    if fine is None:
        return None
    parts = _parts(between, fine)
    order = [i for a in np.argsort(first.axes) for i in parts[a]]
    return Layout(tuple(fine[i] for i in order), tuple(order.index(i) for i in _split(second, fine)))


def same_order(a: Layout, b: Layout) -> bool:
    """Whether the words of the graph's tensor come in the same order."""
    return _normal(a) == _normal(b)


def _normal(layout: Layout) -> tuple[Shape, Shape]:
    """View and axes with axes of size one dropped and neighbours that stay neighbours merged."""
    kept = [i for i, size in enumerate(layout.view) if size > 1]
    axes = [kept.index(a) for a in layout.axes if a in kept]
    sizes = [layout.view[i] for i in kept]
    runs: list[list[int]] = []
    for a in axes:
        if runs and a == runs[-1][-1] + 1:
            runs[-1].append(a)
        else:
            runs.append([a])
    order = sorted(runs)
    return tuple(prod(sizes[a] for a in run) for run in order), tuple(order.index(run) for run in runs)


def moves(source: Layout, target: Layout) -> list[tuple[Shape, Shape]]:
    """(shape, axes) of the transposes, each of a tensor reshaped to `shape` first, that lead from one to the other."""
    if same_order(source, target):
        return []
    fine = _refine(source.view, target.view)
    if fine is None:
        return moves(source, as_is(source.view)[1]) + moves(as_is(target.view)[1], target)
    a, b = _split(source, fine), _split(target, fine)
    return [(tuple(fine[i] for i in a), tuple(a.index(i) for i in b))]


def _refine(a: Shape, b: Shape) -> Shape | None:
    """The coarsest view that both views are merges of, if there is one."""
    cuts = sorted({*accumulate(reversed(a), mul), *accumulate(reversed(b), mul), 1})
    if any(high % low for low, high in pairwise(cuts)):
        return None
    return tuple(high // low for low, high in pairwise(cuts))[::-1]


def _parts(shape: Shape, fine: Shape) -> list[range]:
    """For each axis the axes of a finer view (which has none of size one)."""
    parts, i = [], 0
    for size in shape:
        start, left = i, size
        while left > 1:
            left //= fine[i]
            i += 1
        parts.append(range(start, i))
    return parts


def _split(layout: Layout, fine: Shape) -> list[int]:
    """The axes of a layout in terms of a finer view."""
    parts = _parts(layout.view, fine)
    return [i for a in layout.axes for i in parts[a]]


def axis_in_graph(shape: Shape, where: Placed, axis: int) -> int | None:
    """The axis of the graph's tensor that is an axis of the file's; None in an unusual layout."""
    layout = where[1]
    if tuple(layout.view[a] for a in layout.axes) != where[0]:
        return None
    if layout.view == shape:
        return layout.axes.index(axis)
    if where == channels_last(shape):
        return layout.axes.index(2 * axis)
    return axis + 1 if where == image(shape, last=True) else None


def channel_index(source: Placed, target: Placed) -> IntArray | None:
    """For each channel (last axis) of the target the channel of the source it holds; None if it holds several."""
    shape, layout = source
    channel = np.broadcast_to(np.arange(shape[-1], dtype=np.int64), shape)
    moved = target[1].to_graph(layout.to_file(channel[None], (prod(shape),)), target[0])
    rows = moved.reshape(-1, target[0][-1])
    return rows[0].copy() if (rows == rows[0]).all() else None
