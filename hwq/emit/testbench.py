"""Golden vectors and the self-checking testbench.

Random inputs alone do not see an accumulator that is one bit too narrow: golden vectors therefore
hold, for the channels of every dense and conv, the inputs that drive the sum furthest up and down,
as many as csim runs in seconds.
For a layer that the graph's input feeds directly these are exact. For deeper layers they are the
best of a seeded search (random corners, then mutations of the best), a lower bound only: that an
accumulator is wide enough rests on the proven interval, which the audit compares with the C++.
Further rows come near to each threshold. A wrong weight deep inside may be hidden by the thresholds
behind it, so csim also compares a hash of every layer's output (the RTL shows none).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hwq import sim
from hwq.errors import InputError
from hwq.ir import Graph, Node, Port, Tensor
from hwq.ops import macs
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.requant import Requant, scaled
from hwq.ops.threshold import Threshold
from hwq.ops.window import spread, windows
from hwq.probes import random_codes
from hwq.rounding import IntArray

Codes = dict[str, IntArray]

N_RANDOM = 16
_MAX_ROWS = 256
_GOLDEN_WORDS = 1 << 25
_GOLDEN_MACS = 2_000_000_000
_SEARCH_MACS = 200_000_000
_SEARCH_ROWS = 256
_SEARCH_ROUNDS = 4
_FAR = np.int64(2**62)


@dataclass(frozen=True)
class Golden:
    """Input integers, and every tensor that the graph makes of them; (rows, *shape) by tensor name."""

    inputs: Mapping[str, IntArray]
    tensors: Mapping[str, IntArray]

    @property
    def rows(self) -> int:
        """How many."""
        return len(next(iter(self.inputs.values())))


def make_golden(graph: Graph, user_codes: Mapping[str, IntArray] | None = None, seed: int = 0) -> Golden:
    """Golden inputs, and what the integer graph makes of them."""
    inputs = golden_inputs(graph, user_codes, seed)
    return Golden(inputs, sim.run(graph, inputs, trace=True))


def golden_inputs(
    graph: Graph, user_codes: Mapping[str, IntArray] | None = None, seed: int = 0, n_random: int = N_RANDOM
) -> Codes:
    """The given rows, random ones, and those that drive the sums to their ends; distinct, in this order.

    Args:
        graph: The network.
        user_codes: Integers by input tensor, int64 (N, *shape).
        seed: Of the random rows and of the search.
        n_random: How many random rows.

    Raises:
        InputError: Given codes lack an input, or do not fit it.
    """
    rng = np.random.default_rng(seed)
    parts = [check_codes(graph, user_codes)] if user_codes else []
    parts += [_draw(graph, rng, n_random), *_exact_extremes(graph), *_search(graph, rng)]
    joined = {t: np.concatenate([p[t] for p in parts]) for t in _input_names(graph)}
    given = len(next(iter(parts[0].values()))) if user_codes else 0
    return _distinct(joined, max(_row_limit(graph), given))


def check_codes(graph: Graph, codes: Mapping[str, IntArray]) -> Codes:
    """The codes as int64, after checking names, shapes, row counts and intervals."""
    checked = {}
    rows = {len(a) for a in codes.values()}
    for name in _input_names(graph):
        tensor = graph.tensors[name]
        if name not in codes or codes[name].shape[1:] != tensor.shape or len(rows) != 1:
            raise InputError(f"codes for input '{name}': give int64 (N, {', '.join(map(str, tensor.shape))})")
        array = codes[name].astype(np.int64)
        if array.size and (array.min() < tensor.type.lo or array.max() > tensor.type.hi):
            raise InputError(
                f"codes for input '{name}' leave its interval {tensor.type.lo}..{tensor.type.hi}"
            )
        checked[name] = array
    return checked


def _macs(graph: Graph) -> int:
    return max(1, sum(macs(graph, n) for n in graph.nodes))


def _row_limit(graph: Graph) -> int:
    """So many that csim takes seconds, and that all their tensors fit in memory."""
    words = sum(int(np.prod(t.shape)) for t in graph.tensors.values())
    return int(np.clip(min(_GOLDEN_MACS // _macs(graph), _GOLDEN_WORDS // words), 32, _MAX_ROWS))


def _input_names(graph: Graph) -> list[str]:
    return [p.tensor for p in graph.inputs]


def _draw(graph: Graph, rng: np.random.Generator, rows: int) -> Codes:
    """Uniform codes; the first two rows are all lowest and all highest."""
    drawn = {}
    for port in graph.inputs:
        interval = graph.tensors[port.tensor].type
        array = random_codes(graph, port, rng, rows)
        array[0:1], array[1:2] = interval.lo, interval.hi
        drawn[port.tensor] = array
    return drawn


def _corners(graph: Graph, rng: np.random.Generator, rows: int) -> Codes:
    """Every code at one end of its interval; from row to row more of them at the upper end."""
    drawn = {}
    for name in _input_names(graph):
        tensor = graph.tensors[name]
        share = np.linspace(0, 1, rows).reshape(-1, *[1] * len(tensor.shape))
        high = rng.random((rows, *tensor.shape)) < share
        drawn[name] = np.where(high, tensor.type.hi, tensor.type.lo).astype(np.int64)
    return drawn


def _distinct(codes: Codes, limit: int) -> Codes:
    flat = np.concatenate([a.reshape(len(a), -1) for a in codes.values()], axis=1)
    _, first = np.unique(flat, axis=0, return_index=True)
    kept = np.sort(first)[:limit]
    return {name: array[kept] for name, array in codes.items()}


# --- exact extremes ------------------------------------------------------------------------------


def _exact_extremes(graph: Graph) -> list[Codes]:
    """For each dense or conv on a graph input: both ends of every channel's sum, in its middle position.

    Rows of several inputs stand side by side; where one has no more, its codes are amid the interval.
    """
    found: dict[str, list[IntArray]] = {}
    for node in graph.nodes:
        source = _through_reshapes(graph, node.inputs[0])
        if source in _input_names(graph) and isinstance(node.params, (Dense, Conv)):
            ends = _ends(node, graph.tensors[node.inputs[0]])
            found.setdefault(source, []).append(ends.reshape(-1, *graph.tensors[source].shape))
    if not found:
        return []
    joined = {name: np.concatenate(ends) for name, ends in found.items()}
    count = max(map(len, joined.values()))
    rows = {}
    for port in graph.inputs:
        rows[port.tensor] = np.full((count, *graph.tensors[port.tensor].shape), _middle(graph, port))
        if port.tensor in joined:
            rows[port.tensor][: len(joined[port.tensor])] = joined[port.tensor]
    return [rows]


def _through_reshapes(graph: Graph, tensor: str) -> str:
    maker = graph.producer(tensor)
    while maker is not None and maker.op == "reshape":
        tensor = maker.inputs[0]
        maker = graph.producer(tensor)
    return tensor


def _middle(graph: Graph, port: Port) -> int:
    """A code amid the interval; a bipolar quantiser makes only its ends."""
    interval = graph.tensors[port.tensor].type
    bipolar = port.quantizer is not None and port.quantizer.bipolar
    return interval.hi if bipolar else (interval.lo + interval.hi) // 2


def _ends(node: Node, x: Tensor) -> IntArray:
    """Inputs (2 * channels, *x.shape) whose sums are each channel's largest and smallest."""
    lo, hi = np.int64(x.type.lo), np.int64(x.type.hi)
    if isinstance(node.params, Dense):
        weight = node.params.weight.T
        up = np.broadcast_to(
            weight.reshape(-1, *[1] * (len(x.shape) - 1), weight.shape[1]) > 0, (len(weight), *x.shape)
        )
        return np.concatenate([np.where(up, hi, lo), np.where(up, lo, hi)])
    return np.concatenate([_conv_ends(node.params, x, sign) for sign in (1, -1)])


