"""From the integer graph to the list of hls4ml layers that is asked for: names, types, reuse factors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from hwq.cost.assemble import top_style
from hwq.cost.laws.dataflow import TopStyle
from hwq.emit.layers import BINARY, PREVIOUS, Binary, HlsLayer, Site, reshape_layer
from hwq.emit.own import OWN, constants
from hwq.errors import InputError, UnsupportedModel
from hwq.hardware import HardwareConfig, Io, Strategy
from hwq.ir import Graph, Node, Tensor
from hwq.ops import OPS
from hwq.ops.conv import Conv, is_depthwise
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.reshape import Reshape
from hwq.ops.threshold import Threshold
from hwq.ops.transpose import Transpose

_MAX_READERS = 7
"""hls4ml copies a stream for at most so many readers; hwq_copy.h an array."""
_MAX_BITS = 53
"""csim reports and reads values through float64."""


@dataclass(frozen=True)
class PlannedLayer:
    """One layer, as asked of hls4ml.

    Attributes:
        name: C identifier, unique without regard to case.
        node: The graph's node that it belongs to; None for an input.
        tensor: The graph's tensor that it makes; None for a helper layer.
        inputs: Names of the layers that it reads.
    """

    name: str
    node: Node | None
    tensor: str | None
    inputs: tuple[str, ...]
    layer: HlsLayer
    reuse: int = 1
    strategy: Strategy = Strategy.LATENCY

    @property
    def binary(self) -> bool:
        """Whether its output holds 0 and 1 for -1 and +1."""
        return isinstance(self.layer.types["result"], Binary)


@dataclass(frozen=True)
class Plan:
    """What is asked of hls4ml.

    Attributes:
        top: Name of the C++ function.
        layers: Inputs first, then in the graph's order.
        outputs: Layer that drives each output port of the graph, in order.
        copied: Layers whose output each reader gets a copy of: Vitis HLS wants one reader of an array in the dataflow
            region that io_parallel makes of convolutions and shared multipliers. Streams hls4ml copies itself.
        aliases: Tensors that are other tensors under another shape: {tensor: the tensor with the same words}.
    """

    top: str
    inputs: tuple[str, ...]
    layers: tuple[PlannedLayer, ...]
    outputs: tuple[str, ...]
    aliases: Mapping[str, str]
    stream: bool
    copied: frozenset[str] = frozenset()

    def traced(self) -> list[tuple[PlannedLayer, str, int]]:
        """Layers whose output csim can report, with the tensor that it is and its number of words."""
        return [
            (p, p.tensor, prod(p.layer.shape))
            for p in self.layers
            if p.node is not None and p.tensor is not None and p.layer.class_name != "HwqReshape"
        ]


def _shared(layers: Sequence[PlannedLayer], outputs: Sequence[str]) -> frozenset[str]:
    """Layers whose output several read."""
    reads = Counter([name for p in layers for name in p.inputs] + list(outputs))
    return frozenset(name for name, count in reads.items() if count > 1)


def configuration(planned: PlannedLayer) -> list[str]:
    """The body of the C++ configuration of a layer of our own; hls4ml fills in ``{...}``."""
    attributes = dict(planned.layer.attributes)
    if planned.layer.folds:
        attributes["reuse_factor"] = planned.reuse
    return constants(planned.layer.class_name, attributes)


def identifier(text: str, limit: int = 32) -> str:
    """Letters, digits and single underscores of a name.

    >>> identifier("/features/conv.1/Conv"), identifier("é!")
    ('features_conv_1_Conv', 'n')
    """
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_")[-limit:].strip("_") or "n"


def make_plan(graph: Graph, config: HardwareConfig) -> Plan:
    """The layers to ask for.

    Raises:
        UnsupportedModel: Something cannot be built exactly; names the node and the cure.
        InputError: An input is not read, or an output is not computed.
    """
    aliases = _aliases(graph)
    sources = tuple(_wire(graph, aliases, p.tensor, p.name) for p in graph.outputs)
    nodes = _needed(graph, sources)
    _check_readers(graph, nodes, sources, copies=top_style(graph, config) is not TopStyle.PIPELINE)
    built = _with_binary(graph, config, nodes, sources)
    layers = [_input(graph, i) for i in range(len(graph.inputs))]
    makers = {p.tensor: layer.name for p, layer in zip(graph.inputs, layers, strict=True)}
    for i, node in enumerate(graph.nodes):
        if node in nodes:
            layers += _layers_of(built, config, node, i, makers)
            makers[node.output] = layers[-1].name
    outputs = tuple(makers[t] for t in sources)
    return Plan(
        top=f"hwq_{identifier(graph.name)}",
        inputs=tuple(p.name for p in layers[: len(graph.inputs)]),
        layers=tuple(layers),
        outputs=outputs,
        aliases=aliases,
        stream=config.io is Io.STREAM,
        copied=_shared(layers, outputs) if top_style(graph, config) is TopStyle.DATAFLOW else frozenset(),
    )


def _aliases(graph: Graph) -> dict[str, str]:
    return {n.output: n.inputs[0] for n in graph.nodes if is_reshape(graph, n)}


def is_reshape(graph: Graph, node: Node) -> bool:
    """Whether a node only renames the shape: a reshape, or a transpose that moves only axes of size one."""
    if isinstance(node.params, Transpose):
        shape = graph.tensors[node.inputs[0]].shape
        moved = [a for a in node.params.axes if shape[a] > 1]
        return moved == sorted(moved)
    return isinstance(node.params, Reshape)


def _wire(graph: Graph, aliases: Mapping[str, str], tensor: str, port: str) -> str:
    """The tensor whose words an output is; hls4ml drops a reshape that only an output reads."""
    while tensor in aliases:
        tensor = aliases[tensor]
    if graph.producer(tensor) is None:
        raise InputError(f"output '{port}' is an input of the graph: there is nothing to build for it")
    return tensor


def _needed(graph: Graph, sources: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes that the outputs depend on.

    Raises:
        InputError: For a node or an input that no output depends on, or a tensor that is two outputs.
    """
    if len(set(sources)) < len(sources):
        raise InputError("two outputs of the graph are the same tensor: keep one of them")
    wanted = set(sources)
    nodes = []
    for node in reversed(graph.nodes):
        if node.output in wanted:
            nodes.append(node)
            wanted.update(node.inputs)
        elif not is_reshape(graph, node):
            raise InputError(
                f"node '{node.name}' ({node.op}) does not reach an output: remove it from the model"
            )
    if unread := [p.name for p in graph.inputs if p.tensor not in wanted]:
        raise InputError(f"inputs {unread} do not reach an output: remove them from the model")
    return tuple(reversed(nodes))


