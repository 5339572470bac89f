"""What hls4ml holds and what it wrote, compared with what was asked.

hls4ml changes types, reuse factors and layers silently; every check here is for a fault that gave
wrong numbers without an error. The functions take hls4ml's model as it is, and import nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hwq.emit.layers import Binary, interval_of
from hwq.emit.own import OWN
from hwq.emit.plan import Plan, PlannedLayer, configuration
from hwq.hardware import Strategy
from hwq.ir import IntType
from hwq.rounding import IntArray

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SAME_CLASS = {
    "Conv2D": {"Conv2D", "PointwiseConv2D"},
    "InputLayer": {"Input", "InputLayer"},
    "HwqReshape": {"HwqReshape", "Repack"},
    "MaxPooling2D": {"Pooling2D"},
}
_HELPERS = {"Clone": "clone_", "HwqCopy": "copy_", "ZeroPadding2D": "zp2d_"}
_SILENT = {"Input", "InputLayer", "HwqReshape"}


def audit_model(plan: Plan, model: Any) -> list[str]:
    """Findings after conversion; empty when the model is what was asked."""
    nodes = {_planned_name(node): node for node in model.get_layers()}
    findings = _names(plan) + _layer_set(plan, nodes)
    for planned in plan.layers:
        if planned.name in nodes:
            findings += _layer(planned, nodes[planned.name])
    findings += [text for name, node in nodes.items() for text in _helper(plan, name, node)]
    return findings + _ports(plan, model)


def _planned_name(node: Any) -> str:
    name: str = node.name
    return name.removeprefix("repack_") if node.class_name == "Repack" else name


def _names(plan: Plan) -> list[str]:
    names = [p.name for p in plan.layers]
    bad = [f"layer name '{n}' is no C identifier" for n in (*names, plan.top) if not _IDENTIFIER.fullmatch(n)]
    folded = [n.lower() for n in names]
    return bad + [
        f"layer name '{n}' is used twice, ignoring case" for n in names if folded.count(n.lower()) > 1
    ]


def _layer_set(plan: Plan, nodes: dict[str, Any]) -> list[str]:
    lost = [f"layer '{p.name}' is gone" for p in plan.layers if p.name not in nodes]
    names = {p.name for p in plan.layers}
    added = [
        f"layer '{name}' ({node.class_name}) was added"
        for name, node in nodes.items()
        if name not in names and not name.startswith(_HELPERS.get(node.class_name, "\0"))
    ]
    return lost + added


def _layer(planned: PlannedLayer, node: Any) -> list[str]:
    where = f"layer '{planned.name}'"
    layer = planned.layer
    findings = [
        f"{where}: {text}"
        for text in (*_types(planned, node), *_weights(planned, node), *_inputs(planned, node))
    ]
    if node.class_name not in _SAME_CLASS.get(layer.class_name, {layer.class_name}):
        findings.append(f"{where}: became a {node.class_name}")
    shape = tuple(node.get_output_variable().shape)
    if shape != layer.shape:
        findings.append(f"{where}: makes shape {shape}, asked {layer.shape}")
    if node.class_name not in _SILENT and not node.get_attr("function_cpp"):
        findings.append(f"{where}: no call was generated")
    if node.get_attr("function_cpp") and "n_in" in layer.attributes:
        findings += _n_in(where, layer.attributes["n_in"], node)
    if layer.matrix:
        findings += _reuse(where, planned, node)
    return findings


def _inputs(planned: PlannedLayer, node: Any) -> list[str]:
    """By name, through the copies that hls4ml makes of streams."""
    held = [_original(node, name) for name in node.inputs] if planned.inputs else []
    return [] if held == list(planned.inputs) else [f"reads {held}, asked {list(planned.inputs)}"]


def _original(node: Any, name: str) -> str:
    """The layer of our plan that an input comes from."""
    if name == f"zp2d_{node.name}":
        name = node.model.graph[name].inputs[0]
    return re.sub(r"_cpy\d+$", "", name).removeprefix("repack_")


def _n_in(where: str, declared: int, node: Any) -> list[str]:
    reads = prod(node.get_input_variable().shape)
    return [] if reads == declared else [f"{where}: declares n_in {declared}, but reads {reads} elements"]


def _reuse(where: str, planned: PlannedLayer, node: Any) -> list[str]:
    held = (str(node.get_attr("strategy")).lower(), int(node.get_attr("reuse_factor")))
    asked = (planned.strategy.value, planned.reuse)
    return [] if held == asked else [f"{where}: strategy and reuse factor {held}, asked {asked}"]


def _types(planned: PlannedLayer, node: Any) -> list[str]:
    findings = []
    for key, asked in planned.layer.types.items():
        held = _held_type(node, key)
        if held is None and _became_code(planned, key):
            continue
        if held is None:
            findings.append(f"has no type '{key}'")
        elif not _is_type(held, asked):
            findings.append(f"type '{key}' is {held}, asked {asked}")
    return findings


def _held_type(node: Any, key: str) -> Any:
    if key == "result":
        return node.get_output_variable().type.precision
    if key in node.weights:
        return node.weights[key].type.precision
    named = node.get_attr(f"{key}_t")
    return None if named is None else named.precision


def _is_type(held: Any, asked: IntType) -> bool:
    """A fixed point type without fraction; an integer type would change what product hls4ml builds."""
    if isinstance(asked, Binary):
        return str(held.__class__.__name__).endswith("XnorPrecisionType")
    modes = [str(getattr(held, name, "")) for name in ("rounding_mode", "saturation_mode")]
    return (
        held.__class__.__name__.endswith("FixedPrecisionType")
        and (held.width, held.integer, bool(held.signed)) == (asked.bits, asked.bits, asked.signed)
        and modes == ["TRN", "WRAP"]
    )


def _weights(planned: PlannedLayer, node: Any) -> list[str]:
    findings = []
    for key, asked in planned.layer.data.items():
        if key not in node.weights:
            findings += [] if _became_code(planned, key) else [f"weights '{key}' are gone"]
            continue
        if not np.array_equal(_as_int(node.weights[key].data), _arranged(planned, asked).ravel()):
            findings.append(f"weights '{key}' changed")
        values = interval_of(_as_int(node.weights[key].data))
        kind = planned.layer.types[key]
        if not _fits(values, kind):
            findings.append(f"weights '{key}' reach {values.lo}..{values.hi}, beyond {kind}")
    added = sorted(set(node.weights) - set(planned.layer.data))
    return findings + [f"weights '{key}' were added" for key in added if np.any(node.weights[key].data)]


def _fits(values: IntType, kind: IntType) -> bool:
    lowest = -(1 << (kind.bits - 1)) if kind.signed else 0
    highest = (1 << (kind.bits - kind.signed)) - 1
    return lowest <= values.lo and values.hi <= highest


def _as_int(data: Any) -> IntArray:
    return np.rint(np.asarray(data, dtype=np.float64)).astype(np.int64).ravel()


def _became_code(planned: PlannedLayer, key: str) -> bool:
    """Weights that hls4ml drops because da4ml turned them into adders; the golden rows hold those to account."""
    return planned.strategy is Strategy.DISTRIBUTED_ARITHMETIC and key in planned.layer.data


def _arranged(planned: PlannedLayer, data: IntArray) -> IntArray:
    """For Resource, hls4ml stores the outputs first."""
    if planned.layer.matrix and planned.strategy is Strategy.RESOURCE:
        return np.moveaxis(data, -1, 0)
    return data


def _helper(plan: Plan, name: str, node: Any) -> list[str]:
    """Layers that hls4ml adds keep the type of what they copy."""
    if name in {p.name for p in plan.layers} or node.class_name not in _HELPERS:
        return []
    source = node.get_input_variable().type.precision
    wrong = [v for v in node.get_variables() if str(v.type.precision) != str(source)]
    return [f"layer '{name}' changes the type {source} to {v.type.precision}" for v in wrong]


def _ports(plan: Plan, model: Any) -> list[str]:
    findings = []
    if list(model.inputs) != list(plan.inputs):
        findings.append(f"inputs are {list(model.inputs)}, asked {list(plan.inputs)}")
    if [re.sub(r"_cpy1$", "", name) for name in model.outputs] != list(plan.outputs):
        findings.append(f"outputs are {list(model.outputs)}, asked {list(plan.outputs)}")
    return findings


# --- written files -------------------------------------------------------------------------------


def audit_files(
    plan: Plan, model: Any, folder: Path, depths: Mapping[tuple[str, int], int] | None = None
) -> list[str]:
    """Findings after writing: weights, type definitions, reuse factors, calls and depths, as text."""
    firmware = folder / "firmware"
    nodes = {_planned_name(node): node for node in model.get_layers()}
    defines = _typedefs((firmware / "defines.h").read_text())
    parameters = (firmware / "parameters.h").read_text()
    top = (firmware / f"{plan.top}.cpp").read_text()
    code = (firmware / "nnet_utils" / "nnet_code_gen.h").read_text()
    findings = _written_depths(model, top, depths or {})
    for planned in plan.layers:
        node = nodes[planned.name]
        texts = [
            *_written_weights(planned, node, firmware / "weights"),
            *_written_types(planned, node, defines),
            *_written_call(planned, node, parameters, top),
            *_written_code(planned, node, code),
        ]
        findings += [f"written layer '{planned.name}': {text}" for text in texts]
    return findings


def _written_depths(model: Any, top: str, depths: Mapping[tuple[str, int], int]) -> list[str]:
    """Every stream inside the design has the depth that was asked, and no other stream is there."""
    held = {
        name: int(depth) for name, depth in re.findall(r"#pragma HLS STREAM variable=(\w+) depth=(\d+)", top)
    }
    asked = {}
    for (reader, index), depth in depths.items():
        node = model.graph[reader]
        asked[node.get_input_variable(node.inputs[index]).name] = depth
    wrong = {name for name in {*held, *asked} if held.get(name) != asked.get(name)} if depths else set()
    return [f"stream {name} has depth {held.get(name)}, asked {asked.get(name)}" for name in sorted(wrong)]


def _written_weights(planned: PlannedLayer, node: Any, folder: Path) -> list[str]:
    findings = []
    for key, asked in planned.layer.data.items():
        if key not in node.weights and _became_code(planned, key):
            continue
        name = node.weights[key].name
        want = ", ".join(map(str, _arranged(planned, asked).ravel().tolist()))
        header = (folder / f"{name}.h").read_text()
        text = folder / f"{name}.txt"
        copies = {f"{name}.h": header[header.rindex("= {") + 3 : header.rindex("};")]}
        if text.is_file():
            copies[text.name] = text.read_text()
        for file, body in copies.items():
            if body != want:
                findings.append(f"{file} does not hold the weights")
    return findings


def _typedefs(text: str) -> dict[str, str]:
    return {name: body for body, name in re.findall(r"^typedef (.*) (\w+);$", text, re.MULTILINE)}


def _written_types(planned: PlannedLayer, node: Any, defines: dict[str, str]) -> list[str]:
    findings = []
    for key, asked in planned.layer.types.items():
        if key not in node.weights and _became_code(planned, key):
            continue
        if key == "result":
            name = node.get_output_variable().type.name
        else:
            name = node.weights[key].type.name if key in node.weights else node.get_attr(f"{key}_t").name
        want = f"ap_{'' if asked.signed else 'u'}fixed<{asked.bits},{asked.bits}>"
        want = "ap_uint<1>" if isinstance(asked, Binary) else want
        if want not in defines.get(name, ""):
            findings.append(f"type {name} is {defines.get(name)}, asked {want}")
    return findings


def _written_call(planned: PlannedLayer, node: Any, parameters: str, top: str) -> list[str]:
    findings = []
    if node.get_attr("function_cpp") and f"// {node.name}\n" not in top:
        findings.append("has no call")
    struct = re.search(rf"struct config{node.index} .*?\n}};", parameters, re.DOTALL)
    if planned.layer.class_name in OWN:
        types = {f"{name}_t": weight.type for name, weight in node.weights.items()}
        asked = [line.format(**types) for line in configuration(planned)]
        held = struct.group(0).splitlines()[1:-1] if struct else []
        if [line.strip() for line in held] != asked:
            findings.append(f"configuration {held}, asked {asked}")
    if planned.layer.matrix and planned.strategy is not Strategy.DISTRIBUTED_ARITHMETIC:
        reuse = re.search(r"reuse_factor = (\d+);", struct.group(0)) if struct else None
        if reuse is None or int(reuse.group(1)) != planned.reuse:
            findings.append(f"reuse factor {reuse and reuse.group(1)}, asked {planned.reuse}")
    return findings


def _written_code(planned: PlannedLayer, node: Any, code: str) -> list[str]:
    """The adders of distributed arithmetic, once a layer."""
    if planned.strategy is not Strategy.DISTRIBUTED_ARITHMETIC:
        return []
    count = len(re.findall(rf"\bvoid dense_da_{node.index}\(", code))
    return [] if count == 1 else [f"its adders are written {count} times, asked once"]
