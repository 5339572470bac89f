"""A whole design: every layer by its law, what lies between them, the schedule, the board."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from math import prod

from hwq.boards import Board, Family
from hwq.cost.advice import bottleneck, cure
from hwq.cost.fits import fits
from hwq.cost.laws import axis
from hwq.cost.laws.dataflow import TopStyle, fifos, registers, schedule, stream_depths
from hwq.cost.laws.setting import Setting
from hwq.cost.model import RESOURCES, Estimate, LayerCost, Stage, total
from hwq.hardware import FifoDepths, HardwareConfig, Io, Strategy, matrix_shape
from hwq.ir import Graph, Node
from hwq.ops import OPS

_SERIES7 = (Family.ZYNQ_7000, Family.ARTIX_7, Family.KINTEX_7, Family.VIRTEX_7)
_TIMING = {Family.KINTEX_ULTRASCALE: "ultrascale"} | dict.fromkeys(_SERIES7, "series7")


def estimate(
    graph: Graph, config: HardwareConfig, stage: Stage = Stage.POST_SYNTH, *, overlay: bool = False
) -> Estimate:
    """Resources, cycles and inferences per second of a graph on a board; `overlay`, with its AXI4-Stream wrapper.

    The default stage is post-synthesis: whether a design fits is decided there, and the HLS tool's own
    numbers (csynth) are 1.4 to 6 times higher in LUTs on the designs of which both are known.
    """
    style = top_style(graph, config)
    layers = tuple(layer_cost(graph, node, setting_of(config, stage, node)) for node in graph.nodes)
    everything = (*layers, between(graph, config, stage, style))
    if overlay:
        ports = [graph.tensors[p.tensor] for p in (*graph.inputs, *graph.outputs)]
        everything += (axis.wrapper(ports, setting_at(config, stage, Strategy.LATENCY, 1)),)
    needs, available = total(everything), budget(config.board)
    latency, ii = schedule(everything, style)
    return Estimate(
        board=config.board.name,
        part=config.board.part,
        clock_ns=config.clock_ns,
        stage=stage,
        io=config.io.value,
        strategy=config.strategy_name,
        layers=everything,
        total=needs,
        available=available,
        latency_cycles=latency,
        ii_cycles=ii,
        bottleneck=bottleneck(everything, needs, available),
        cure=cure(
            everything,
            needs,
            available,
            unrolled=Strategy.RESOURCE not in config.strategy.values(),
            parallel=config.io is Io.PARALLEL,
        ),
    )


def budget(board: Board) -> dict[str, int]:
    """What a board holds, by resource."""
    return {r: getattr(board, r) for r in RESOURCES}


def has_positions(graph: Graph, node: Node) -> bool:
    """Whether a dense or conv node does its product at more than one position, one after the other."""
    return matrix_shape(node) is not None and prod(graph.tensors[node.output].shape[:-1]) > 1


def top_style(graph: Graph, config: HardwareConfig) -> TopStyle:
    """As hls4ml chooses it: a single pipeline only for parallel designs without positions and Resource layers.

    Source: hls4ml 1.3.0, backends/vivado/passes/pipeline_style.py, with the Model's strategy set to Latency.
    """
    if config.io is Io.STREAM:
        return TopStyle.STREAM
    shared = Strategy.RESOURCE in config.strategy.values()
    if shared or any(has_positions(graph, n) for n in graph.nodes):
        return TopStyle.DATAFLOW
    return TopStyle.PIPELINE


@lru_cache(maxsize=256)
def _base(
    board_key: tuple[Family, int], clock_ns: float, io: Io, strategy: Strategy, stage: Stage
) -> Setting:
    family, grade = board_key
    timing = fits()[f"timing/{_TIMING.get(family, 'ultrascale_plus')}"].coefficients
    factor = fits()["timing/speed_grade"].coefficients[f"grade{min(max(grade, 1), 3)}"]
    return Setting(
        stream=io is Io.STREAM,
        resource=strategy is Strategy.RESOURCE,
        distributed=strategy is Strategy.DISTRIBUTED_ARITHMETIC,
        reuse=1,
        clock_ns=clock_ns,
        t_add_ns=timing["t_add_ns"] * factor,
        t_mul_ns=timing["t_mul_ns"] * factor,
        series7=family in _SERIES7,
        stage=stage,
    )


@lru_cache(maxsize=4096)
def _with_reuse(base: Setting, reuse: int) -> Setting:
    return replace(base, reuse=reuse)


def setting_at(config: HardwareConfig, stage: Stage, strategy: Strategy, reuse: int) -> Setting:
    """What the laws need to know of the place of a layer that is built so."""
    board = config.board
    base = _base((board.family, board.speed_grade), config.clock_ns, config.io, strategy, stage)
    return base if reuse == 1 else _with_reuse(base, reuse)


def setting_of(config: HardwareConfig, stage: Stage, node: Node) -> Setting:
    """What the laws need to know of a node's place in a configuration."""
    return setting_at(config, stage, config.strategy_of(node), config.reuse_of(node))


def layer_cost(graph: Graph, node: Node, setting: Setting) -> LayerCost:
    """One node by the law of its op."""
    x, *others = (graph.tensors[t] for t in node.inputs)
    return OPS[node.op].cost(node, x, graph.tensors[node.output], setting, *others)


def between(graph: Graph, config: HardwareConfig, stage: Stage, style: TopStyle) -> LayerCost:
    """What lies between the layers: FIFOs, or registers."""
    setting = setting_at(config, stage, Strategy.LATENCY, 1)
    moved = [graph.tensors[n.output] for n in graph.nodes if n.op != "reshape"]
    if style is TopStyle.STREAM:
        whole = config.fifo is FifoDepths.TENSOR
        return fifos(stream_depths(graph, whole=whole), setting, bound=not whole)
    if style is TopStyle.PIPELINE:
        crossing = [graph.tensors[n.output] for n in graph.nodes if matrix_shape(n)]
    else:
        reads = Counter(t for n in graph.nodes if n.op != "reshape" for t in n.inputs)
        crossing = moved[:-1] + [t for t in moved if reads[t.name] > 1 for _ in range(reads[t.name])]
    return registers(crossing, [graph.tensors[p.tensor] for p in graph.inputs], style, setting)
