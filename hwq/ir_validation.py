"""What a graph that was read from a file must be beyond `hwq.ir.check`: types, sizes and meanings that fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from math import prod
from typing import Any

import numpy as np

from hwq.exact import Surd, nearest
from hwq.ir import Graph, InputQuantizer, Layout, Node, Port, Real, Tensor
from hwq.ops import OPS

_ARRAYS: dict[str, dict[str, int]] = {
    "add": {"mult": 2, "add": 1},
    "conv": {"weight": 4},
    "dense": {"weight": 2},
    "lut": {"breaks": 2, "values": 2},
    "requant": {"mult": 1, "add": 1},
    "threshold": {"thresholds": 2},
}
"""The arrays of each op and their numbers of axes."""
_COMPARED = {("threshold", "thresholds"), ("lut", "breaks")}
"""Arrays that are only compared with: they may be empty, and hold any integer."""
_LIMIT = 2**62
_MAX_ELEMENTS = 2**28
_MAX_CODE = 2**33


def validate(graph: Graph) -> Graph:
    """The graph itself, if its arrays, quantisers and layouts are of a kind that hwq writes.

    Raises:
        ValueError: Naming what is not.
    """
    _require(graph.inputs and graph.outputs, "a network without inputs or outputs")
    made = [*(p.tensor for p in graph.inputs), *(n.output for n in graph.nodes)]
    _require(len(set(made)) == len(made), "a tensor is made twice")
    _require(set(made) == set(graph.tensors), "tensors that nothing makes, or that are not described")
    _require(len({p.name for p in graph.outputs}) == len(graph.outputs), "two outputs have one name")
    shapes = {(p.name, p.shape) for p in graph.inputs}  # an input with several quantisers is several ports
    _require(len({name for name, _ in shapes}) == len(shapes), "two inputs of one name differ in shape")
    for name, tensor in graph.tensors.items():
        _tensor(name, tensor)
    for node in graph.nodes:
        _node(node)
    for port in (*graph.inputs, *graph.outputs):
        _port(port, graph.tensors[port.tensor])
    for port in graph.inputs:
        if port.quantizer is not None:
            _quantizer(port.quantizer, graph.tensors[port.tensor])
    return graph


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _tensor(name: str, tensor: Tensor) -> None:
    where = f"tensor '{name}'"
    _require(tensor.name == name, f"{where} is called '{tensor.name}'")
    _sizes(tensor.shape, where)
    _require(tensor.type.lo > -_LIMIT and tensor.type.hi < _LIMIT, f"{where} is beyond 62 bits")
    if tensor.real is not None:
        _real(tensor.real, tensor, where)


def _sizes(shape: tuple[int, ...], where: str) -> None:
    good = shape and all(s > 0 for s in shape) and prod(shape) <= _MAX_ELEMENTS
    _require(good, f"{where} has the shape {shape}")


def _real(real: Real, tensor: Tensor, where: str) -> None:
    _exact(real.scale, tensor, f"scale of {where}")
    _exact(real.offset, tensor, f"offset of {where}")


def _exact(values: np.ndarray[Any, Any], tensor: Tensor, where: str) -> None:
    """One exact number, or one a channel."""
    _require(values.dtype in (np.float64, object) and values.ndim == 1, f"{where} is not a list of numbers")
    _require(len(values) in (1, tensor.shape[-1]), f"{where} has {len(values)} elements")
    _require(np.isfinite(nearest(values)).all(), f"{where} is not finite")


def _node(node: Node) -> None:
    where = f"node '{node.name}' ({node.op})"
    arity = OPS[node.op].arity
    _require(len(node.inputs) == arity if arity else node.inputs, f"{where} reads {len(node.inputs)} tensors")
    for field in fields(node.params):
        value = getattr(node.params, field.name)
        _require(all(abs(v) < _LIMIT for v in _integers(value)), f"{where}: {field.name} is beyond 62 bits")
    for name, axes in _ARRAYS.get(node.op, {}).items():
        array = getattr(node.params, name)
        _require(array.dtype == np.int64 and array.ndim == axes, f"{where}: {name} is not {axes}-D int64")
        compared = (node.op, name) in _COMPARED
        inside = (array > -_LIMIT).all() and (array < _LIMIT).all()
        _require(array.size or compared, f"{where}: {name} is empty")
        _require(inside or compared, f"{where}: {name} is beyond 62 bits")
    if node.op == "requant":
        good = 0 <= node.params.shift < 62 and -_LIMIT < node.params.lo <= node.params.hi < _LIMIT
        _require(good, f"{where}: shift {node.params.shift}, limits {node.params.lo}..{node.params.hi}")


def _integers(value: object) -> Iterator[int]:
    """The integers of a parameter, arrays apart."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _integers(part)


def _port(port: Port, tensor: Tensor) -> None:
    where = f"port '{port.name}'"
    if port.shape:  # one number a sample has none
        _sizes(port.shape, where)
    _layout(port.layout, where)
    sizes = {prod(port.shape), prod(port.layout.view), prod(tensor.shape)}
    _require(len(sizes) == 1, f"{where}: {port.shape} viewed as {port.layout.view} is not {tensor.shape}")
    if port.real is not None:
        _real(port.real, tensor, where)


def _layout(layout: Layout, where: str) -> None:
    _sizes(layout.view, where)
    permutation = sorted(layout.axes) == list(range(len(layout.view)))
    _require(permutation, f"{where}: axes {layout.axes} do not permute {layout.view}")


def _quantizer(quantizer: InputQuantizer, tensor: Tensor) -> None:
    where = f"quantiser of '{tensor.name}'"
    for values in (quantizer.scale, quantizer.offset, quantizer.step):
        _exact(values, tensor, where)
    steps = [Surd.of(v) for v in quantizer.step.tolist()]
    good = all(len(v.terms) == 1 and v.sign() > 0 for v in steps)
    _require(good, f"{where}: its step is not positive")
    lo, hi = (-1, 1) if quantizer.bipolar else (quantizer.lo, quantizer.hi)
    _require(max(map(abs, (lo, hi, quantizer.zero))) <= _MAX_CODE, f"{where}: codes beyond 32 bits")
    interval = (lo - quantizer.zero, hi - quantizer.zero)
    declared = (tensor.type.lo, tensor.type.hi)
    _require(interval == declared, f"{where}: makes {interval}, but the tensor is declared {declared}")
