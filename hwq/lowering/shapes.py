"""Operators that only move elements: views of the file's order cost nothing until something needs another layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor, prod
from typing import Any

import numpy as np

from hwq.errors import UnsupportedModel
from hwq.exact import ExactArray, Surd, at
from hwq.ir import Layout
from hwq.lowering.branches import Concatenated
from hwq.lowering.builder import Builder
from hwq.lowering.integers import aligned, collected, computed, constant, linear, placed, rescaled, single
from hwq.lowering.layouts import Placed, Shape, as_is, axis_in_graph, channels_last, composed, transposed
from hwq.lowering.pending import Affine, channels, compose
from hwq.lowering.real import RealNode
from hwq.lowering.values import Flow, Pending, Raw, Value
from hwq.ops.concat import Concat
from hwq.ops.depth_to_space import DepthToSpace
from hwq.ops.pad import Pad
from hwq.ops.slice import Slice
from hwq.ops.upsample import Upsample
from hwq.rounding import IntArray

Inputs = list[Any]
MAX_RANK = 16
_MAX_FACTOR = 2**10


def _whole_numbers(node: RealNode, value: Value | None, what: str) -> list[int]:
    numbers = constant(node, value, what)
    if numbers.dtype.kind not in "iu":
        raise UnsupportedModel(
            node.name, node.op, f"its {what} is no list of integers", "export the model again"
        )
    return [int(v) for v in numbers.ravel()]


def _axis(node: RealNode, axis: int, rank: int) -> int:
    """An axis counted without the batch; the batch itself is refused."""
    if not -rank - 1 <= axis <= rank or axis in (0, -rank - 1):
        raise UnsupportedModel(
            node.name, node.op, f"works along axis {axis}, the batch", "keep the batch apart"
        )
    return (axis if axis > 0 else axis + rank + 1) - 1


def _axes(node: RealNode, inputs: Inputs, rank: int) -> list[int]:
    """Axes as an attribute or as the second input, counted without the batch."""
    given = inputs[1] if len(inputs) > 1 else None
    listed = (
        _whole_numbers(node, given, "axes") if given is not None else list(node.attributes.get("axes", ()))
    )
    return [_axis(node, a, rank) for a in listed]


# --- views ---------------------------------------------------------------------------------------


def sizes(node: RealNode, shape: Shape, wanted: list[int], batch: int) -> Shape:
    """The new shape, without batch, of a Reshape of a tensor of `shape` in a file of this batch size.

    Raises:
        UnsupportedModel: It mixes the batch with other axes, or does not fit.
    """
    if any(s < -1 for s in wanted) or wanted.count(-1) > 1 or len(wanted) > MAX_RANK:
        raise UnsupportedModel(
            node.name, node.op, f"reshapes to {wanted[:MAX_RANK]}", "use sizes, 0, and one -1"
        )
    if 0 in wanted and node.attributes.get("allowzero", 0):
        raise UnsupportedModel(
            node.name, node.op, "makes an empty tensor (allowzero)", "leave allowzero away"
        )
    if 0 in wanted[len(shape) + 1 :]:
        reason = f"reshapes {shape} to {tuple(wanted)}, which keeps an axis that is not there"
        raise UnsupportedModel(node.name, node.op, reason, "check the export")
    new = [(1, *shape)[i] if s == 0 else s for i, s in enumerate(wanted)]
    total, (first, rest) = prod(shape), (new[0] if new else 1, new[1:])
    if first not in (1, -1, batch):
        cure = "state the batch as -1, 0 or 1: x.flatten(1), or x.reshape(x.shape[0], -1)"
        raise UnsupportedModel(node.name, node.op, f"reshapes to {tuple(wanted)}, a batch of {first}", cure)
    if -1 in rest and -prod(rest) > 0:
        rest[rest.index(-1)] = total // -prod(rest)
    if not rest or prod(rest) != total:
        reason = f"reshapes {shape} to {tuple(wanted)}, which mixes the batch with other axes"
        raise UnsupportedModel(node.name, node.op, reason, "keep the batch as the first axis")
    return tuple(rest)


def reshape(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """To constant sizes."""
    flow = computed(node, inputs[0])
    return replace(
        flow, shape=sizes(node, flow.shape, _whole_numbers(node, inputs[1], "shape"), builder.batch)
    )


def flatten(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """All but the batch."""
    flow = computed(node, inputs[0])
    if node.attributes.get("axis", 1) not in (1, -len(flow.shape)):
        raise UnsupportedModel(
            node.name, node.op, "flattens along another axis than 1", "use torch.flatten(x, 1)"
        )
    return replace(flow, shape=(prod(flow.shape),))


def squeeze(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Axes of size one go; a batch of one stays."""
    flow = computed(node, inputs[0])
    axes = _axes(node, inputs, len(flow.shape)) or [i for i, size in enumerate(flow.shape) if size == 1]
    if any(flow.shape[a] != 1 for a in axes):
        raise UnsupportedModel(
            node.name, node.op, f"squeezes axes {axes} of {flow.shape}", "check the export"
        )
    return replace(flow, shape=tuple(s for i, s in enumerate(flow.shape) if i not in axes))


