"""The chain of proof: every stage equals the integer graph, tensor by tensor.

Integer stages (the NumPy engine, compiled C++) must be equal, with ``==``. A float32 stage (PyTorch,
the QONNX executor) is read back as integer codes at every quantiser; where a code differs, the
exact value must carry a certificate (`hwq.certificates`). After a certified difference the walk
goes on from the stage's own codes, so that one difference is not counted again downstream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwq import __version__, sim
from hwq.certificates import Certificate, certify, error_bound, output_steps, ties_hit
from hwq.errors import CheckFailed, InputError
from hwq.exact import nearest
from hwq.ir import Graph, Port, Tensor
from hwq.lowering.builder import Resolution
from hwq.lowering.lower import Lowering
from hwq.ops import OPS
from hwq.rounding import FloatArray, IntArray
from hwq.sim import ports

_MAX_CERTIFICATES = 100
_OFF_GRID = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Divergence:
    """The first value of a stage that differs without a certificate; `index` is in the graph's layout."""

    tensor: str
    layer: str
    row: int
    index: tuple[int, ...]
    expected: str
    got: str
    why: str


@dataclass
class StageResult:
    """One stage held against the integers."""

    name: str
    rows: int = 0
    tensors: int = 0
    values: int = 0
    different: int = 0
    certified: int = 0
    argmax_flips: int = 0
    argmax_certified: int = 0
    seconds: float = 0.0
    first: Divergence | None = None
    per_tensor: dict[str, tuple[int, int]] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)
    against: str = "integers"

    @property
    def uncertified(self) -> int:
        """Differences that nothing explains."""
        return self.different - self.certified

    @property
    def ok(self) -> bool:
        """Whether the stage is equal but for certified differences."""
        return self.uncertified == 0 and self.argmax_flips == self.argmax_certified and self.values > 0

    def to_json(self) -> dict[str, Any]:
        """As in verify.json."""
        keys = (
            "name",
            "against",
            "rows",
            "tensors",
            "values",
            "different",
            "certified",
            "argmax_flips",
            "argmax_certified",
            "seconds",
        )
        plain = {k: getattr(self, k) for k in keys}
        first = asdict(self.first) if self.first else None
        return {**plain, "uncertified": self.uncertified, "ok": self.ok, "first": first}


@dataclass(frozen=True)
class LayerTies:
    """How often the inputs hit an exact rounding tie at one quantiser."""

    tensor: str
    layer: str
    values: int
    ties: int


@dataclass(frozen=True)
class Verification:
    """What `hwq verify` found."""

    model: str
    inputs: Mapping[str, int]
    stages: tuple[StageResult, ...]
    layers: tuple[LayerTies, ...]
    argmax_ties: int
    accuracy: float | None = None

    @property
    def ok(self) -> bool:
        """Whether every stage is."""
        return all(s.ok for s in self.stages)

    def raise_if_failed(self) -> None:
        """Raise `CheckFailed` with the first divergence of the first stage that failed."""
        bad = next((s for s in self.stages if not s.ok), None)
        if bad is None:
            return
        if bad.first is None:
            raise CheckFailed(f"stage '{bad.name}' compared no values")
        f = bad.first
        raise CheckFailed(
            f"stage '{bad.name}' differs from the integers in {bad.uncertified} values; first at layer '{f.layer}', "
            f"tensor '{f.tensor}', row {f.row}, index {f.index}: expected {f.expected}, got {f.got} ({f.why})"
        )

    def to_json(self) -> dict[str, Any]:
        """As in verify.json."""
        layers = [
            {
                **asdict(layer),
                "different": {s.name: s.per_tensor.get(layer.tensor, (0, 0))[0] for s in self.stages},
                "certified": {s.name: s.per_tensor.get(layer.tensor, (0, 0))[1] for s in self.stages},
            }
            for layer in self.layers
        ]
        certificates = [asdict(c) for s in self.stages for c in s.certificates][:_MAX_CERTIFICATES]
        return {
            "hwq": __version__,
            "model": self.model,
            "ok": self.ok,
            "inputs": {**self.inputs, "total": sum(self.inputs.values())},
            "stages": [s.to_json() for s in self.stages],
            "layers": layers,
            "ties": {"quantiser_values": sum(t.ties for t in self.layers), "argmax_rows": self.argmax_ties},
            "certificates": [
                {**c, "distance": f"{c['distance']:.3g}", "bound": f"{c['bound']:.3g}"} for c in certificates
            ],
            "accuracy": {"integers": self.accuracy},
        }


# --- integer stages ------------------------------------------------------------------------------


