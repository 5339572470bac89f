"""A generated project in memory: paths and bytes, a digest, and one way to the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from hwq.errors import InputError
from hwq.files import staged_dir


@dataclass(frozen=True)
class Project:
    """Files by relative POSIX path."""

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for path in self.files:
            check_inside(path)
        object.__setattr__(self, "files", MappingProxyType(dict(sorted(self.files.items()))))

    def digest(self) -> str:
        """SHA-256 over all paths and contents.

        >>> Project({"a": b"1", "b": b"2"}).digest() == Project({"b": b"2", "a": b"1"}).digest()
        True
        """
        total = hashlib.sha256()
        for path, content in self.files.items():
            total.update(f"{len(path)} {path} {len(content)} ".encode())
            total.update(content)
        return total.hexdigest()

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Make the folder `path`, whole or not at all; with `force`, replace one that hwq made."""
        with staged_dir(Path(path), force=force) as stage:
            for name, content in self.files.items():
                target = stage / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)


def check_inside(path: str) -> None:
    """Refuse a path that is absolute, goes up, or is not written plainly."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or path != "/".join(parts):
        raise InputError(f"a project cannot hold the path '{path}'")
