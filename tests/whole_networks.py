"""Whole networks of the kinds that people run on FPGAs, tiny, in the spellings of several exporters.

Scales are random float32 numbers unless a network says otherwise; weights have dead and negative channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.networks import Net

Array = np.ndarray[Any, Any]
Dims = Sequence[int | str]
GENERAL, LAST = "qonnx.custom_op.general", "qonnx.custom_op.channels_last"


STEP = 3501 / 2**14
"""An input scale of 12 bits, so that halves of it are float32 numbers."""


def span(bits: float) -> Any:
    """A factor of scales that keeps the range of a quantiser about the same."""
    return np.float32(2.0) ** np.float32(4 - bits)


@dataclass(frozen=True)
class Grid:
    """What an input is fed with: multiples of half a step within bounds, given in halves."""

    step: float
    low: int
    high: int


@dataclass(frozen=True)
class Network:
    """A network and what to feed it.

    Attributes:
        inputs: Shape by name, without the batch, and the values.
        input_type: Grid of its raw inputs if it has some.
    """

    model: onnx.ModelProto
    inputs: dict[str, tuple[tuple[int, ...], Grid]]
    rows: int
    input_type: str | None

    def feeds(self) -> dict[str, Array]:
        """Ties of the input quantisers, some values beyond their range, rows at both ends of it."""
        rng = np.random.default_rng(7)
        named = {}
        for name, (shape, grid) in self.inputs.items():
            halves = rng.integers(grid.low, grid.high + 1, (self.rows, *shape))
            halves[0], halves[1] = grid.low, grid.high
            named[name] = (halves * np.float32(grid.step / 2)).astype(np.float32)
        return named


@dataclass
class Make(Net):
    """A network layer by layer."""

    seed: int = 0
    power: bool = False
    shape: Any = ()
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.grids: dict[str, Grid] = {}

    def scale(self, *shape: int, low: float = 0.05, high: float = 0.4) -> Array:
        """Float32, or powers of two."""
        values = self.rng.uniform(low, high, shape)
        return np.asarray(2.0 ** np.round(np.log2(values)) if self.power else values, dtype=np.float32)

    def act(self, x: str, bits: float = 4, *, signed: int = 0, scale: Any = None, zero: Any = 0.0,
            narrow: int = 0, mode: str = "ROUND") -> str:  # fmt: skip
        """An activation quantiser."""
        inputs = [
            x,
            *(self.constant(v) for v in (self.scale() * span(bits) if scale is None else scale, zero, bits)),
        ]
        return self.node("Quant", inputs, GENERAL, signed=signed, narrow=narrow, rounding_mode=mode)

    def start(self, name: str, bits: int, *, signed: int = 1, scale: float = 0, zero: int = 0,
              **more: Any) -> str:  # fmt: skip
        """The quantiser of an input."""
        scale = scale or STEP * float(span(bits))
        low = -zero if not signed else -(2 ** (bits - 1))
        self.grids.setdefault(name, Grid(scale, 2 * low - 3, 2 * (low + 2**bits) + 3))
        return self.act(name, bits, signed=signed, scale=scale, zero=float(zero), **more)

    def bipolar(self, x: str, scale: float = 1.0) -> str:
        return self.node("BipolarQuant", [x, self.constant(scale)], GENERAL)

    def kernel(self, *shape: int, axis: int = 0, bits: int = 4, channel: bool = True, zero: Any = 0.0) -> str:
        """Quantised weights, a scale for each channel of an axis."""
        per = [n if i == axis and channel else 1 for i, n in enumerate(shape)]
        scale = self.scale(*per if channel else ()) * span(bits)
        limit = 2 ** (bits - 1)
        codes = self.rng.integers(-limit, limit + 1, shape).astype(np.float32)
        inputs = [self.constant(v) for v in (codes * scale, scale, zero, float(bits))]
        signed = int(np.all(np.asarray(zero) == 0))
        return self.node("Quant", inputs, GENERAL, signed=signed, narrow=signed, rounding_mode="ROUND")

    def signs(self, *shape: int, scale: float = 1.0) -> str:
        return self.bipolar(self.constant(self.rng.choice([-0.3, 0.0, 0.3], shape)), scale)

    def conv(self, x: str, c: int, out: int, k: int | Sequence[int] = 3, stride: int = 1, *,
             pads: Sequence[int] | None = None, group: int = 1, rank: int = 2, weight: str = "",
             bias: list[str] | None = None, **more: Any) -> str:  # fmt: skip
        ks = [k] * rank if isinstance(k, int) else list(k)
        weight = weight or self.kernel(out, c // group, *ks)
        if "auto_pad" not in more:
            more["pads"] = [n // 2 for n in ks] * 2 if pads is None else list(pads)
        inputs = [x, weight, *(bias or [])]
        return self.node("Conv", inputs, kernel_shape=ks, strides=[stride] * len(ks), group=group, **more)

    def up(self, x: str, c: int, out: int, k: int = 2, stride: int = 2, rank: int = 2, **more: Any) -> str:
        """A transposed convolution."""
        weight = self.kernel(c, out, *[k] * rank, axis=1)
        options = {"kernel_shape": [k] * rank, "strides": [stride] * rank} | more
        return self.node("ConvTranspose", [x, weight], **options)

    def norm(self, x: str, c: int, **more: Any) -> str:
        """BatchNormalization with a negative and a small gain."""
        gamma = self.rng.uniform(0.3, 1.2, c)
        gamma[0] *= -1
        values = (gamma, self.rng.normal(size=c), self.rng.normal(size=c), self.rng.uniform(0.2, 8, c))
        inputs = [x, *(self.constant(v) for v in values)]
        return self.node("BatchNormalization", inputs, more.pop("domain", ""), **({"epsilon": 1e-5} | more))

    def relu(self, x: str, bits: float = 4, **more: Any) -> str:
        return self.act(self.node("Relu", [x]), bits, **more)

    def bias(self, n: int) -> list[str]:
        return [self.constant(self.rng.normal(size=n))]

    def quant_bias(self, n: int, bits: int = 8) -> list[str]:
        return [self.act(self.constant(self.rng.normal(size=n)), bits, signed=1, scale=self.scale() / 8)]

    def gemm(self, x: str, n: int, out: int, bias: list[str] | None = None, bits: int = 4) -> str:
        return self.node("Gemm", [x, self.kernel(out, n, bits=bits), *(bias or [])], transB=1)

    def matmul(self, x: str, n: int, out: int, bits: int = 4) -> str:
        return self.node("MatMul", [x, self.kernel(n, out, axis=1, bits=bits)])

    def ints(self, *values: int) -> str:
        return self.constant(list(values), np.int64)

    def build(
        self, outputs: str | Sequence[str], inputs: dict[str, Dims], opset: int = 13
    ) -> onnx.ModelProto:
        names = [outputs] if isinstance(outputs, str) else outputs
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names],
            self.constants,
        )
        opsets = [helper.make_opsetid(d, v) for d, v in (("", opset), (GENERAL, 2), (LAST, 1))]
        return helper.make_model(graph, opset_imports=opsets)

    def network(self, outputs: str | Sequence[str], inputs: dict[str, Dims], *, opset: int = 13,
                rows: int = 6, input_type: str | None = None, grid: Grid | None = None) -> Network:  # fmt: skip
        shapes = {n: tuple(int(d) for d in s[1:]) for n, s in inputs.items()}
        fed = {n: (shape, grid or self.grids[n]) for n, shape in shapes.items()}
        return Network(self.build(outputs, inputs, opset), fed, rows, input_type)


def keyword_spotting() -> Network:
    """Conv1d over time with an odd length, stride 3 and asymmetric pads; Squeeze; Softmax over the classes."""
    m = Make(seed=1)
    x = m.start("x", 8)
    x = m.conv(x, 5, 6, [4], 3, rank=1, pads=[2, 1])
    x = m.relu(m.norm(x, 6), 4)
    x = m.conv(x, 6, 6, [3], rank=1, group=6, dilations=[2], pads=[2, 2])
    x = m.relu(m.norm(m.conv(x, 6, 4, [1], rank=1), 4), 3)
    x = m.node("GlobalAveragePool", [x])
    x = m.act(m.node("Squeeze", [x, m.ints(2)]), 6, signed=1)
    x = m.gemm(x, 4, 3, m.quant_bias(3))
    return m.network(m.node("Softmax", [x], axis=1), {"x": ["N", 5, 17]})


def intrusion_detection() -> Network:
    """An MLP on signs of 0/1 features, (x·2 - 1), as FINN's cybersecurity example; one output, BipolarQuant last."""
    m = Make(seed=2)
    x = m.node("Sub", [m.node("Mul", ["x", m.constant(2.0)]), m.constant(1.0)])
    x = m.bipolar(x)
    for n, out in ((13, 9), (9, 7)):
        x = m.relu(m.norm(m.matmul(x, n, out, 2), out), 2)
    return m.network(m.bipolar(m.gemm(x, 7, 1, None, 2)), {"x": [1, 13]}, rows=12, grid=Grid(1.0, 0, 2))


