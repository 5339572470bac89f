"""Steps that join several functions of the same integers: x·sigmoid(x), concatenated tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwq.exact import ExactArray, Surd, add, exact_array, multiply, signs
from hwq.lowering.pending import (
    MIXED,
    Grid,
    Step,
    Steps,
    channels,
    compose,
    direction,
    evaluate,
    evaluate_exact,
    grid,
    take,
)
from hwq.rounding import FloatArray, IntArray


@dataclass(frozen=True)
class Combine(Step):
    """``left(x) op right(x)``."""

    op: Literal["add", "mul", "max", "min"]
    left: Steps
    right: Steps

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        (a, m), (b, n) = (evaluate(side, x, magnitude) for side in (self.left, self.right))
        if self.op == "add":
            return a + b, m + n
        if self.op == "mul":
            return a * b, m * np.abs(b) + n * np.abs(a) + m * n * 2.0**-10  # both errors, and their product
        return (np.maximum if self.op == "max" else np.minimum)(a, b), np.maximum(m, n)

    def exact(self, x: Surd, channel: int) -> Surd:
        a, b = (evaluate_exact(side, x, channel) for side in (self.left, self.right))
        if self.op == "add":
            return a + b
        if self.op == "mul":
            return a * b
        return a if (a < b) == (self.op == "min") else b

    def direction(self) -> IntArray:
        left, right = np.broadcast_arrays(direction(self.left), direction(self.right))
        if self.op == "mul":
            return self._product_direction(left, right)
        return np.where(left == right, left, np.where(left == 0, right, np.where(right == 0, left, MIXED)))

    def _product_direction(self, left: IntArray, right: IntArray) -> IntArray:
        out = np.full(len(left), MIXED, dtype=np.int64)
        for c in np.flatnonzero((left == 0) | (right == 0)):
            constant, other = (self.left, right[c]) if left[c] == 0 else (self.right, left[c])
            sign = evaluate_exact(constant, 0, int(c)).sign()
            out[c] = sign * other if sign == 0 or other != MIXED else MIXED
        return out

    def take(self, index: IntArray) -> Combine:
        return Combine(self.op, take(self.left, index), take(self.right, index))

    def channels(self) -> int:
        return max(channels(self.left), channels(self.right))

    @property
    def is_affine(self) -> bool:
        if self.op == "mul":
            return self.affine() is not None
        return self.op == "add" and all(s.is_affine for s in (*self.left, *self.right))

    def affine(self) -> tuple[ExactArray, ExactArray] | None:
        left, right = compose(self.left), compose(self.right)
        if left is None or right is None or self.op not in ("add", "mul"):
            return None
        (a, b), (c, d) = left, right
        if self.op == "add":
            return add(a, c), add(b, d)
        if signs(multiply(a, c)).any():
            return None
        return add(multiply(a, d), multiply(c, b)), multiply(b, d)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        (u, m), (v, n) = (grid(side, unit, largest) for side in (self.left, self.right))
        if self.op == "mul":
            return u + v, m * n
        return np.minimum(u, v), m + n if self.op == "add" else np.maximum(m, n)


@dataclass(frozen=True)
class Concatenated(Step):
    """Channels 0 to sizes[0] - 1 are parts[0] of the integers, the next sizes[1] are parts[1], and so on."""

    parts: tuple[Steps, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        fits = len(self.parts) == len(self.sizes) and all(
            channels(part) in (1, size) and size > 0
            for part, size in zip(self.parts, self.sizes, strict=True)
        )
        if not fits:
            raise ValueError(f"parts do not fit the sizes {self.sizes}")

    def _rows(self) -> list[tuple[Steps, slice]]:
        ends = np.cumsum(self.sizes).tolist()
        return [
            (part, slice(end - size, end))
            for part, size, end in zip(self.parts, self.sizes, ends, strict=True)
        ]

    def _split(self, array: FloatArray) -> list[FloatArray]:
        return [array if len(array) == 1 else array[rows] for _, rows in self._rows()]

    def float(self, x: FloatArray, magnitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        shape = (self.channels(), x.shape[1])
        value, total = np.empty(shape), np.empty(shape)
        for (part, rows), y, m in zip(self._rows(), self._split(x), self._split(magnitude), strict=True):
            value[rows], total[rows] = evaluate(part, y, m)
        return value, total

    def exact(self, x: Surd, channel: int) -> Surd:
        part, rows = next((p, r) for p, r in self._rows() if channel < r.stop)
        return evaluate_exact(part, x, channel - rows.start)

    def direction(self) -> IntArray:
        return self._joined([direction(part) for part in self.parts])

    def _joined(self, arrays: list[IntArray]) -> IntArray:
        return np.concatenate([np.broadcast_to(a, n) for a, n in zip(arrays, self.sizes, strict=True)])

    def take(self, index: IntArray) -> Concatenated:
        starts = np.cumsum((0, *self.sizes))
        index = np.arange(self.channels())[index]  # negative indices, masks
        part = np.searchsorted(starts, index, side="right") - 1
        runs = np.split(np.arange(len(index)), np.flatnonzero(np.diff(part)) + 1)
        parts = tuple(take(self.parts[part[r[0]]], index[r] - starts[part[r[0]]]) for r in runs)
        return Concatenated(parts, tuple(len(r) for r in runs))

    def channels(self) -> int:
        return sum(self.sizes)

    @property
    def is_affine(self) -> bool:
        return all(step.is_affine for part in self.parts for step in part)

    def affine(self) -> tuple[ExactArray, ExactArray] | None:
        both = [compose(part) for part in self.parts]
        found = [b for b in both if b is not None]
        if len(found) < len(both):
            return None
        factor, offset = (
            [v for b, n in zip(found, self.sizes, strict=True) for v in np.broadcast_to(b[i], n).tolist()]
            for i in (0, 1)
        )
        return _array(factor), _array(offset)

    def grid(self, unit: IntArray, largest: FloatArray) -> Grid:
        units, sizes = [], []
        for part, rows in self._rows():
            u, m = grid(
                part, unit if len(unit) == 1 else unit[rows], largest if len(largest) == 1 else largest[rows]
            )
            units.append(np.broadcast_to(u, rows.stop - rows.start))
            sizes.append(np.broadcast_to(m, rows.stop - rows.start))
        return np.concatenate(units), np.concatenate(sizes)


def _array(values: list[float | Surd]) -> ExactArray:
    if all(isinstance(v, float) for v in values):
        return np.array(values, dtype=np.float64)
    return exact_array([Surd.of(v) for v in values])
