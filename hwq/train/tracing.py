"""Tracing a plain module, and what each traced operation does to values, as far as quantisation goes."""

from __future__ import annotations

import operator
import traceback
from enum import Enum, auto
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from hwq.errors import InputError
from hwq.train.quantizers import WEIGHTED


class Kind(Enum):
    """What an operation does to its values."""

    MOVE = auto()
    """Moves, repeats, chooses, or takes the largest: a grid stays."""
    AFFINE = auto()
    """Multiplies and adds constants."""
    POOL = auto()
    """Sums or means: what is not negative stays so."""
    ADD = auto()
    JOIN = auto()
    """Concatenates."""
    RECTIFY = auto()
    """ReLU, ReLU6: becomes an unsigned quantiser."""
    CLIP = auto()
    """Hardtanh: becomes a signed quantiser."""
    CURVE = auto()
    """A nonlinear function: stays, with a quantiser after it."""
    WEIGHTED = auto()
    NUMBERS = auto()
    """Shapes and indices, no values."""
    LAST = auto()
    """Stands only at the network's end."""


POSITIVE = {"Sigmoid", "sigmoid", "Hardsigmoid", "hardsigmoid", "Softplus", "softplus", "abs"}
"""Curves whose results are never negative."""

BOUNDS = dict.fromkeys(("Sigmoid", "sigmoid", "Hardsigmoid", "hardsigmoid", "Tanh", "tanh"), 1.0)
"""The largest magnitude of curves that have one."""

_MODULES: dict[Kind, tuple[type[nn.Module], ...]] = {
    Kind.MOVE: (
        nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Identity,
        nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Upsample, nn.PixelShuffle, nn.ChannelShuffle, nn.ZeroPad1d,
        nn.ZeroPad2d,
    ),
    Kind.AFFINE: (nn.BatchNorm1d, nn.BatchNorm2d),
    Kind.POOL: (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    Kind.RECTIFY: (nn.ReLU, nn.ReLU6),
    Kind.CLIP: (nn.Hardtanh,),
    Kind.CURVE: (
        nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid, nn.ELU, nn.SELU, nn.Mish,
        nn.Softplus, nn.PReLU,
    ),
    Kind.WEIGHTED: WEIGHTED,
    Kind.LAST: (nn.Softmax, nn.LogSoftmax),
}  # fmt: skip
_FUNCTIONS: dict[Kind, set[str]] = {
    Kind.MOVE: {
        "flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "max_pool1d",
        "max_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "dropout", "chunk", "split", "interpolate",
        "pixel_shuffle", "clone", "detach", "pad", "amax", "getitem", "unflatten",
    },
    Kind.POOL: {"avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean", "sum"},
    Kind.ADD: {"add", "iadd", "sub", "isub"},
    Kind.AFFINE: {"mul", "imul", "truediv", "div", "neg"},
    Kind.JOIN: {"cat", "concat"},
    Kind.RECTIFY: {"relu", "relu6"},
    Kind.CLIP: {"hardtanh"},
    Kind.CURVE: {
        "sigmoid", "tanh", "silu", "gelu", "leaky_relu", "hardswish", "hardsigmoid", "elu", "selu", "mish", "softplus",
        "abs",
    },
    Kind.NUMBERS: {"size", "getattr", "floordiv", "numel", "dim", "len"},
    Kind.LAST: {"softmax", "log_softmax", "argmax"},
}  # fmt: skip
_KIND_OF = {name: kind for kind, names in _FUNCTIONS.items() for name in names}
_BOOLEAN_DISPATCH = {
    functional.max_pool1d: "max_pool1d",
    functional.max_pool2d: "max_pool2d",
    functional.adaptive_max_pool1d: "adaptive_max_pool1d",
    functional.adaptive_max_pool2d: "adaptive_max_pool2d",
}


def trace(model: nn.Module) -> fx.GraphModule:
    """A graph of the model's operations over the model's own submodules.

    Raises:
        InputError: What runs depends on the data; the message names the line.
    """
    try:
        graph = fx.Tracer().trace(model)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{type(model).__name__} cannot be traced{_line(error)}: {error}\n"
            "  cure: let nothing that runs depend on values or shapes (if, for, int(), numpy), or quantise the "
            "parts that can be traced and call them from your module"
        ) from error
    return fx.GraphModule(model, graph, class_name=type(model).__name__)


def _line(error: BaseException) -> str:
    """The innermost line that is the user's."""
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "/torch/" not in frame.filename
        and "hwq/train/tracing" not in frame.filename
    ]  # fmt: skip
    return f" ({own[-1].filename}:{own[-1].lineno}, `{own[-1].line}`)" if own else ""


def name_of(node: fx.Node) -> str:
    """The function or method that a node calls, without underscores of in-place forms."""
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    target: Any = node.target
    return str(_BOOLEAN_DISPATCH.get(target, getattr(target, "__name__", str(target)))).strip("_")


def kind_of(traced: fx.GraphModule, node: fx.Node) -> Kind | None:
    """What a call does, or None where it is not known."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return next((kind for kind, types in _MODULES.items() if isinstance(module, types)), None)
    if node.target in (getattr, operator.floordiv):
        return Kind.NUMBERS
    return _KIND_OF.get(name_of(node))


def supported() -> str:
    """What networks may be made of, in one line of modules and one of functions and methods."""
    modules = sorted({kind.__name__ for kinds in _MODULES.values() for kind in kinds})
    return f"modules: {', '.join(modules)}\n  functions, methods: {', '.join(sorted(_KIND_OF))}"


def fold_batch_norms(traced: fx.GraphModule) -> None:
    """Put every batch normalisation that follows one layer alone into that layer's weights and bias."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        layer, norm = modules.get(str(source.target)), modules.get(str(node.target))
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or not isinstance(layer, WEIGHTED):
            continue
        if norm.running_mean is None or sum(n.target == source.target for n in traced.graph.nodes) > 1:
            continue
        _fold(layer, norm)
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
        traced.delete_submodule(str(node.target))
    traced.recompile()


def _fold(layer: nn.Module, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    gain = (variance + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.detach())
    weight, bias = layer.get_parameter("weight"), layer.bias
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d) and layer.groups > 1:
        shaped = gain.reshape(layer.groups, 1, -1).expand(-1, len(weight) // layer.groups, -1)
        factor = shaped.reshape(len(weight), -1, *[1] * (weight.ndim - 2))
    else:
        factor = gain.reshape([-1 if i == int(transposed) else 1 for i in range(weight.ndim)])
    shift = (0 if norm.bias is None else norm.bias.detach()) - mean * gain
    old = torch.zeros_like(mean) if bias is None else bias.detach()  # type: ignore[operator]
    weight.data.mul_(factor)
    layer.bias = nn.Parameter(old * gain + shift)
