"""Reading a project's reports, and the estimate beside them, layer by layer."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hwq.emit.manifest import NAME
from hwq.synth import reports
from hwq.synth.steps import Target

RESOURCES = ("lut", "ff", "dsp", "bram18")
STAGES = ("csynth", "post_synth", "post_route")
_SOLUTION = "hls_prj/solution1"


def read(target: Target, done: Collection[str]) -> dict[str, Any]:
    """The reports of the steps that are done, by kind: what older runs left does not count.

    Raises:
        InputError: One is truncated or another file.
    """
    root, found = target.root, {}
    modules = _modules(root / _SOLUTION / "syn" / "report") if "csynth" in done else []
    if modules:
        top = next((m for m in modules if m.module == target.top), modules[0])
        found["csynth"] = msgspec.to_builtins(top)
        found["modules"] = [msgspec.to_builtins(m) for m in modules if m is not top]
    if "cosim" in done:
        path = next((root / _SOLUTION / "sim" / "report").glob("*_cosim.rpt"))
        found["cosim"] = msgspec.to_builtins(reports.cosim(path))
    if "impl" in done:
        folder = root / "impl"
        found["post_synth"] = msgspec.to_builtins(reports.utilisation(folder / "utilization_synth.rpt"))
        found["post_route"] = msgspec.to_builtins(reports.utilisation(folder / "utilization.rpt"))
        found["timing"] = msgspec.to_builtins(reports.timing(folder / "timing.rpt", target.clock_ns))
        found["power"] = msgspec.to_builtins(reports.power(folder / "power.rpt"))
    return found


def _modules(folder: Path) -> list[reports.Csynth]:
    """Every module once; ``csynth.xml`` is the top's report under another name."""
    found = {}
    for path in sorted(folder.glob("*csynth.xml")):
        module = reports.csynth(path)
        name = path.name.removesuffix("_csynth.xml") if path.name != "csynth.xml" else module.module
        found[name] = msgspec.structs.replace(module, module=name)
    return list(found.values())


def compare(target: Target, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of one quantity each: estimate with its band, the tool's value, and whether that is inside.

    The manifest has an estimate of every stage: totals stand beside the report of the same stage, layers beside the
    modules of C synthesis that carry their configuration's number.
    """
    manifest = json.loads((target.root / NAME).read_bytes())
    expected = manifest.get("expected")
    if not expected:
        return []
    rows = [row for stage in STAGES if stage in said for row in _totals(expected[stage], said, stage)]
    if "csynth" not in said:
        return rows
    numbers = _config_numbers(target)
    names = {entry["name"]: entry["c_name"] for entry in manifest["layers"]}
    for layer in expected["csynth"]["layers"]:
        number = numbers.get(names.get(layer["name"], ""))
        pattern = re.compile(rf"config{number}(_|$)")
        module = next((m for m in said["modules"] if number and pattern.search(m["module"])), None)
        rows += [_row(layer["name"], r, layer[r], module[r] if module else None, "csynth") for r in RESOURCES]
    return rows


def _totals(expected: Mapping[str, Any], said: Mapping[str, Any], stage: str) -> list[dict[str, Any]]:
    rows = [_row("total", r, expected["total"][r], said[stage][r], stage) for r in RESOURCES]
    if stage != "csynth":
        return rows
    for key, name in (("latency_cycles", "latency_max_cycles"), ("ii_cycles", "interval_max_cycles")):
        value = expected[key]
        rows.append(_row("total", key, {"value": value, "lo": value, "hi": value}, said[stage][name], stage))
    return rows


def _row(
    layer: str, quantity: str, estimate: Mapping[str, float], tool: int | None, stage: str
) -> dict[str, Any]:
    inside = None if tool is None else estimate["lo"] <= tool <= estimate["hi"]
    return {
        "layer": layer,
        "quantity": quantity,
        "estimate": estimate["value"],
        "lo": estimate["lo"],
        "hi": estimate["hi"],
        "tool": tool,
        "stage": stage,
        "inside": inside,
    }


def _config_numbers(target: Target) -> dict[str, str]:
    """The number of each layer's configuration, from its call in the top function: ``...configN>(...); // layer``."""
    text = (target.root / "firmware" / f"{target.top}.cpp").read_text()
    return {
        name: number
        for number, name in re.findall(r"config(\d+)>\(.*\);\s*//\s*(\w+)\s*$", text, re.MULTILINE)
    }