def _check_readers(graph: Graph, nodes: tuple[Node, ...], sources: tuple[str, ...], *, copies: bool) -> None:
    for tensor in graph.tensors.values():
        readers = sum(n.inputs.count(tensor.name) for n in nodes) + (tensor.name in sources)
        maker = graph.producer(tensor.name)
        where = (maker.name, maker.op) if maker else (tensor.name, "input")
        if copies and readers > _MAX_READERS:
            raise UnsupportedModel(
                *where, f"{readers} readers; {_MAX_READERS} can be served", "join some of them into one layer"
            )
        if tensor.type.bits > _MAX_BITS:
            raise UnsupportedModel(
                *where,
                f"{tensor.type.bits} bits; {_MAX_BITS} can be built",
                "use fewer weight or activation bits",
            )


def _with_binary(
    graph: Graph, config: HardwareConfig, nodes: tuple[Node, ...], sources: tuple[str, ...]
) -> Graph:
    """The graph with one bit for each tensor of -1 and +1 whose readers hls4ml builds as XNOR or sign changes."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node)
    binary: set[str] = set()
    for node in reversed(nodes):
        if node.output not in sources and all(
            _reads_binary(graph, config, r, binary) for r in readers[node.output]
        ):
            binary.add(node.output)
    made: set[str] = set()
    for node in nodes:
        comes = _makes_signs(node) or (_moves(graph, node) and node.inputs[0] in made)
        if comes and node.output in binary:
            made.add(node.output)
    signs = {t: replace(graph.tensors[t], type=BINARY) for t in made}
    return replace(graph, tensors={**graph.tensors, **signs})


def _reads_binary(graph: Graph, config: HardwareConfig, node: Node, binary: set[str]) -> bool:
    """A product without padding, which would be neither -1 nor +1; or what hands the bits on to such."""
    params = node.params
    if config.strategy_of(node) is Strategy.DISTRIBUTED_ARITHMETIC:
        return False
    if isinstance(params, Conv):
        return not any(params.pads) and params.input_dilations == (1, 1) and not is_depthwise(params)
    return isinstance(params, Dense) or (_moves(graph, node) and node.output in binary)


def _moves(graph: Graph, node: Node) -> bool:
    return isinstance(node.params, MaxPool) or is_reshape(graph, node)


def _makes_signs(node: Node) -> bool:
    params = node.params
    return isinstance(params, Threshold) and (params.base, params.step, params.thresholds.shape[1]) == (
        -1,
        2,
        1,
    )


def _input(graph: Graph, index: int) -> PlannedLayer:
    port = graph.inputs[index]
    tensor = graph.tensors[port.tensor]
    attributes = {"input_shape": list(tensor.shape), "data_format": "channels_last"}
    layer = HlsLayer("InputLayer", attributes, tensor.shape, {"result": tensor.type})
    return PlannedLayer(f"x{index}_{identifier(port.name)}", None, tensor.name, (), layer)


def _layers_of(
    graph: Graph, config: HardwareConfig, node: Node, index: int, makers: Mapping[str, str]
) -> list[PlannedLayer]:
    site = Site(
        node=node.name,
        op=node.op,
        inputs=tuple(graph.tensors[t] for t in node.inputs),
        output=graph.tensors[node.output],
        stream=config.io is Io.STREAM,
        resource=config.strategy_of(node) is Strategy.RESOURCE,
        distributed=config.strategy_of(node) is Strategy.DISTRIBUTED_ARITHMETIC,
    )
    planned: list[PlannedLayer] = []
    inputs = [makers[t] for t in node.inputs]

    def add(layer: HlsLayer, reads: tuple[str, ...]) -> str:
        name = "_".join(filter(None, (f"l{index}", identifier(node.name), layer.suffix)))
        tensor = None if layer.suffix else node.output
        how = (config.reuse_of(node), config.strategy_of(node)) if layer.folds else ()
        planned.append(PlannedLayer(name, node, tensor, reads, layer, *how))
        return name

    previous = inputs[0]
    emitted = OPS[node.op].emit(node.params, site)
    if site.stream:
        pixel = _pixel(graph, node.inputs[0])
        emitted = tuple(part for layer in emitted for part in _repacked(layer, pixel, site))
    for layer in emitted:
        if site.stream and layer.class_name in OWN and OWN[layer.class_name].whole_pixels:
            for i in {max(i, 0) for i in layer.reads if i != PREVIOUS or not planned}:
                if _pixel(graph, node.inputs[i]) != site.inputs[i].shape[-1]:
                    inputs[i] = add(_packed(graph.tensors[node.inputs[i]], i), (inputs[i],))
                    previous = inputs[0]
        previous = add(layer, tuple(previous if i == PREVIOUS else inputs[i] for i in layer.reads))
    _check_output(site, planned[-1].layer)
    for layer_planned in planned:
        _check_reuse(site, layer_planned)
        _check_distributed(site, layer_planned)
    return planned


def _pixel(graph: Graph, tensor: str) -> int:
    """Words of a stream's pixel: the last axis, but a stream that is flattened in place keeps its pixels."""
    maker = graph.producer(tensor)
    shape = graph.tensors[tensor].shape
    if maker is None or len(shape) > 1 or not is_reshape(graph, maker):
        return shape[-1]
    return _pixel(graph, maker.inputs[0])


