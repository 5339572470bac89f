"""FPGA boards: what they hold, and where each number comes from (``boards/*.toml``)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec

from hwq.errors import InputError
from hwq.files import data_dir


class Family(str, Enum):
    """Device families whose fabric the estimates tell apart."""

    ZYNQ_7000 = "zynq7"
    ARTIX_7 = "artix7"
    KINTEX_7 = "kintex7"
    VIRTEX_7 = "virtex7"
    KINTEX_ULTRASCALE = "kintexu"
    ZYNQ_ULTRASCALE_PLUS = "zynqus"
    VIRTEX_ULTRASCALE_PLUS = "virtexus"


class DspType(str, Enum):
    """DSP block generations: 25x18 and 27x18 bit signed multipliers."""

    DSP48E1 = "DSP48E1"
    DSP48E2 = "DSP48E2"


@dataclass(frozen=True)
class Board:
    """A board, or a bare device.

    Attributes:
        name: Its key, the name of its file.
        title: What its maker calls it.
        part: Full part number for the vendor tools.
        device: Die without package and speed.
        speed_grade: 1 (slowest) to 3.
        lut: 6-input look-up tables.
        ff: Flip-flops.
        dsp: DSP blocks.
        bram18: Block RAMs in units of 18 Kb.
        uram: UltraRAM blocks of 288 Kb.
        clock_mhz: Clock to aim at when the user gives none.
        sources: For each number, where it comes from.
    """

    name: str
    title: str
    part: str
    family: Family
    device: str
    speed_grade: int
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int
    clock_mhz: float
    dsp_type: DspType
    sources: Mapping[str, str]


_Source = Annotated[str, msgspec.Meta(min_length=1)]


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[int, msgspec.Meta(ge=0)]
    source: _Source


class _Positive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[int, msgspec.Meta(ge=1)]
    source: _Source


class _Frequency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[float, msgspec.Meta(gt=0)]
    source: _Source


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    source: _Source


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a board file must hold, no more and no less."""

    title: str
    family: Family
    device: str
    dsp_type: DspType
    part: _Text
    speed_grade: _Positive
    lut: _Positive
    ff: _Positive
    dsp: _Count
    bram18: _Count
    uram: _Count
    clock_mhz: _Frequency


_SOURCED = ("part", "speed_grade", "lut", "ff", "dsp", "bram18", "uram", "clock_mhz")


def names() -> list[str]:
    """Names of the boards that hwq knows, in order."""
    return sorted(p.stem for p in data_dir("boards").glob("*.toml"))


def load(name_or_path: str | Path) -> Board:
    """A known board by name, or any board by the path of its TOML file.

    Raises:
        InputError: No such board (with the nearest names), or a file against the schema (with the key).
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"board file {path} does not exist")
        return _read(path)
    return _known(str(name_or_path))


@cache
def _known(name: str) -> Board:
    known = names()
    key = name.lower()
    if key not in known:
        raise InputError(_unknown(name, known))
    return _read(data_dir("boards") / f"{key}.toml")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown board '{name}': {hint}known boards: {', '.join(known)}; or give the path of a .toml file"


def _read(path: Path) -> Board:
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except msgspec.ValidationError as error:
        raise InputError(f"board file {path}: {_plain(str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"board file {path} is not TOML: {error}") from error
    numbers = {key: getattr(file, key) for key in _SOURCED}
    return Board(
        name=path.stem,
        title=file.title,
        family=file.family,
        device=file.device,
        dsp_type=file.dsp_type,
        sources=MappingProxyType({k: v.source for k, v in numbers.items()}),
        **{k: v.value for k, v in numbers.items()},
    )


def _plain(message: str) -> str:
    """Name the key of a schema error the way it stands in the file.

    >>> _plain("Expected `int`, got `str` - at `$.lut.value`")
    "key 'lut.value': Expected `int`, got `str`"
    """
    what, _, where = message.partition(" - at `$.")
    return f"key '{where.rstrip('`')}': {what}" if where else what
