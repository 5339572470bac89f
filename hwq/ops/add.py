"""``y = Σ_i mult[i, c]·x_i + add[c]``: a weighted sum of tensors, elementwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import elementwise as law
from hwq.emit.layers import PREVIOUS, HlsLayer, Site, axes_of, numbered, own_layer, strides_of
from hwq.ir import IntType, Tensor
from hwq.ops import requant
from hwq.ops.spec import OpSpec, broadcast, largest, narrow, no_macs, union
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Add:
    """Multipliers (inputs, 1 or channels) and summands (1 or channels); channels are the result's last axis."""

    mult: IntArray
    add: IntArray


def channel_bounds(params: Add, intervals: Sequence[IntType], channels: int) -> tuple[IntArray, IntArray]:
    """Smallest and largest sum a channel, two arrays (channels,).

    Raises:
        ValueError: The magnitudes may add up beyond 62 bits.
    """
    worst = sum(largest(m) * largest(x) for m, x in zip(params.mult, intervals, strict=True))
    narrow(0, worst + largest(params.add))
    ends = np.array([[x.lo, x.hi] for x in intervals], dtype=np.int64)
    products = params.mult[:, :, None] * ends[:, None, :]
    lo, hi = (p.sum(axis=0) + params.add for p in (products.min(axis=2), products.max(axis=2)))
    return np.broadcast_to(lo, (channels,)), np.broadcast_to(hi, (channels,))


def infer(params: Add, *tensors: Tensor) -> tuple[tuple[int, ...], IntType]:
    shape = broadcast([t.shape for t in tensors])
    widths = {params.mult.shape[-1], params.add.size}
    if params.mult.shape[0] != len(tensors) or widths - {1, shape[-1]}:
        raise ValueError(
            f"multipliers {params.mult.shape} and {params.add.size} summands for {len(tensors)} tensors "
            f"that make the shape {shape}"
        )
    return shape, union(*channel_bounds(params, [t.type for t in tensors], shape[-1]))


def run(params: Add, *tensors: IntArray) -> IntArray:
    total: IntArray = tensors[0] * params.mult[0] + params.add
    for x, mult in zip(tensors[1:], params.mult[1:], strict=True):
        total = total + x * mult
    return total


def emit(params: Add, site: Site) -> tuple[HlsLayer, ...]:
    """Two tensors at a time; one alone is scaled by a requantisation that does not shift."""
    merged, tensors, places = _distinct(params, site.inputs)
    if len(tensors) == 1:
        interval = site.output.type
        scale = requant.Requant(merged.mult[0], merged.add, 0, False, interval.lo, interval.hi)
        return requant.emit(scale, site)
    layers: list[HlsLayer] = []
    total, weight = tensors[0], merged.mult[0]
    for k in range(1, len(tensors)):
        final = k == len(tensors) - 1
        part = Add(merged.mult[: k + 1], merged.add if final else np.zeros(1, dtype=np.int64))
        out = site.output if final else Tensor(f"sum{k}", *infer(part, *tensors[: k + 1]))
        scales = (weight, merged.mult[k], part.add)
        reads = (PREVIOUS if layers else places[0], places[k])
        layers.append(join_layer(total, tensors[k], out, site, scales, reads, "" if final else f"sum{k}"))
        total, weight = out, np.ones(1, dtype=np.int64)
    return tuple(layers)


def _distinct(params: Add, tensors: Sequence[Tensor]) -> tuple[Add, list[Tensor], list[int]]:
    """Each tensor once, with the sum of its multipliers; and which inputs they are."""
    places = {t.name: i for i, t in reversed(list(enumerate(tensors)))}
    kept = sorted(places.values())
    rows = [
        np.sum([m for m, t in zip(params.mult, tensors, strict=True) if t.name == tensors[i].name], axis=0)
        for i in kept
    ]
    return Add(np.stack(rows), params.add), [tensors[i] for i in kept], kept


def join_layer(
    a: Tensor,
    b: Tensor,
    out: Tensor,
    site: Site,
    scales: tuple[IntArray, IntArray, IntArray] | None,
    reads: tuple[int, int],
    suffix: str = "",
) -> HlsLayer:
    """``scales[0]·a + scales[1]·b + scales[2]`` by channel, or the product without `scales`."""
    result = axes_of(out.shape, site)
    one = np.ones(1, dtype=np.int64)
    arrays = scales or (one, one, one * 0)
    size = max(s.size for s in arrays)
    attributes: dict[str, int | bool] = numbered("size", result)
    for name, tensor in (("a", a), ("b", b)):
        shape = axes_of(tensor.shape, site)
        attributes |= numbered(name, strides_of(shape))
        attributes |= {f"n_{name}": prod(shape), f"{name}_in_step": shape[:-1] == result[:-1]}
    attributes |= {"product": scales is None, "n_chan": size}
    data = {
        name: np.broadcast_to(s, (size,)) for name, s in zip(("mult0", "mult1", "add"), arrays, strict=True)
    }
    return own_layer("HwqJoin", attributes, site, data=data, reads=reads, output=out, suffix=suffix)


SPEC = OpSpec(
    "add",
    Add,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.add,
    source="ONNX Add, Sum; Jacob et al. 2018, sec. 2.4",
    arity=None,
)