def unsqueeze(_builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """New axes of size one."""
    flow = computed(node, inputs[0])
    given = inputs[1] if len(inputs) > 1 else None
    listed = (
        _whole_numbers(node, given, "axes") if given is not None else list(node.attributes.get("axes", ()))
    )
    rank = len(flow.shape) + len(listed)
    axes = [_axis(node, a, rank) for a in listed]
    if len(set(axes)) != len(axes) or rank > MAX_RANK:
        reason = f"adds the axes {listed[:MAX_RANK]} to {flow.shape}"
        raise UnsupportedModel(node.name, node.op, reason, f"name each axis once, at most {MAX_RANK} in all")
    left = iter(flow.shape)
    return replace(flow, shape=tuple(1 if i in axes else next(left) for i in range(rank)))


def transpose(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Axes of the file in another order."""
    flow = computed(node, inputs[0])
    rank = len(flow.shape)
    order = node.attributes.get("perm", list(reversed(range(rank + 1))))
    if sorted(order) != list(range(rank + 1)) or order[0] != 0:
        raise UnsupportedModel(node.name, node.op, f"moves the batch axis ({order})", "keep the batch first")
    return reordered(builder, node, flow, tuple(p - 1 for p in order[1:]))


def reordered(builder: Builder, node: RealNode, flow: Flow, order: Shape) -> Flow:
    """A tensor whose file axes are permuted (without batch)."""
    layout = transposed(flow.layout, flow.shape, order)
    if layout is None:
        where = as_is(flow.shape)
        raw = builder.arrange(flow, where, node.name) if isinstance(flow, Raw) else None
        flow = raw or placed(builder, node, flow, where)
        layout = transposed(flow.layout, flow.shape, order)
    if layout is None:
        raise AssertionError("a tensor in the order of the file can be transposed")
    shape = tuple(flow.shape[p] for p in order)
    if not isinstance(flow, Raw):
        return replace(flow, shape=shape, layout=layout)
    moved = composed(flow.order, Layout(flow.shape, order))
    if moved is None:
        raise UnsupportedModel(
            node.name, node.op, "mixes axes of the network input", "quantise the input first"
        )
    return replace(flow, shape=shape, layout=layout, order=moved)


def swap_last(builder: Builder, node: RealNode, value: Pending) -> Pending:
    """The last two file axes exchanged."""
    rank = len(value.shape)
    flow = reordered(builder, node, value, (*range(rank - 2), rank - 1, rank - 2))
    return single(builder, node, flow)


# --- parts and wholes ----------------------------------------------------------------------------


def _laid_out(
    builder: Builder, node: RealNode, values: Sequence[Pending], axis: int
) -> tuple[list[Pending], int]:
    """Tensors of equal rank laid out alike, and where a file axis is in the graph."""
    kind: Callable[[Shape], Placed] = channels_last
    if all(v.placed == as_is(v.shape) for v in values):
        kind = as_is
    found = [placed(builder, node, v, kind(v.shape)) for v in values]
    where = axis_in_graph(found[0].shape, found[0].placed, axis)
    if where is None:
        raise AssertionError("the usual layouts keep the axes of the file")
    return found, where


def concat(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Along any axis but the batch; tensors of other scales become one with scales a channel, or of one unit."""
    values = [single(builder, node, v) for v in inputs]
    axis = _axis(node, node.attributes["axis"], len(values[0].shape))
    for value in values[1:]:
        if [s for i, s in enumerate(value.shape) if i != axis] != [
            s for i, s in enumerate(values[0].shape) if i != axis
        ]:
            reason = f"joins tensors of shapes {values[0].shape} and {value.shape} along axis {axis + 1}"
            raise UnsupportedModel(node.name, node.op, reason, "check the export")
    values, where = _laid_out(builder, node, values, axis)
    last = where == len(values[0].graph_shape) - 1
    if not last and not _alike(values):
        values = aligned(builder, node, values)
    tensor = builder.add("concat", node.name, tuple(v.tensor for v in values), Concat(where))
    shape = tuple(
        sum(v.shape[axis] for v in values) if i == axis else s for i, s in enumerate(values[0].shape)
    )
    kind = as_is if values[0].placed == as_is(values[0].shape) else channels_last
    graph_shape, layout = kind(shape)
    tensor = builder.reshape(tensor, graph_shape, node.name)
    steps = values[0].steps
    if last and not _alike(values):
        widths = tuple(v.graph_shape[-1] for v in values)
        steps = _concatenated(values, widths)
    elif last:
        widths = tuple(v.graph_shape[-1] for v in values)
        steps = steps if channels(steps) == 1 else _concatenated(values, widths)
    return Pending(tensor, shape, graph_shape, layout, steps)


def _alike(values: Sequence[Pending]) -> bool:
    """Whether all have the same affine meaning, one for all channels or the same a channel."""
    affine = [compose(v.steps) for v in values]
    first = affine[0]
    return first is not None and all(
        a is not None and _equal(a[0], first[0]) and _equal(a[1], first[1]) for a in affine
    )


def _equal(a: ExactArray, b: ExactArray) -> bool:
    return len(a) == len(b) and all(at(a, c) == at(b, c) for c in range(len(a)))


def _concatenated(values: Sequence[Pending], widths: tuple[int, ...]) -> Any:
    affine = [compose(v.steps) for v in values]
    known = [a for a in affine if a is not None]
    if len(known) < len(values):
        return (Concatenated(tuple(v.steps for v in values), widths),)
    scale, offset = (
        collected([at(a[i], c) for a, width in zip(known, widths, strict=True) for c in range(width)])
        for i in (0, 1)
    )
    return (Affine(scale, offset),)


def split(builder: Builder, node: RealNode, inputs: Inputs) -> tuple[Value, ...]:
    """Parts along an axis: of stated sizes, or as equal as they can be."""
    value = single(builder, node, inputs[0])
    axis = _axis(node, node.attributes.get("axis", 0), len(value.shape))
    size, count = value.shape[axis], len(node.outputs)
    given = inputs[1] if len(inputs) > 1 else None
    parts = (
        _whole_numbers(node, given, "split") if given is not None else list(node.attributes.get("split", ()))
    )
    if not parts:
        largest = -(-size // count)
        parts = [min(largest, size - i * largest) for i in range(count)]
    if sum(parts) != size or len(parts) != count or min(parts) < 1:
        reason = f"splits {size} elements into {count} parts {parts[:MAX_RANK]}"
        raise UnsupportedModel(node.name, node.op, reason, "check the export")
    ends = np.cumsum([0, *parts]).tolist()
    return tuple(_part(builder, node, value, axis, (ends[i], ends[i + 1], 1)) for i in range(count))


def slices(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Starts, ends, axes and steps as attributes (opset 9) or inputs."""
    value = single(builder, node, inputs[0])
    listed = []
    for i, key in enumerate(("starts", "ends", "axes", "steps"), 1):
        given = inputs[i] if len(inputs) > i else None
        listed.append(
            _whole_numbers(node, given, key) if given is not None else list(node.attributes.get(key, ()))
        )
    starts, ends, axes, steps = listed
    axes = axes or list(range(len(starts)))
    if {len(starts), len(ends), len(axes), len(steps or starts)} != {len(starts)} or 0 in steps:
        reason = (
            f"has {len(starts)} starts, {len(ends)} ends, {len(axes)} axes, steps {steps[:MAX_RANK] or 1}"
        )
        raise UnsupportedModel(node.name, node.op, reason, "check the export")
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        whole_batch = start == 0 and end >= builder.batch and (not steps or steps[i] == 1)
        if axes[i] in (0, -len(value.shape) - 1) and whole_batch:
            continue
        axis = _axis(node, axes[i], len(value.shape))
        whole = slice(start, end, steps[i] if steps else 1).indices(value.shape[axis])
        if whole[2] < 1 or whole[0] >= whole[1]:
            raise UnsupportedModel(
                node.name, node.op, f"takes {whole} of axis {axis + 1}", "use rising slices"
            )
        if whole != (0, value.shape[axis], 1):
            value = _part(builder, node, value, axis, whole)
    return value


def _part(builder: Builder, node: RealNode, value: Pending, axis: int, part: tuple[int, int, int]) -> Pending:
    (value,), where = _laid_out(builder, node, [value], axis)
    kind = as_is if value.placed == as_is(value.shape) else channels_last
    tensor = builder.add("slice", node.name, (value.tensor,), Slice(where, *part))
    shape = tuple(len(range(*part)) if i == axis else s for i, s in enumerate(value.shape))
    steps = value.steps
    if where == len(value.graph_shape) - 1 and channels(steps) > 1:
        steps = tuple(s.take(np.arange(*part)) for s in steps)
    graph_shape, layout = kind(shape)
    tensor = builder.reshape(tensor, graph_shape, node.name)
    return Pending(tensor, shape, graph_shape, layout, steps)


# --- images --------------------------------------------------------------------------------------


def pad(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """With a constant that is an integer in the tensor's own unit, mostly zero; or by reflection, or the edge."""
    value = single(builder, node, inputs[0])
    rank = len(value.shape)
    before, after = _pads(node, inputs, rank)
    mode = str(node.attributes.get("mode", "constant"))
    if mode not in ("constant", "reflect", "edge"):
        raise UnsupportedModel(node.name, node.op, f"mode '{mode}'", "use constant, reflect or edge")
    fill = _fill(node, inputs) if mode == "constant" else Surd()
    value, code = _with_code(builder, node, value, fill) if mode == "constant" else (value, 0)
    (value,), _ = _laid_out(builder, node, [value], 0)
    pairs = [(0, 0)] * len(value.graph_shape)
    for axis in range(rank):
        where = axis_in_graph(value.shape, value.placed, axis)
        if where is None:
            raise AssertionError("the usual layouts keep the axes of the file")
        pairs[where] = int(before[axis + 1]), int(after[axis + 1])
    if any(pairs[-1]) and channels(value.steps) > 1:
        value = rescaled(builder, node, value, one_unit=True)
        value, code = _with_code(builder, node, value, fill)
    tensor = builder.add("pad", node.name, (value.tensor,), Pad(tuple(pairs), code, mode))
    shape = tuple(s + int(before[i + 1] + after[i + 1]) for i, s in enumerate(value.shape))
    kind = as_is if value.placed == as_is(value.shape) else channels_last
    graph_shape, layout = kind(shape)
    tensor = builder.reshape(tensor, graph_shape, node.name)
    return Pending(tensor, shape, graph_shape, layout, value.steps)


def _pads(node: RealNode, inputs: Inputs, rank: int) -> tuple[IntArray, IntArray]:
    """How much a Pad adds before and after each axis, the batch first."""
    given = inputs[1] if len(inputs) > 1 else None
    listed = (
        _whole_numbers(node, given, "pads") if given is not None else list(node.attributes.get("pads", ()))
    )
    axes = range(rank + 1)
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [_axis(node, a, rank) + 1 for a in _whole_numbers(node, inputs[3], "axes")]  # type: ignore[assignment]
    before, after = np.zeros(rank + 1, dtype=np.int64), np.zeros(rank + 1, dtype=np.int64)
    if len(listed) != 2 * len(axes) or len(set(axes)) != len(axes):
        reason = f"pads {listed[:MAX_RANK]} for {len(set(axes))} axes"
        raise UnsupportedModel(node.name, node.op, reason, "check the export")
    for i, a in enumerate(axes):
        before[a], after[a] = listed[i], listed[i + len(axes)]
    if before[0] or after[0] or min(before.min(), after.min()) < 0:
        raise UnsupportedModel(
            node.name, node.op, f"pads {listed}", "pad no batch, and with no negative sizes"
        )
    return before, after


def _fill(node: RealNode, inputs: Inputs) -> Surd:
    """What a Pad puts around its input."""
    number = node.attributes.get("value", 0.0)
    if len(inputs) > 2 and inputs[2] is not None:
        numbers = constant(node, inputs[2], "value")
        if numbers.size != 1:
            cure = "use one value a tensor"
            raise UnsupportedModel(node.name, node.op, "its value is no single number", cure)
        number = numbers.item()
    return Surd.of(number if isinstance(number, Surd) else float(number))


def _with_code(builder: Builder, node: RealNode, value: Pending, fill: Surd) -> tuple[Pending, int]:
    """The tensor in a unit that holds `fill`, and its integer."""
    value, scale, offset = linear(builder, node, value)
    if len(scale) == len(offset) == 1 and at(scale, 0).terms:
        quotient = (fill - at(offset, 0)) / at(scale, 0)
        if quotient.is_rational and quotient.rational().denominator == 1:
            return value, int(quotient.rational())
    if not fill.terms:
        return rescaled(builder, node, value, one_unit=False), 0
    value = rescaled(builder, node, value, one_unit=True, multiples=[fill])
    affine = compose(value.steps)
    if affine is None:
        raise AssertionError("a rescaled tensor is affine")
    return value, int((fill / at(affine[0], 0)).rational())


def resize(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Nearest neighbours that repeat each pixel a whole number of times (Resize, Upsample)."""
    flow = computed(node, inputs[0])
    if isinstance(flow, Raw) or len(flow.shape) not in (2, 3):
        flow = single(builder, node, flow)
    mode = str(node.attributes.get("mode", "nearest"))
    wanted = _resized(builder, node, inputs, flow.shape)
    cure = "use nearest neighbours with a whole factor: nn.Upsample(scale_factor=2, mode='nearest')"
    if mode != "nearest" or wanted is None or node.attributes.get("axes"):
        raise UnsupportedModel(node.name, node.op, f"resizes in mode '{mode}'", cure)
    channel = len(flow.shape) - 1 if node.channels_last else 0
    factors = [Fraction(w, s) for w, s in zip(wanted, flow.shape, strict=True)]
    whole = all(f.denominator == 1 and 1 <= f <= _MAX_FACTOR for f in factors)
    if factors[channel] != 1 or not whole or len(flow.shape) not in (2, 3):
        raise UnsupportedModel(node.name, node.op, f"resizes {flow.shape} to {wanted}", cure)
    for size, factor in zip(flow.shape, factors, strict=True):
        if not _repeats(node, size, int(factor)):
            raise UnsupportedModel(node.name, node.op, "takes its neighbours unevenly", cure)
    value = placed(builder, node, flow, channels_last(flow.shape))
    spatial = [int(f) for i, f in enumerate(factors) if i != channel]
    params = Upsample((1, spatial[0]) if len(spatial) == 1 else (spatial[0], spatial[1]))
    tensor = builder.add("upsample", node.name, (value.tensor,), params)
    return Pending(tensor, wanted, *channels_last(wanted), value.steps)


def _resized(builder: Builder, node: RealNode, inputs: Inputs, shape: Shape) -> Shape | None:
    """The new file shape, from sizes or from scales; batch left out."""
    if node.op == "Resize" and len(inputs) > 3 and inputs[3] is not None:
        batch, *sizes = _whole_numbers(node, inputs[3], "sizes") or [0]
        return tuple(sizes) if len(sizes) == len(shape) and batch in (1, builder.batch) else None
    given = inputs[1] if node.op == "Upsample" or len(inputs) == 2 else inputs[2] if len(inputs) > 2 else None
    scales = (
        constant(node, given, "scales").ravel() if given is not None else node.attributes.get("scales", ())
    )
    exact = [Surd.of(float(s)).rational() for s in scales]
    if len(exact) != len(shape) + 1 or exact[0] != 1:
        return None
    return tuple(floor(size * factor) for size, factor in zip(shape, exact[1:], strict=True))


def _repeats(node: RealNode, size: int, factor: int) -> bool:
    """Whether position i of the result is position i // factor of the input, in exact arithmetic."""
    if factor == 1 or node.op == "Upsample":
        return True
    mode = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    nearest = str(node.attributes.get("nearest_mode", "round_prefer_floor"))
    for i in range(min(size * factor, 4 * factor)):
        if mode == "asymmetric":
            x = Fraction(i, factor)
        elif mode in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"):
            x = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
        else:
            return False
        rounded = {
            "floor": floor(x),
            "ceil": -floor(-x),
            "round_prefer_floor": -floor(-(x - Fraction(1, 2))),
            "round_prefer_ceil": floor(x + Fraction(1, 2)),
        }.get(nearest)
        if rounded is None or min(max(rounded, 0), size - 1) != i // factor:
            return False
    return True


def depth_to_space(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Channels become pixels (PixelShuffle); with steps a channel the shuffle waits until these are resolved."""
    flow = computed(node, inputs[0])
    block, mode = node.attributes["blocksize"], str(node.attributes.get("mode", "DCR"))
    if len(flow.shape) != 3 or mode not in ("DCR", "CRD") or block < 1 or flow.shape[0] % block**2:
        reason = f"block {block}, mode '{mode}' of a tensor of shape {flow.shape}"
        raise UnsupportedModel(node.name, node.op, reason, "use images with channels that the block divides")
    c, h, w = flow.shape
    count = c // block**2
    shape = (count, h * block, w * block)
    if isinstance(flow, Pending) and channels(flow.steps) == 1:
        value = placed(builder, node, flow, channels_last(flow.shape))
        tensor = builder.add("depth_to_space", node.name, (value.tensor,), DepthToSpace(block, mode))
        return Pending(tensor, shape, *channels_last(shape), value.steps)
    split, order = ((block, block, count, h, w), (2, 3, 0, 4, 1))
    if mode == "CRD":
        split, order = ((count, block, block, h, w), (0, 3, 1, 4, 2))
    return replace(reordered(builder, node, replace(flow, shape=split), order), shape=shape)


def space_to_depth(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """Pixels become channels (ONNX: the place in the block is the outer part of the channel)."""
    flow = computed(node, inputs[0])
    block = node.attributes["blocksize"]
    if len(flow.shape) != 3 or block < 1 or flow.shape[1] % block or flow.shape[2] % block:
        reason = f"block {block} of a tensor of shape {flow.shape}"
        raise UnsupportedModel(node.name, node.op, reason, "use images whose sides the block divides")
    c, h, w = flow.shape
    split = (c, h // block, block, w // block, block)
    moved = reordered(builder, node, replace(flow, shape=split), (2, 4, 0, 1, 3))
    return replace(moved, shape=(c * block**2, h // block, w // block))


def gather(builder: Builder, node: RealNode, inputs: Inputs) -> Value:
    """One element, or a run of them, along an axis."""
    value = single(builder, node, inputs[0])
    axis = _axis(node, node.attributes.get("axis", 0), len(value.shape))
    numbers = constant(node, inputs[1], "index")
    picked = [i + value.shape[axis] if i < 0 else i for i in _whole_numbers(node, inputs[1], "index")]
    run = list(range(picked[0], picked[0] + len(picked))) if picked else []
    if (
        not picked
        or picked != run
        or not 0 <= picked[0] <= picked[-1] < value.shape[axis]
        or numbers.ndim > 1
    ):
        reason = f"takes the elements {picked[:8]} of {value.shape[axis]}"
        raise UnsupportedModel(node.name, node.op, reason, "take one element, or neighbours in their order")
    part = _part(builder, node, value, axis, (picked[0], picked[-1] + 1, 1))
    shape = part.shape if numbers.ndim else tuple(s for i, s in enumerate(part.shape) if i != axis)
    return replace(part, shape=shape)


HANDLERS: dict[str, Callable[[Builder, RealNode, Inputs], Value | tuple[Value, ...]]] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slices,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}
