"""Layouts: moves, transposes and channel maps against the arrays themselves."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwq.ir import Layout
from hwq.lowering.layouts import (
    as_is,
    axis_in_graph,
    channel_index,
    channels_last,
    image,
    moves,
    same_order,
    transposed,
)

VIEWS = [(2, 3, 4), (6, 4), (24,), (2, 12), (3, 8), (2, 1, 3, 4), (2, 2, 3, 2), (1, 24), (4, 3, 2)]
Array = np.ndarray[Any, np.dtype[np.int64]]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    view = draw(st.sampled_from(VIEWS))
    return Layout(view, tuple(draw(st.permutations(range(len(view))))))


def words(layout: Layout) -> Array:
    return layout.index()


@given(layouts(), layouts())
def test_moves_lead_from_one_layout_to_the_other(a: Layout, b: Layout) -> None:
    x = words(a)
    for shape, axes in moves(a, b):
        x = x.reshape(shape).transpose(axes).ravel()
    assert np.array_equal(x, words(b))
    assert same_order(a, b) == np.array_equal(words(a), words(b))


@given(layouts(), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_transpose_of_the_file_moves_nothing(layout: Layout, sizes: list[int], random: Any) -> None:
    shape = tuple(sizes) if prod(sizes) == 24 else layout.view
    order = list(range(len(shape)))
    random.shuffle(order)
    turned = transposed(layout, shape, tuple(order))
    x = np.arange(24)
    if turned is not None:
        file = x.reshape(shape).transpose(order).ravel()
        assert np.array_equal(file[words(turned)], x[words(layout)])


def test_axes_of_the_usual_layouts() -> None:
    for shape in ((2, 3, 4), (2, 1, 1), (1, 1, 1)):
        for where in (channels_last(shape), as_is(shape)):
            for axis in range(3):
                found = axis_in_graph(shape, where, axis)
                assert found is not None
                assert where[0][found] == shape[axis]
    assert [axis_in_graph((5, 1), channels_last((5, 1)), a) for a in (0, 1)] == [2, 1]
    assert [axis_in_graph((1, 5), image((1, 5), last=True), a) for a in (0, 1)] == [1, 2]
    assert axis_in_graph((6,), channels_last((2, 3, 1)), 0) is None


def test_channels_that_stay_apart_are_followed() -> None:
    flat = (12,), Layout((3, 2, 2), (1, 2, 0))
    index = channel_index(channels_last((3, 2, 2)), flat)
    assert index is not None
    assert index.tolist() == [0, 1, 2] * 4
    assert channel_index(channels_last((3, 2, 2)), as_is((3, 2, 2))) is None
