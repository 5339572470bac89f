"""From a float network to the quantised one: a traced graph whose layers are Brevitas's.

The network is traced by torch.fx. Module names stay, so patterns match them and state dicts can be
read. Every value is either on a grid (a quantiser made it, and nothing but moving, repeating or
choosing values came after) or real. Only quantised values may meet weights, a sum or a curve, so what
would read real values there gets a quantiser of its own before it. What is real is thus always a sum of
integers times constants, which the lowering folds exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn

from hwq.errors import InputError
from hwq.train.calibration import calibrate
from hwq.train.estimators import Codes
from hwq.train.quantize_spec import InputSpec, QuantizeSpec, changed
from hwq.train.quantizers import TensorQuant, codes_of, quant_activation, quant_input, quant_layer
from hwq.train.recipe import nearest
from hwq.train.tracing import BOUNDS, POSITIVE, Kind, fold_batch_norms, kind_of, name_of, supported, trace

INPUT = "input_quant"
OUTPUT = "output_quant"


@dataclass(frozen=True)
class Fact:
    """What is known of a value.

    Attributes:
        codes: Of its grid; None where it is real, or where the grid is the caller's.
        maker: The quantiser that made it; None where it is real.
        unsigned: Whether it cannot be negative.
        first: Whether it is the network's input, as yet unchanged.
    """

    codes: Codes | None = None
    maker: str | None = None
    unsigned: bool = False
    first: bool = False


def quantize(
    model: nn.Module,
    spec: QuantizeSpec,
    example: Tensor | None = None,
    calibration: Tensor | Iterable[Tensor] | None = None,
    *,
    input_spec: InputSpec | None = None,
) -> nn.Module:
    """The quantised network of a float one, with its weights; the float one is left as it is.

    Args:
        model: A plain module that torch.fx can trace.
        spec: Quantisers, gradient estimators, and what single layers do otherwise.
        example: An input; run once, so that a network that cannot run is refused here.
        calibration: Inputs (N, ...), or batches of them: activations' clipping points are set from these.
        input_spec: Type of the input's codes; without it the input is taken to be on a grid already,
            which is then stated when the network is converted.

    Raises:
        InputError: A network that cannot be traced, or a layer that cannot be quantised; the message names it.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw weights that are replaced at once
        traced = trace(deepcopy(model))
        if spec.batch_norm == "fold":
            fold_batch_norms(traced)
        before = [name for name, _ in traced.named_modules() if name]
        _Rewrite(traced, spec, input_spec).run()
        _check_patterns(spec, before, traced)
    traced.graph.lint()
    traced.recompile()
    if calibration is not None:
        calibrate(traced, calibration, spec)
    if example is not None:
        with torch.no_grad():
            deepcopy(traced).eval()(example)
    return traced.train(model.training)


