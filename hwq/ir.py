"""The integer graph: frozen records, a checker, and the ``.hwq`` file.

Below this file there is no float. A tensor's integers have a proven interval; what they mean as
real numbers (``scale[c]·q + offset[c]``, exact) is carried only for inputs, outputs and reports.
Layout is channels-last, without the batch axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hwq.exact import ExactArray
from hwq.rounding import IntArray, Rounding


@dataclass(frozen=True)
class IntType:
    """The exact interval of a tensor's integers, both ends included.

    >>> IntType(-4, 3).bits, IntType(0, 16).bits, IntType(-1, 1)
    (3, 5, IntType(lo=-1, hi=1))
    """

    lo: int
    hi: int

    def __post_init__(self) -> None:
        if self.lo > self.hi:
            raise ValueError(f"empty interval {self.lo}..{self.hi}")

    @property
    def signed(self) -> bool:
        """Whether a sign bit is needed."""
        return self.lo < 0

    @property
    def bits(self) -> int:
        """Width of the smallest two's complement (or, if `lo` >= 0, unsigned) integer that holds it."""
        if not self.signed:
            return max(self.hi.bit_length(), 1)
        return max((-self.lo - 1).bit_length(), self.hi.bit_length()) + 1

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


@dataclass(frozen=True)
class Real:
    """What integers mean: ``scale[c]·q + offset[c]``; arrays of one element or one a channel (last axis)."""

    scale: ExactArray
    offset: ExactArray


@dataclass(frozen=True)
class Tensor:
    """One integer tensor.

    Attributes:
        name: Unique in the graph.
        shape: Without batch, channels last.
        type: Proven interval.
        source: The tensor of the model file with the same content (up to layout), if there is one.
        real: The real meaning, if it is known to be affine.
    """

    name: str
    shape: tuple[int, ...]
    type: IntType
    source: str | None = None
    real: Real | None = None


