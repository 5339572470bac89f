"""What is installed, and what each program or package makes possible."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec


@dataclass(frozen=True)
class Finding:
    """One program or package."""

    name: str
    found: str
    enables: str
    cure: str


_PROGRAMS = (
    ("g++", "C simulation of generated projects (hwq verify, make csim)", "apt install g++"),
    ("make", "the targets of generated projects", "apt install make"),
    (
        "vitis-run",
        "csynth and cosim with Vitis HLS 2023.1 and newer",
        "install Vitis and source its settings64.sh",
    ),
    (
        "vitis_hls",
        "csynth and cosim with Vitis HLS up to 2024.2",
        "install Vitis HLS and source its settings64.sh",
    ),
    (
        "vivado",
        "implementation: real utilisation, timing and power",
        "install Vivado and source its settings64.sh",
    ),
)
_PACKAGES = (
    ("hls4ml", "hls4ml", "hwq generate", "pip install hls4ml"),
    ("qonnx", "qonnx", "the qonnx stage of hwq verify", "pip install qonnx"),
    ("onnxruntime", "onnxruntime", "the int8 engine of hwq simulate", "pip install onnxruntime"),
    ("da4ml", "da4ml", "--strategy distributed_arithmetic", "pip install 'hwq[da]'"),
    ("torch", "torch", "hwq train, the torch stage of hwq verify", "pip install 'hwq[train]'"),
    ("brevitas", "brevitas", "hwq train, the torch stage of hwq verify", "pip install 'hwq[train]'"),
    ("sklearn", "scikit-learn", "the digits data set", "pip install 'hwq[train]'"),
)


def examine() -> list[Finding]:
    """Look for every program on PATH and every package, without importing or running any."""
    programs = [Finding(name, shutil.which(name) or "", enables, cure) for name, enables, cure in _PROGRAMS]
    packages = [
        Finding(dist, metadata.version(dist) if find_spec(module) else "", enables, cure)
        for module, dist, enables, cure in _PACKAGES
    ]
    return programs + packages