def espcn_resize() -> Network:
    """Super-resolution: nearest-neighbour resize between layers, a raw 8-bit input, a quantiser last."""
    m = Make(seed=3)
    x = m.relu(m.norm(m.conv("x", 1, 5, 5, bias=m.bias(5)), 5), 4)
    sizes = [m.constant(v) for v in ([], [1, 1, 3, 3])]
    x = m.node(
        "Resize",
        [x, *sizes],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    x = m.act(m.conv(x, 5, 1, 3, bias=m.bias(1)), 8)
    return m.network(x, {"x": [1, 1, 3, 5]}, input_type="ufixed<8,1>", grid=Grid(2.0**-6, 0, 255))


def espcn_subpixel() -> Network:
    """Super-resolution: depth to space before Relu, 1x1 input images, opset 20."""
    m = Make(seed=4)
    x = m.relu(m.conv(m.start("x", 8, signed=0), 2, 4, 3), 4, mode="FLOOR")
    x = m.node(
        "DepthToSpace",
        [
            m.conv(x, 4, 9, 3),
        ],
        blocksize=3,
        mode="CRD",
    )
    return m.network(m.relu(x, 8), {"x": ["batch", 2, 1, 1]}, opset=20)


def espcn_bias() -> Network:
    """Super-resolution: a bias for each channel, then depth to space, then the last quantiser."""
    m = Make(seed=19)
    x = m.relu(m.conv(m.start("x", 8, signed=0), 1, 4, 5, bias=m.bias(4)), 4)
    x = m.node("DepthToSpace", [m.conv(x, 4, 9, 3, bias=m.bias(9))], blocksize=3, mode="CRD")
    return m.network(m.act(x, 8, signed=1), {"x": [1, 1, 2, 3]})


def keras_cnn() -> Network:
    """As tf2onnx writes Keras networks: channels last outside, Transpose at both ends of the convolutions."""
    m = Make(seed=20)
    x = m.node("Transpose", ["x"], perm=[0, 3, 1, 2])
    x = m.relu(m.norm(m.conv(m.act(x, 6, signed=1, scale=STEP), 3, 4), 4))
    x = m.node("Transpose", [m.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])], perm=[0, 2, 3, 1])
    x = m.node("Reshape", [x, m.ints(-1, 24)])
    return m.network(m.matmul(x, 24, 3), {"x": ["N", 4, 6, 3]}, grid=Grid(STEP, -70, 70))


