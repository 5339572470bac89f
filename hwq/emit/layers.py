"""What an op's emission hook returns: hls4ml layers as plain data, every type pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.ir import IntType, Tensor
from hwq.rounding import IntArray

_AXES = 4
PREVIOUS = -1
"""In `HlsLayer.reads`; for a node's first layer it is the node's first input."""


@dataclass(frozen=True)
class Site:
    """Where a node stands: all that an emission hook may know besides the node's parameters.

    Attributes:
        node: The node's name in the user's model, for errors.
        op: Its op.
        inputs: The tensors it reads.
        output: The tensor it makes.
        stream: io_stream, else io_parallel.
        resource: Strategy Resource.
        distributed: Distributed arithmetic.
    """

    node: str
    op: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    stream: bool
    resource: bool
    distributed: bool = False

    @property
    def input(self) -> Tensor:
        """The first, or only, tensor it reads."""
        return self.inputs[0]

    def refuse(self, reason: str, cure: str) -> UnsupportedModel:
        """The error to raise for what hls4ml cannot build exactly."""
        return UnsupportedModel(self.node, self.op, reason, cure)


@dataclass(frozen=True)
class Binary(IntType):
    """The codes 0 and 1, which stand for -1 and +1: hls4ml's XNOR type."""

    lo: int = 0
    hi: int = 1

    def __str__(self) -> str:
        return "binary"


BINARY = Binary()