def _conv_ends(params: Conv, x: Tensor, sign: int) -> IntArray:
    """(channels, *x.shape): for each output channel, its largest sum (smallest for -1) at one of its positions.

    A position reads the taps that lie inside, and not on zeros between pixels: the best one differs by channel.
    """
    index = np.arange(1, int(np.prod(x.shape)) + 1).reshape(1, *x.shape)
    spaced = spread(index, params.input_dilations)
    taps = windows(spaced, params.kernel, params.strides, params.pads, params.dilations)[0]
    taps = taps.reshape(-1, x.shape[2], *params.kernel).transpose(0, 2, 3, 1)
    per_group, c_out = params.weight.shape[2:]
    lo, hi = np.int64(x.type.lo), np.int64(x.type.hi)
    gain = np.maximum(sign * params.weight * lo, sign * params.weight * hi).sum(axis=2).reshape(-1, c_out)
    best = ((taps[..., 0] > 0).reshape(len(taps), -1).astype(np.int64) @ gain).argmax(axis=0)
    flat = np.full((c_out, index.size + 1), lo, dtype=np.int64)
    for channel in range(c_out):
        first = channel // (c_out // params.groups) * per_group
        places = taps[best[channel], ..., first : first + per_group].ravel()
        flat[channel, places] = np.where(sign * params.weight[..., channel] > 0, hi, lo).ravel()
    ends: IntArray = flat[:, 1:].reshape(c_out, *x.shape)
    return ends


# --- search for deeper layers --------------------------------------------------------------------


