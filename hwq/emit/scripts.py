"""The files around the C++: testbench, Makefile, Tcl, README; rendered from ``hls_templates/``."""

from __future__ import annotations

from typing import Any

import jinja2

import hwq
from hwq.emit.hls4ml import CLOCK_UNCERTAINTY, Firmware
from hwq.emit.overlay import COPIED, overlay_json
from hwq.emit.plan import Plan
from hwq.emit.testbench import Golden
from hwq.files import data_dir
from hwq.hardware import HardwareConfig

CXX_FLAGS = ("-std=c++14", "-O1", "-w")
"""For csim; -O3 compiles longer than a few hundred images take to run."""

_STEPS = ("open_hls", "csim", "csynth", "cosim", "export", "impl")
_COPIED = {f"scripts/{step}.tcl": f"{step}.tcl" for step in _STEPS}
_COPIED["hwq_testbench.h"] = "hwq_testbench.h"
_RENDERED = {
    "Makefile": "Makefile.j2",
    "README.md": "README.md.j2",
    "scripts/settings.tcl": "settings.tcl.j2",
}


def project_files(
    plan: Plan,
    config: HardwareConfig,
    firmware: Firmware,
    golden: Golden,
    overlay: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """Everything but the firmware, the golden data and the manifest; with an overlay, if there is one."""
    values = _values(plan, config, firmware, golden) | {"overlay": overlay}
    folder = data_dir("hls_templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  C++, Tcl and make are not HTML
    )
    rendered = {**_RENDERED, f"{plan.top}_test.cpp": "testbench.cpp.j2"}
    copied = dict(_COPIED)
    files = {}
    if overlay:
        rendered[f"{plan.top}_axi.cpp"] = "axi_top.cpp.j2"
        copied |= COPIED
        files["driver/overlay.json"] = overlay_json(overlay)
    files |= {path: (folder / name).read_bytes() for path, name in copied.items()}
    files |= {path: environment.get_template(name).render(values).encode() for path, name in rendered.items()}
    return files


def _values(plan: Plan, config: HardwareConfig, firmware: Firmware, golden: Golden) -> dict[str, Any]:
    return {
        "top": plan.top,
        "version": hwq.__version__,
        "board": config.board.name,
        "part": config.board.part,
        "clock_ns": f"{config.clock_ns:g}",
        "clock_uncertainty": CLOCK_UNCERTAINTY,
        "io": config.io.value,
        "backend": config.backend.value,
        "strategy": config.strategy_name,
        "cxxflags": CXX_FLAGS,
        "rows": golden.rows,
        "inputs": firmware.inputs,
        "outputs": firmware.outputs,
        "traced": [{"name": layer.name, "words": words} for layer, _, words in plan.traced()],
    }
