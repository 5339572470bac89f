"""The verification matrix: layers by stages."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.report.schema import ComparedTensor, Verify
from hwq.report.status import Status


@dataclass(frozen=True)
class Cell:
    """How one tensor of one stage compares with the integers."""

    text: str
    status: Status


@dataclass(frozen=True)
class Row:
    """One tensor in all stages."""

    compared: ComparedTensor
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """Columns are the stages, in the order in which they ran; `totals` has one cell a stage."""

    stages: tuple[str, ...]
    rows: tuple[Row, ...]
    totals: tuple[Cell, ...]


def matrix(verify: Verify) -> Matrix:
    """Arrange the comparisons; a stage that did not look at a tensor has a dash there."""
    names = tuple(stage.name for stage in verify.stages)
    rows = tuple(Row(layer, tuple(_cell(layer, name) for name in names)) for layer in verify.layers)
    totals = []
    for stage in verify.stages:
        cell = _judged(stage.different, stage.certified)
        broken = not stage.ok and cell.status is not Status.BAD
        totals.append(Cell("failed", Status.BAD) if broken else cell)
    return Matrix(names, rows, tuple(totals))


def _cell(layer: ComparedTensor, stage: str) -> Cell:
    if stage not in layer.different:
        return Cell("–", Status.UNKNOWN)
    return _judged(layer.different[stage], layer.certified.get(stage, 0))


def _judged(different: int, certified: int) -> Cell:
    """`different` counts the certified ones too."""
    if different > certified:
        return Cell(f"{different - certified:,} differ", Status.BAD)
    if different:
        return Cell(f"{different:,} certified", Status.UNSURE)
    return Cell("equal", Status.OK)
