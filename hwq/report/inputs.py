"""Read what a run's folder holds, and say which file and key is wrong when one is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hwq.errors import InputError
from hwq.report.schema import Estimate, Estimates, Generate, Lower, Metrics, Verify

COMMANDS = {
    "metrics.json": "hwq train RECIPE --out DIR",
    "lower.json": "hwq lower MODEL",
    "verify.json": "hwq verify MODEL",
    "estimate.json": "hwq estimate MODEL --board BOARD",
    "generate.json": "hwq generate MODEL --board BOARD -o DIR",
}
"""The files a report is made from, and the command that writes each."""

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Run:
    """The parsed files of one run; what was not there is None or empty.

    Attributes:
        raw: The same files as they were read, keys unknown to hwq included, by name without `.json`.
    """

    metrics: Metrics | None = None
    lower: Lower | None = None
    verify: Verify | None = None
    estimates: tuple[Estimate, ...] = ()
    generate: Generate | None = None
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """File name of the network."""
        if self.lower is not None:
            return self.lower.model
        return (self.verify.model if self.verify is not None else None) or "model.onnx"


def read_run(folder: Path) -> Run:
    """Parse every file of `COMMANDS` in a folder.

    Raises:
        InputError: There is none, or one of them is not what its command writes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that a run wrote, such as hwq demo's")
    raw = {
        name.removesuffix(".json"): _parse(folder / name) for name in COMMANDS if (folder / name).is_file()
    }
    if not raw:
        raise InputError(_nothing_found(folder))
    return Run(
        metrics=_convert(raw, "metrics", Metrics, folder),
        lower=_convert(raw, "lower", Lower, folder),
        verify=_convert(raw, "verify", Verify, folder),
        estimates=_estimates(raw, folder),
        generate=_convert(raw, "generate", Generate, folder),
        raw=raw,
    )


def _nothing_found(folder: Path) -> str:
    lines = [f"  {name:<14} {command}" for name, command in COMMANDS.items()]
    return (
        f"nothing to report in {folder}: it holds none of these files\n" + "\n".join(lines) + "\n"
        "  `hwq demo --out DIR` makes all of them"
    )


def _parse(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise _bad(path, str(error)) from error


def _convert(raw: dict[str, Any], stem: str, record: type[T], folder: Path) -> T | None:
    if stem not in raw:
        return None
    try:
        return msgspec.convert(raw[stem], record)
    except msgspec.ValidationError as error:
        raise _bad(folder / f"{stem}.json", str(error)) from error


def _estimates(raw: dict[str, Any], folder: Path) -> tuple[Estimate, ...]:
    content = raw.get("estimate")
    if isinstance(content, dict) and "estimates" in content:
        several = _convert(raw, "estimate", Estimates, folder)
        return tuple(several.estimates) if several is not None else ()
    one = _convert(raw, "estimate", Estimate, folder)
    return (one,) if one is not None else ()


def _bad(path: Path, problem: str) -> InputError:
    """`Expected X, got Y - at $.layers[0].macs` told with the key first."""
    what, _, key = problem.partition(" - at ")
    where = f"key {key.strip('`').removeprefix('$.')}: " if key else ""
    command = COMMANDS[path.name]
    return InputError(f"{path}: {where}{what}\n  write the file again with: {command}")
