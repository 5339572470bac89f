"""The steps of a project: which tool runs which script, and what must be there when it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from hwq.emit.integrity import sha256
from hwq.emit.manifest import NAME
from hwq.emit.project import check_inside
from hwq.errors import InputError
from hwq.hardware import Backend
from hwq.synth.tools import VIVADO, Tool, hls, vivado

_SOLUTION = "hls_prj/solution1"
_MAX_MANIFEST = 1 << 26


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        tool: Of C synthesis, or Vivado.
        products: Patterns below the project, of each of which at least one file must be there afterwards.
        needs: The step whose results it reads.
    """

    name: str
    tool: str
    products: tuple[str, ...]
    needs: str = ""

    @property
    def script(self) -> str:
        """Below the project."""
        return f"scripts/{self.name}.tcl"

    def lacking(self, root: Path) -> list[str]:
        """Products that are not there."""
        return [p for p in self.products if not any(root.glob(p))]


_IMPLEMENTED = tuple(f"impl/{name}.rpt" for name in ("utilization_synth", "utilization", "timing", "power"))
STEPS = {
    s.name: s
    for s in (
        Step("csim", "hls", (f"{_SOLUTION}/csim/report/*_csim.log",)),
        Step("csynth", "hls", (f"{_SOLUTION}/syn/report/*csynth.xml", f"{_SOLUTION}/syn/verilog/*.v")),
        Step("cosim", "hls", (f"{_SOLUTION}/sim/report/*_cosim.rpt",), "csynth"),
        Step("export", "hls", (f"{_SOLUTION}/impl/*",), "csynth"),
        Step("impl", VIVADO, _IMPLEMENTED, "csynth"),
    )
}
"""In the order in which they run."""
DEFAULT = ("csynth", "impl")


class _Manifest(msgspec.Struct):
    """What is read of a manifest here."""

    top: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    backend: Backend
    clock_ns: float
    files: dict[str, str]


@dataclass(frozen=True)
class Target:
    """A project on disk."""

    root: Path
    top: str
    backend: Backend
    clock_ns: float
    files: tuple[str, ...]

    def fingerprint(self) -> str:
        """Of the manifest and every file that it lists, as they are on the disk."""
        total = hashlib.sha256()
        for name in (NAME, *self.files):
            path = self.root / name
            total.update(f"{name} {sha256(path) if path.is_file() else 'missing'}\n".encode())
        return total.hexdigest()


def target(root: Path) -> Target:
    """The project in a folder.

    Raises:
        InputError: There is none, or its manifest cannot be read.
    """
    path = root / NAME
    if not path.is_file() or path.stat().st_size > _MAX_MANIFEST:
        raise InputError(f"{root} is no project of hwq (no {NAME}): make one with hwq generate")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no manifest of hwq: {error}") from error
    for name in manifest.files:
        check_inside(name)
    return Target(root, manifest.top, manifest.backend, manifest.clock_ns, tuple(sorted(manifest.files)))


def chosen(names: Sequence[str]) -> list[Step]:
    """Steps by name, in the order in which they run.

    Raises:
        InputError: An unknown name.
    """
    if unknown := sorted(set(names) - set(STEPS)):
        raise InputError(f"--steps: no step '{unknown[0]}'; there are {', '.join(STEPS)}")
    return [s for s in STEPS.values() if s.name in names]


def tools_for(steps: Sequence[Step], backend: Backend) -> dict[str, Tool]:
    """The tools that steps need, by `Step.tool`.

    Raises:
        ToolMissing: One is not installed.
    """
    kinds = {s.tool for s in steps}
    return {kind: vivado() if kind == VIVADO else hls(backend) for kind in sorted(kinds)}