@dataclass(frozen=True)
class Node:
    """One operation; `params` is the frozen dataclass of its `OpSpec`."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    params: Any


@dataclass(frozen=True)
class Layout:
    """How a tensor of the file lies in the graph's: viewed as `view`, transposed by `axes`, then reshaped.

    >>> Layout((2, 1, 2), (1, 2, 0)).index().tolist()   # channels-first file, channels-last graph
    [0, 2, 1, 3]
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]

    def index(self) -> IntArray:
        """For each position of the graph's flat tensor, the position in the file's flat tensor."""
        size = int(np.prod(self.view, dtype=np.int64))
        return np.asarray(np.arange(size, dtype=np.int64).reshape(self.view).transpose(self.axes).ravel())

    def _in_order(self) -> bool:
        return self.axes == tuple(range(len(self.axes)))

    def to_graph(self, x: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """(N, file shape...) -> (N, `shape`...)."""
        n = len(x)
        if self._in_order():
            return np.ascontiguousarray(x).reshape(n, *shape)
        moved = x.reshape(n, *self.view).transpose(0, *(a + 1 for a in self.axes))
        return np.ascontiguousarray(moved).reshape(n, *shape)

    def to_file(self, x: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """(N, graph shape...) -> (N, `shape`...)."""
        n = len(x)
        if self._in_order():
            return np.ascontiguousarray(x).reshape(n, *shape)
        moved = x.reshape(n, *(self.view[a] for a in self.axes))
        back = np.argsort(self.axes)
        return np.ascontiguousarray(moved.transpose(0, *(int(a) + 1 for a in back))).reshape(n, *shape)


@dataclass(frozen=True)
class InputQuantizer:
    """How real inputs become integers, on the host.

    ``q = round(clamp((scale·x + offset)/step + zero, lo, hi)) - zero``.

    Attributes:
        scale: Exact factor before the quantiser, one element or one a channel (last axis).
        offset: Exact summand before the quantiser.
        step: The quantiser's scale.
        zero: Its zero point; the graph's integers have it subtracted.
        lo: Its lowest code.
        hi: Its highest code.
        rounding: Its mode.
        bipolar: Whether it gives only -1 and +1.
        stated: The file has no quantiser here; the user stated this grid (``--input-type``).
    """

    scale: ExactArray
    offset: ExactArray
    step: ExactArray
    zero: int
    lo: int
    hi: int
    rounding: Rounding
    bipolar: bool = False
    stated: bool = False


@dataclass(frozen=True)
class Port:
    """An input or output of the graph, as the model file sees it.

    Attributes:
        tensor: The graph's tensor.
        name: Its name in the file.
        shape: Its shape in the file, without batch.
        layout: From the file's order to the graph's.
        quantizer: For an input, how real numbers become integers.
        real: For an output, what its integers mean.
        epilogue: For an output, the float operator that the file applies to it and the graph does not.
        epilogue_axis: Axis of that operator in the file's shape, from the end.
    """

    tensor: str
    name: str
    shape: tuple[int, ...]
    layout: Layout
    quantizer: InputQuantizer | None = None
    real: Real | None = None
    epilogue: str = ""
    epilogue_axis: int = -1


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer network: inputs, nodes in topological order, outputs.

    Attributes:
        source_sha256: Of the model file that it was lowered from.
        source_path: Where that file lies, for `hwq.verify`; not saved.
        notes: What a reader should know, for example that a final Softmax was cut.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    source_sha256: str = ""
    source_path: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def meaning(self, port: Port) -> Real | None:
        """What an input's or output's integers mean."""
        return port.real or self.tensors[port.tensor].real

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor; None for an input."""
        return next((n for n in self.nodes if n.output == tensor), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor."""
        return tuple(n for n in self.nodes if tensor in n.inputs)

    def run(self, codes: Mapping[str, IntArray] | IntArray) -> dict[str, IntArray]:
        """Integers in, integers out, in the graph's own layout: {output tensor: (N, *shape)}."""
        from hwq import sim

        feeds = codes if isinstance(codes, Mapping) else {self.inputs[0].tensor: codes}
        return sim.run(self, feeds)

    def save(self, path: str | Path) -> None:
        """Write a ``.hwq`` file: a zip of JSON and npy, without pickle."""
        save(self, Path(path))


def check(graph: Graph) -> Graph:
    """Every name is defined once and before use, and every shape and interval is what its op infers.

    Returns the graph, so that a pass can end in ``return check(graph)``.

    Raises:
        ValueError: Naming the node.
    """
    from hwq.ops import OPS

    known = {p.tensor for p in graph.inputs}
    for node in graph.nodes:
        where = f"node '{node.name}' ({node.op})"
        if node.op not in OPS or not isinstance(node.params, OPS[node.op].params):
            raise ValueError(f"{where}: unknown op, or parameters of another op")
        if missing := [t for t in node.inputs if t not in known]:
            raise ValueError(f"{where}: reads {missing}, which nothing before it makes")
        if node.output in known:
            raise ValueError(f"{where}: '{node.output}' is made twice")
        shape, interval = OPS[node.op].infer(node.params, *(graph.tensors[t] for t in node.inputs))
        out = graph.tensors[node.output]
        if (shape, interval) != (out.shape, out.type):
            raise ValueError(f"{where}: makes {interval} {shape}, declared as {out.type} {out.shape}")
        known.add(node.output)
    if lost := [p.tensor for p in graph.outputs if p.tensor not in known]:
        raise ValueError(f"outputs {lost} are never made")
    return graph


def save(graph: Graph, path: Path) -> None:
    """Write `graph` to a ``.hwq`` file, whole or not at all."""
    from hwq import ir_file

    ir_file.save(graph, path)


def load(path: Path) -> Graph:
    """Read a ``.hwq`` file and check it.

    Raises:
        InputError: Not such a file, of another version, damaged, or too large.
    """
    from hwq import ir_file

    return ir_file.load(path)
