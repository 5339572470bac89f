"""What the vendor's reports say, as records; units are in the names."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from hwq.errors import InputError

_MAX_BYTES = 1 << 26


class Csynth(msgspec.Struct, frozen=True):
    """C synthesis' own estimate of a module; cycles are None where it does not know them."""

    module: str
    target_ns: float
    estimated_ns: float
    latency_min_cycles: int | None
    latency_max_cycles: int | None
    interval_min_cycles: int | None
    interval_max_cycles: int | None
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int


class Cosim(msgspec.Struct, frozen=True):
    """Co-simulation of the RTL with the golden rows."""

    passed: bool
    latency_max_cycles: int | None
    interval_max_cycles: int | None


class Utilisation(msgspec.Struct, frozen=True):
    """After synthesis, or after routing."""

    state: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int


class Timing(msgspec.Struct, frozen=True):
    """Worst slack of setup and hold, their totals, and the shortest period that setup allows."""

    met: bool
    wns_ns: float
    tns_ns: float
    whs_ns: float
    period_ns: float
    reached_ns: float
    reached_mhz: float


class Power(msgspec.Struct, frozen=True):
    """As Vivado estimates it, with its own confidence in that."""

    total_w: float
    dynamic_w: float
    static_w: float
    confidence: str


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"report {path} is larger than {_MAX_BYTES >> 20} MiB")
        return path.read_text(errors="replace")
    except FileNotFoundError as error:
        raise InputError(f"report {path} is missing: run its step again (hwq synth --force)") from error


def csynth(path: Path) -> Csynth:
    """A ``*_csynth.xml`` of Vivado HLS or Vitis HLS.

    Raises:
        InputError: Missing, truncated, or another file.
    """
    text = _text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"report {path} declares entities: not a report of the tool")
    try:
        root = ET.fromstring(text)  # noqa: S314  entities are refused above
    except ET.ParseError as error:
        raise InputError(f"report {path} is truncated or no XML: {error}") from error
    overall = "PerformanceEstimates/SummaryOfOverallLatency"
    area = "AreaEstimates/Resources"
    return Csynth(
        module=_xml(root, path, "UserAssignments/TopModelName"),
        target_ns=float(_xml(root, path, "UserAssignments/TargetClockPeriod")),
        estimated_ns=float(
            _xml(root, path, "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
        ),
        latency_min_cycles=_cycles(_xml(root, path, f"{overall}/Best-caseLatency")),
        latency_max_cycles=_cycles(_xml(root, path, f"{overall}/Worst-caseLatency")),
        interval_min_cycles=_cycles(_xml(root, path, f"{overall}/Interval-min")),
        interval_max_cycles=_cycles(_xml(root, path, f"{overall}/Interval-max")),
        lut=int(_xml(root, path, f"{area}/LUT")),
        ff=int(_xml(root, path, f"{area}/FF")),
        dsp=int(_xml(root, path, f"{area}/DSP", f"{area}/DSP48E")),
        bram18=int(_xml(root, path, f"{area}/BRAM_18K")),
        uram=int(_xml(root, path, f"{area}/URAM")),
    )


def _xml(root: ET.Element, path: Path, *places: str) -> str:
    for place in places:
        found = root.findtext(place)
        if found is not None:
            return found.strip()
    raise InputError(f"report {path} has no {places[0]}: truncated, or of a version that hwq does not know")


def _cycles(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def cosim(path: Path) -> Cosim:
    """A ``*_cosim.rpt``: its table has a row for each language.

    Raises:
        InputError: Missing, or without such a row.
    """
    for line in _text(path).splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if cells[0] in ("Verilog", "VHDL") and len(cells) > 1 and cells[1] in ("Pass", "Fail"):
            numbers = [_cycles(c) for c in cells[2:8]]
            whole = len(numbers) == 6
            return Cosim(cells[1] == "Pass", numbers[2] if whole else None, numbers[5] if whole else None)
    raise InputError(f"report {path} has no result of Verilog or VHDL")


_SITES = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "ff": ("Slice Registers", "CLB Registers"),
    "dsp": ("DSPs",),
    "tiles": ("Block RAM Tile",),
    "uram": ("URAM",),
}


def utilisation(path: Path) -> Utilisation:
    """A flat report_utilization of Vivado; a block RAM tile is two of 18 Kb.

    Raises:
        InputError: Missing, or without the counts.
    """
    text = _text(path)
    used: dict[str, float] = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        for key, names in _SITES.items():
            if cells[0].rstrip("*") in names and key not in used and len(cells) > 1:
                used[key] = _number(cells[1], path)
    if lost := {"lut", "ff", "dsp", "tiles"} - set(used):
        raise InputError(
            f"report {path} has no count of {', '.join(sorted(lost))}: truncated, or another report"
        )
    state = re.search(r"^\| Design State\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return Utilisation(
        state=state[1] if state else "",
        lut=int(used["lut"]),
        ff=int(used["ff"]),
        dsp=int(used["dsp"]),
        bram18=round(2 * used["tiles"]),
        uram=int(used.get("uram", 0)),
    )


def _number(text: str, path: Path) -> float:
    """A cell; "<0.001" is its bound."""
    try:
        return float(text.removeprefix("<"))
    except ValueError:
        raise InputError(f"report {path}: '{text}' is no number") from None


def timing(path: Path, period_ns: float) -> Timing:
    """A report_timing_summary of Vivado, for a design of one clock.

    Raises:
        InputError: Missing, or without constrained paths.
    """
    lines = _text(path).splitlines()
    for i, line in enumerate(lines):
        if line.split()[:2] == ["WNS(ns)", "TNS(ns)"]:
            row = next((x.split() for x in lines[i + 2 : i + 4] if x.strip()), [])
            if len(row) < 8:
                break
            if row[0] == "NA":
                raise InputError(f"report {path}: no path is constrained: the clock was not set")
            wns, tns, whs = _number(row[0], path), _number(row[1], path), _number(row[4], path)
            reached = period_ns - wns
            return Timing(min(wns, whs) >= 0, wns, tns, whs, period_ns, reached, 1000 / reached)
    raise InputError(f"report {path} has no design timing summary: truncated, or another report")


def power(path: Path) -> Power:
    """A report_power of Vivado.

    Raises:
        InputError: Missing, or without its summary.
    """
    text = _text(path)
    found = {}
    for label in ("Total On-Chip Power (W)", "Dynamic (W)", "Device Static (W)", "Confidence Level"):
        said = re.search(rf"^\|\s*{re.escape(label)}\s*\|\s*(\S+)", text, re.MULTILINE)
        if said is None:
            raise InputError(f"report {path} has no '{label}': truncated, or another report")
        found[label] = said[1]
    total, dynamic, static, confidence = found.values()
    return Power(_number(total, path), _number(dynamic, path), _number(static, path), confidence)
