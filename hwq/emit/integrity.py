"""Whether a generated project is still what was generated, by the hashes of its manifest.

It finds accidents and edits, not forgery: whoever changes a file can also rewrite the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hwq.emit.manifest import NAME, digest
from hwq.emit.project import check_inside
from hwq.errors import CheckFailed, InputError
from hwq.files import MARKER

PRODUCTS = frozenset({"build", "hls_prj", "impl", "logs", "overlay", "synth.json", MARKER, NAME})
"""What the project's own steps make beside its sources."""
_LOGS = (".log", ".jou", ".str")
_MAX_MANIFEST = 1 << 26
_SHOWN = 12


class _Manifest(msgspec.Struct):
    """What is read of a manifest here."""

    files: dict[str, Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Integrity:
    """What was found, by path relative to the project.

    Attributes:
        files: How many the manifest lists.
        changed: Other content than generated; links too.
        missing: Gone.
        foreign: Neither generated nor a product of the project's steps.
    """

    project: str
    files: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was touched."""
        return not (self.changed or self.missing or self.foreign)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        lists = {k: list(getattr(self, k)) for k in ("changed", "missing", "foreign")}
        return {"project": self.project, "ok": self.ok, "files": self.files, **lists}

    def raise_if_failed(self) -> Integrity:
        """Self, if nothing was touched.

        Raises:
            CheckFailed: Naming the files.
        """
        if self.ok:
            return self
        parts = [
            f"{kind}: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
            for kind in ("changed", "missing", "foreign")
            if (names := getattr(self, kind))
        ]
        raise CheckFailed(
            f"project {self.project} is not as it was generated\n  "
            + "\n  ".join(parts)
            + "\n  cure: generate it again (hwq generate --force), or take the foreign files out"
        )


def check(project: Path) -> Integrity:
    """Compare a project's folder with its manifest.

    Raises:
        InputError: Not a project, or its manifest cannot be read.
    """
    content = _read(project)
    manifest = msgspec.convert(content, _Manifest)
    changed = [NAME] if digest(content) != manifest.digest else []
    missing = []
    for name, want in manifest.files.items():
        check_inside(name)
        path = project / name
        if any((project / p).is_symlink() for p in (Path(name), *Path(name).parents) if p.name):
            changed.append(name)
        elif not path.is_file():
            missing.append(name)
        elif sha256(path) != want:
            changed.append(name)
    foreign = [name for name in _sources(project) if name not in manifest.files]
    return Integrity(
        str(project),
        len(manifest.files),
        tuple(sorted(changed)),
        tuple(sorted(missing)),
        tuple(sorted(foreign)),
    )


def _read(project: Path) -> Any:
    path = project / NAME
    if not path.is_file():
        raise InputError(f"{project} is no project of hwq: it holds no {NAME}")
    if path.stat().st_size > _MAX_MANIFEST:
        raise InputError(f"{path} is larger than {_MAX_MANIFEST >> 20} MiB: not a manifest of hwq")
    try:
        content = msgspec.json.decode(path.read_bytes())
        msgspec.convert(content, _Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no manifest of hwq: {error}") from error
    return content


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _sources(project: Path) -> Iterator[str]:
    for path in project.iterdir():
        if path.name in PRODUCTS or (path.suffix in _LOGS and path.is_file()):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from (
                p.relative_to(project).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir()
            )
        else:
            yield path.name
