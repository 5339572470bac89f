"""One stage held against the integer graph, tensor by tensor.

Integer stages (the NumPy engine, compiled C++) must be equal, with ``==``. A float32 stage (PyTorch,
the QONNX executor) is read back as integer codes at every quantiser; where a code differs, the
exact value must carry a certificate (`hwq.certificates`). Where the stage offers the real numbers that
enter a quantiser, each of them must lie within float32's error of the exact one. After a certified
difference the walk goes on from the stage's own codes, so that one difference is not counted again
downstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from hwq.certificates import (
    Certificate,
    Judgement,
    beyond,
    entering,
    error_bound,
    exact_entering,
    judge,
    real_values,
)
from hwq.exact import Surd, nearest
from hwq.ir import Graph, Port
from hwq.lowering.builder import Resolution
from hwq.lowering.lower import Lowering, OutputView
from hwq.lowering.pending import Affine, evaluate, evaluate_exact
from hwq.lowering.values import Term
from hwq.ops import OPS
from hwq.results import MAX_CERTIFICATES, Divergence, StageResult
from hwq.rounding import FloatArray, IntArray
from hwq.sim import ports

_OFF_GRID = np.iinfo(np.int64).max
_MAX_JUDGED = 20_000
"""Differences of one tensor that are judged once one of them has no explanation; before, all are."""


def compare_integers(
    name: str, graph: Graph, expected: Mapping[str, IntArray], got: Mapping[str, IntArray]
) -> StageResult:
    """Every tensor that a stage offers, with ``==``."""
    makers = {p.tensor: p.name for p in graph.outputs} | {n.output: n.name for n in graph.nodes}
    result = StageResult(name, rows=len(next(iter(expected.values()))))
    for tensor in (t for t in expected if t in got and t in makers):
        _compare_tensor(result, tensor, makers[tensor], expected[tensor], got[tensor])
    outputs = [p.tensor for p in graph.outputs if p.tensor in got]
    result.argmax_flips = sum(_flips(expected[t], got[t]) for t in outputs)
    return result


def _compare_tensor(result: StageResult, tensor: str, layer: str, expected: IntArray, got: IntArray) -> None:
    result.tensors += 1
    result.values += expected.size
    if got.shape != expected.shape:
        why = f"shape {got.shape} instead of {expected.shape}"
        result.first = result.first or Divergence(tensor, layer, 0, (), "", "", why)
        result.different += expected.size
        return
    wrong = np.argwhere(got != expected)
    result.different += len(wrong)
    result.per_tensor[tensor] = (len(wrong), 0)
    if len(wrong) and result.first is None:
        at = tuple(int(i) for i in wrong[0])
        why = "integers differ"
        result.first = Divergence(tensor, layer, at[0], at[1:], str(expected[at]), str(got[at]), why)


def _flips(a: IntArray, b: IntArray) -> int:
    """Rows whose largest value stands elsewhere; ties go to the lowest index."""
    if a.shape != b.shape:
        return len(a)
    flat_a, flat_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return int((flat_a.argmax(axis=1) != flat_b.argmax(axis=1)).sum())


def compare_floats(
    name: str,
    lowering: Lowering,
    codes: Mapping[str, IntArray],
    floats: Mapping[str, FloatArray],
    got: Mapping[str, FloatArray],
) -> StageResult:
    """Hold a float32 stage against the integers.

    Args:
        name: Of the stage.
        lowering: The graph and its quantisers.
        codes: Input integers by tensor.
        floats: The float32 inputs by name, as the stage saw them.
        got: The stage's float tensors by the file's names, batch first.
    """
    return _FloatStage(name, lowering, got).run(codes, floats)


class _FloatStage:
    """A walk through the graph beside a float32 stage."""

    def __init__(self, name: str, lowering: Lowering, got: Mapping[str, FloatArray]) -> None:
        self.graph = lowering.graph
        self.got = got
        self.result = StageResult(name)
        self.values: dict[str, IntArray] = {}
        self.views = {view.port: view for view in lowering.outputs}
        self.by_tensor: dict[str, list[Resolution]] = {}
        for resolution in lowering.resolutions:
            self.by_tensor.setdefault(resolution.tensor, []).append(resolution)

    def run(self, codes: Mapping[str, IntArray], floats: Mapping[str, FloatArray]) -> StageResult:
        """Walk once through all tensors."""
        self.result.rows = len(next(iter(codes.values())))
        self.values = dict(codes)
        for port in self.graph.inputs:
            self._at_input(port, floats[port.name])
        for node in self.graph.nodes:
            self.values[node.output] = OPS[node.op].run(node.params, *(self.values[t] for t in node.inputs))
            for resolution in self.by_tensor.get(node.output, ()):
                if resolution.computed and resolution.source in self.got:
                    bound = error_bound(self.graph, resolution.terms, resolution.steps, self.values)
                    before = partial(exact_entering, resolution, self.values)
                    self._hold(resolution, entering(resolution, self.values), before, bound)
        for port in self.graph.outputs:
            self._at_output(port)
        return self.result

    def _at_input(self, port: Port, x: FloatArray) -> None:
        moved = port.layout.to_graph(x.astype(np.float64), self.graph.tensors[port.tensor].shape)
        for resolution in self.by_tensor.get(port.tensor, ()):
            if not resolution.terms and resolution.source in self.got:
                columns = moved.reshape(-1, moved.shape[-1]).T
                _, magnitude = evaluate(resolution.steps, columns, np.abs(columns))
                allowed = (6 * len(resolution.steps) + 8) * 2.0**-24 * magnitude
                bound = np.ascontiguousarray(allowed.T).reshape(moved.shape)
                before = partial(_exact_input, resolution, moved)
                self._hold(resolution, real_values(resolution.steps, moved), before, bound)

    def _hold(
        self,
        resolution: Resolution,
        real: FloatArray,
        before: Callable[[tuple[int, ...]], Surd],
        bound: FloatArray,
    ) -> None:
        """Compare one quantised tensor, and go on from the stage's codes where they differ.

        `real` is what enters the quantiser, `before` the same exactly at one index.
        """
        codes = self.values[resolution.tensor]
        if resolution.before in self.got:
            self._hold_real(resolution, real, bound)
        stage = self._codes(resolution, codes.shape[1:])
        wrong = np.argwhere(stage != codes)
        certified = 0
        for count, position in enumerate(wrong):
            if count >= _MAX_JUDGED and self.result.first is not None:
                break
            certified += self._certify(resolution, tuple(int(i) for i in position), stage, before, bound)
        self._count(resolution.tensor, codes.size, len(wrong), certified)
        self.values[resolution.tensor] = np.where(stage == _OFF_GRID, codes, stage)

    def _hold_real(self, resolution: Resolution, exact: FloatArray, bound: FloatArray) -> None:
        """The real numbers that enter the quantiser; one beyond float32's error counts as a difference."""
        real = self.got[resolution.before].astype(np.float64)
        stage = resolution.layout.to_graph(real, exact.shape[1:])
        wrong = np.argwhere(beyond(stage, exact, bound))
        self.result.different += len(wrong)
        if len(wrong) and self.result.first is None:
            at = tuple(int(i) for i in wrong[0])
            why = f"they are {abs(stage[at] - exact[at]):.3g} apart, float32 explains at most {bound[at]:.3g}"
            left, right = repr(float(exact[at])), repr(float(stage[at]))
            self.result.first = Divergence(
                resolution.before, resolution.layer, at[0], at[1:], left, right, why
            )

    def _codes(self, resolution: Resolution, shape: tuple[int, ...]) -> IntArray:
        """The stage's floats as integers; a value off the quantiser's grid is marked."""
        real = self.got[resolution.source].astype(np.float64)
        moved = resolution.layout.to_graph(real, shape) - nearest(resolution.real.offset)
        quotient = moved / nearest(resolution.real.scale)
        codes = np.rint(quotient)
        near = np.abs(quotient - codes) <= 1e-5 * np.maximum(1.0, np.abs(codes))
        return np.where(near, codes, 0).astype(np.int64) + np.where(near, 0, _OFF_GRID)

    def _certify(
        self,
        resolution: Resolution,
        at: tuple[int, ...],
        stage: IntArray,
        before: Callable[[tuple[int, ...]], Surd],
        bound: FloatArray,
    ) -> bool:
        """Certify one difference, or keep it as the first divergence."""
        code, stage_code = int(self.values[resolution.tensor][at]), int(stage[at])
        if stage_code == _OFF_GRID:
            found = Judgement(
                explained=False, distance=0.0, bound=0.0, why="the value is not on the quantiser's grid"
            )
        else:
            found = judge(resolution, float(bound[at]), before(at), at[-1], code, stage_code)
        name, source = self.result.name, resolution.source
        if found.explained and len(self.result.certificates) < MAX_CERTIFICATES:
            numbers = (code, stage_code, found.distance, found.bound, found.real)
            self.result.certificates.append(Certificate(name, source, at[0], at[1:], *numbers))
        if not found.explained and self.result.first is None:
            got = "off the grid" if stage_code == _OFF_GRID else str(stage_code)
            self.result.first = Divergence(source, resolution.layer, at[0], at[1:], str(code), got, found.why)
        return found.explained

    def _count(self, tensor: str, values: int, different: int, certified: int) -> None:
        self.result.tensors += 1
        self.result.values += values
        self.result.different += different
        self.result.certified += certified
        self.result.per_tensor[tensor] = (different, certified)

    def _at_output(self, port: Port) -> None:
        """A float output must lie within float32's error of the exact value."""
        real = self.graph.meaning(port)
        view = self.views.get(port.name)
        if real is None:
            return
        view = view or OutputView(port.name, port.name, (Affine(real.scale, real.offset),))
        if view.source not in self.got:
            return
        exact = ports.decode(real, self.values[port.tensor])
        stage = port.layout.to_graph(self.got[view.source].astype(np.float64), exact.shape[1:])
        term = Term(port.tensor, np.ones(1))
        bound = error_bound(self.graph, (term,), view.steps, self.values)
        wrong = np.argwhere(beyond(stage, exact, bound))
        self._count(port.tensor, exact.size, len(wrong), 0)
        if len(wrong) and self.result.first is None:
            at = tuple(int(i) for i in wrong[0])
            node = self.graph.producer(port.tensor)
            why = f"they are {abs(stage[at] - exact[at]):.3g} apart, float32 explains at most {bound[at]:.3g}"
            left, right = repr(float(exact[at])), repr(float(stage[at]))
            layer = node.name if node else port.name
            self.result.first = Divergence(view.source, layer, at[0], at[1:], left, right, why)
        self._decisions(port, exact, stage, bound)

    def _decisions(self, port: Port, exact: FloatArray, stage: FloatArray, bound: FloatArray) -> None:
        """Rows whose argmax changes: certified where the two exact values are nearer than float32's errors."""
        flat = [a.reshape(len(a), -1) for a in (exact, stage, bound)]
        ours, theirs = flat[0].argmax(axis=1), flat[1].argmax(axis=1)
        for row in np.flatnonzero(ours != theirs):
            values, allowed = flat[0][row], flat[2][row]
            i, j = int(ours[row]), int(theirs[row])
            margin, bounds = float(values[i] - values[j]), float(allowed[i] + allowed[j])
            self.result.argmax_flips += 1
            self.result.argmax_certified += margin <= bounds
            if len(self.result.certificates) < MAX_CERTIFICATES:
                source = f"argmax of {port.name}"
                self.result.certificates.append(
                    Certificate(self.result.name, source, int(row), (), i, j, margin, bounds)
                )
            if margin > bounds and self.result.first is None:
                why = f"the exact values are {margin:.3g} apart, float32 explains at most {bounds:.3g}"
                self.result.first = Divergence(port.name, "argmax", int(row), (), str(i), str(j), why)


def _exact_input(resolution: Resolution, moved: np.ndarray[Any, Any], at: tuple[int, ...]) -> Surd:
    """What the quantiser of a network input reads at one index."""
    return evaluate_exact(resolution.steps, Surd.of(float(moved[at])), at[-1])
