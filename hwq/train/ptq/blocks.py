"""A traced network cut where one value alone passes, and run block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from hwq.errors import InputError

_CHUNK = 256
Calls = Mapping[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Block:
    """Nodes in order, all computed from the value of `entry`; the last is what others read."""

    entry: fx.Node
    nodes: tuple[fx.Node, ...]

    def upto(self, node: fx.Node) -> Block:
        """The block's part before a node's own computation, ending in the node's input."""
        source = node.all_input_nodes[0]
        end = self.nodes.index(source) + 1 if source in self.nodes else 0
        return Block(self.entry, self.nodes[:end])


def whole(graph: fx.Graph) -> Block:
    """The network as one block.

    Raises:
        InputError: It has several inputs, or puts out something else than one tensor.
    """
    entries = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    results = [node for node in graph.nodes if node.op == "output"]
    if len(entries) != 1 or not isinstance(results[0].args[0], fx.Node):
        raise InputError(
            f"post-training quantisation needs one input and one result; found {len(entries)} inputs\n"
            "  cure: wrap the network in a module of one input and one result"
        )
    return Block(entries[0], _until(graph, results[0].args[0]))


def _until(graph: fx.Graph, result: fx.Node) -> tuple[fx.Node, ...]:
    inner = [node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")]
    return tuple(inner[: inner.index(result) + 1])


def split(block: Block, is_layer: Callable[[fx.Node], bool]) -> list[Block]:
    """Cuts where a single value passes; each block but the first begins at its first layer.

    In a chain that is a layer with what follows it; both arms of a residual or a concatenation, with
    what joins them, stay together. Source of the choice: Li et al., BRECQ (2021), section 3.2.
    """
    parts: list[list[fx.Node]] = [[]]
    pending: list[fx.Node] = []
    last_use = _last_uses(block)
    live: set[fx.Node] = {block.entry}
    for index, node in enumerate(block.nodes):
        pending.append(node)
        live = {value for value in live | {node} if last_use.get(value, -1) > index}
        if live <= {node}:
            layered = any(map(is_layer, pending))
            if layered and any(map(is_layer, parts[-1])):
                parts.append([])
            parts[-1] += pending
            pending = []
    entries = [block.entry, *[part[-1] for part in parts[:-1]]]
    return [Block(entry, tuple(part)) for entry, part in zip(entries, parts, strict=True)]


def single(block: Block, layer: fx.Node, is_activation: Callable[[fx.Node], bool]) -> Block:
    """A layer on its own, with the activation that alone reads it."""
    nodes = [layer]
    while len(nodes[-1].users) == 1:
        user = next(iter(nodes[-1].users))
        if user not in block.nodes or len(user.all_input_nodes) != 1 or not is_activation(user):
            break
        nodes.append(user)
    return Block(layer.all_input_nodes[0], tuple(nodes))


def _last_uses(block: Block) -> dict[fx.Node, int]:
    found: dict[fx.Node, int] = {block.nodes[-1]: len(block.nodes)}
    for index, node in enumerate(block.nodes):
        for source in node.all_input_nodes:
            found[source] = max(found.get(source, -1), index)
    return found


def evaluate(
    network: fx.GraphModule,
    block: Block,
    x: Tensor,
    calls: Calls | None = None,
    see: Callable[[fx.Node, Tensor], None] | None = None,
) -> Tensor:
    """The block's result for the value x of its entry; `calls` stand in for modules, `see` sees each value."""
    values: dict[fx.Node, Any] = {block.entry: x}

    def value(node: fx.Node) -> Any:
        if node.op == "get_attr":
            return _attribute(network, str(node.target))
        return values[node]

    for node in block.nodes:
        args, kwargs = fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)
        values[node] = _call(network, node, args, kwargs, calls or {})
        if see is not None:
            see(node, values[node])
    found: Tensor = values[block.nodes[-1]] if block.nodes else x
    return found


@torch.no_grad()
def evaluate_all(network: fx.GraphModule, block: Block, x: Tensor) -> Tensor:
    """`evaluate`, some samples at a time."""
    return torch.cat([evaluate(network, block, part) for part in chunks(x)]) if block.nodes else x


def chunks(x: Tensor) -> list[Tensor]:
    """Some samples at a time."""
    return [x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK)]


def _attribute(network: fx.GraphModule, name: str) -> Any:
    found: Any = network
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _call(network: fx.GraphModule, node: fx.Node, args: Any, kwargs: Any, calls: Calls) -> Any:
    if node.op == "call_module":
        name = str(node.target)
        return calls[name](*args) if name in calls else network.get_submodule(name)(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    function: Any = node.target
    return function(*args, **kwargs)