def _search(graph: Graph, rng: np.random.Generator) -> list[Codes]:
    """The best rows met for each channel of each deeper dense, conv or output, and for each threshold."""
    targets = _targets(graph)
    rows = int(np.clip(_SEARCH_MACS // _macs(graph) // _SEARCH_ROUNDS, 8, _SEARCH_ROWS))
    best = _select(graph, targets, _corners(graph, rng, rows))
    for _ in range(_SEARCH_ROUNDS - 1):
        children = {name: _take(array, rows) for name, array in best.items()}
        mutated = _mutate(graph, rng, children)
        best = _select(graph, targets, {n: np.concatenate([best[n], mutated[n]]) for n in best})
    return [best, _nearest_to_thresholds(graph, _draw(graph, rng, rows))]


def _nearest_to_thresholds(graph: Graph, codes: Codes) -> Codes:
    """The rows that come nearest to the steps of each requantisation, channel by channel, from above and below."""
    values = sim.run(graph, codes, trace=True)
    rows: list[int] = [0]
    for node in graph.nodes:
        x = values[node.inputs[0]].reshape(len(values[node.output]), -1, values[node.inputs[0]].shape[-1])
        for gap in _gaps(node.params, x):
            rows += np.where(gap >= 0, gap, _FAR).min(axis=1).argmin(axis=0).tolist()
            rows += np.where(gap < 0, -gap, _FAR).min(axis=1).argmin(axis=0).tolist()
    kept = list(dict.fromkeys(rows))
    return {name: array[kept] for name, array in codes.items()}


def _gaps(params: object, x: IntArray) -> Iterator[IntArray]:
    """How far values (rows, positions, channels) lie above a step of the function; below it is negative."""
    if isinstance(params, Threshold):
        yield from (x - params.thresholds[:, k] for k in range(params.thresholds.shape[1]))
    if isinstance(params, Requant) and params.shift:
        unit = 1 << params.shift
        rest = (scaled(params, x) + (unit // 2 if params.half_even else 0)) & (unit - 1)
        yield rest
        yield rest - unit
        if params.low is not None:
            yield x - params.low.pivot


def _targets(graph: Graph) -> list[str]:
    """Outputs first: rows are cut at the end."""
    outputs = [p.tensor for p in graph.outputs]
    deep = [
        n.output
        for n in reversed(graph.nodes)
        if isinstance(n.params, (Dense, Conv))
        and graph.producer(_through_reshapes(graph, n.inputs[0])) is not None
    ]
    return list(dict.fromkeys([*outputs, *deep]))


def _take(array: IntArray, rows: int) -> IntArray:
    return array[np.arange(rows) % len(array)]


def _mutate(graph: Graph, rng: np.random.Generator, codes: Codes) -> Codes:
    """One code in eight moves to an end of its interval."""
    corners = _corners(graph, rng, len(next(iter(codes.values()))))
    return {n: np.where(rng.random(a.shape) < 0.125, corners[n], a) for n, a in codes.items()}


def _select(graph: Graph, targets: list[str], codes: Codes) -> Codes:
    """The rows with the largest and the smallest value of each target channel."""
    values = sim.run(graph, codes, trace=True)
    rows: list[int] = []
    for name in targets:
        channels = values[name].reshape(len(values[name]), -1, values[name].shape[-1])
        rows += channels.max(axis=1).argmax(axis=0).tolist() + channels.min(axis=1).argmin(axis=0).tolist()
    kept = list(dict.fromkeys(rows))
    return {name: array[kept] for name, array in codes.items()}


# --- files ---------------------------------------------------------------------------------------


def rows_text(array: IntArray) -> str:
    r"""One row a line, integers separated by blanks.

    >>> rows_text(np.array([[[1, -2]], [[3, 4]]]))
    '1 -2\n3 4\n'
    """
    return "".join(" ".join(map(str, row)) + "\n" for row in array.reshape(len(array), -1).tolist())


def hashes(array: IntArray) -> IntArray:
    """FNV-1a over the 64-bit words of each row, as int64; `hwq_testbench.h` computes the same.

    >>> hashes(np.array([[0], [1]])).tolist()
    [-5808590958014384161, -5808592057526012372]
    """
    words = array.reshape(len(array), -1).astype(np.int64).view(np.uint64)
    total = np.full(len(words), 14695981039346656037, dtype=np.uint64)
    prime = np.uint64(1099511628211)
    for column in np.ascontiguousarray(words.T):
        np.bitwise_xor(total, column, out=total)
        np.multiply(total, prime, out=total)
    return total.view(np.int64)


def golden_files(graph: Graph, golden: Golden, traced: list[tuple[str, bool]]) -> dict[str, bytes]:
    """In ``tb_data/``: inputs and outputs in the order of the graph's ports, a hash of each traced tensor.

    Of a binary one, 0 and 1 are traced.
    """
    files = input_files(graph, golden.inputs)
    outputs = [golden.tensors[p.tensor] for p in graph.outputs]
    files |= {f"golden_{i}.dat": rows_text(array).encode() for i, array in enumerate(outputs)}
    layers = np.stack(
        [hashes((golden.tensors[t] + 1) // 2 if binary else golden.tensors[t]) for t, binary in traced],
        axis=1,
    )
    files["golden_layers.dat"] = rows_text(layers).encode()
    return {f"tb_data/{name}": content for name, content in files.items()}


def input_files(graph: Graph, codes: Mapping[str, IntArray]) -> dict[str, bytes]:
    """``in_<i>.dat`` of every input."""
    return {f"in_{i}.dat": rows_text(codes[p.tensor]).encode() for i, p in enumerate(graph.inputs)}
