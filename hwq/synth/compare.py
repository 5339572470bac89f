"""Reading a project's reports, and the estimate beside them, layer by layer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hwq.emit.manifest import NAME
from hwq.synth import reports
from hwq.synth.steps import Target

RESOURCES = ("lut", "ff", "dsp", "bram18")
_SOLUTION = "hls_prj/solution1"


def read(target: Target) -> dict[str, Any]:
    """All reports that a project's steps left, by kind.

    Raises:
        InputError: One is truncated or another file.
    """
    root, found = target.root, {}
    modules = _modules(root / _SOLUTION / "syn" / "report")
    if modules:
        top = next((m for m in modules if m.module == target.top), modules[0])
        found["csynth"] = msgspec.to_builtins(top)
        found["modules"] = [msgspec.to_builtins(m) for m in modules if m is not top]
    for path in sorted((root / _SOLUTION / "sim" / "report").glob("*_cosim.rpt"))[:1]:
        found["cosim"] = msgspec.to_builtins(reports.cosim(path))
    folder = root / "impl"
    if (folder / "utilization_synth.rpt").is_file():
        found["post_synth"] = msgspec.to_builtins(reports.utilisation(folder / "utilization_synth.rpt"))
    if (folder / "utilization.rpt").is_file():
        found["post_route"] = msgspec.to_builtins(reports.utilisation(folder / "utilization.rpt"))
    if (folder / "timing.rpt").is_file():
        found["timing"] = msgspec.to_builtins(reports.timing(folder / "timing.rpt", target.clock_ns))
    if (folder / "power.rpt").is_file():
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

    The manifest's estimate is of one stage; the tool's report of that stage stands beside its totals. Layers are
    compared with the modules of C synthesis that carry their configuration's number.
    """
    manifest = json.loads((target.root / NAME).read_bytes())
    expected = manifest.get("expected")
    if not expected:
        return []
    rows = _totals(expected, said)
    numbers = _config_numbers(target)
    names = {entry["name"]: entry["c_name"] for entry in manifest["layers"]}
    for layer in expected["layers"]:
        number = numbers.get(names.get(layer["name"], ""))
        module = next(
            (
                m
                for m in said.get("modules", ())
                if number and re.search(rf"config{number}(_|$)", m["module"])
            ),
            None,
        )
        rows += [_row(layer["name"], r, layer[r], module[r] if module else None, "csynth") for r in RESOURCES]
    return rows


def _totals(expected: Mapping[str, Any], said: Mapping[str, Any]) -> list[dict[str, Any]]:
    stage = expected["stage"]
    report = said.get(stage)
    rows = [_row("total", r, expected["total"][r], report[r] if report else None, stage) for r in RESOURCES]
    for key, name in (("latency_cycles", "latency_max_cycles"), ("ii_cycles", "interval_max_cycles")):
        value = expected[key]
        tool = said["csynth"][name] if "csynth" in said else None
        rows.append(_row("total", key, {"value": value, "lo": value, "hi": value}, tool, "csynth"))
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
