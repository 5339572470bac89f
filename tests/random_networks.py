"""Random QONNX networks of every construct that exporters write, rich in ties, falling and dead channels.

A network is a short chain of blocks. A block inserts one construct, records its name, and leaves a quantised
tensor. Shapes here are without the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
MODES = ("ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")
QUANTISERS = ("Quant", "IntQuant", "BipolarQuant", "Trunc")


@dataclass(frozen=True)
class Value:
    """A tensor of the network."""

    name: str
    shape: tuple[int, ...]


class Net:
    """A network under construction."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[Value] = []
        self.constructs: set[str] = set()
        self.scales = str(self.rng.choice(["power", "dyadic", "float"]))
        self.opset = int(self.rng.choice([11, 14]))
        self.trunc = self.count(1, 2)
        self.batch: Any = self.pick("N", "N", 1)

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def count(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """An initialiser."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def nodes_of(
        self, op: str, inputs: list[str], count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node; its outputs."""
        name = f"{op.lower()}_{len(self.nodes)}"
        if op in QUANTISERS:
            domain = "qonnx.custom_op.general"
        outputs = [f"{name}_out{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, domain=domain, **attributes))
        self.constructs.add(op)
        return outputs

    def node(self, op: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        """A node; its output."""
        return self.nodes_of(op, inputs, 1, domain, **attributes)[0]

    def scale(self, *shape: int) -> Array:
        """Positive scales of the network's kind."""
        if self.scales == "power":
            return np.asarray(np.float32(2) ** self.rng.integers(-4, 2, shape), dtype=np.float32)
        if self.scales == "dyadic":
            return np.asarray(
                self.rng.choice([0.125, 0.1875, 0.25, 0.375, 0.5, 0.75], shape), dtype=np.float32
            )
        return np.asarray(self.rng.uniform(0.05, 1.2, shape), dtype=np.float32)

    def weights(self, shape: tuple[int, ...], axis: int) -> str:
        """Quantised weights; the axis is the one of the output channels."""
        per = tuple(n if i == axis else 1 for i, n in enumerate(shape))
        choices: list[tuple[int, ...]] = [(), (1,), per] + (
            [(shape[axis],)] if axis == len(shape) - 1 else []
        )
        scale_shape = self.pick(*choices)
        values = self.rng.integers(-9, 10, shape) * self.scale() / 2
        if self.chance(0.1):
            values = values * 0
            self.constructs.add("dead weights")
        if self.chance(0.15):
            return self.node("BipolarQuant", [self.constant(values), self.constant(self.scale())])
        bits, signed = self.count(1, 5), 1
        zero: Any = 0.0
        if self.chance(0.15):
            signed, zero = 0, self.rng.integers(0, 4, self.pick((), per)).astype(np.float32)
            self.constructs.add("weight zero point")
        kind = self.pick("Quant", "Quant", "IntQuant")
        inputs = [self.constant(v) for v in (values, self.scale(*scale_shape), zero, float(bits))]
        return self.node(
            kind, inputs, signed=signed, narrow=self.count(0, 1) * (bits > 1), rounding_mode="ROUND"
        )

    def bias(self, n: int) -> list[str]:
        """No, a float or a quantised bias."""
        choice = self.count(0, 2)
        if choice == 0:
            return []
        if choice == 1:
            return [
                self.constant(
                    self.rng.integers(-6, 7, n) / 4 if self.chance(0.5) else self.rng.normal(size=n)
                )
            ]
        self.constructs.add("quantised bias")
        inputs = [self.constant(v) for v in (self.rng.normal(size=n), self.scale() / 8, 0.0, 8.0)]
        return [self.node("Quant", inputs, signed=1, narrow=0, rounding_mode="ROUND")]

    def quantised(self, x: str, shape: tuple[int, ...], most: int = 5) -> Value:
        """An activation quantiser."""
        if self.chance(0.08):
            return Value(self.node("BipolarQuant", [x, self.constant(self.scale())]), shape)
        bits = self.count(6, 16) if self.chance(0.04) else self.count(1, most)
        signed = self.count(0, 1)
        zero = self.count(0, 3) if self.chance(0.15) else 0
        mode = self.pick(*MODES) if self.chance(0.5) else "ROUND"
        scale = self.scale()
        if self.chance(0.1):
            scale = self.scale(1, shape[0], *(1,) * (len(shape) - 1))
            self.constructs.add("per-channel activation")
        if bits > 5:
            scale = scale / np.float32(2 ** (bits - 5))
            self.constructs.add("wide quantiser")
        if zero:
            self.constructs.add("activation zero point")
        self.constructs |= {mode, "signed" if signed else "unsigned"}
        inputs = [x, *(self.constant(v) for v in (scale, float(zero), float(bits)))]
        narrow = self.count(0, 1) if bits > 1 else 0
        y = self.node(
            self.pick("Quant", "IntQuant"), inputs, signed=signed, narrow=narrow, rounding_mode=mode
        )
        if self.chance(0.06):
            self.constructs.add("Quant after Quant")
            return self.quantised(y, shape, most)
        return Value(y, shape)

    def per_channel(self, values: Any, shape: tuple[int, ...]) -> str:
        """A constant that broadcasts: scalar, per channel, or one for every element."""
        kind = self.pick("scalar", "channel", "element")
        sizes = {"scalar": (), "channel": (1, shape[0], *(1,) * (len(shape) - 1)), "element": (1, *shape)}
        if kind == "element":
            self.constructs.add("constant per element")
        return self.constant(self.rng.choice(values, sizes[kind]))

    def norm(self, x: str, channels: int, domain: str = "") -> str:
        """BatchNormalization with negative, zero and other gains."""
        gamma = self.rng.choice([-1.5, -0.25, 0.0, 0.5, 1.0, 2.0], channels)
        var = self.rng.uniform(0, 4, channels) if self.chance(0.5) else np.full(channels, 0.25)
        rest = (self.rng.normal(size=channels), self.rng.integers(-4, 5, channels) / 4, var)
        inputs = [x, *(self.constant(p) for p in (gamma, *rest))]
        return self.node("BatchNormalization", inputs, domain, epsilon=self.pick(1e-5, 0.0), momentum=0.9)

    def between(self, x: str, shape: tuple[int, ...]) -> str:
        """What stands before a quantiser."""
        choice = self.count(0, 4)
        if choice == 0:
            x = self.norm(x, shape[0])
        elif choice == 1:
            x = self.affine(x, shape)
        return self.activation(x, shape) if self.chance(0.5) else x

    def affine(self, x: str, shape: tuple[int, ...]) -> str:
        """Constants added, subtracted, multiplied, divided, on either side."""
        op = self.pick("Add", "Sub", "Mul", "Div", "Pow", "Neg")
        values = [-1.0, -0.5, 0.25, 1.0, 1.5] + ([0.0] if op in ("Mul", "Add") else [])
        if op == "Neg":
            return self.node("Neg", [x])
        if op == "Pow":
            root = self.node("Pow", [self.constant(self.pick(2.0, 0.3, 4.0)), self.constant(0.5)])
            return self.node("Div", [x, root])
        c = self.per_channel(values, shape)
        if op != "Div" and self.chance(0.4):
            self.constructs.add(f"constant {op}")
            return self.node(op, [c, x])
        return self.node(op, [x, c])

    def clip(self, x: str) -> str:
        """Clip in the form of the operator set."""
        return self.node(
            "Clip", [x, self.constant(self.pick(-1.0, 0.0)), self.constant(self.pick(1.0, 6.0, 0.7))]
        )

    def activation(self, x: str, shape: tuple[int, ...]) -> str:
        """A rational activation function."""
        slopes = self.rng.choice([0.25, 0.1, 0.0, -0.5], (shape[0], *(1,) * (len(shape) - 1)))
        makers: list[Callable[[], str]] = [
            lambda: self.node("Relu", [x]),
            lambda: self.node("Relu", [x]),
            lambda: self.node("LeakyRelu", [x], alpha=self.pick(0.125, 0.1, 0.01)),
            lambda: self.node("PRelu", [x, self.constant(slopes)]),
            lambda: self.clip(x),
            lambda: self.node("HardSigmoid", [x], alpha=self.pick(0.25, 0.2), beta=0.5),
        ]
        return makers[self.count(0, len(makers) - 1)]()


Block = Callable[[Net, Value], Value]


def _sizes(n: int, k: int, s: int, pads: tuple[int, int], d: int = 1) -> int:
    return (n + sum(pads) - d * (k - 1) - 1) // s + 1


def convolution(net: Net, v: Value) -> Value:
    """Conv in one or two dimensions: groups, dilations, asymmetric pads, auto_pad."""
    c, sizes = v.shape[0], v.shape[1:]
    rank = len(sizes)
    groups = net.pick(1, 1, c)
    out = groups * net.count(1, 3)
    kernel = [min(net.count(1, 3), n) for n in sizes]
    strides = [net.count(1, 2) for _ in sizes]
    attributes: dict[str, Any] = {"group": groups, "kernel_shape": kernel, "strides": strides}
    auto = net.pick(None, None, "SAME_UPPER", "SAME_LOWER", "VALID")
    if auto:
        net.constructs.add(auto)
        attributes["auto_pad"] = auto
        after = tuple(
            -(-(n if auto != "VALID" else n - k + 1) // s)
            for n, k, s in zip(sizes, kernel, strides, strict=True)
        )
    else:
        pads = [(net.count(0, 1), net.count(0, 1)) for _ in sizes]
        dilations = [
            2 if net.chance(0.15) and n >= 2 * k - 1 else 1 for n, k in zip(sizes, kernel, strict=True)
        ]
        attributes |= {"pads": [p[0] for p in pads] + [p[1] for p in pads], "dilations": dilations}
        net.constructs |= {"dilation"} if max(dilations) > 1 else set()
        after = tuple(map(_sizes, sizes, kernel, strides, pads, dilations))
    net.constructs |= {f"Conv {rank}-D"} | ({"depthwise"} if groups > 1 else set())
    weight = net.weights((out, c // groups, *kernel), 0)
    y = net.node("Conv", [v.name, weight, *net.bias(out)], **attributes)
    shape = (out, *after)
    return net.quantised(net.between(y, shape), shape)


def transposed(net: Net, v: Value) -> Value:
    """ConvTranspose."""
    c, sizes = v.shape[0], v.shape[1:]
    groups = net.pick(1, 1, c)
    out, rank = net.count(1, 2), len(sizes)
    kernel, strides = [net.count(2, 3)] * rank, [net.count(1, 2)] * rank
    extra = [net.count(0, s - 1) for s in strides]
    pads = [net.count(0, 1) for _ in range(2 * rank)]
    shape = (
        out * groups,
        *(s * (n - 1) + k + e - pads[i] - pads[i + rank]
          for i, (n, k, s, e) in enumerate(zip(sizes, kernel, strides, extra, strict=True))),
    )  # fmt: skip
    if min(shape) < 1:
        return v
    weight = net.weights((c, out, *kernel), 1 if groups == 1 else 0)
    y = net.node(
        "ConvTranspose",
        [v.name, weight, *net.bias(out * groups)],
        group=groups,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        output_padding=extra,
    )
    return net.quantised(net.between(y, shape), shape)


def dense(net: Net, v: Value) -> Value:
    """Gemm or MatMul of a flat tensor."""
    v = flat(net, v)
    y, n = product(net, v)
    return net.quantised(net.between(y, (n,)), (n,))


def product(net: Net, v: Value) -> tuple[str, int]:
    """The raw accumulator of a dense layer."""
    k, n = v.shape[0], net.count(2, 5)
    if net.chance(0.5):
        return net.node("MatMul", [v.name, net.weights((k, n), 1)]), n
    attributes: dict[str, Any] = {}
    if net.chance(0.3):
        attributes |= {"alpha": net.pick(0.5, -1.0), "beta": net.pick(2.0, 0.3)}
        net.constructs.add("Gemm alpha")
    bias = net.bias(n)
    if net.chance(0.1):
        bias = [net.constant(0.5)]
    trans = net.count(0, 1)
    weight = net.weights((n, k) if trans else (k, n), 0 if trans else 1)
    return net.node("Gemm", [v.name, weight, *bias], transB=trans, **attributes), n


def flat(net: Net, v: Value) -> Value:
    """Flatten in one of its spellings."""
    if len(v.shape) == 1:
        return v
    n = int(np.prod(v.shape))
    kind = net.pick("Flatten", "Reshape", "chain")
    if kind == "Flatten":
        return Value(net.node("Flatten", [v.name], axis=1), (n,))
    if kind == "Reshape":
        target = [1, -1] if net.batch == 1 else net.pick([0, -1], [-1, n])
        return Value(net.node("Reshape", [v.name, net.constant(target, np.int64)]), (n,))
    batch = net.node("Gather", [net.node("Shape", [v.name]), net.constant(0, np.int64)], axis=0)
    if net.opset < 13:
        batch = net.node("Unsqueeze", [batch], axes=[0])
    else:
        batch = net.node("Unsqueeze", [batch, net.constant([0], np.int64)])
    shape = net.node("Concat", [batch, net.constant([-1], np.int64)], axis=0)
    net.constructs.add("Shape chain")
    return Value(net.node("Reshape", [v.name, shape]), (n,))


def max_pool(net: Net, v: Value) -> Value:
    """MaxPool, sometimes with pads or ceil_mode; not always a quantiser behind it."""
    kernel, strides = [min(2, n) for n in v.shape[1:]], [net.count(1, 2) for _ in v.shape[1:]]
    ceil = net.count(0, 1)
    pads = [net.count(0, 1) if min(kernel) > 1 else 0 for _ in range(2 * len(kernel))]
    rank, sizes = len(kernel), []
    for i, (n, k, s) in enumerate(zip(v.shape[1:], kernel, strides, strict=True)):
        steps = n + pads[i] + pads[i + rank] - k
        size = (-(-steps // s) if ceil else steps // s) + 1
        sizes.append(size - 1 if ceil and (size - 1) * s >= n + pads[i] else size)
    net.constructs |= {"ceil_mode"} if ceil else set()
    y = net.node("MaxPool", [v.name], kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil)
    shape = (v.shape[0], *sizes)
    return net.quantised(y, shape) if net.chance(0.5) else Value(y, shape)


def average_pool(net: Net, v: Value) -> Value:
    """AveragePool, then a Quant or a Trunc of the sum's grid."""
    kernel, strides = [min(2, n) for n in v.shape[1:]], [net.count(1, 2) for _ in v.shape[1:]]
    pads = [net.count(0, 1) if min(kernel) > 1 else 0 for _ in range(2 * len(kernel))]
    half = len(kernel)
    shape = (v.shape[0], *(
        _sizes(n, k, s, (pads[i], pads[i + half]))
        for i, (n, k, s) in enumerate(zip(v.shape[1:], kernel, strides, strict=True))
    ))  # fmt: skip
    include = net.count(0, 1)
    y = net.node(
        "AveragePool", [v.name], kernel_shape=kernel, strides=strides, pads=pads, count_include_pad=include
    )
    return net.quantised(y, shape)


def truncated(net: Net, v: Value) -> Value:
    """Quant, AveragePool 2x2, Trunc of two bits; or Trunc of an accumulator's grid."""
    scale = net.scale()
    inputs = [v.name, *(net.constant(c) for c in (scale, 0.0, 4.0))]
    y, shape = net.node("Quant", inputs, signed=0, narrow=0, rounding_mode="ROUND"), v.shape
    if len(shape) == 3 and min(shape[1:]) >= 2:
        y = net.node("AveragePool", [y], kernel_shape=[2, 2], strides=[1, 1])
        shape, scale = (shape[0], shape[1] - 1, shape[2] - 1), np.float32(scale / np.float32(4))
    zero = net.pick(0.0, 0.0, 4.0)
    tail = (6.0, 4.0) if net.trunc == 1 else (6.0, scale * 4, float(net.count(2, 4)))
    extra: dict[str, Any] = {} if net.trunc == 1 else {"signed": net.count(0, 1), "narrow": net.count(0, 1)}
    constants = [net.constant(c) for c in (scale, zero, *tail)]
    net.constructs.add(f"Trunc v{net.trunc}")
    return Value(net.node("Trunc", [y, *constants], rounding_mode=net.pick(*MODES), **extra), shape)


def reduced(net: Net, v: Value) -> Value:
    """A mean, sum or maximum over all positions."""
    op = net.pick("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum")
    axes, keep = list(range(2, len(v.shape) + 1)), net.count(0, 1)
    shape: tuple[int, ...] = (v.shape[0], *(1,) * len(axes))
    if op.startswith("Global"):
        return net.quantised(net.node(op, [v.name]), shape)
    if op == "ReduceSum" and net.opset >= 13:
        y = net.node(op, [v.name, net.constant(axes, np.int64)], keepdims=keep)
    else:
        y = net.node(op, [v.name], axes=axes, keepdims=keep)
    return net.quantised(y, shape if keep else shape[:1])


def curved(net: Net, v: Value) -> Value:
    """A transcendental or a non-monotone function of a tensor of few bits."""
    inputs = [v.name, *(net.constant(c) for c in (net.scale() / 2, 0.0, float(net.count(2, 5))))]
    x = net.node("Quant", inputs, signed=1, narrow=0, rounding_mode="ROUND")
    if net.chance(0.3):
        x = net.affine(x, v.shape)
    kind = net.pick("Sigmoid", "Tanh", "Erf", "Elu", "Softplus", "SiLU", "GELU", "HardSwish", "HardSigmoid")
    if kind == "HardSwish" and net.opset < 14:
        kind = "SiLU"
    if kind == "SiLU":
        y = net.node("Mul", [x, net.node("Sigmoid", [x])])
    elif kind == "GELU":
        inner = net.node("Erf", [net.node("Div", [x, net.constant(np.sqrt(2))])])
        y = net.node(
            "Mul", [net.node("Mul", [x, net.node("Add", [inner, net.constant(1.0)])]), net.constant(0.5)]
        )
    else:
        y = net.node(kind, [x])
    net.constructs.add(kind)
    return net.quantised(y, v.shape)


def residual(net: Net, v: Value) -> Value:
    """Two or three branches of one tensor, added."""
    kind = net.pick("same scale", "two scales", "raw", "norm", "three")
    net.constructs.add(f"join {kind}")
    if kind == "same scale":
        a, b = v.name, v.name
        constants = [net.constant(c) for c in (net.scale(), 0.0, 4.0)]
        a = net.node("Quant", [net.affine(a, v.shape), *constants], signed=1, narrow=0, rounding_mode="ROUND")
        b = net.node("Quant", [b, *constants], signed=1, narrow=0, rounding_mode="ROUND")
        return net.quantised(net.node("Add", [a, b]), v.shape)
    c = v.shape[0]
    if len(v.shape) == 1:
        raw = net.node("MatMul", [v.name, net.weights((c, c), 1)])
    else:
        ones = [1] * (len(v.shape) - 1)
        raw = net.node("Conv", [v.name, net.weights((c, c, *ones), 0)], kernel_shape=ones)
    if kind == "raw":
        return net.quantised(net.node("Add", [raw, v.name]), v.shape)
    if kind == "norm":
        return net.quantised(
            net.node("Add", [net.norm(raw, c), net.pick(v.name, net.norm(v.name, c))]), v.shape
        )
    a = net.quantised(net.between(raw, v.shape), v.shape, 4).name
    y = net.node(net.pick("Add", "Sub"), [a, v.name])
    if kind == "three":
        y = net.node("Add", [y, net.quantised(v.name, v.shape, 3).name])
    return net.quantised(y, v.shape)


def gated(net: Net, v: Value) -> Value:
    """Two computed tensors multiplied; squeeze and excite where there are positions."""
    if len(v.shape) == 1:
        y = net.node("Mul", [net.quantised(net.affine(v.name, v.shape), v.shape, 3).name, v.name])
        return net.quantised(y, v.shape)
    c, ones = v.shape[0], [1] * (len(v.shape) - 1)
    s = net.quantised(net.node("GlobalAveragePool", [v.name]), (c, *ones), 4)
    g = net.node("Conv", [s.name, net.weights((c, c, *ones), 0)], kernel_shape=ones)
    gate = net.quantised(net.node(net.pick("Sigmoid", "HardSigmoid", "Relu"), [g]), (c, *ones), 4)
    net.constructs.add("squeeze-excite")
    return net.quantised(net.node("Mul", net.pick([v.name, gate.name], [gate.name, v.name])), v.shape)


def two_tensors(net: Net, v: Value) -> Value:
    """MatMul of two computed tensors: x times its own transpose."""
    v = spatial(net, v)
    perm = [0, 2, 1]
    other = net.quantised(v.name, v.shape, 3)
    y = net.node("MatMul", [v.name, net.node("Transpose", [other.name], perm=perm)])
    net.constructs.add("MatMul of two")
    return net.quantised(y, (v.shape[0], v.shape[0]))


def spatial(net: Net, v: Value) -> Value:
    """A tensor of two dimensions after the batch."""
    if len(v.shape) == 2:
        return v
    n = int(np.prod(v.shape))
    shape = (v.shape[0], n // v.shape[0])
    first = 1 if net.batch == 1 else 0
    if len(v.shape) == 1:
        axes: dict[str, Any] = {"axes": [2]} if net.opset < 13 else {}
        inputs = [v.name] if net.opset < 13 else [v.name, net.constant([2], np.int64)]
        return Value(net.node("Unsqueeze", inputs, **axes), shape)
    return Value(net.node("Reshape", [v.name, net.constant([first, *shape], np.int64)]), shape)


def concatenated(net: Net, v: Value) -> Value:
    """Branches of different scales side by side; a quantiser or the next layer behind them."""
    other = net.quantised(net.affine(v.name, v.shape), v.shape, 4)
    names = net.pick([v.name, other.name], [other.name, v.name, v.name])
    y = net.node("Concat", names, axis=1)
    shape = (v.shape[0] * len(names), *v.shape[1:])
    if net.chance(0.5):
        return net.quantised(y, shape)
    net.constructs.add("Concat into a layer")
    return (dense if len(shape) == 1 else convolution)(net, Value(y, shape))


def divided(net: Net, v: Value) -> Value:
    """Split and one Concat or Add, or a Slice."""
    c = v.shape[0]
    if c < 2 or net.chance(0.4):
        start, stop = (0, 1) if c < 2 else (net.count(0, c - 2), c)
        y = net.node("Slice", [v.name, *(net.constant([i], np.int64) for i in (start, stop, 1))])
        return Value(y, (stop - start, *v.shape[1:]))
    sizes = [c // 2, c - c // 2]
    if net.opset < 13:
        a, b = net.nodes_of("Split", [v.name], 2, axis=1, split=sizes)
    else:
        a, b = net.nodes_of("Split", [v.name, net.constant(sizes, np.int64)], 2, axis=1)
    if sizes[0] == sizes[1] and net.chance(0.5):
        return net.quantised(net.node("Add", [a, b]), (sizes[0], *v.shape[1:]))
    a = net.quantised(a, (sizes[0], *v.shape[1:])).name
    return Value(net.node("Concat", [b, a], axis=1), v.shape)


def resized(net: Net, v: Value) -> Value:
    """Nearest neighbours, or depth to space."""
    c, *sizes = v.shape
    if c % 4 == 0 and len(sizes) == 2:
        y = net.node("DepthToSpace", [v.name], blocksize=2, mode=net.pick("DCR", "CRD"))
        return Value(y, (c // 4, sizes[0] * 2, sizes[1] * 2))
    factors = [net.count(1, 2) for _ in sizes]
    style: dict[str, Any] = net.pick(
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"},
    )
    roi = net.pick("", net.constant(np.zeros(0)))
    y = net.node("Resize", [v.name, roi, net.constant([1, 1, *factors])], mode="nearest", **style)
    return Value(y, (c, *(n * f for n, f in zip(sizes, factors, strict=True))))


def padded(net: Net, v: Value) -> Value:
    """Pad of the positions with zeros."""
    rank = len(v.shape) + 1
    pads = [net.count(0, 1) if i % rank > 1 else 0 for i in range(2 * rank)]
    value = [net.constant(0.0)] if net.chance(0.5) else []
    y = net.node("Pad", [v.name, net.constant(pads, np.int64), *value])
    return Value(y, tuple(n + pads[i + 1] + pads[i + 1 + rank] for i, n in enumerate(v.shape)))


def channels_last(net: Net, v: Value) -> Value:
    """A layer of the channels-last domain between two Transposes."""
    domain = "qonnx.custom_op.channels_last"
    c, h, w = v.shape
    x = net.node("Transpose", [v.name], perm=[0, 2, 3, 1])
    kind = net.pick("Conv", "MaxPool", "BatchNormalization")
    net.constructs.add(f"channels-last {kind}")
    k = min(2, h, w)
    if kind == "Conv":
        out = net.count(1, 3)
        common: dict[str, Any] = {"group": 1, "pads": [0] * 4, "dilations": [1, 1]}
        weight = net.weights((out, k, k, c), 0)
        x = net.node("Conv", [x, weight], domain, kernel_shape=[k, k], strides=[1, 1], **common)
        c, h, w = out, h - k + 1, w - k + 1
    elif kind == "MaxPool":
        x = net.node("MaxPool", [x], domain, kernel_shape=[k, k], strides=[1, 1], pads=[0] * 4)
        h, w = h - k + 1, w - k + 1
    else:
        x = net.norm(x, c, domain)
    constants = [net.constant(q) for q in (net.scale(), 0.0, 4.0)]
    x = net.node("Quant", [x, *constants], signed=1, narrow=0, rounding_mode=net.pick(*MODES))
    return Value(net.node("Transpose", [x], perm=[0, 3, 1, 2]), (c, h, w))


def plain(net: Net, v: Value) -> Value:
    """Operators without arithmetic."""
    op = net.pick("Identity", "Dropout", "Cast", "Transpose")
    if op == "Transpose" and len(v.shape) > 1:
        perm = [0, *(int(i) + 1 for i in net.rng.permutation(len(v.shape)))]
        return Value(net.node("Transpose", [v.name], perm=perm), tuple(v.shape[i - 1] for i in perm[1:]))
    if op == "Cast":
        return Value(net.node("Cast", [v.name], to=TensorProto.FLOAT), v.shape)
    return Value(net.node("Identity" if op == "Transpose" else op, [v.name]), v.shape)


def pointwise(net: Net, v: Value) -> Value:
    """Constants, norms and activations alone."""
    return net.quantised(net.between(net.affine(v.name, v.shape), v.shape), v.shape)


# Block, weight, ranks without the batch.
BLOCKS: list[tuple[Block, float, tuple[int, ...]]] = [
    (convolution, 5, (2, 3)),
    (transposed, 1.5, (2, 3)),
    (dense, 2, (1, 2, 3)),
    (max_pool, 1.5, (2, 3)),
    (average_pool, 1.5, (2, 3)),
    (truncated, 1.5, (1, 2, 3)),
    (reduced, 1.5, (2, 3)),
    (curved, 2, (1, 2, 3)),
    (residual, 3, (1, 2, 3)),
    (gated, 1.5, (1, 2, 3)),
    (two_tensors, 0.7, (1, 2, 3)),
    (concatenated, 1.5, (1, 2, 3)),
    (divided, 1.5, (1, 2, 3)),
    (resized, 1.5, (2, 3)),
    (padded, 1, (2, 3)),
    (channels_last, 1.5, (3,)),
    (plain, 1.5, (1, 2, 3)),
    (pointwise, 2, (1, 2, 3)),
]
START = [(2, 4, 4), (3, 3, 4), (1, 5, 3), (4, 2, 3), (2, 6), (3, 4), (5,), (6,)]


def random_network(seed: int) -> tuple[onnx.ModelProto, dict[str, Array], set[str]]:
    """A network, inputs for it, some of them on rounding ties, and the names of its constructs."""
    net = Net(seed)
    shape = net.pick(*START)
    v = _input(net, shape)
    if net.chance(0.12):
        net.constructs.add("two inputs")
        v = net.quantised(net.node("Add", [v.name, _input(net, shape).name]), shape)
    outputs: list[Value] = []
    for _ in range(net.count(1, 4)):
        if int(np.prod(v.shape)) > 150:
            break
        fitting = [(block, weight) for block, weight, ranks in BLOCKS if len(v.shape) in ranks]
        weights = np.array([w for _, w in fitting])
        before = v
        v = fitting[int(net.rng.choice(len(fitting), p=weights / weights.sum()))][0](net, v)
        if before.name not in {i.name for i in net.inputs} and before.name != v.name and net.chance(0.05):
            outputs.append(before)
            net.constructs.add("two outputs")
    outputs.append(_head(net, v))
    return _model(net, outputs, seed), {i.name: _data(net, i.shape) for i in net.inputs}, net.constructs


def _input(net: Net, shape: tuple[int, ...]) -> Value:
    net.inputs.append(Value(f"x{len(net.inputs)}", shape))
    return net.quantised(net.inputs[-1].name, shape)


def _head(net: Net, v: Value) -> Value:
    """The end: codes, an accumulator, an affine of one, Softmax or ArgMax."""
    if net.chance(0.3):
        return v if v.name not in {i.name for i in net.inputs} else net.quantised(v.name, v.shape)
    y, n = product(net, flat(net, v))
    if net.chance(0.4):
        y = net.node("Mul", [y, net.constant(net.scale())])
        y = net.node("Add", [y, net.constant(net.rng.normal(size=n))])
    end = net.pick(None, None, "Softmax", "ArgMax")
    if end == "Softmax":
        return Value(net.node("Softmax", [y], axis=-1), (n,))
    if end == "ArgMax":
        return Value(net.node("ArgMax", [y], axis=1, keepdims=1), (1,))
    return Value(y, (n,))


def _model(net: Net, outputs: list[Value], seed: int) -> onnx.ModelProto:
    last = net.nodes[-1].op_type
    kinds = [TensorProto.FLOAT] * (len(outputs) - 1) + [
        TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    ]
    graph = helper.make_graph(
        net.nodes,
        f"random_{seed}",
        [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, [net.batch, *v.shape]) for v in net.inputs],
        [
            helper.make_tensor_value_info(v.name, kind, [net.batch, *v.shape])
            for v, kind in zip(outputs, kinds, strict=True)
        ],
        net.constants,
    )
    opsets = [
        helper.make_opsetid("", net.opset),
        helper.make_opsetid("qonnx.custom_op.general", net.trunc),
        helper.make_opsetid("qonnx.custom_op.channels_last", 1),
    ]
    return helper.make_model(graph, opset_imports=opsets)


def _data(net: Net, shape: tuple[int, ...]) -> Array:
    """Half steps, noise and extremes."""
    grid = net.rng.integers(-24, 25, (3, *shape)) / 16
    noise = net.rng.normal(size=(2, *shape))
    extremes = net.rng.choice([-100.0, 0.0, 100.0], (1, *shape))
    return np.concatenate([grid, noise, extremes]).astype(np.float32)
