"""The integer operations: one file an op, one line here."""

from __future__ import annotations

from hwq.ops import conv, dense, max_pool, requant, reshape, threshold, transpose
from hwq.ops.spec import OpSpec

OPS: dict[str, OpSpec] = {
    m.SPEC.name: m.SPEC for m in (dense, conv, threshold, requant, max_pool, reshape, transpose)
}
"""Every op by name: meaning, interval, emission and cost are looked up here and nowhere else."""