def _check_patterns(spec: QuantizeSpec, names: list[str], traced: fx.GraphModule) -> None:
    """A pattern that matches no module, call or inserted quantiser is a slip of the pen."""
    known = {
        *names,
        *(name for name, _ in traced.named_modules()),
        *(node.name for node in traced.graph.nodes),
    }
    for key, patterns in (("layers", spec.layers), ("ignore", spec.ignore)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise InputError(
                    f"key 'quantize.{key}': '{pattern}' matches no module{nearest(pattern, names)}\n"
                    f"  modules: {', '.join(names)}"
                )


class _Rewrite:
    """One walk over a traced network: what is known of each value, and the modules that are exchanged."""

    def __init__(self, traced: fx.GraphModule, spec: QuantizeSpec, input_spec: InputSpec | None) -> None:
        self.traced, self.spec, self.input_spec = traced, spec, input_spec
        self.kinds = {
            node: kind_of(traced, node) for node in traced.graph.nodes if node.op.startswith("call")
        }
        self.activations = {
            node: traced.get_submodule(str(node.target))
            for node, kind in self.kinds.items()
            if kind in (Kind.CLIP, Kind.RECTIFY) and node.op == "call_module"
        }
        self.facts: dict[fx.Node, Fact] = {}
        self.done: dict[str, Fact] = {}
        self.quantised: dict[fx.Node, fx.Node] = {}
        self.handlers: dict[Kind, Callable[[fx.Node, list[fx.Node]], Fact]] = {
            Kind.MOVE: self.move,
            Kind.POOL: lambda _, sources: Fact(unsigned=self.facts[sources[0]].unsigned),
            Kind.AFFINE: lambda *_: Fact(),
            Kind.LAST: lambda *_: Fact(),
            Kind.ADD: self.add,
            Kind.JOIN: self.join,
            Kind.WEIGHTED: self.weighted,
            Kind.RECTIFY: self.clip,
            Kind.CLIP: self.clip,
            Kind.CURVE: self.curve,
        }

    def run(self) -> None:
        """Every node once, in order of execution."""
        for node in list(self.traced.graph.nodes):
            if node.op == "placeholder":
                self.placeholder(node)
            elif node.op == "output":
                self.output(node)
            elif node.op != "get_attr":
                fact = self.call(node)
                if fact is not None:
                    self.facts[node] = fact

    def placeholder(self, node: fx.Node) -> None:
        """The input, on the grid that is stated."""
        self.facts[node] = Fact(None, node.name, first=True)
        if self.input_spec is not None:
            name = INPUT if INPUT not in self.done else f"{INPUT}_{node.name}"
            codes = codes_of(self.input_spec.bits, signed=self.input_spec.signed)
            self.done[name] = fact = Fact(codes, name, codes.low == 0, first=True)
            self.facts[self.insert_after(node, name, quant_input(self.input_spec))] = fact

    def output(self, node: fx.Node) -> None:
        """A signed quantiser before it, where there is to be one."""
        if self.spec.output is None:
            return
        spec = msgspec.structs.replace(self.spec, activations=f"int{self.spec.output}")
        for index, source in enumerate(node.all_input_nodes):
            self.quantiser(node, [source], OUTPUT if index == 0 else f"{OUTPUT}_{index}", spec)

    def call(self, node: fx.Node) -> Fact | None:
        """What a call makes of its inputs; quantisers are inserted, modules exchanged."""
        kind, sources = self.kinds[node], [n for n in node.all_input_nodes if n in self.facts]
        if kind is Kind.NUMBERS or not sources:
            return None  # shapes, or constants alone
        if kind is None:
            raise InputError(
                f"{self.title(node)}: quantize() does not know what {self.what(node)} does to its values\n"
                f"  cure: leave it out of the network, or write it with others\n  {supported()}"
            )
        if len(sources) > 1 and kind not in (Kind.ADD, Kind.JOIN):
            raise InputError(
                f"{self.title(node)}: a product of two computed values has no integer form here\n"
                "  cure: multiply by constants only"
            )
        return self.handlers[kind](node, sources)

    def move(self, node: fx.Node, sources: list[fx.Node]) -> Fact:
        """The same grid; a dropout that was written as a function follows training and evaluation again."""
        fact = self.facts[sources[0]]
        padded = name_of(node) == "pad" or (
            node.op == "call_module" and isinstance(self.module(node), nn.ZeroPad1d | nn.ZeroPad2d)
        )
        if padded:
            self.check_padding(node, fact.codes, True)
        if name_of(node) == "dropout" and node.op == "call_function":
            rate = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
            self.replace_call(node, f"{node.name}_module", nn.Dropout(rate))  # type: ignore[arg-type]
        return fact

    def weighted(self, node: fx.Node, sources: list[fx.Node]) -> Fact:
        """A layer with weights, after what it reads is on a grid."""
        (source,) = sources
        name, module = str(node.target), self.module(node)
        if self.facts[source].maker is None:
            (source,) = self.quantiser(node, [source], f"{name.replace('.', '_')}_quant")
        fact = self.facts[source]
        self.check_padding(node, fact.codes, any(_numbers(getattr(module, "padding", 0))))
        if not self.ignored(node) and name not in self.done:
            is_last = any(user.op == "output" for user in node.users)
            spec = self.spec_of(name, first=fact.first, last=is_last)
            self.traced.set_submodule(name, quant_layer(module, spec, reads=fact.codes, name=name))
            self.done[name] = Fact()
        return Fact()

    def clip(self, node: fx.Node, _: list[fx.Node]) -> Fact:
        """A quantiser in the place of a ReLU, ReLU6 or Hardtanh; a module that is called again gets one a call."""
        rectified = self.kinds[node] is Kind.RECTIFY
        if self.ignored(node):
            return Fact(unsigned=rectified)
        target = str(node.target) if node.op == "call_module" else node.name
        unsigned, cap = rectified or self.low(node) >= 0, self.cap(node)
        name = self.fresh(target if node.op == "call_module" else f"{target}_quant")
        made = quant_activation(self.spec_of(name, also=target), unsigned=unsigned, cap=cap, name=name)
        if name == target:
            self.traced.set_submodule(name, made)
        else:
            self.replace_call(node, name, made)
        self.done[name] = self.fact_of(name, made)
        return self.done[name]

    def curve(self, node: fx.Node, _: list[fx.Node]) -> Fact:
        """A nonlinear function, with a quantiser after it."""
        name = str(node.target) if node.op == "call_module" else node.name
        kind = self.what(node)
        own = self.fresh(f"{name.replace('.', '_')}_quant")
        made = quant_activation(
            self.spec_of(name, also=own), unsigned=kind in POSITIVE, cap=BOUNDS.get(kind), name=own
        )
        after = self.insert_after(node, own, made)
        self.facts[after] = self.done[own] = self.fact_of(own, made)
        return Fact(unsigned=kind in POSITIVE)

    def add(self, node: fx.Node, sources: list[fx.Node]) -> Fact:
        """A sum of two values: both on grids, by default on one."""
        if len(sources) == 1:
            return Fact()
        unsigned = all(self.facts[source].unsigned for source in sources)
        self.meet(node, sources, shared=self.spec.sums == "shared")
        return Fact(unsigned=unsigned and name_of(node) in ("add", "iadd"))

    def join(self, node: fx.Node, sources: list[fx.Node]) -> Fact:
        """A concatenation: on one grid, so that what follows reads integers of one scale."""
        makers = {self.facts[source].maker for source in sources}
        if len(makers) == 1 and None not in makers:
            return self.facts[sources[0]]
        return self.facts[self.meet(node, sources, shared=True)[0]]

    def meet(self, node: fx.Node, sources: list[fx.Node], *, shared: bool) -> list[fx.Node]:
        """Quantised forms of the values that meet in a node."""
        makers = {self.facts[source].maker for source in sources}
        if shared and (len(makers) > 1 or None in makers):
            return self.quantiser(node, sources, f"{node.name}_quant")
        real = [source for source in sources if self.facts[source].maker is None]
        own = {s: self.quantiser(node, [s], f"{node.name}_{s.name}_quant")[0] for s in real}
        return [own.get(source, source) for source in sources]

    def quantiser(
        self, reader: fx.Node, sources: list[fx.Node], name: str, spec: QuantizeSpec | None = None
    ) -> list[fx.Node]:
        """One quantiser of what a node reads from these; made once for a single value, whoever reads it."""
        if len(sources) == 1 and sources[0] in self.quantised:
            made = self.quantised[sources[0]]
            reader.replace_input_with(sources[0], made)
            return [made]
        unsigned = all(self.facts[source].unsigned for source in sources)
        module = quant_activation(spec or self.spec_of(name, also=reader.name), unsigned=unsigned, name=name)
        self.traced.add_submodule(name, module)
        found = []
        for source in sources:
            with self.traced.graph.inserting_before(reader):
                made = self.traced.graph.call_module(name, (source,))
            reader.replace_input_with(source, made)
            self.facts[made] = self.fact_of(name, module)
            found.append(made)
        if len(sources) == 1:
            self.quantised[sources[0]] = found[0]
        return found

    def fact_of(self, name: str, module: nn.Module) -> Fact:
        """What a quantiser's values are."""
        codes = quantiser_of(module).quantiser.codes
        return Fact(codes, name, codes.low == 0)

    def spec_of(self, name: str, *, also: str = "", first: bool = False, last: bool = False) -> QuantizeSpec:
        """The specification of a module: what stands above, then first and last, then patterns in their order."""
        spec = self.spec
        if first:
            spec = changed(spec, self.spec.first)
        if last:
            spec = changed(msgspec.structs.replace(spec, weight_scale="tensor"), self.spec.last)
        for pattern, layer in self.spec.layers.items():
            if fnmatchcase(name, pattern) or (also and fnmatchcase(also, pattern)):
                spec = changed(spec, layer)
        return spec

    def ignored(self, node: fx.Node) -> bool:
        """Whether the module, or the call, stays as it is."""
        names = (str(node.target), node.name)
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.spec.ignore)

    def check_padding(self, node: fx.Node, codes: Codes | None, padded: bool) -> None:
        """Zeros that come in must be on the grid."""
        if padded and codes is not None and codes.bipolar:
            raise InputError(
                f"{self.title(node)}: a padded zero is not one of the two values −1, +1 that the layer reads\n"
                "  cure: no padding, or at least 2 bits for the activations before it"
            )

    def fresh(self, name: str) -> str:
        """The name, or with a number where a quantiser has it already."""
        count = 1
        while (made := name if count == 1 else f"{name}_{count}") in self.done:
            count += 1
        return made

    def cap(self, node: fx.Node) -> float | None:
        """Where the activation itself clips."""
        if node.op == "call_module":
            module = self.activations[node]
            return float(module.max_val) if isinstance(module, nn.Hardtanh) else None
        return 6.0 if name_of(node) == "relu6" else 1.0 if name_of(node) == "hardtanh" else None

    def low(self, node: fx.Node) -> float:
        """The least value of a Hardtanh."""
        if node.op == "call_module":
            return float(self.activations[node].min_val)  # type: ignore[arg-type]
        return float(node.kwargs.get("min_val", node.args[1] if len(node.args) > 1 else -1.0))  # type: ignore[arg-type]

    def module(self, node: fx.Node) -> nn.Module:
        """That a node calls."""
        return self.traced.get_submodule(str(node.target))

    def title(self, node: fx.Node) -> str:
        """A node in the words of an error."""
        if node.op == "call_module":
            return f"layer '{node.target}'"
        return f"call '{node.name}' of {name_of(node)}"

    def what(self, node: fx.Node) -> str:
        """The class of a module, the name of a function."""
        return type(self.module(node)).__name__ if node.op == "call_module" else name_of(node)

    def replace_call(self, node: fx.Node, name: str, module: nn.Module) -> None:
        """Let a call of a function be one of a module."""
        self.traced.add_submodule(name, module)
        node.op, node.target = "call_module", name
        node.args, node.kwargs = (node.all_input_nodes[0],), {}

    def insert_after(self, node: fx.Node, name: str, module: nn.Module) -> fx.Node:
        """A module between a node and all that read it."""
        self.traced.add_submodule(name, module)
        with self.traced.graph.inserting_after(node):
            made = self.traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)
        return made


def quantiser_of(module: nn.Module) -> TensorQuant:
    """The one quantiser in a quantised activation."""
    return next(m for m in module.modules() if isinstance(m, TensorQuant))


def _numbers(value: Any) -> list[int]:
    """The paddings of a layer; "same" pads, "valid" does not."""
    if isinstance(value, str):
        return [int(value == "same")]
    return list(value) if isinstance(value, tuple) else [value]
