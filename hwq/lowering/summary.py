"""The per-layer table of a lowered network: types, accumulators, requantisation, work, ties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hwq import __version__
from hwq.ir import Graph, InputQuantizer, Node, Port
from hwq.lowering.builder import Resolution
from hwq.lowering.lower import Lowering
from hwq.lowering.thresholds import NO_TIE
from hwq.ops import macs
from hwq.ops.add import Add
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.lut import Lut
from hwq.ops.requant import Requant
from hwq.ops.threshold import Threshold


def summarise(lowering: Lowering, seconds: float) -> dict[str, Any]:
    """As in lower.json."""
    graph = lowering.graph
    by_tensor = {r.tensor: r for r in lowering.resolutions if r.computed}
    layers = [_layer(graph, node, by_tensor.get(node.output)) for node in graph.nodes]
    return {
        "hwq": __version__,
        "model": Path(graph.source_path).name or graph.name,
        "sha256": graph.source_sha256,
        "inputs": [_input(graph, p) for p in graph.inputs],
        "outputs": [_port(graph, p) for p in graph.outputs],
        "layers": layers,
        "macs": sum(row["macs"] for row in layers),
        "parameters": sum(row["parameters"] for row in layers),
        "seconds": round(seconds, 4),
        "notes": list(graph.notes),
    }


def _port(graph: Graph, port: Port) -> dict[str, Any]:
    return {"name": port.name, "shape": list(port.shape), "type": str(graph.tensors[port.tensor].type)}


def _input(graph: Graph, port: Port) -> dict[str, Any]:
    interval = graph.tensors[port.tensor].type
    return {
        **_port(graph, port),
        "lo": interval.lo,
        "hi": interval.hi,
        "quantizer": describe_quantizer(port.quantizer),
    }


def describe_quantizer(quantizer: InputQuantizer | None) -> str:
    """One line on how real inputs become codes."""
    if quantizer is None:
        return "codes only"
    steps = ", ".join(f"{float(s):g}" for s in quantizer.step[:3]) + (
        ", ..." if len(quantizer.step) > 3 else ""
    )
    kind = (
        "sign"
        if quantizer.bipolar
        else f"{quantizer.rounding.name.lower().replace('_', ' ')}, {quantizer.lo}..{quantizer.hi}"
    )
    origin = "stated by --input-type" if quantizer.stated else "from the file"
    return f"scale {steps}; {kind}; {origin}"


def _layer(graph: Graph, node: Node, resolution: Resolution | None) -> dict[str, Any]:
    out = graph.tensors[node.output]
    product = isinstance(node.params, (Dense, Conv))
    form = resolution.form if resolution else None
    ties = int((resolution.table.ties != NO_TIE).sum()) if resolution and resolution.table else None
    return {
        "name": node.name,
        "op": node.op,
        "source": out.source,
        "inputs": [_maker(graph, t) for t in node.inputs],
        "shape": list(out.shape),
        "in_type": ", ".join(str(graph.tensors[t].type) for t in node.inputs),
        "out_type": str(out.type),
        "lo": out.type.lo,
        "hi": out.type.hi,
        "weight_bits": weight_bits(node),
        "accumulator_bits": out.type.bits if product else None,
        "form": form.text if form else _form(node),
        "proof_checks": form.checks if form else None,
        "macs": macs(graph, node),
        "parameters": int(node.params.weight.size) if product else 0,
        "ties": ties,
    }


def _maker(graph: Graph, tensor: str) -> str:
    """The layer or network input that a tensor comes from."""
    node = graph.producer(tensor)
    return node.name if node else next(p.name for p in graph.inputs if p.tensor == tensor)


def weight_bits(node: Node) -> int | None:
    """Width of the smallest integer that holds all weights of a dense or conv node; 1 for weights of -1 and +1."""
    if not isinstance(node.params, (Dense, Conv)):
        return None
    weight = node.params.weight
    if np.isin(weight, (-1, 1)).all():
        return 1
    lo, hi = int(weight.min()), int(weight.max())
    return max(hi.bit_length(), (-lo - 1).bit_length() if lo < 0 else 0) + (lo < 0)


def _form(node: Node) -> str | None:
    """Multipliers of a sum, and the form of a requantisation in a saved graph, whose proof is not carried."""
    if isinstance(node.params, Add):
        mult = node.params.mult
        if mult.shape[1] > 1:
            return f"sum, multipliers of {int(np.abs(mult).max()).bit_length()} bits a channel"
        return " + ".join(
            f"{m}·{x}" if m != 1 else x for m, x in zip(mult[:, 0].tolist(), "abcdefghij", strict=False)
        )
    if isinstance(node.params, Threshold):
        return f"compare tree, {node.params.thresholds.shape[1]} thresholds"
    if isinstance(node.params, Lut):
        return f"table, {node.params.values.shape[1]} pieces"
    if isinstance(node.params, Requant):
        return f"(a*M + B) >> {node.params.shift}"
    return None
