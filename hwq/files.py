"""Where hwq's own files lie, and how results reach the disk: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hwq.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
MARKER = ".hwq"
MARKER_TEXT = "made by hwq: --force may replace this folder\n"


def data_dir(name: str) -> Path:
    """Folder ``boards`` or ``hls_templates``: beside the package in a checkout, inside it in a wheel."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise InputError(f"hwq's folder '{name}' is missing beside {_PACKAGE}: reinstall hwq")


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name in the folder of `path`, renamed into place at the end, or removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # on the disk before the name is: else a crash leaves an empty file
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_output_dir(path: Path, *, force: bool) -> None:
    """Refuse a path that is a file, and, unless `force`, a folder that is not empty."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder")
    if not force and path.is_dir() and any(path.iterdir()):
        raise InputError(f"folder {path} is not empty: choose another, or pass --force to write into it")


def is_ours(path: Path) -> bool:
    """Whether a folder is new, empty, or was made by hwq, so that nothing of the user's is lost with it."""
    return not path.exists() or (path / MARKER).is_file() or not any(path.iterdir())


def clear(path: Path, spare: str = "") -> None:
    """Delete what a folder holds, but for one name, and not the folder itself."""
    for child in path.iterdir():
        if child.name != spare:
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()


@contextmanager
def staged_dir(path: Path, *, force: bool) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    With `force`, what a folder that hwq made holds is replaced; in another, only files of the same names are.
    """
    check_output_dir(path, force=force)
    ours = is_ours(path)
    place = path if path.is_dir() else path.parent
    place.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=place, prefix=".hwq-"))
    try:
        yield stage
        stage.chmod(0o755)
        if ours:
            (stage / MARKER).write_text(MARKER_TEXT)
        _move(stage, path, replace=ours)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _move(stage: Path, path: Path, *, replace: bool) -> None:
    if not path.is_dir():
        stage.rename(path)
        return
    if replace:
        clear(path, spare=stage.name)
    shutil.copytree(stage, path, dirs_exist_ok=True)
    shutil.rmtree(stage)
