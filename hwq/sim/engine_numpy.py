"""The NumPy engine: exact, beyond the speed of the machine's plain matrix product; memory bounded by chunks of rows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

from hwq.sim.plan import Plan
from hwq.sim.step import Array

_CHUNK_BYTES = 8 * 2**20
_MOST_ROWS = 1024
_WORTH_A_THREAD = 300_000_000
"""Multiplications of a call."""


def chunk_rows(plan: Plan, rows: int, workers: int = 1) -> int:
    """Rows that one worker runs at a time: equal parts of its share."""
    share = max(1, -(-rows // workers))
    most = max(1, min(_MOST_ROWS, _CHUNK_BYTES // plan.row_bytes))
    return -(-share // -(-share // most))


def worth_workers(plan: Plan, rows: int) -> int:
    """One for each core, if there is work for more than one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, rows) if plan.macs * rows >= _WORTH_A_THREAD else 1


def run(
    plan: Plan, codes: Mapping[str, Array], progress: Callable[[int], None] | None = None
) -> Generator[dict[str, Array], None, None]:
    """What the plan keeps, chunk after chunk of rows, in order.

    Args:
        plan: The compiled graph.
        codes: Inputs (N, *shape) by tensor name.
        progress: Called with the number of rows just done.
    """
    rows = len(next(iter(codes.values())))
    workers = worth_workers(plan, rows)
    size = chunk_rows(plan, rows, workers)
    chunks = ({n: a[i : i + size] for n, a in codes.items()} for i in range(0, rows, size))
    with ONE_BLAS_THREAD:
        for done, part in zip(
            range(0, rows, size), _in_order(plan, chunks, workers if rows > size else 1), strict=True
        ):
            if progress:
                progress(min(size, rows - done))
            yield part


def _in_order(plan: Plan, chunks: Iterator[dict[str, Array]], workers: int) -> Iterator[dict[str, Array]]:
    """The calling thread works too: threads that it only woke would start on its own core.

    Few results wait, however many chunks there are; an interrupt drops those not begun.
    """
    if workers == 1:
        yield from map(plan.run, chunks)
        return
    waiting: deque[Future[dict[str, Array]]] = deque()
    pool = _pool(workers - 1, os.getpid())
    try:
        for chunk in chunks:
            if sum(not future.done() for future in waiting) < workers - 1:
                waiting.append(pool.submit(plan.run, chunk))
            else:
                waiting.append(Future())
                waiting[-1].set_result(plan.run(chunk))
            while waiting and waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@cache
def _pool(workers: int, _process: int) -> ThreadPoolExecutor:
    """Kept, because its threads keep their buffers; a fork of the process has none of them."""
    return ThreadPoolExecutor(workers, thread_name_prefix="hwq")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class _OneBlasThread:
    """BLAS's own threads collapse when another process shares the machine; what was set returns with the last run."""

    def __init__(self) -> None:
        self._lock, self._runs = Lock(), 0
        self._changed: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                for library in _blas().lib_controllers:
                    if (count := library.num_threads) != 1:
                        library.set_num_threads(1)
                        self._changed.append((library, count))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._runs -= 1
            while not self._runs and self._changed:
                library, count = self._changed.pop()
                library.set_num_threads(count)


ONE_BLAS_THREAD = _OneBlasThread()