def _repacked(layer: HlsLayer, pixel: int, site: Site) -> tuple[HlsLayer, ...]:
    """hls4ml joins whole pixels or cuts one into several: other sizes go through their common divisor."""
    words = layer.shape[-1]
    if layer.class_name != "HwqReshape" or len(layer.shape) == 1 or not (words % pixel and pixel % words):
        return (layer,)
    common = gcd(words, pixel)
    parts = (prod(layer.shape) // common, common)
    return reshape_layer(parts, site, suffix="parts"), layer


def _packed(tensor: Tensor, index: int) -> HlsLayer:
    """A flattened stream as one pixel."""
    shape = (1, *tensor.shape)
    attributes = {"target_shape": list(shape)}
    return HlsLayer("HwqReshape", attributes, shape, {"result": tensor.type}, suffix=f"pack{index}")


def _check_reuse(site: Site, planned: PlannedLayer) -> None:
    """hls4ml's io_parallel Resource convolution reads beyond its window when the reuse factor exceeds it."""
    attributes = planned.layer.attributes
    if planned.layer.class_name != "Conv2D" or site.stream or not site.resource:
        return
    taps = attributes["filt_height"] * attributes["filt_width"] * attributes["n_chan"]
    if planned.reuse > taps:
        raise InputError(
            f"layer '{site.node}': in io_parallel the reuse factor of a convolution is at most "
            f"kernel x channels = {taps}, not {planned.reuse}: lower it, or generate with --io stream"
        )


def _check_distributed(site: Site, planned: PlannedLayer) -> None:
    """hls4ml hands only these two classes to da4ml."""
    wanted = planned.strategy is Strategy.DISTRIBUTED_ARITHMETIC
    if wanted and planned.layer.class_name not in ("Dense", "Conv2D"):
        raise site.refuse(
            "distributed arithmetic builds only plain dense and convolution layers",
            f"give --strategy '{site.node}=latency'",
        )


def _check_output(site: Site, layer: HlsLayer) -> None:
    """A hook that declares another shape, or a type other than the proven one, is a bug of hwq."""
    proven = site.output
    wrong = [kind for key, kind in layer.types.items() if key in ("result", "accum") and kind != proven.type]
    same = layer.shape[-1] == proven.shape[-1] and prod(layer.shape) == prod(proven.shape)
    if wrong or not same:
        raise AssertionError(f"the emission of {site.op} declares {wrong} {layer.shape}, proven is {proven}")