def unet() -> Network:
    """Two levels, skips by concatenation at different scales, transposed convolutions, odd sizes cut by Slice."""
    m = Make(seed=5)
    a = m.relu(m.norm(m.conv(m.start("x", 8), 2, 3), 3))
    b = m.relu(
        m.norm(m.conv(m.node("MaxPool", [a], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), 3, 4), 4)
    )
    c = m.relu(m.norm(m.conv(m.node("MaxPool", [b], kernel_shape=[2, 2], strides=[2, 2]), 4, 5), 5))
    up = m.relu(m.norm(m.up(c, 5, 4, 3, output_padding=[1, 1]), 4), 3)
    up = m.node("Slice", [up, m.ints(0, 0), m.ints(3, 3), m.ints(2, 3)])
    d = m.relu(m.conv(m.node("Concat", [up, b], axis=1), 8, 4), 4)
    up = m.relu(m.up(d, 4, 3, 3, pads=[1, 1, 1, 1]), 4)
    e = m.relu(m.conv(m.node("Concat", [a, up], axis=1), 6, 3), 4)
    return m.network(m.act(m.conv(e, 3, 2, 1, bias=m.bias(2)), 4, signed=1), {"x": [1, 2, 5, 5]})


def residual_requantised() -> Network:
    """Residual blocks as QuantEltwiseAdd writes them: both branches on one scale, the sum quantised again."""
    m = Make(seed=6)
    x = m.relu(m.norm(m.conv(m.start("x", 8), 3, 4), 4))
    for stride in (1, 2):
        scale = m.scale()
        y = m.relu(m.norm(m.conv(x, 4, 4, 3, stride), 4))
        y = m.act(m.norm(m.conv(y, 4, 4), 4), 5, signed=1, scale=scale)
        skip = x if stride == 1 else m.relu(m.norm(m.conv(x, 4, 4, 1, 2), 4))
        skip = m.act(skip, 5, signed=1, scale=scale)
        x = m.relu(m.node("Add", [y, skip]), 5)
    x = m.act(m.node("ReduceMean", [x], axes=[2, 3], keepdims=0), 5)
    return m.network(m.gemm(x, 4, 3), {"x": [2, 3, 5, 4]})