class Windowed(Protocol):
    """Parameters of an op that moves a window over an image; pairs are (height, width)."""

    @property
    def kernel(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def strides(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def dilations(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def pads(self) -> tuple[int, int, int, int]: ...  # noqa: D102


@dataclass(frozen=True)
class HlsLayer:
    """One layer of hls4ml's layer list.

    Attributes:
        class_name: hls4ml's layer class, or one of ours (``Hwq...``).
        attributes: Plain numbers, strings and tuples.
        shape: Of its output, without batch, channels last.
        types: Precision key (``result``, ``accum``, ``weight`` ...) -> integers it must hold.
        data: Weight name -> integers; its type is ``types[name]``.
        matrix: Whether hls4ml's reuse factor and strategy apply.
        suffix: Tells the layers of one node apart; the last layer of a node has none.
        reads: What it reads: numbers of the node's inputs, or `PREVIOUS`, the layer before it in the node.
    """

    class_name: str
    attributes: Mapping[str, Any]
    shape: tuple[int, ...]
    types: Mapping[str, IntType]
    data: Mapping[str, IntArray] = field(default_factory=dict)
    matrix: bool = False
    suffix: str = ""
    reads: tuple[int, ...] = (PREVIOUS,)

    @property
    def folds(self) -> bool:
        """Whether a reuse factor applies."""
        return self.matrix or self.class_name == "HwqDepthwise"


def precision(kind: IntType) -> str:
    """hls4ml's name of the integer type: no fraction bits, so that none of its passes alters it.

    >>> precision(IntType(-4, 3)), precision(IntType(0, 1))
    ('fixed<3,3>', 'ufixed<1,1>')
    """
    if isinstance(kind, Binary):
        raise TypeError("hls4ml has no name for its XNOR type, only an object")
    return f"{'fixed' if kind.signed else 'ufixed'}<{kind.bits},{kind.bits}>"


def interval_of(values: IntArray) -> IntType:
    """The interval of an array's integers.

    >>> interval_of(np.array([-2, 1]))
    IntType(lo=-2, hi=1)
    """
    return IntType(int(np.min(values)), int(np.max(values)))


def conv2d(
    weight: IntArray, strides: tuple[int, int], pads: tuple[int, int, int, int], site: Site
) -> HlsLayer:
    """A Conv2D with weights (kernel_h, kernel_w, c_in, c_out); pads are top, left, bottom, right."""
    kernel_h, kernel_w, c_in, c_out = weight.shape
    in_h, in_w, _ = site.input.shape
    out_h, out_w, _ = site.output.shape
    attributes = {
        "data_format": "channels_last",
        "in_height": in_h,
        "in_width": in_w,
        "n_chan": c_in,
        "out_height": out_h,
        "out_width": out_w,
        "n_filt": c_out,
        "filt_height": kernel_h,
        "filt_width": kernel_w,
        "stride_height": strides[0],
        "stride_width": strides[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
        "pad_bottom": pads[2],
        "pad_right": pads[3],
    }
    return matrix_layer("Conv2D", attributes, weight, site)


def matrix_layer(class_name: str, attributes: Mapping[str, Any], weight: IntArray, site: Site) -> HlsLayer:
    """A layer of multiply-accumulates, with one bit a weight where all are -1 or +1.

    Partial sums may wrap in the accumulator: the final value fits it.
    """
    types = {"result": site.output.type, "accum": site.output.type, "weight": interval_of(weight)}
    if (np.abs(weight) == 1).all() and not site.distributed:
        weight, types["weight"] = (weight + 1) // 2, BINARY
    return HlsLayer(class_name, attributes, site.output.shape, types, {"weight": weight}, matrix=True)


def reshape_layer(shape: tuple[int, ...], site: Site, suffix: str = "") -> HlsLayer:
    """The same words under another shape."""
    types = {"result": site.output.type}
    return HlsLayer("HwqReshape", {"target_shape": list(shape)}, shape, types, suffix=suffix)


def own_layer(
    class_name: str,
    attributes: Mapping[str, Any],
    site: Site,
    *,
    data: Mapping[str, IntArray] | None = None,
    reads: tuple[int, ...] = (PREVIOUS,),
    output: Tensor | None = None,
    suffix: str = "",
) -> HlsLayer:
    """A layer of `hls_templates/`: `attributes` are the constants of its C++ configuration, `data` its arrays.

    Args:
        class_name: A name of `hwq.emit.own.OWN`.
        attributes: Integers, booleans, and intervals, which become types.
        site: Where its node stands.
        data: Integers by the names of `OWN`.
        reads: As `HlsLayer.reads`.
        output: What it makes, if not the node's output.
        suffix: As `HlsLayer.suffix`.
    """
    out = output or site.output
    arrays = data or {}
    types = {"result": out.type} | {name: interval_of(array) for name, array in arrays.items()}
    return HlsLayer(class_name, attributes, out.shape, types, arrays, suffix=suffix, reads=reads)


def axes_of(shape: tuple[int, ...], site: Site) -> tuple[int, int, int, int]:
    """A shape as four axes, leading ones of size one.

    Raises:
        UnsupportedModel: For more than four axes.
    """
    if len(shape) > _AXES:
        raise site.refuse(f"a tensor of {len(shape)} axes; {_AXES} can be built", "merge axes with a reshape")
    padded = (1,) * (_AXES - len(shape)) + shape
    return padded[0], padded[1], padded[2], padded[3]


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor, in elements; 0 for axes of size one.

    >>> strides_of((2, 1, 3))
    (3, 0, 1)
    """
    return tuple(prod(shape[i + 1 :]) if size > 1 else 0 for i, size in enumerate(shape))


def numbered(prefix: str, values: Sequence[int]) -> dict[str, int]:
    """Attributes of one C++ name with the numbers 0, 1, ...

    >>> numbered("size", (2, 3))
    {'size0': 2, 'size1': 3}
    """
    return {f"{prefix}{i}": int(v) for i, v in enumerate(values)}


def window_attributes(params: Windowed, site: Site) -> dict[str, Any]:
    """The constants that windowed layers of our own share."""
    names = ("in_height", "in_width", "n_chan", "out_height", "out_width")
    pairs = {"kernel": params.kernel, "stride": params.strides, "dilation": params.dilations}
    attributes = dict(zip(names, (*site.input.shape, *site.output.shape[:2]), strict=True))
    for name, (height, width) in pairs.items():
        attributes |= {f"{name}_height": height, f"{name}_width": width}
    return attributes | dict(
        zip(("pad_top", "pad_left", "pad_bottom", "pad_right"), params.pads, strict=True)
    )
