"""Several small integers in one float: ``p = x_0 + S·x_1 + S²·x_2 …``, so that one product serves several samples.

A linear map of p is the packed map of the x_i. As long as every partial sum stays within the float's integers
the whole is exact, and |x_i| < S/2 afterwards lets rounding to multiples of S take the results apart again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from hwq.sim.step import Array, number_type

_MANTISSA: dict[np.dtype[Any], int] = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
_MOST = 4
_COST = {np.dtype(np.float32): (1.0, 10.0), np.dtype(np.float64): (2.2, 250.0)}
"""Of a multiplication in a matrix product, and of taking one result out of a number, in float32 multiplications."""
_INTEGER_COST = (50.0, 0.0)
_VIEWS = 256


@dataclass(frozen=True)
class Packing:
    """Number type, samples a number, and the base S."""

    dtype: np.dtype[Any]
    samples: int = 1
    base: int = 1

    @property
    def total(self) -> int:
        """1 + S + S² + …: the factor by which packing enlarges a bound."""
        return sum(self.base**i for i in range(self.samples))

    def __str__(self) -> str:
        return str(self.dtype.name) + (f", {self.samples} samples a number" if self.samples > 1 else "")


def best(result: int, intermediate: int, depth: int, scale: int = 1, most: int = 53) -> Packing:
    """The packing of the fastest product.

    Args:
        result: Largest magnitude of one sample's results.
        intermediate: Largest magnitude of anything on the way, in units of 1 / `scale`, including every
            partial sum in any order.
        depth: Multiplications a result.
        scale: A power of two.
        most: Bits of the widest mantissa to consider.
    """
    candidates = [Packing(np.dtype(number_type(intermediate)))]
    for dtype, bits in ((d, b) for d, b in _MANTISSA.items() if b <= most):
        for samples in range(2, _MOST + 1):
            packings = (Packing(dtype, samples, base) for base in _bases(result))
            fits = (p for p in packings if max(intermediate, result * scale) * p.total <= 2**bits)
            candidates += [p for p in fits if _separable(p, result)][:1]
    return min(candidates, key=lambda packing: cost(packing, depth))


def _bases(result: int) -> tuple[int, int]:
    """A power of two, which is taken apart with fewer operations, and a base not far above the least possible."""
    return 2 << result.bit_length(), 2 * result + result // 128 + 3


def _separable(packing: Packing, result: int) -> bool:
    """Whether rounding p / S, itself rounded twice, gives the integer that is meant."""
    if _is_power_of_two(packing.base):
        return True
    quotient = Fraction(result * packing.total, packing.base)
    error = quotient / 2 ** (_MANTISSA[packing.dtype] - 1)
    return bool(Fraction(result, packing.base) + error < Fraction(1, 2))


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def cost(packing: Packing, depth: float) -> float:
    """Of one result of one sample, in float32 multiplications of a matrix product."""
    multiply, unpack_one = _COST.get(packing.dtype, _INTEGER_COST)
    return depth * multiply / packing.samples + (unpack_one if packing.samples > 1 else 0)


class Scratch(threading.local):
    """Buffers that a thread uses again: fresh memory costs a page fault every 4 KiB."""

    def __init__(self) -> None:
        self._views: dict[str, dict[tuple[tuple[int, ...], Any], Array]] = {}
        self._buffers: dict[str, Array] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An uninitialised array; valid until the thread asks for the same name again."""
        views = self._views.setdefault(name, {})
        view = views.get((shape, dtype))
        if view is None:
            view = self._make(name, views, shape, np.dtype(dtype))
            views[shape, dtype] = view
        return view

    def _make(
        self, name: str, views: dict[Any, Array], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        size = prod(shape) * dtype.itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < size or len(views) >= _VIEWS:
            views.clear()
            buffer = self._buffers[name] = np.empty(size, dtype=np.uint8)
        return buffer[:size].view(dtype).reshape(shape)


scratch = Scratch()


def pack(x: Array, out: Array, packing: Packing) -> int:
    """Pack the samples of x (N, ...) into out (ceil(N / samples), ...), and say how many each number holds."""
    rows = len(out)
    count = -(-len(x) // rows)
    last = x[(count - 1) * rows :]
    np.copyto(out[: len(last)], last, casting="unsafe")
    out[len(last) :] = 0
    for i in reversed(range(count - 1)):
        np.multiply(out, packing.dtype.type(packing.base), out=out)
        np.add(out, x[i * rows : (i + 1) * rows], out=out, casting="unsafe")
    return count


def unpack(y: Array, count: int, packing: Packing) -> Iterator[Array]:
    """Take the results of each sample out of y; both y and the arrays given are overwritten as it goes on."""
    if count == 1:
        yield y
        return
    base, inverse = packing.dtype.type(packing.base), packing.dtype.type(1 / packing.base)
    to_multiple = packing.dtype.type(1.5 * 2.0 ** (_MANTISSA[packing.dtype] - 1)) * base
    rest = scratch.get("unpack", y.shape, y.dtype)
    for _ in range(count - 1):
        if _is_power_of_two(packing.base):
            np.add(y, to_multiple, out=rest)
            rest -= to_multiple
            y -= rest
            yield y
            np.multiply(rest, inverse, out=y)
        else:
            quotient = scratch.get("quotient", y.shape, y.dtype)
            np.rint(np.multiply(y, inverse, out=quotient), out=quotient)
            y -= np.multiply(quotient, base, out=rest)
            yield y
            np.copyto(y, quotient)
    yield y
