"""From a float network to the quantised one: a traced graph whose layers are Brevitas's.

The network is traced by torch.fx. Module names stay, so patterns match them and state dicts can be
read. Every value is either on a grid (a quantiser made it, and nothing but moving, repeating or
choosing values came after) or real; a layer with weights reads values on a grid only, so one that
would read real values gets a quantiser of its own before it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import fx, nn

from hwq.errors import InputError
from hwq.train.quantize_spec import InputSpec, LayerQuant, QuantizeSpec
from hwq.train.quantizers import quant_activation, quant_input, quant_layer

INPUT = "input_quant"


@dataclass(frozen=True)
class Grid:
    """What a value on a grid is made of: `bits` codes, bipolar where it is 1."""

    bits: int


_MOVES: tuple[type[nn.Module], ...] = (nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.Identity, nn.Dropout)
_WEIGHTED = (nn.Linear, nn.Conv2d)


def quantize(model: nn.Module, spec: QuantizeSpec, *, input_spec: InputSpec | None = None) -> nn.Module:
    """The quantised network of a float one, with its weights; the float one is left as it is.

    Args:
        model: A plain module.
        spec: Bits and scales.
        input_spec: Type of the input's codes; without it the input is taken to be on a grid already.

    Raises:
        InputError: A layer that cannot be quantised; the message names it.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw weights that are replaced at once
        copied = deepcopy(model)
        graph = fx.Tracer().trace(copied)
        traced = fx.GraphModule(copied, graph, class_name=type(model).__name__)
        _Rewrite(traced, spec, input_spec).run()
    traced.graph.lint()
    traced.recompile()
    return traced.train(model.training)


class _Rewrite:
    """One walk over a traced network: what is known of each value, and the modules that are exchanged."""

    def __init__(self, traced: fx.GraphModule, spec: QuantizeSpec, input_spec: InputSpec | None) -> None:
        self.traced, self.spec, self.input_spec = traced, spec, input_spec
        self.grids: dict[fx.Node, Grid | None] = {}

    def run(self) -> None:
        for node in list(self.traced.graph.nodes):
            if node.op == "placeholder":
                self.grids[node] = Grid(8)
                if self.input_spec is not None:
                    made = self.insert_after(node, INPUT, quant_input(self.input_spec))
                    self.grids[made] = Grid(self.input_spec.bits)
            elif node.op == "call_module":
                self.grids[node] = self.module(node, str(node.target))
            elif node.op != "output":
                raise InputError(f"'{node.name}': {node.op} {node.target} cannot be quantised yet")

    def module(self, node: fx.Node, name: str) -> Grid | None:
        module, source = self.traced.get_submodule(name), node.all_input_nodes[0]
        grid, layer = self.grids[source], layer_spec(self.spec, name)
        if any(fnmatchcase(name, pattern) for pattern in self.spec.ignore) or isinstance(module, _MOVES):
            return grid
        if isinstance(module, _WEIGHTED):
            self.check_padding(name, module, grid)
            scale = layer.weight_scale or ("tensor" if self.is_last(node) else self.spec.weight_scale)
            self.exchange(name, quant_layer(module, layer.weights or self.spec.weights, scale))
            return None
        if isinstance(module, nn.ReLU):
            bits = layer.activations or self.spec.activations
            self.exchange(name, quant_activation(bits))
            return Grid(bits)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            return None
        raise InputError(f"layer '{name}': {type(module).__name__} cannot be quantised yet")

    def check_padding(self, name: str, module: nn.Module, grid: Grid | None) -> None:
        padded = isinstance(module, nn.Conv2d) and any(module.padding)
        if padded and grid is not None and grid.bits == 1:
            raise InputError(
                f"layer '{name}': a padded zero is not one of the two values −1, +1 that the layer reads\n"
                "  cure: no padding, or at least 2 bits for the activations before it"
            )

    def is_last(self, node: fx.Node) -> bool:
        """Whether the layer's result is what the network puts out."""
        return any(user.op == "output" for user in node.users)

    def exchange(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        setattr(self.traced.get_submodule(parent), child, module)

    def insert_after(self, node: fx.Node, name: str, module: nn.Module) -> fx.Node:
        self.traced.add_submodule(name, module)
        with self.traced.graph.inserting_after(node):
            made = self.traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)
        return made


def layer_spec(spec: QuantizeSpec, name: str) -> LayerQuant:
    """What the patterns say of a module, the last word of each field."""
    found: dict[str, Any] = {}
    for pattern, layer in spec.layers.items():
        if fnmatchcase(name, pattern):
            found |= {f: v for f in layer.__struct_fields__ if (v := getattr(layer, f)) is not None}
    return LayerQuant(**found)