def residual_raw() -> Network:
    """ResNet without quantisers before the sums: conv + BN on both branches, per-channel scales; raw logits."""
    m = Make(seed=7)
    x = m.relu(m.norm(m.conv(m.start("x", 6), 2, 3), 3), 3)
    y = m.relu(m.norm(m.conv(x, 3, 3), 3), 3)
    x = m.relu(m.node("Add", [m.norm(m.conv(y, 3, 3), 3), x]), 3)
    y = m.relu(m.norm(m.conv(x, 3, 4, 3, 2), 4), 3)
    y = m.norm(m.conv(y, 4, 4), 4)
    x = m.relu(m.node("Add", [m.norm(m.conv(x, 3, 4, 1, 2), 4), y]), 3)
    x = m.act(m.node("Flatten", [m.node("GlobalAveragePool", [x])]), 4)
    return m.network(m.gemm(x, 4, 3, m.bias(3)), {"x": ["N", 2, 5, 5]})


def binary_cnn() -> Network:
    """CNV with one bit everywhere: signs after MaxPool and BatchNormalization, an affine map of the pixels."""
    m = Make(seed=8)
    x = m.node("Sub", [m.node("Mul", ["x", m.constant(2.0)]), m.constant(1.0)])
    x = m.act(x, 8, signed=1, narrow=1, scale=2.0**-7)
    for c, out in ((3, 4), (4, 6)):
        weight = m.signs(out, c, 3, 3, scale=0.5 if c == 3 else 1.0)
        x = m.bipolar(m.norm(m.conv(x, c, out, pads=[0] * 4, weight=weight), out))
        if c == 3:
            x = m.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = m.node("Reshape", [x, m.ints(1, -1)])
    x = m.bipolar(m.norm(m.node("MatMul", [x, m.signs(6, 5)]), 5))
    x = m.node("MatMul", [x, m.signs(5, 3)])
    x = m.node("Add", [m.node("Mul", [x, m.constant(0.37)]), m.constant([0.1, -0.2, 0.0])])
    return m.network(x, {"x": [1, 3, 9, 9]}, grid=Grid(2.0**-8, -10, 520))


def mobile() -> Network:
    """Depthwise separable with SAME_UPPER and Clip(0, 6), an inverted residual, power-of-two scales."""
    m = Make(seed=9, power=True)
    x = m.relu(m.norm(m.conv(m.start("x", 8, scale=0.125), 3, 4, 3, 2, auto_pad="SAME_UPPER"), 4))
    limits = [m.constant(0.0), m.constant(6.0)]
    y = m.act(m.node("Clip", [m.norm(m.conv(x, 4, 8, 1), 8), *limits]), 4)
    y = m.node("Clip", [m.norm(m.conv(y, 8, 8, 3, group=8, auto_pad="SAME_UPPER"), 8), *limits])
    y = m.act(m.norm(m.conv(m.act(y, 4), 8, 4, 1), 4), 4, signed=1)
    x = m.act(m.node("Add", [x, y]), 4, signed=1)
    x = m.node("AveragePool", [x], kernel_shape=[2, 3], strides=[1, 1])
    x = m.node("Reshape", [m.act(x, 4, signed=1), m.ints(0, -1)])
    return m.network(m.node("LogSoftmax", [m.gemm(x, 8, 3, m.bias(3))]), {"x": ["N", 3, 5, 6]})


