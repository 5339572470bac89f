"""What is installed, and what each program or package makes possible."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from hwq.synth.tools import find


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


def _place(name: str) -> str:
    """Of a vendor's tool also off PATH, with its version."""
    found = find(name)
    return f"{found[0].path} {found[0].version}".rstrip() if found else ""


def examine() -> list[Finding]:
    """Look for every program and every package, without importing or running any."""
    programs = [Finding(name, _place(name), enables, cure) for name, enables, cure in _PROGRAMS]
    packages = [
        Finding(dist, metadata.version(dist) if find_spec(module) else "", enables, cure)
        for module, dist, enables, cure in _PACKAGES
    ]
    return programs + packages
