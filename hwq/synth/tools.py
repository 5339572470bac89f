"""Where the vendor's tools are: on PATH, where their environment variables point, or where installers put them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwq.errors import ToolMissing
from hwq.hardware import Backend

VARIABLES = ("XILINX_VITIS", "XILINX_HLS", "XILINX_VIVADO")
ROOTS = (Path("/opt/Xilinx"), Path("/tools/Xilinx"))
_LAYOUTS = ("{product}/*/bin", "*/{product}/bin")
"""Until 2024.2 the product comes first, as Vitis_HLS/2023.2; from 2025.1 the version, as 2025.1/Vitis."""
_PRODUCTS = ("Vitis", "Vitis_HLS", "Vivado")
_VERSION = re.compile(r"\b(20\d\d\.\d)\b")

HLS: dict[Backend, tuple[str, ...]] = {
    Backend.VITIS: ("vitis-run", "vitis_hls"),
    Backend.VIVADO: ("vivado_hls",),
}
"""Programs for C synthesis, the preferred first: vitis_hls is only a shim from 2025.1 on."""
VIVADO = "vivado"
_ARGUMENTS = {
    "vitis-run": ("--mode", "hls", "--tcl"),
    "vitis_hls": ("-f",),
    "vivado_hls": ("-f",),
    VIVADO: ("-mode", "batch", "-nojournal", "-nolog", "-source"),
}


@dataclass(frozen=True)
class Tool:
    """A program that was found; `version` is that of its folder, empty if that does not say."""

    name: str
    path: str
    version: str

    def command(self, script: str) -> list[str]:
        """What runs a Tcl script."""
        return [self.path, *_ARGUMENTS[self.name], script]


def find(
    name: str, environment: Mapping[str, str] | None = None, roots: Iterable[Path] = ROOTS
) -> list[Tool]:
    """Every installation of a program: the one on PATH first, the others from new to old."""
    given = os.environ if environment is None else environment
    on_path = shutil.which(name, path=given.get("PATH", ""))
    others = sorted(
        {t for f in _folders(given, roots) if (t := _tool(name, f / name)) is not None},
        key=lambda t: (t.version, t.path),
        reverse=True,
    )
    first = _tool(name, Path(on_path)) if on_path else None
    return [t for t in (first, *others) if t is not None and (t is first or t != first)]


def _folders(environment: Mapping[str, str], roots: Iterable[Path]) -> list[Path]:
    """Where programs lie off PATH."""
    folders = [Path(environment[v]) / "bin" for v in VARIABLES if environment.get(v)]
    for root in roots:
        folders += [f for p in _PRODUCTS for layout in _LAYOUTS for f in root.glob(layout.format(product=p))]
    return folders


def _tool(name: str, path: Path) -> Tool | None:
    if not (path.is_file() and os.access(path, os.X_OK)):
        return None
    said = _VERSION.search(str(path)) or _VERSION.search(str(path.resolve()))
    return Tool(name, str(path), said[1] if said else "")


def hls(
    backend: Backend, environment: Mapping[str, str] | None = None, roots: Iterable[Path] = ROOTS
) -> Tool:
    """The program for C synthesis of a backend's projects.

    Raises:
        ToolMissing: None is installed.
    """
    given = os.environ if environment is None else environment
    found = [t for name in HLS[backend] for t in find(name, given, roots)]
    if not found:
        raise _missing(HLS[backend], given, roots, _others(backend, given, roots))
    best = max(t.version for t in found)
    return next((t for t in found if t.version == best), found[0])


def vivado(environment: Mapping[str, str] | None = None, roots: Iterable[Path] = ROOTS) -> Tool:
    """Vivado.

    Raises:
        ToolMissing: It is not installed.
    """
    found = find(VIVADO, environment, roots)
    if not found:
        raise _missing((VIVADO,), os.environ if environment is None else environment, roots)
    return found[0]


def _others(backend: Backend, environment: Mapping[str, str], roots: Iterable[Path]) -> list[str]:
    """What runs C synthesis for another backend."""
    return [
        f"{tool.path} is there, but runs projects of --backend {other.value}, and this is one of {backend.value}"
        for other, names in HLS.items()
        if other is not backend
        for name in names
        for tool in find(name, environment, roots)
    ]


def _missing(
    names: tuple[str, ...], environment: Mapping[str, str], roots: Iterable[Path], why: Iterable[str] = ()
) -> ToolMissing:
    """What was looked for and where, and why what is there was not taken."""
    unusable = [
        f"{path} is there, but this user may not execute it"
        for name in names
        for folder in _folders(environment, roots)
        if (path := folder / name).is_file() and not os.access(path, os.X_OK)
    ]
    unset = [f"{v} points to {environment[v]}, which is no folder" for v in VARIABLES
             if environment.get(v) and not Path(environment[v]).is_dir()]  # fmt: skip
    reasons = "".join(f"\n  {reason}" for reason in (*unusable, *unset, *why))
    return ToolMissing(
        f"{' and '.join(names)} not found: neither on PATH, nor under {', '.join(VARIABLES)}, nor in "
        f"{', '.join(map(str, roots))}{reasons}\n  cure: source settings64.sh of your Vitis or Vivado; without them "
        "--dry-run shows the commands, and 'make csim' in the project runs the C simulation"
    )