def channels_last_branches() -> Network:
    """Channels-last operators of qonnx: branches with LeakyRelu and other scales, joined by Concat on the last axis."""
    m = Make(seed=10)

    def conv(x: str, c: int, out: int, k: int) -> str:
        x = m.node(
            "Conv",
            [x, m.kernel(out, k, k, c)],
            LAST,
            kernel_shape=[k, k],
            strides=[1, 1],
            dilations=[1, 1],
            pads=[k // 2] * 4,
        )
        return m.node("LeakyRelu", [m.norm(x, out, domain=LAST)], alpha=0.1)

    x = m.start("x", 6)
    a, b = m.act(conv(x, 2, 3, 3), 4, signed=1), m.act(conv(x, 2, 2, 1), 4, signed=1)
    x = m.node("Concat", [a, b, x], axis=3)
    x = m.node("MaxPool", [x], LAST, kernel_shape=[2, 2], strides=[3, 2], pads=[0] * 4)
    x = m.act(conv(x, 7, 3, 3), 4, signed=1)
    x = m.node("Flatten", [x], axis=1)
    return m.network(m.gemm(x, 12, 2), {"x": [1, 5, 4, 2]})


def squeeze_excite() -> Network:
    """A channel gate: average, two layers, HardSigmoid, product with the image; three readers of one tensor."""
    m = Make(seed=11)
    x = m.relu(m.norm(m.conv(m.start("x", 6), 2, 4), 4))
    s = m.act(m.node("ReduceMean", [x, m.ints(-1, -2)], keepdims=1), 6)
    s = m.relu(m.conv(s, 4, 2, 1, bias=m.bias(2)), 4)
    s = m.act(m.node("HardSigmoid", [m.conv(s, 2, 4, 1, bias=m.bias(4))], alpha=1 / 6), 4)
    y = m.act(m.node("Mul", [x, s]), 4)
    x = m.act(m.node("Add", [x, m.conv(y, 4, 4, 1)]), 4, signed=1)
    x = m.act(m.node("ReduceMean", [x, m.ints(2, 3)], keepdims=0), 6, signed=1)
    return m.network(m.gemm(x, 4, 3), {"x": ["N", 2, 3, 4]}, opset=18)


def attention() -> Network:
    """One head: Q·Kᵀ, a quantised sigmoid for weights, times V, a residual; a sequence of tokens."""
    m = Make(seed=12)
    x = m.start("x", 4)
    q, k, v = (m.act(m.matmul(x, 4, 3), 4, signed=1) for _ in range(3))
    scores = m.node("MatMul", [q, m.node("Transpose", [k], perm=[0, 2, 1])])
    scores = m.node("Div", [scores, m.constant(np.sqrt(3.0))])
    weights = m.act(m.node("Sigmoid", [scores]), 4, scale=1 / 15)
    y = m.act(m.node("MatMul", [weights, v]), 4, signed=1)
    y = m.act(m.node("Add", [m.matmul(y, 3, 4), x]), 4, signed=1)
    y = m.node("Reshape", [y, m.ints(-1, 20)])
    return m.network(m.gemm(y, 20, 2, m.quant_bias(2)), {"x": ["N", 5, 4]})


def autoencoder() -> Network:
    """Conv1d down, ConvTranspose up, Tanh quantised; code and reconstruction are both outputs."""
    m = Make(seed=13)
    x = m.relu(m.conv(m.start("x", 6), 1, 3, [3], 2, rank=1, pads=[1, 1]), 4)
    code = m.act(m.conv(x, 3, 2, [4], 2, rank=1, pads=[1, 1], bias=m.bias(2)), 4, signed=1)
    x = m.relu(m.up(code, 2, 3, 4, rank=1, pads=[1, 1]), 4)
    x = m.up(x, 3, 1, 4, rank=1, pads=[1, 1])
    x = m.act(m.node("Tanh", [x]), 6, signed=1, scale=1 / 31)
    return m.network([code, x], {"x": ["N", 1, 8]}, opset=17)


def truncating_pools() -> Network:
    """Average pools by Trunc, in both versions, with a zero point of the activations, opset 22."""
    m = Make(seed=14)
    scale = np.float32(0.21)
    x = m.relu(m.conv(m.start("x", 6), 1, 3, 3), 4, scale=scale)
    x = m.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    params = [m.constant(v) for v in (scale / 4, 0.0, 6.0, scale, 4.0)]
    x = m.node("Trunc", [x, *params], GENERAL, rounding_mode="floor", signed=0, narrow=0)
    x = m.act(m.conv(x, 3, 3, 3), 5, zero=7.0)
    x = m.act(m.conv(x, 3, 4, 1, weight=m.kernel(4, 3, 1, 1, zero=5.0)), 5, zero=11.0, scale=0.3)
    x = m.act(m.node("GlobalAveragePool", [x]), 6, signed=1)
    return m.network(m.node("Flatten", [x], axis=-3), {"x": ["N", 1, 4, 6]}, opset=22)


def two_cameras() -> Network:
    """Two inputs of different shapes; three outputs, one of them read inside, one quantised by three readers."""
    m = Make(seed=15)
    a = m.relu(m.conv(m.start("left", 5), 1, 2, 3), 4)
    a = m.act(m.node("Flatten", [a]), 4)
    b = m.relu(m.gemm(m.start("right", 5), 3, 4, m.bias(4)), 4)
    both = m.node("Concat", [a, b], axis=-1)
    shared = m.relu(m.matmul(both, 16, 5), 3)
    fine, coarse = m.act(shared, 6, scale=0.07), m.act(shared, 2, scale=0.5)
    one = m.gemm(fine, 5, 2)
    two = m.node("Sub", [m.matmul(coarse, 5, 2), m.act(one, 6, signed=1)])
    return m.network([one, shared, two], {"left": ["N", 1, 2, 3], "right": ["N", 3]})


def two_views_of_one_input() -> Network:
    """One input on two grids, a residual between them, dense biases quantised; scales by powers of two."""
    m = Make(seed=16, power=True)
    a, b = m.start("x", 8, scale=2.0**-5), m.start("x", 2, scale=0.5, mode="FLOOR")
    a = m.relu(m.gemm(a, 6, 6, m.quant_bias(6), 8), 8, scale=2.0**-3)
    b = m.act(m.node("Add", [a, b]), 8, signed=1, scale=2.0**-3)
    b = m.node("Unsqueeze", [b, m.ints(1)])
    b = m.act(m.matmul(b, 6, 3), 6, signed=1, mode="CEIL")
    return m.network(m.node("Squeeze", [b, m.ints(-2)]), {"x": ["N", 6]}, opset=20)


def fixed_point_mlp() -> Network:
    """As QKeras and HGQ write: a raw input, weights, biases and activations on power-of-two grids, bits by channel."""
    m = Make(seed=17, power=True)
    x = "x"
    for n, out in ((6, 5), (5, 4)):
        weight, bias = m.kernel(n, out, axis=1, channel=False), m.quant_bias(out)[0]
        x = m.node("Add", [m.node("MatMul", [x, weight]), bias])
        scale = 2.0 ** m.rng.integers(-2, 2, (1, out))
        x = m.node("Relu", [m.act(x, 6, signed=1, scale=scale, mode="FLOOR")])
    x = m.node("Add", [m.matmul(x, 4, 1), m.quant_bias(1)[0]])
    return m.network(
        m.node("Sigmoid", [x]),
        {"x": [1, 6]},
        input_type="fixed<10,5>",
        rows=10,
        grid=Grid(2.0**-4, -512, 511),
    )


def eight_bit_cnn() -> Network:
    """Eight bits per channel, asymmetric activations with padding, as post-training tools write; opset 11."""
    m = Make(seed=18)
    x = m.start("x", 8, signed=0, zero=109)
    x = m.act(m.node("Relu", [m.conv(x, 2, 3, weight=m.kernel(3, 2, 3, 3, bits=8), bias=m.bias(3))]), 8)
    skip = x
    x = m.act(m.conv(x, 3, 3, [3, 2], pads=[1, 0, 1, 1], weight=m.kernel(3, 3, 3, 2, bits=8)), 8, zero=131.0)
    x = m.act(m.node("Add", [x, skip]), 8, zero=17.0, scale=0.9)
    x = m.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = m.act(m.gemm(m.node("Flatten", [x]), 12, 4, m.bias(4), 8), 8, signed=1, scale=1.7)
    return m.network(x, {"x": ["N", 2, 4, 3]}, opset=11)


NETWORKS: dict[str, Callable[[], Network]] = {
    make.__name__: make
    for make in (
        keyword_spotting, intrusion_detection, espcn_resize, espcn_subpixel, espcn_bias, keras_cnn, unet,
        residual_requantised,
        residual_raw, binary_cnn, mobile, channels_last_branches, squeeze_excite, attention, autoencoder,
        truncating_pools, two_cameras, two_views_of_one_input, fixed_point_mlp, eight_bit_cnn,
    )
}  # fmt: skip
