"""``manifest.json``: what a project is, for people, for `csim` and for later steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import hwq
from hwq.emit.dataflow import Dataflow
from hwq.emit.layers import HlsLayer
from hwq.emit.plan import Plan, PlannedLayer
from hwq.exact import ExactArray, Surd
from hwq.hardware import HardwareConfig
from hwq.ir import Graph, IntType, Port, Real
from hwq.ops.requant import Requant
from hwq.ops.threshold import Threshold

NAME = "manifest.json"
FORMAT = 1


def make_manifest(
    graph: Graph,
    config: HardwareConfig,
    plan: Plan,
    files: Mapping[str, bytes],
    expected: Mapping[str, Any] | None = None,
    dataflow: Dataflow | None = None,
) -> bytes:
    """The manifest of a project whose other files are `files`; `expected` are the caller's estimates."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "hwq_version": hwq.__version__,
        "model": {"name": graph.name, "sha256": graph.source_sha256},
        "top": plan.top,
        **_hardware(config),
        "inputs": [_port(graph, p) for p in graph.inputs],
        "outputs": [_port(graph, p) for p in graph.outputs],
        "layers": [_layer(p) for p in plan.layers if p.node is not None],
        "trace": [
            {
                "layer": p.name,
                "tensor": tensor,
                "shape": list(graph.tensors[tensor].shape),
                "binary": p.binary,
            }
            for p, tensor, _ in plan.traced()
        ],
        "aliases": [
            {"tensor": t, "of": of, "shape": list(graph.tensors[t].shape)} for t, of in plan.aliases.items()
        ],
        "files": {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)},
    }
    if dataflow is not None:
        content["dataflow"] = dataflow.to_json()
    if config.folding is not None:
        content["folding"] = dict(config.folding)
    if expected is not None:
        content["expected"] = dict(expected)
    content["digest"] = digest(content)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own digest, as JSON with sorted keys and no blanks."""
    rest = {k: v for k, v in content.items() if k != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _hardware(config: HardwareConfig) -> dict[str, Any]:
    return {
        "board": config.board.name,
        "part": config.board.part,
        "clock_ns": config.clock_ns,
        "backend": config.backend.value,
        "io": config.io.value,
        "strategy": config.strategy_name,
        "fifo": config.fifo.value,
    }


def _port(graph: Graph, port: Port) -> dict[str, Any]:
    tensor = graph.tensors[port.tensor]
    content = {
        "name": port.name,
        "tensor": tensor.name,
        "file_shape": list(port.shape),
        "shape": list(tensor.shape),
    }
    real = graph.meaning(port)
    return content | {"type": _type(tensor.type)} | ({"real": real_json(real)} if real else {})


def _type(kind: IntType) -> dict[str, Any]:
    return {"name": str(kind), "bits": kind.bits, "signed": kind.signed, "lo": kind.lo, "hi": kind.hi}


def real_json(real: Real) -> dict[str, Any]:
    """``real = scale[c]·q + offset[c]``."""
    return {"scale": _numbers(real.scale), "offset": _numbers(real.offset)}


def _numbers(values: ExactArray) -> dict[str, Any]:
    """Exact where rational; an irrational number has no fraction, only its text and nearest float."""
    surds = [Surd.of(v) for v in values.tolist()]
    exact = [str(Fraction(s.rational())) if s.is_rational else repr(s) for s in surds]
    return {"exact": exact, "float": [float(s) for s in surds]}


def _layer(planned: PlannedLayer) -> dict[str, Any]:
    node = planned.node
    assert node is not None  # noqa: S101  inputs are not listed
    layer: HlsLayer = planned.layer
    content: dict[str, Any] = {
        "name": node.name,
        "op": node.op,
        "c_name": planned.name,
        "class": layer.class_name,
        "shape": list(layer.shape),
        "types": {key: _type(kind) for key, kind in layer.types.items()},
    }
    if layer.matrix:
        content |= {"strategy": planned.strategy.value, "reuse": planned.reuse}
    if isinstance(node.params, Requant):
        form = "shift" if (node.params.mult == 1).all() else "multiply-shift"
        form = form if node.params.low is None else "two slopes"
        content["requant"] = {"form": form, "shift": node.params.shift, "half_even": node.params.half_even}
    if isinstance(node.params, Threshold):
        channels, steps = node.params.thresholds.shape
        content["requant"] = {"form": "thresholds", "channels": channels, "steps": steps}
    return content
