"""Where hwq's own files lie, and how results reach the disk: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwq.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
MARKER = ".hwq"


def data_dir(name: str) -> Path:
    """Folder ``boards`` or ``hls_templates``: beside the package in a checkout, inside it in a wheel."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise InputError(f"hwq's folder '{name}' is missing beside {_PACKAGE}: reinstall hwq")


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name in its folder, then rename it into place."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_output_dir(path: Path, *, force: bool) -> None:
    """Refuse a path that is a file, and a folder that is not empty unless `force` and hwq made it."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not force:
        raise InputError(f"folder {path} is not empty: choose another, or pass --force to replace it")
    if not (path / MARKER).is_file():
        raise InputError(
            f"folder {path} was not made by hwq (it has no {MARKER}), so --force does not replace it"
        )


@contextmanager
def staged_dir(path: Path, *, force: bool) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not."""
    check_output_dir(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    stage.chmod(0o755)
    (stage / MARKER).write_text("made by hwq: --force may replace this folder\n")
    try:
        yield stage
        if path.exists():
            shutil.rmtree(path)
        stage.rename(path)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
