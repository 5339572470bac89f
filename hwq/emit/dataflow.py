"""The processes and FIFOs of an io_stream project, run in cycles: latency, interval, depths, deadlock.

`network` builds them from a plan. `unbounded` is the fastest run there can be; `full_rate_depths` are small depths
with which it stays as fast, from the run in which everything happens as late as it may. `bounded` runs with given
depths, pixel by pixel.

Whether a design deadlocks does not depend on time (Kahn 1974) if pixels leave a pipeline by themselves. The tools
also build pipelines that stall as a whole while a pixel is missing; what is on the way then waits for the next,
and a FIFO beside it must hold as much more. `variants` has the network in both ways, the second with the latencies
estimated and with twice that: depths are for all of them, and a run of each that comes to its end is the proof.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from hwq.emit.flow import Flow, copies, flow_of, stalling, zero_padding
from hwq.emit.plan import Plan, PlannedLayer
from hwq.errors import CheckFailed
from hwq.hardware import FifoDepths, Strategy
from hwq.rounding import IntArray

_IMAGES = 3
"""Enough for two intervals after the first image."""
LATENCY_FACTORS = (0, 1, 2)
"""Of stalling pipelines: none, which is what deadlock of flushing ones amounts to, the estimate, and a margin."""
_SMALLEST = 2
"""Depth of a FIFO that is read and written in the same cycle, where more than one pixel passes."""


@dataclass(frozen=True)
class Fifo:
    """A channel between two processes.

    Attributes:
        source: Process that writes it.
        sink: Process that reads it.
        key: The hls4ml layer whose input it is, and which of its inputs.
        pixels: Of one image: hls4ml's own depth.
        bits: Of a pixel.
    """

    source: int
    sink: int
    key: tuple[str, int]
    pixels: int
    bits: int


@dataclass(frozen=True)
class Process:
    """A layer, or a copy or padding that hls4ml inserts; `inputs` and `outputs` are FIFOs, None a port."""

    name: str
    flow: Flow
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    is_output: bool = False


@dataclass(frozen=True)
class Network:
    """Processes in topological order."""

    processes: tuple[Process, ...]
    fifos: tuple[Fifo, ...]


@dataclass(frozen=True)
class Run:
    """What a run of some images took.

    Attributes:
        latency_cycles: From the first input to the last output of the first image.
        ii_cycles: Between the last outputs of the last two images; 0 of a single one.
        starts: For each process, the cycle in which each step starts.
    """

    latency_cycles: int
    ii_cycles: int
    starts: tuple[IntArray, ...]


@dataclass(frozen=True)
class Deadlock:
    """Processes that wait for each other: (process, ``full`` or ``empty``, the FIFO's other end)."""

    waits: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        return "; ".join(
            f"'{p}' waits on a{'n empty' if k == 'empty' else ' full'} FIFO of '{o}'"
            for p, k, o in self.waits
        )


# --- from the plan -------------------------------------------------------------------------------


@dataclass
class _Builder:
    plan: Plan
    processes: list[Process] = field(default_factory=list)
    fifos: list[Fifo] = field(default_factory=list)
    hands: dict[tuple[str, int], tuple[int | None, tuple[str, int] | None, int, int]] = field(
        default_factory=dict
    )
    """(reader, input) -> (process that writes it, key if it is known, pixels, words of a pixel)."""

    def fifo(self, source: int | None, key: tuple[str, int], pixels: int, bits: int) -> int | None:
        if source is None:
            return None
        self.fifos.append(Fifo(source, len(self.processes), key, pixels, bits))
        made = len(self.fifos) - 1
        writer = self.processes[source]
        self.processes[source] = replace(writer, outputs=(*writer.outputs, made))
        return made

    def process(self, name: str, flow: Flow, inputs: tuple[int | None, ...]) -> int:
        self.processes.append(Process(name, flow, inputs, ()))
        return len(self.processes) - 1

    def hand_out(
        self,
        planned: PlannedLayer,
        hls_name: str,
        source: int | None,
        pixels: int,
        words: int,
        key: tuple[str, int] | None = None,
    ) -> None:
        """To all readers; a copy stands between if there are several."""
        name = planned.name
        readers = [(p.name, i) for p in self.plan.layers for i, read in enumerate(p.inputs) if read == name]
        is_output = name in self.plan.outputs
        if len(readers) + is_output > 1:
            clone = f"clone_{hls_name}"
            bits = words * planned.layer.types["result"].bits
            entry = self.fifo(source, key or (clone, 0), pixels, bits)
            source, key = self.process(clone, copies(pixels), (entry,)), None
        for reader in readers:
            self.hands[reader] = source, key, pixels, words
        if is_output and source is not None:
            self.processes[source] = replace(self.processes[source], is_output=True)

    def take(self, planned: PlannedLayer, index: int, key: tuple[str, int]) -> tuple[int | None, int, int]:
        """The FIFO into a layer's input, its pixels and their words."""
        source, known, pixels, words = self.hands[planned.name, index]
        made = next(p for p in self.plan.layers if p.name == planned.inputs[index])
        return self.fifo(source, known or key, pixels, words * made.layer.types["result"].bits), pixels, words

    def add(self, planned: PlannedLayer) -> None:
        layer, name = planned.layer, planned.name
        if layer.class_name == "InputLayer":
            self.hand_out(planned, name, None, prod(layer.shape[:-1]), layer.shape[-1])
            return
        if layer.class_name == "HwqReshape" and len(layer.shape) == 1:
            source, known, pixels, words = self.hands[name, 0]
            self.hand_out(planned, name, source, pixels, words, known or (name, 0))
            return
        hls_name = f"repack_{name}" if layer.class_name == "HwqReshape" else name
        pads = _pads(layer.attributes) if layer.class_name == "Conv2D" else (0, 0, 0, 0)
        inputs: list[int | None] = []
        counts: list[int] = []
        for i in range(len(planned.inputs)):
            key = (f"zp2d_{name}", 0) if any(pads) else (hls_name, i)
            made, pixels, words = self.take(planned, i, key)
            if any(pads):
                a = layer.attributes
                flow = zero_padding(a["in_height"], a["in_width"], pads)
                padding = self.process(f"zp2d_{name}", flow, (made,))
                bits = words * self._type_bits(planned.inputs[i])
                pixels = len(flow.writes)
                made = self.fifo(padding, (name, 0), pixels, bits)
            inputs.append(made)
            counts.append(pixels)
        flow = flow_of(
            layer, tuple(counts), reuse=planned.reuse, resource=planned.strategy is Strategy.RESOURCE
        )
        index = self.process(name, flow, tuple(inputs))
        self.hand_out(planned, hls_name, index, prod(layer.shape[:-1]), layer.shape[-1])

    def _type_bits(self, name: str) -> int:
        made = next(p for p in self.plan.layers if p.name == name)
        return made.layer.types["result"].bits


def _pads(attributes: Mapping[str, int]) -> tuple[int, int, int, int]:
    a = attributes
    return a["pad_top"], a["pad_left"], a["pad_bottom"], a["pad_right"]


def network(plan: Plan) -> Network:
    """The processes of an io_stream project, with what hls4ml will insert."""
    builder = _Builder(plan)
    for planned in plan.layers:
        builder.add(planned)
    return Network(tuple(builder.processes), tuple(builder.fifos))


def variants(network: Network) -> tuple[Network, ...]:
    """The network with stalling pipelines, under each of `LATENCY_FACTORS`."""
    return tuple(
        replace(network, processes=tuple(replace(p, flow=stalling(p.flow, f)) for p in network.processes))
        for f in LATENCY_FACTORS
    )


# --- runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Steps:
    """A process's steps of several images: their earliest offsets, and where each FIFO is read and written."""

    offset: IntArray
    reads: tuple[IntArray, ...]
    writes: IntArray
    latency: int


def _steps(process: Process, images: int) -> _Steps:
    flow = process.flow
    cycles = np.tile(flow.cycles, images)
    offset = np.concatenate([[0], np.cumsum(cycles)[:-1]])
    reads = tuple(np.flatnonzero(np.tile(flow.reads[:, i], images)) for i in range(flow.reads.shape[1]))
    return _Steps(offset, reads, np.flatnonzero(np.tile(flow.writes, images)), flow.latency)


def unbounded(network: Network, images: int = _IMAGES) -> Run:
    """The run with FIFOs without end: every step as early as its inputs allow."""
    return _run(network, _earliest(network, images, {}), images)


def _earliest(network: Network, images: int, release: Mapping[int, IntArray]) -> tuple[IntArray, ...]:
    """When each step starts at the earliest, for the processes in `release` not before the given cycles."""
    written: dict[int, IntArray] = {}
    starts = []
    for index, process in enumerate(network.processes):
        steps = _steps(process, images)
        earliest = release.get(index, np.zeros(len(steps.offset), dtype=np.int64)).copy()
        for fifo, places in zip(process.inputs, steps.reads, strict=True):
            if fifo is not None:
                earliest[places] = np.maximum(earliest[places], written[fifo] + 1)
        start = np.maximum.accumulate(earliest - steps.offset) + steps.offset
        starts.append(start)
        for fifo in process.outputs:
            written[fifo] = start[steps.writes] + steps.latency
    return tuple(starts)


def _run(network: Network, starts: tuple[IntArray, ...], images: int) -> Run:
    ends = []
    for process, start in zip(network.processes, starts, strict=True):
        if process.is_output:
            steps = _steps(process, images)
            times = start[steps.writes] + steps.latency
            ends.append(times.reshape(images, -1)[:, -1])
    last = np.max(ends, axis=0)
    return Run(int(last[0]) + 1, int(last[-1] - last[-2]) if images > 1 else 0, starts)


def full_rate_depths(network: Network, images: int = _IMAGES) -> tuple[int, ...]:
    """Depths with which no output comes later than with FIFOs without end.

    What leads to the slowest process is put as late as the outputs of the unbounded run allow, the rest as
    early as its inputs do; what a FIFO then holds is its depth.

    Raises:
        CheckFailed: A run with these depths is slower, which would be a bug of hwq.
    """
    fastest = unbounded(network, images)
    late = _latest(network, fastest, images)
    starts = _earliest(network, images, {i: late[i] for i in _up_to_the_slowest(network)})
    depths = []
    for fifo in network.fifos:
        writer, reader = network.processes[fifo.source], network.processes[fifo.sink]
        write, read = _steps(writer, images), _steps(reader, images)
        written = starts[fifo.source][write.writes] + write.latency
        taken = starts[fifo.sink][read.reads[reader.inputs.index(network.fifos.index(fifo))]]
        held = np.arange(1, len(written) + 1) - np.searchsorted(taken, written, side="left")
        depths.append(max(int(held.max()), min(_SMALLEST, fifo.pixels)))
    made = bounded(network, depths, images)
    if isinstance(made, Deadlock) or (made.latency_cycles, made.ii_cycles) != (
        fastest.latency_cycles,
        fastest.ii_cycles,
    ):
        raise CheckFailed(
            f"the computed FIFO depths slow the design down: please report this as a bug of hwq ({made})"
        )
    return tuple(depths)


def _up_to_the_slowest(network: Network) -> set[int]:
    """The process whose steps take longest, and all that it reads from."""
    pending = [max(range(len(network.processes)), key=lambda i: int(network.processes[i].flow.cycles.sum()))]
    found = set(pending)
    while pending:
        for fifo in network.processes[pending.pop()].inputs:
            if fifo is not None and network.fifos[fifo].source not in found:
                found.add(network.fifos[fifo].source)
                pending.append(network.fifos[fifo].source)
    return found


def _latest(network: Network, fastest: Run, images: int) -> list[IntArray]:
    """The last cycle in which each step may start."""
    late: list[IntArray] = [np.empty(0, dtype=np.int64)] * len(network.processes)
    horizon = max(int(s[-1]) for s in fastest.starts)
    for index in reversed(range(len(network.processes))):
        process = network.processes[index]
        steps = _steps(process, images)
        latest = np.full(len(steps.offset), horizon, dtype=np.int64)
        if process.is_output:
            latest[steps.writes] = fastest.starts[index][steps.writes]
        for fifo in process.outputs:
            reader = network.processes[network.fifos[fifo].sink]
            read = _steps(reader, images).reads[reader.inputs.index(fifo)]
            needed = late[network.fifos[fifo].sink][read] - 1 - steps.latency
            latest[steps.writes] = np.minimum(latest[steps.writes], needed)
        late[index] = np.minimum.accumulate((latest - steps.offset)[::-1])[::-1] + steps.offset
    return late


def bounded(network: Network, depths: Sequence[int], images: int = _IMAGES) -> Run | Deadlock:
    """The run with FIFOs of given depths: a process waits for a pixel to read and for room to write."""
    machine = _Machine(network, depths, images)
    machine.run()
    stuck = machine.deadlock()
    return stuck or _run(network, tuple(np.array(s, dtype=np.int64) for s in machine.starts), images)


class _Machine:
    """Each process goes on until it must wait; then those go on that it waits for."""

    def __init__(self, network: Network, depths: Sequence[int], images: int) -> None:
        self.network, self.depths = network, list(depths)
        self.written: list[list[int]] = [[] for _ in network.fifos]
        self.taken: list[list[int]] = [[] for _ in network.fifos]
        self.starts: list[list[int]] = [[] for _ in network.processes]
        self.free = [0] * len(network.processes)
        self.steps = [_step_table(p) * images for p in network.processes]

    def run(self) -> None:
        waiting = deque(range(len(self.network.processes)))
        queued = set(waiting)
        while waiting:
            index = waiting.popleft()
            queued.discard(index)
            if self._advance(index):
                for other in self._neighbours(index):
                    if other not in queued:
                        queued.add(other)
                        waiting.append(other)

    def _neighbours(self, index: int) -> list[int]:
        process, fifos = self.network.processes[index], self.network.fifos
        before = [fifos[f].source for f in process.inputs if f is not None]
        return before + [fifos[f].sink for f in process.outputs]

    def _advance(self, index: int) -> bool:
        """As many steps as are possible; whether there was one."""
        written, taken, depths, starts = self.written, self.taken, self.depths, self.starts[index]
        steps, latency, free = self.steps[index], self.network.processes[index].flow.latency, self.free[index]
        begun = len(starts)
        for at in range(begun, len(steps)):
            reads, writes, cycles = steps[at]
            start = free
            if self._blocked(reads, writes):
                break
            for f in reads:
                start = max(start, written[f][len(taken[f])] + 1)
            for f in writes:
                over = len(written[f]) - depths[f]
                if over >= 0:
                    start = max(start, taken[f][over] + 1 - latency)
            for f in reads:
                taken[f].append(start)
            for f in writes:
                written[f].append(start + latency)
            starts.append(start)
            free = start + cycles
        self.free[index] = free
        return len(starts) > begun

    def _blocked(self, reads: tuple[int, ...], writes: tuple[int, ...]) -> tuple[int, str] | None:
        for f in reads:
            if len(self.taken[f]) >= len(self.written[f]):
                return f, "empty"
        for f in writes:
            if len(self.written[f]) - len(self.taken[f]) >= self.depths[f]:
                return f, "full"
        return None

    def circle(self) -> list[tuple[int, int, str]]:
        """(process, FIFO, ``full`` or ``empty``) of those that wait for each other; none if all came to their end."""
        waits: dict[int, tuple[int, int, str]] = {}
        index = next((i for i, s in enumerate(self.starts) if len(s) < len(self.steps[i])), None)
        while index is not None and index not in waits:
            reads, writes, _ = self.steps[index][len(self.starts[index])]
            blocked = self._blocked(reads, writes)
            assert blocked is not None  # noqa: S101  it did not go on
            waits[index] = index, *blocked
            fifo = self.network.fifos[blocked[0]]
            index = fifo.source if blocked[1] == "empty" else fifo.sink
        order = list(waits)
        return [waits[i] for i in order[order.index(index) :]] if index is not None else []

    def deadlock(self) -> Deadlock | None:
        """The circle by name."""
        fifos, processes = self.network.fifos, self.network.processes
        ends = [(i, k, fifos[f].source if k == "empty" else fifos[f].sink) for i, f, k in self.circle()]
        waits = tuple((processes[i].name, k, processes[other].name) for i, k, other in ends)
        return Deadlock(waits) if waits else None


def _step_table(process: Process) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    flow = process.flow
    rows = []
    for reads, writes, cycles in zip(
        flow.reads.tolist(), flow.writes.tolist(), flow.cycles.tolist(), strict=True
    ):
        read = tuple(f for f, r in zip(process.inputs, reads, strict=True) if r and f is not None)
        rows.append((read, process.outputs if writes else (), cycles))
    return rows


def minimal_depths(*networks: Network) -> tuple[int, ...]:
    """Depths with which no variant of a network deadlocks, and of which none can be made smaller alone.

    What a run from 1 on comes to; then one after the other, the largest first, is made as small as the others, as
    they are by then, allow.
    """
    found, fifos = _grown(networks), networks[0].fifos
    for i in sorted(range(len(found)), key=lambda i: -found[i] * fifos[i].bits):
        low, high, tried = 1, found[i], found[i] - 1
        while low < high:
            if deadlocks(networks, [*found[:i], tried, *found[i + 1 :]]):
                low = tried + 1
            else:
                high = tried
            tried = (low + high) // 2
        found[i] = high
    return tuple(found)


def _grown(networks: Sequence[Network]) -> list[int]:
    """Of each deadlock's full FIFOs that with the narrowest pixels grows.

    Source: Parks, "Bounded Scheduling of Process Networks", 1995, ch. 4.
    """
    depths = [1] * len(networks[0].fifos)
    for network in networks:
        machine = _Machine(network, depths, 1)
        machine.run()
        while circle := machine.circle():
            full = [fifo for _, fifo, kind in circle if kind == "full"]
            machine.depths[min(full, key=lambda f: network.fifos[f].bits)] += 1
            machine.run()
        depths = machine.depths
    return depths


def deadlocks(networks: Sequence[Network], depths: Sequence[int]) -> bool:
    """Whether a variant does: one image decides, for it leaves every FIFO empty and every process at its start."""
    return any(isinstance(bounded(n, depths, 1), Deadlock) for n in networks)


# --- of a project --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dataflow:
    """FIFOs with their depths, and what a run with them takes."""

    network: Network
    depths: tuple[int, ...]
    run: Run

    def by_key(self) -> dict[tuple[str, int], int]:
        """Depth by the hls4ml layer that reads, and which of its inputs it is."""
        return {f.key: d for f, d in zip(self.network.fifos, self.depths, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """For the manifest: cycles, and each FIFO with its depth in pixels and the bits of one."""
        processes = self.network.processes
        fifos = [
            {
                "from": processes[f.source].name,
                "to": processes[f.sink].name,
                "depth": depth,
                "bits": f.bits,
                "tensor": f.pixels,
            }
            for f, depth in zip(self.network.fifos, self.depths, strict=True)
        ]
        return {"latency_cycles": self.run.latency_cycles, "ii_cycles": self.run.ii_cycles, "fifos": fifos}


def analyse(plan: Plan, kind: FifoDepths) -> Dataflow:
    """The FIFOs of an io_stream plan, proven free of deadlock by a run of each variant; cycles are the estimate's.

    Raises:
        CheckFailed: A run deadlocks, which would be a bug of hwq.
    """
    flushing = network(plan)
    made = variants(flushing)
    if kind is FifoDepths.MINIMAL:
        depths = minimal_depths(*made)
    elif kind is FifoDepths.TENSOR:
        depths = tuple(f.pixels for f in flushing.fifos)
    else:
        depths = tuple(max(d) for d in zip(*(full_rate_depths(n) for n in (flushing, *made)), strict=True))
    runs = [bounded(n, depths) for n in made]
    if stuck := [r for r in runs if isinstance(r, Deadlock)]:
        raise CheckFailed(f"the design deadlocks with {kind.value} FIFOs: {stuck[0]}")
    estimate = LATENCY_FACTORS.index(1)
    run = runs[estimate]
    assert isinstance(run, Run)  # noqa: S101  the others have been raised
    return Dataflow(made[estimate], depths, run)