def compare_integers(
    name: str, graph: Graph, expected: Mapping[str, IntArray], got: Mapping[str, IntArray], seconds: float
) -> StageResult:
    """Every tensor that a stage offers, with ``==``."""
    makers = {n.output: n.name for n in graph.nodes}
    result = StageResult(name, rows=len(next(iter(expected.values()))), seconds=seconds)
    for tensor in (t for t in expected if t in got and t in makers):
        result.tensors += 1
        result.values += expected[tensor].size
        if got[tensor].shape != expected[tensor].shape:
            why = f"shape {got[tensor].shape} instead of {expected[tensor].shape}"
            result.first = result.first or Divergence(tensor, makers[tensor], 0, (), "", "", why)
            result.different += expected[tensor].size
            continue
        wrong = np.argwhere(got[tensor] != expected[tensor])
        result.different += len(wrong)
        result.per_tensor[tensor] = (len(wrong), 0)
        if len(wrong) and result.first is None:
            at = tuple(int(i) for i in wrong[0])
            left, right = str(expected[tensor][at]), str(got[tensor][at])
            result.first = Divergence(tensor, makers[tensor], at[0], at[1:], left, right, "integers differ")
    outputs = [p.tensor for p in graph.outputs if p.tensor in got]
    result.argmax_flips = sum(_flips(expected[t], got[t]) for t in outputs)
    return result


