"""Flows say what the loops do; runs, depths and deadlocks agree with plainer computations."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from hwq.emit import dataflow, generate
from hwq.emit.dataflow import Deadlock, Fifo, Network, Process
from hwq.emit.flow import Flow, copies, flow_of, gather
from hwq.emit.plan import Plan, make_plan
from hwq.hardware import SHIFT_REGISTER_PIXELS, FifoDepths, Io, Strategy
from hwq.ir import Graph
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.max_pool import MaxPool
from hwq.ops.reshape import Reshape
from hwq.rounding import IntArray
from tests.emit.emit_graphs import (
    RNG,
    Net,
    all_ops,
    binary_net,
    config,
    conv_net,
    high_reuse,
    mixed_net,
    more_ops,
)

GRAPHS = [all_ops, more_ops, binary_net, mixed_net]


def residual_net() -> Graph:
    """Two blocks: one joins its input, one a strided projection of it."""
    net = Net(11)
    x = net.input((10, 9, 2), -8, 7)
    x = net.threshold(net.conv(x, 4, pads=(1, 1, 1, 1)), 4)
    for stride in (1, 2):
        a = net.threshold(net.conv(x, 4, strides=(stride, stride), pads=(1, 1, 1, 1)), 4)
        a = net.requant(net.conv(a, 4, pads=(1, 1, 1, 1)), 0, 15, half_even=True)
        b = x
        if stride > 1:
            b = net.requant(net.conv(x, 4, kernel=1, strides=(2, 2)), 0, 15, half_even=True)
        x = net.requant(net.sum(a, b), 0, 15, half_even=True)
    x = net.add(MaxPool((2, 2), (2, 2)), x)
    return net.graph(net.dense(net.add(Reshape((16,)), x), 5), name="residual")


def plan_of(graph: Graph, *, high: bool = False) -> Plan:
    hardware = config(graph, Io.STREAM, Strategy.RESOURCE if high else Strategy.LATENCY)
    return make_plan(graph, high_reuse(graph, hardware) if high else hardware)


# --- flows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", GRAPHS)
def test_every_pixel_is_read_and_written(net: object) -> None:
    made = dataflow.network(plan_of(net()))  # type: ignore[operator]
    for fifo in made.fifos:
        source, sink = made.processes[fifo.source], made.processes[fifo.sink]
        place = sink.inputs.index(made.fifos.index(fifo))
        assert source.flow.writes.sum() == fifo.pixels == sink.flow.reads[:, place].sum(), fifo


def single(graph: Graph) -> list[int]:
    """Nodes that are one layer of their own and read whole pixels."""
    plan = plan_of(graph)
    names = [p.node.name for p in plan.layers if p.node]
    return [
        i
        for i, n in enumerate(graph.nodes)
        if names.count(n.name) == 1
        and n.op not in ("reshape", "dense")
        and len(set(n.inputs)) == len(n.inputs)
        and all(t in {p.tensor for p in graph.inputs} for t in n.inputs)
    ]


@pytest.mark.parametrize(("net", "index"), [(net, i) for net in (all_ops, more_ops) for i in single(net())])
def test_nothing_is_written_before_it_is_known(net: object, index: int) -> None:
    """Pixels that a layer has not read yet cannot change those that it has written."""
    graph: Graph = net()  # type: ignore[operator]
    node = graph.nodes[index]
    tensors = [graph.tensors[t] for t in node.inputs]
    layer = next(p.layer for p in plan_of(graph).layers if p.node is node)
    counts = tuple(int(np.prod(t.shape[:-1])) for t in tensors)
    padded = layer.class_name == "Conv2D" and any(
        layer.attributes[f"pad_{s}"] for s in ("top", "left", "bottom")
    )
    if padded or (layer.class_name == "Conv2D" and layer.attributes["pad_right"]):
        pytest.skip("its padding is a process of its own")
    flow = flow_of(layer, counts, reuse=1, resource=False)
    rng = RNG(index)
    first, second = ([rng.integers(t.type.lo, t.type.hi + 1, (1, *t.shape)) for t in tensors] for _ in "ab")
    places = np.flatnonzero(flow.writes)
    for cut in {int(places[0]), int(places[len(places) // 2]), int(places[-1])}:
        read = flow.reads[: cut + 1].sum(axis=0)
        mixed = [_mix(a, b, int(n)) for a, b, n in zip(first, second, read, strict=True)]
        known = int(flow.writes[: cut + 1].sum())
        want, got = (_pixels(OPS[node.op].run(node.params, *x))[:known] for x in (first, mixed))
        assert np.array_equal(want, got), (node.op, cut)


def _pixels(array: IntArray) -> IntArray:
    pixels: IntArray = array.reshape(-1, array.shape[-1])
    return pixels


def _mix(read: IntArray, unread: IntArray, count: int) -> IntArray:
    mixed = _pixels(read).copy()
    mixed[count:] = _pixels(unread)[count:]
    whole: IntArray = mixed.reshape(read.shape)
    return whole


# --- runs ----------------------------------------------------------------------------------------


def drawn(seed: int) -> tuple[Network, list[int]]:
    """A source, two branches of random flows, a join; and random depths."""
    rng = RNG(seed)
    pixels = int(rng.integers(3, 12))
    processes = [_process("source", [copies(pixels)], [None])]
    fifos: list[Fifo] = []

    def connect(source: int, sink: int, count: int) -> int:
        fifos.append(Fifo(source, sink, (f"p{sink}", len(fifos)), count, 4))
        made = len(fifos) - 1
        writer = processes[source]
        processes[source] = replace(writer, outputs=(*writer.outputs, made))
        return made

    ends = []
    for branch in "ab":
        source = 0
        for k in range(int(rng.integers(1, 4))):
            needed = np.sort(rng.integers(0, pixels + 1, pixels))
            flow = gather(np.maximum(needed, 1), pixels, int(rng.integers(1, 4)), int(rng.integers(1, 5)))
            processes.append(_process(f"{branch}{k}", [flow], [connect(source, len(processes), pixels)]))
            source = len(processes) - 1
        ends.append(source)
    both = np.ones(pixels, dtype=bool)
    join = Flow(np.stack([both, both], axis=1), both, np.ones(pixels, dtype=np.int64), 2)
    inputs = tuple(connect(end, len(processes), pixels) for end in ends)
    processes.append(Process("join", join, inputs, (), is_output=True))
    return Network(tuple(processes), tuple(fifos)), rng.integers(1, 6, len(fifos)).tolist()


def _process(name: str, flows: list[Flow], inputs: list[int | None]) -> Process:
    return Process(name, flows[0], tuple(inputs), ())


def relaxed(network: Network, depths: list[int], images: int) -> list[IntArray] | None:
    """Earliest starts by relaxing every constraint until none moves; None if they grow without end."""
    tables = []
    for p in network.processes:
        flow = p.flow
        reads = [np.flatnonzero(np.tile(flow.reads[:, i], images)) for i in range(flow.reads.shape[1])]
        tables.append((reads, np.flatnonzero(np.tile(flow.writes, images)), np.tile(flow.cycles, images)))
    starts = [np.zeros(len(t[2]), dtype=np.int64) for t in tables]
    limit = 100 * sum(int(t[2].sum()) for t in tables)
    while True:
        before = [s.copy() for s in starts]
        for (_, _, cycles), s in zip(tables, starts, strict=True):
            for t in range(1, len(s)):
                s[t] = max(s[t], s[t - 1] + cycles[t - 1])
        for number, fifo in enumerate(network.fifos):
            source, sink = network.processes[fifo.source], network.processes[fifo.sink]
            write = tables[fifo.source][1]
            read = tables[fifo.sink][0][sink.inputs.index(number)]
            late = source.flow.latency
            for k, (w, r) in enumerate(zip(write, read, strict=True)):
                starts[fifo.sink][r] = max(starts[fifo.sink][r], starts[fifo.source][w] + late + 1)
                if k >= depths[number]:
                    taken = starts[fifo.sink][read[k - depths[number]]]
                    starts[fifo.source][w] = max(starts[fifo.source][w], taken + 1 - late)
        if all(np.array_equal(a, b) for a, b in zip(before, starts, strict=True)):
            return starts
        if max(int(s[-1]) for s in starts) > limit:
            return None


@pytest.mark.parametrize("seed", range(60))
def test_runs_agree_with_relaxed_constraints(seed: int) -> None:
    network, depths = drawn(seed)
    want = relaxed(network, depths, 2)
    made = dataflow.bounded(network, depths, 2)
    assert isinstance(made, Deadlock) == (want is None)
    if want is not None and not isinstance(made, Deadlock):
        assert all(np.array_equal(a, b) for a, b in zip(made.starts, want, strict=True))


def test_random_networks_deadlock_and_do_not() -> None:
    verdicts = {isinstance(dataflow.bounded(*drawn(seed), 2), Deadlock) for seed in range(60)}
    assert verdicts == {True, False}


@pytest.mark.parametrize("seed", range(30))
def test_unbounded_is_bounded_by_whole_tensors(seed: int) -> None:
    network, _ = drawn(seed)
    whole = [3 * f.pixels for f in network.fifos]
    made = dataflow.bounded(network, whole)
    free = dataflow.unbounded(network)
    assert not isinstance(made, Deadlock)
    assert (made.latency_cycles, made.ii_cycles) == (free.latency_cycles, free.ii_cycles)


# --- stalling pipelines --------------------------------------------------------------------------


class Stepped:
    """A pipeline cycle by cycle: in each its clock goes on by one, or nothing of it does."""

    def __init__(self, process: Process, images: int, latency: int) -> None:
        flow, self.clock, self.process = process.flow, 0, process
        self.starts = np.cumsum(flow.cycles) - flow.cycles
        self.latency, self.flow, self.images = latency, flow, images
        self.period = max(int(flow.cycles.sum()), int(self.starts[-1]) + latency + 1)
        self.last_writes: list[int] = []

    def wanted(self) -> tuple[list[int], list[int]]:
        """FIFOs to read and to write in this cycle."""
        tick = self.clock % self.period
        reads = [
            f
            for s in np.flatnonzero(self.starts == tick)
            for f, r in zip(self.process.inputs, self.flow.reads[s], strict=True)
            if r and f is not None
        ]
        writes = [s for s in np.flatnonzero(self.starts + self.latency == tick) if self.flow.writes[s]]
        return reads, list(self.process.outputs) * len(writes)

    @property
    def done(self) -> bool:
        return self.clock == self.period * self.images


def stepped(network: Network, depths: list[int], images: int, factor: int) -> list[int] | None:
    """For each process the cycle after its last image has drained; None if they wait for each other."""
    pipelines = [Stepped(p, images, p.flow.latency * factor) for p in network.processes]
    held, cycle, ends = [0] * len(depths), 0, [0] * len(pipelines)
    while not all(p.done for p in pipelines):
        seen, moved = list(held), False
        for index, pipeline in enumerate(pipelines):
            if pipeline.done:
                continue
            reads, writes = pipeline.wanted()
            if any(seen[f] == 0 for f in reads) or any(seen[f] == depths[f] for f in writes):
                continue
            for f in reads:
                held[f] -= 1
            for f in writes:
                held[f] += 1
            pipeline.clock, moved, ends[index] = pipeline.clock + 1, True, cycle + 1
        if not moved:
            return None
        cycle += 1
    return ends


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_stalling_pipelines_agree_with_cycles_stepped_one_by_one(factor: int) -> None:
    verdicts = []
    for seed in range(120):
        network, depths = drawn(seed)
        depths = depths if seed % 2 else [1] * len(depths)
        want = stepped(network, depths, 2, factor)
        stalled = dataflow.variants(network)[dataflow.LATENCY_FACTORS.index(factor)]
        made = dataflow.bounded(stalled, depths, 2)
        assert isinstance(made, Deadlock) == (want is None), seed
        verdicts.append(want is None)
        if want is not None and not isinstance(made, Deadlock):
            for process, starts, end in zip(stalled.processes, made.starts, want, strict=True):
                assert starts[-1] + process.flow.cycles[-1] == end, (seed, process.name)
    assert 5 <= sum(verdicts) <= 115


def test_a_stalling_pipeline_deadlocks_at_the_depths_of_a_flushing_one() -> None:
    """Why depths are taken over all variants."""
    made = dataflow.network(plan_of(residual_net()))
    for depths in (dataflow.minimal_depths(made), dataflow.full_rate_depths(made)):
        assert not dataflow.deadlocks([made], depths)
        assert stepped(made, list(depths), 1, 1) is None
    safe = dataflow.analyse(plan_of(residual_net()), FifoDepths.FULL_RATE).depths
    assert all(stepped(made, list(safe), 1, factor) for factor in (0, 1, 2))


@pytest.mark.parametrize("high", [False, True])
def test_minimal_depths_hold_for_every_variant_and_none_can_shrink(high: bool) -> None:
    plan = plan_of(residual_net(), high=high)
    networks = dataflow.variants(dataflow.network(plan))
    depths = dataflow.analyse(plan, FifoDepths.MINIMAL).depths
    assert not dataflow.deadlocks(networks, depths)
    assert sum(d > 1 for d in depths) >= 2
    for i, depth in enumerate(depths):
        if depth > 1:
            assert dataflow.deadlocks(networks, [*depths[:i], depth - 1, *depths[i + 1 :]])


# --- depths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("high", [False, True])
def test_a_residual_network_deadlocks_below_its_depths_and_not_at_them(high: bool) -> None:
    made = dataflow.network(plan_of(residual_net(), high=high))
    depths = dataflow.minimal_depths(made)
    assert not isinstance(dataflow.bounded(made, depths), Deadlock)
    assert max(depths) > 1
    for i, depth in enumerate(depths):
        if depth > 1:
            stuck = dataflow.bounded(made, [*depths[:i], depth - 1, *depths[i + 1 :]])
            assert isinstance(stuck, Deadlock)
            assert len(stuck.waits) > 1
            assert "full FIFO" in str(stuck)
            assert "empty FIFO" in str(stuck)


@pytest.mark.parametrize("net", [residual_net, *GRAPHS])
def test_full_rate_is_as_fast_as_whole_tensors_and_smaller(net: object) -> None:
    plan = plan_of(net())  # type: ignore[operator]
    full, whole = (dataflow.analyse(plan, kind) for kind in (FifoDepths.FULL_RATE, FifoDepths.TENSOR))
    free = dataflow.unbounded(full.network)
    assert (full.run.latency_cycles, full.run.ii_cycles) == (free.latency_cycles, free.ii_cycles)
    assert whole.run.ii_cycles >= full.run.ii_cycles
    assert sum(full.depths) < sum(whole.depths)


def test_the_interval_is_the_slowest_loop() -> None:
    plan = plan_of(conv_net(), high=True)
    made = dataflow.analyse(plan, FifoDepths.FULL_RATE)
    slowest = max(int(p.flow.cycles.sum()) for p in made.network.processes)
    assert made.run.ii_cycles == slowest


def test_depths_are_written_and_recorded() -> None:
    files = {kind: _files(kind) for kind in FifoDepths}
    depths = {kind: sorted(_pragmas(f)) for kind, f in files.items()}
    assert depths[FifoDepths.MINIMAL] < depths[FifoDepths.FULL_RATE] < depths[FifoDepths.TENSOR]


def test_short_fifos_are_shift_registers() -> None:
    text = _files(FifoDepths.FULL_RATE)
    bound = set(re.findall(r"BIND_STORAGE variable=(\w+) type=fifo impl=srl", text))
    depths = {name: int(d) for name, d in re.findall(r"STREAM variable=(\w+) depth=(\d+)", text)}
    assert bound == {name for name, depth in depths.items() if depth <= SHIFT_REGISTER_PIXELS}
    assert max(depths.values()) > SHIFT_REGISTER_PIXELS
    assert "BIND_STORAGE" not in _files(FifoDepths.TENSOR)


def _files(kind: FifoDepths) -> str:
    graph = residual_net()
    project = generate(graph, replace(config(graph, Io.STREAM), fifo=kind))
    return project.files["firmware/hwq_residual.cpp"].decode()


def _pragmas(text: str) -> list[int]:
    return [int(d) for d in re.findall(r"#pragma HLS STREAM variable=\w+ depth=(\d+)", text)]


def test_a_cifar_sized_network_takes_a_second_or_two() -> None:
    net = Net(12)
    x = net.input((32, 32, 3), -8, 7)
    for i in range(8):
        weight = net.weights((3, 3, net.tensors[x].shape[-1], 8), -1, 1)
        x = net.threshold(net.add(Conv(weight, pads=(1, 1, 1, 1)), x), 4)
        if i in (2, 5):
            x = net.add(MaxPool((2, 2), (2, 2)), x)
    plan = plan_of(net.graph(x))
    start = time.process_time()  # other processes take none of it
    dataflow.analyse(plan, FifoDepths.FULL_RATE)
    assert time.process_time() - start < 3
