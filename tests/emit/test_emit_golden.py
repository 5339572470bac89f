"""Golden inputs drive every first-layer sum to its proven ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hwq.emit.testbench import golden_inputs
from hwq.errors import InputError
from hwq.ir import Graph
from hwq.ops.conv import Conv, channel_bounds
from hwq.ops.dense import Dense
from hwq.ops.reshape import Reshape
from hwq.ops.spec import product_bounds
from hwq.sim import reference
from tests.emit.emit_graphs import Net, conv_net, dense_net, mixed_net


def grouped_net() -> Graph:
    net = Net(7)
    x = net.input((4, 5, 4), -2, 1)
    return net.graph(net.add(Conv(net.weights((3, 2, 2, 6), -3, 3), groups=2), x))


def flattened_net() -> Graph:
    net = Net(8)
    return net.graph(net.dense(net.add(Reshape((12,)), net.input((2, 2, 3), -2, 1)), 4))


def transposed_net() -> Graph:
    """At different positions different taps read pixels, so channels have their extremes at different ones."""
    net = Net(9)
    weight = net.weights((3, 3, 2, 5), -4, 4)
    return net.graph(net.add(Conv(weight, input_dilations=(2, 2)), net.input((4, 4, 2), -8, 3)))


def test_transposed_convolutions_reach_both_proven_ends_of_every_channel() -> None:
    graph = transposed_net()
    node = graph.nodes[0]
    values = reference.run(graph, golden_inputs(graph))[node.output]
    lo, hi = channel_bounds(node.params, graph.tensors[node.inputs[0]].type)
    values = values.reshape(-1, values.shape[-1])
    assert np.array_equal(values.min(axis=0), lo)
    assert np.array_equal(values.max(axis=0), hi)


@pytest.mark.parametrize("net", [dense_net, conv_net, grouped_net, flattened_net])
def test_first_layer_reaches_both_proven_ends_of_every_channel(net: Callable[[], Graph]) -> None:
    graph = net()
    node = next(n for n in graph.nodes if isinstance(n.params, (Dense, Conv)))
    values = reference.run(graph, golden_inputs(graph))[node.output]
    values = values.reshape(-1, values.shape[-1])
    x = graph.tensors[node.inputs[0]].type
    if isinstance(node.params, Dense):
        lo, hi = product_bounds(node.params.weight, x)
    else:
        unpadded = Conv(node.params.weight, groups=node.params.groups)
        lo, hi = channel_bounds(unpadded, x)
    assert np.array_equal(values.min(axis=0), lo)
    assert np.array_equal(values.max(axis=0), hi)


def test_rows_are_distinct_in_their_interval_and_repeatable() -> None:
    graph = mixed_net()
    codes = golden_inputs(graph)
    again = golden_inputs(graph)
    flat = np.concatenate([a.reshape(len(a), -1) for a in codes.values()], axis=1)
    assert len(np.unique(flat, axis=0)) == len(flat)
    for name, array in codes.items():
        kind = graph.tensors[name].type
        assert kind.lo == array.min()
        assert kind.hi == array.max()
        assert np.array_equal(array, again[name])


def test_given_codes_are_all_kept() -> None:
    given = np.random.default_rng(0).integers(-8, 8, (400, 40))
    kept = golden_inputs(dense_net(), {"x0": given})["x0"]
    assert np.array_equal(kept, given)


def test_codes_beyond_the_interval_are_refused() -> None:
    with pytest.raises(InputError, match=r"codes for input 'x0' leave its interval -8..7"):
        golden_inputs(dense_net(), {"x0": np.full((1, 40), 8)})
