"""The network as rows of boxes, with a rail beside them that shows which box feeds which."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.report import numbers
from hwq.report.schema import Layer, Lower, Port

MAX_LANES = 4
"""Side branches drawn next to each other; further ones are only told in words."""


@dataclass(frozen=True)
class Rail:
    """What is drawn beside one box. Lanes are numbered from the box outwards.

    Attributes:
        above: The main line comes from the box before.
        below: The main line goes on to the next box.
        through: Lanes that pass by.
        leaves: Lane that starts here.
        joins: Lanes that come in here, each with whether it also goes on.
    """

    above: bool
    below: bool
    through: tuple[int, ...]
    leaves: int | None
    joins: tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Box:
    """One input, layer or output.

    Attributes:
        side_inputs: Names of the boxes that feed this one, where they are not just the box before.
        share: MACs relative to the layer with the most, 0..1.
    """

    kind: str
    op: str
    name: str
    source: str | None
    shape: str
    type: str
    interval: str
    detail: str | None
    layer: Layer | None
    side_inputs: tuple[str, ...]
    share: float
    rail: Rail


@dataclass(frozen=True)
class Drawing:
    """All boxes in processing order, and how many lanes the rail needs."""

    boxes: tuple[Box, ...]
    lanes: int


def draw(lower: Lower) -> Drawing:
    """Lay the network out; every tensor is known by the name of the input or layer that makes it."""
    sources = _sources(lower)
    lanes = _lanes(sources)
    items: list[Port | Layer] = [*lower.inputs, *lower.layers, *lower.outputs]
    names = [item.name for item in items]
    most = max((layer.macs for layer in lower.layers), default=0)
    boxes = []
    for row, item in enumerate(items):
        side = tuple(names[i] for i in sources[row]) if sources[row] not in ([], [row - 1]) else ()
        rail = _rail(row, sources, lanes)
        if isinstance(item, Layer):
            boxes.append(_layer_box(item, side, rail, item.macs / most if most else 0))
        else:
            boxes.append(_port_box(item, "input" if row < len(lower.inputs) else "output", side, rail))
    return Drawing(tuple(boxes), 1 + max(lanes.values(), default=-1))


def _layer_box(layer: Layer, side: tuple[str, ...], rail: Rail, share: float) -> Box:
    source = layer.source if layer.source != layer.name else None
    place = (numbers.shape(layer.shape), layer.out_type, numbers.interval(layer.lo, layer.hi))
    return Box("layer", layer.op, layer.name, source, *place, layer.form, layer, side, share, rail)


def _port_box(port: Port, kind: str, side: tuple[str, ...], rail: Rail) -> Box:
    place = (numbers.shape(port.shape), port.type, numbers.interval(port.lo, port.hi))
    return Box(kind, kind, port.name, None, *place, port.quantizer, None, side, 0, rail)


def _sources(lower: Lower) -> list[list[int]]:
    """For each row, the earlier rows that feed it; an unknown name falls back to the row before."""
    rows: dict[str, int] = {port.name: row for row, port in enumerate(lower.inputs)}
    sources: list[list[int]] = [[] for _ in lower.inputs]
    for row, layer in enumerate(lower.layers, start=len(lower.inputs)):
        known = sorted({rows[name] for name in layer.inputs if name in rows})
        sources.append(known or ([row - 1] if row else []))
        rows[layer.name] = row
    last = len(sources) - 1
    for port in lower.outputs:
        made_here = rows.get(port.name, last)
        sources.append([made_here] if made_here >= 0 else [])
    return sources


def _lanes(sources: list[list[int]]) -> dict[int, int]:
    """A lane for each row that feeds a row other than the next one: the innermost lane free all the way."""
    until: dict[int, int] = {}
    for row, feeding in enumerate(sources):
        for source in feeding:
            if source != row - 1:
                until[source] = row
    busy_until = [-1] * MAX_LANES
    lanes: dict[int, int] = {}
    for source in sorted(until):
        lane = next((k for k in range(MAX_LANES) if busy_until[k] <= source), None)
        if lane is not None:
            lanes[source], busy_until[lane] = lane, until[source]
    return lanes


def _rail(row: int, sources: list[list[int]], lanes: dict[int, int]) -> Rail:
    last = {source: max(r for r, feeding in enumerate(sources) if source in feeding) for source in lanes}
    joins = [(lanes[s], row < last[s]) for s in sources[row] if s in lanes and s != row - 1]
    joining = {lane for lane, _ in joins}
    passing = {lanes[s] for s in lanes if s < row < last[s]} - joining
    return Rail(
        above=row - 1 in sources[row],
        below=row + 1 < len(sources) and row in sources[row + 1],
        through=tuple(sorted(passing)),
        leaves=lanes.get(row),
        joins=tuple(sorted(joins)),
    )
