"""From the integer graph to the list of hls4ml layers that is asked for: names, types, reuse factors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from hwq.emit.layers import HlsLayer, Site
from hwq.errors import InputError, UnsupportedModel
from hwq.hardware import HardwareConfig, Io, Strategy
from hwq.ir import Graph, Node
from hwq.ops import OPS
from hwq.ops.reshape import Reshape
from hwq.ops.transpose import Transpose

_MAX_READERS = 7
"""hls4ml copies a stream for at most so many readers."""
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


@dataclass(frozen=True)
class Plan:
    """What is asked of hls4ml.

    Attributes:
        top: Name of the C++ function.
        layers: Inputs first, then in the graph's order.
        outputs: Layer that drives each output port of the graph, in order.
        aliases: Tensors that are other tensors under another shape: {tensor: the tensor with the same words}.
    """

    top: str
    inputs: tuple[str, ...]
    layers: tuple[PlannedLayer, ...]
    outputs: tuple[str, ...]
    aliases: Mapping[str, str]
    stream: bool

    def traced(self) -> list[tuple[PlannedLayer, str, int]]:
        """Layers whose output csim can report, with the tensor that it is and its number of words."""
        return [
            (p, p.tensor, prod(p.layer.shape))
            for p in self.layers
            if p.node is not None and p.tensor is not None and p.layer.class_name != "HwqReshape"
        ]


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
    _check_readers(graph, nodes, sources, stream=config.io is Io.STREAM)
    layers = [_input(graph, i) for i in range(len(graph.inputs))]
    makers = {p.tensor: layer.name for p, layer in zip(graph.inputs, layers, strict=True)}
    for i, node in enumerate(graph.nodes):
        if node in nodes:
            layers += _layers_of(graph, config, node, i, makers)
            makers[node.output] = layers[-1].name
    return Plan(
        top=f"hwq_{identifier(graph.name)}",
        inputs=tuple(p.name for p in layers[: len(graph.inputs)]),
        layers=tuple(layers),
        outputs=tuple(makers[t] for t in sources),
        aliases=aliases,
        stream=config.io is Io.STREAM,
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


def _check_readers(graph: Graph, nodes: tuple[Node, ...], sources: tuple[str, ...], *, stream: bool) -> None:
    for tensor in graph.tensors.values():
        readers = sum(n.inputs.count(tensor.name) for n in nodes) + (tensor.name in sources)
        maker = graph.producer(tensor.name)
        where = (maker.name, maker.op) if maker else (tensor.name, "input")
        if stream and readers > _MAX_READERS:
            raise UnsupportedModel(
                *where, f"{readers} readers; a stream serves {_MAX_READERS}", "generate with --io parallel"
            )
        if tensor.type.bits > _MAX_BITS:
            raise UnsupportedModel(
                *where,
                f"{tensor.type.bits} bits; {_MAX_BITS} can be built",
                "use fewer weight or activation bits",
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
        input=graph.tensors[node.inputs[0]],
        output=graph.tensors[node.output],
        stream=config.io is Io.STREAM,
        resource=config.strategy_of(node) is Strategy.RESOURCE,
    )
    emit = OPS[node.op].emit
    if emit is None:
        raise site.refuse(
            "has no HLS layer yet",
            "it can be simulated and verified; the README lists the operations that can be generated",
        )
    planned: list[PlannedLayer] = []
    inputs = tuple(makers[t] for t in node.inputs)
    for layer in emit(node.params, site):
        name = "_".join(filter(None, (f"l{index}", identifier(node.name), layer.suffix)))
        tensor = None if layer.suffix else node.output
        how = (config.reuse_of(node), config.strategy_of(node)) if layer.matrix else ()
        planned.append(PlannedLayer(name, node, tensor, inputs, layer, *how))
        inputs = (name,)
    _check_output(site, planned[-1].layer)
    for layer_planned in planned:
        _check_reuse(site, layer_planned)
        _check_distributed(site, layer_planned)
    return planned


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
    if wrong or layer.shape != proven.shape:
        raise AssertionError(f"the emission of {site.op} declares {wrong} {layer.shape}, proven is {proven}")