def _flips(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    """Rows whose largest value stands elsewhere; ties go to the lowest index."""
    if a.shape != b.shape:
        return len(a)
    flat_a, flat_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return int((flat_a.argmax(axis=1) != flat_b.argmax(axis=1)).sum())


# --- float stages --------------------------------------------------------------------------------


class _FloatStage:
    """A walk through the graph beside a float32 stage."""

    def __init__(self, name: str, lowering: Lowering, got: Mapping[str, FloatArray]) -> None:
        self.graph = lowering.graph
        self.got = got
        self.result = StageResult(name)
        self.by_tensor: dict[str, list[Resolution]] = {}
        for resolution in lowering.resolutions:
            self.by_tensor.setdefault(resolution.tensor, []).append(resolution)

    def run(self, codes: Mapping[str, IntArray], floats: Mapping[str, FloatArray]) -> StageResult:
        self.result.rows = len(next(iter(codes.values())))
        values = dict(codes)
        for port in self.graph.inputs:
            values[port.tensor] = self._at_input(port, values[port.tensor], floats[port.name])
        for node in self.graph.nodes:
            values[node.output] = OPS[node.op].run(node.params, *(values[t] for t in node.inputs))
            for resolution in self.by_tensor.get(node.output, ()):
                if resolution.accumulator in values and resolution.accumulator != node.output:
                    values[node.output] = self._hold(
                        resolution, values[node.output], values[resolution.accumulator]
                    )
        for port in self.graph.outputs:
            self._at_output(port, values[port.tensor])
        return self.result

    def _at_input(self, port: Port, codes: IntArray, x: FloatArray) -> IntArray:
        moved = port.layout.to_graph(x.astype(np.float64), self.graph.tensors[port.tensor].shape)
        for resolution in self.by_tensor.get(port.tensor, ()):
            if resolution.accumulator is None:
                codes = self._hold(resolution, codes, moved)
        return codes

    def _hold(self, resolution: Resolution, codes: IntArray, before: np.ndarray[Any, Any]) -> IntArray:
        """Compare one quantised tensor; returns the stage's codes where it differs."""
        if resolution.source not in self.got:
            return codes
        stage = self._codes(resolution, codes.shape[1:])
        wrong = np.argwhere(stage != codes)
        certified = 0
        bound = self._bound(resolution)
        for position in wrong:
            certified += self._judge(resolution, tuple(int(i) for i in position), codes, stage, before, bound)
        self._count(resolution.tensor, codes.size, len(wrong), certified)
        return np.where(stage == _OFF_GRID, codes, stage) if len(wrong) else codes

    def _codes(self, resolution: Resolution, shape: tuple[int, ...]) -> IntArray:
        """The stage's floats as integers; a value off the quantiser's grid is marked."""
        real = self.got[resolution.source].astype(np.float64)
        quotient = resolution.layout.to_graph(real, shape) / nearest(resolution.quantizer.step)
        codes = np.rint(quotient)
        near = np.abs(quotient - codes) <= 1e-5 * np.maximum(1.0, np.abs(codes))
        return np.where(near, codes, 0).astype(np.int64) + np.where(near, 0, _OFF_GRID)

    def _bound(self, resolution: Resolution) -> FloatArray:
        """Largest float32 error before this quantiser."""
        if resolution.accumulator is not None:
            return error_bound(self.graph, resolution.accumulator, resolution.steps)
        quantizer = resolution.quantizer
        port = next(p for p in self.graph.inputs if p.tensor == resolution.tensor)
        offset = np.abs(nearest(port.quantizer.offset)).max() if port.quantizer else 0.0
        top = max(abs(quantizer.lo), abs(quantizer.hi)) + abs(quantizer.zero) + 1
        reach: FloatArray = top * nearest(quantizer.step) + 2 * offset
        return (6 * len(resolution.steps) + 8) * 2.0**-24 * reach

    def _judge(
        self,
        resolution: Resolution,
        at: tuple[int, ...],
        codes: IntArray,
        stage: IntArray,
        before: np.ndarray[Any, Any],
        bound: FloatArray,
    ) -> bool:
        """Certify one difference, or keep it as the first divergence."""
        code, stage_code = int(codes[at]), int(stage[at])
        if stage_code == _OFF_GRID:
            ok, distance, allowed = False, float("inf"), 0.0
            why = "the value is not on the quantiser's grid"
        else:
            ok, distance, allowed = certify(resolution, bound, before[at].item(), at[-1], code, stage_code)
            why = (
                "the quantiser has no such code"
                if distance == float("inf")
                else f"the exact value is {distance:.3g} from the boundary, float32 explains at most {allowed:.3g}"
            )
        if ok and len(self.result.certificates) < _MAX_CERTIFICATES:
            self.result.certificates.append(
                Certificate(
                    self.result.name, resolution.source, at[0], at[1:], code, stage_code, distance, allowed
                )
            )
        if not ok and self.result.first is None:
            got = "off the grid" if stage_code == _OFF_GRID else str(stage_code)
            self.result.first = Divergence(
                resolution.source, resolution.layer, at[0], at[1:], str(code), got, why
            )
        return ok

    def _count(self, tensor: str, values: int, different: int, certified: int) -> None:
        self.result.tensors += 1
        self.result.values += values
        self.result.different += different
        self.result.certified += certified
        self.result.per_tensor[tensor] = (different, certified)

    def _at_output(self, port: Port, codes: IntArray) -> None:
        """The float output must decode to the same integers and lie within float32's error of the exact value."""
        if port.name not in self.got:
            return
        tensor = self.graph.tensors[port.tensor]
        exact = ports.decode(tensor, codes)
        stage = port.layout.to_graph(self.got[port.name].astype(np.float64), tensor.shape)
        bound = np.broadcast_to(
            error_bound(self.graph, port.tensor, output_steps(self.graph, port)), exact.shape
        )
        wrong = np.argwhere(np.abs(stage - exact) > bound + np.abs(exact) * 2.0**-23)
        recovered = _recover(tensor, stage)
        differs = np.argwhere(recovered != codes) if recovered is not None else wrong
        self._count(port.tensor, codes.size, max(len(wrong), len(differs)), 0)
        for where in (differs, wrong):
            if len(where) and self.result.first is None:
                at = tuple(int(i) for i in where[0])
                node = self.graph.producer(port.tensor)
                why = (
                    f"outside float32's error bound {bound[at]:.3g}" if where is wrong else "another integer"
                )
                layer = node.name if node else port.name
                self.result.first = Divergence(
                    port.name, layer, at[0], at[1:], repr(float(exact[at])), repr(float(stage[at])), why
                )
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
            self.result.certificates.append(
                Certificate(self.result.name, f"argmax of {port.name}", int(row), (), i, j, margin, bounds)
            )
            if margin > bounds and self.result.first is None:
                why = f"the exact values are {margin:.3g} apart, float32 explains at most {bounds:.3g}"
                self.result.first = Divergence(port.name, "argmax", int(row), (), str(i), str(j), why)


def _recover(tensor: Tensor, stage: FloatArray) -> IntArray | None:
    """The integers behind a float output, if float32 can tell them apart."""
    if tensor.real is None:
        return None
    scale, offset = nearest(tensor.real.scale), nearest(tensor.real.offset)
    if (scale == 0).any() or (np.abs(stage).max(initial=0) * 2.0**-20 > np.abs(scale)).any():
        return None
    return np.rint((stage - offset) / scale).astype(np.int64)


def compare_floats(
    name: str,
    lowering: Lowering,
    codes: Mapping[str, IntArray],
    floats: Mapping[str, FloatArray],
    got: Mapping[str, FloatArray],
    seconds: float,
) -> StageResult:
    """Hold a float32 stage against the integers.

    Args:
        name: Of the stage.
        lowering: The graph and its quantisers.
        codes: Input integers by tensor.
        floats: The float32 inputs by name, as the stage saw them.
        got: The stage's float tensors by the file's names, batch first.
        seconds: That the stage took.
    """
    return replace(_FloatStage(name, lowering, got).run(codes, floats), seconds=seconds)


# --- the whole chain -----------------------------------------------------------------------------

FloatStage = Callable[[Mapping[str, FloatArray]], Mapping[str, FloatArray]]
"""From float32 inputs by name to float tensors by the file's names, batch first."""


@dataclass(frozen=True)
class IntegerStage:
    """From input codes to integer tensors by the graph's names; slow stages run on `max_rows` rows, evenly chosen."""

    run: Callable[[Mapping[str, IntArray]], Mapping[str, IntArray]]
    max_rows: int | None = None

    def rows(self, available: int) -> IntArray:
        """Indices of the rows that it runs on, from first to last."""
        count = min(available, self.max_rows or available)
        return np.unique(np.linspace(0, available - 1, count).round().astype(np.int64))


def verify(
    lowering: Lowering,
    rows: Sequence[tuple[str, Mapping[str, FloatArray]]],
    *,
    float_stages: Mapping[str, FloatStage] | None = None,
    integer_stages: Mapping[str, IntegerStage] | None = None,
    labels: IntArray | None = None,
    on_stage: Callable[[str], None] = lambda _name: None,
) -> Verification:
    """Run all stages on the same rows and compare.

    Args:
        lowering: The graph and its quantisers.
        rows: (kind, float32 inputs by name) in order; the first kind is what the labels belong to.
        float_stages: By name.
        integer_stages: By name.
        labels: Classes of the first kind of rows.
        on_stage: Called with each stage's name before it runs.
    """
    graph = lowering.graph
    floats = {p.name: np.concatenate([x[p.name] for _, x in rows]) for p in graph.inputs}
    codes = sim.encode(graph, floats)
    on_stage("integers")
    expected = sim.run(graph, codes, sim.Engine.REFERENCE, trace=True)
    results = []
    for name, run in (float_stages or {}).items():
        on_stage(name)
        start = time.perf_counter()
        got = run(floats)
        results.append(compare_floats(name, lowering, codes, floats, got, time.perf_counter() - start))
    for name, stage in (integer_stages or {}).items():
        on_stage(name)
        start = time.perf_counter()
        chosen = stage.rows(len(next(iter(codes.values()))))
        found = stage.run({t: a[chosen] for t, a in codes.items()})
        subset = {t: a[chosen] for t, a in expected.items()}
        results.append(compare_integers(name, graph, subset, found, time.perf_counter() - start))
    return Verification(
        model=Path(graph.source_path).name or graph.name,
        inputs={kind: len(next(iter(x.values()))) for kind, x in rows},
        stages=tuple(results),
        layers=_layer_ties(lowering, expected, floats),
        argmax_ties=_argmax_ties(graph, expected),
        accuracy=_accuracy(graph, expected, labels),
    )


def _layer_ties(
    lowering: Lowering, expected: Mapping[str, IntArray], floats: Mapping[str, FloatArray]
) -> tuple[LayerTies, ...]:
    inputs = {p.tensor: p for p in lowering.graph.inputs}
    rows = []
    for r in lowering.resolutions:
        if r.accumulator is not None:
            ties = ties_hit(r, expected[r.accumulator])
        else:
            ties = ports.count_ties(lowering.graph, inputs[r.tensor], floats[inputs[r.tensor].name])
        rows.append(LayerTies(r.tensor, r.layer, expected[r.tensor].size, ties))
    return tuple(rows)


def _argmax_ties(graph: Graph, expected: Mapping[str, IntArray]) -> int:
    """Rows whose largest exact output is shared."""
    port = graph.outputs[0]
    if graph.tensors[port.tensor].real is None:
        return 0
    real = ports.decode(graph.tensors[port.tensor], expected[port.tensor])
    flat = real.reshape(len(real), -1)
    return int(((flat == flat.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def _accuracy(graph: Graph, expected: Mapping[str, IntArray], labels: IntArray | None) -> float | None:
    if labels is None:
        return None
    port = graph.outputs[0]
    real = ports.decode_output(graph, port, expected[port.tensor][: len(labels)])
    if real.ndim != 2 or labels.ndim != 1:
        raise InputError(f"labels of shape {labels.shape} do not fit an output of shape {real.shape}")
    return float((real.argmax(axis=1) == labels).mean())
