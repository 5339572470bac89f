"""The folder of a run, and the JSON records in it that `hwq report` reads."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwq.errors import InputError
from hwq.files import MARKER, open_atomic, write_atomic
from hwq.rounding import IntArray

MAX_ARRAY_BYTES = 2**34


def run_folder(model: Path) -> Path | None:
    """The folder of a model file, if hwq made it."""
    folder = model.resolve().parent
    known = (folder / MARKER).is_file() or (folder / "metrics.json").is_file()
    return folder if known else None


def checkpoint_of(model: Path) -> Path | None:
    """The checkpoint that a model file was exported from, if it lies beside it as `hwq train` leaves it."""
    folder = model.resolve().parent / "checkpoints"
    return next((path for name in ("ptq.pt", "best.pt") if (path := folder / name).is_file()), None)


def check_record(path: Path) -> None:
    """Refuse to replace a file that is no record of hwq.

    Raises:
        InputError: The file is not hwq's.
    """
    if not path.exists():
        return
    try:
        known = "hwq" in json.loads(path.read_text())
    except (ValueError, OSError, TypeError):
        known = False
    if not known:
        raise InputError(f"{path} exists and was not written by hwq: move it away, or choose another place")


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON record whole; an older record of hwq is replaced, another file is not."""
    check_record(path)
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def load_array(path: Path) -> np.ndarray[Any, Any]:
    """An array from a ``.npy`` file, memory-mapped, never unpickled.

    Raises:
        InputError: Missing, not npy, of objects, or too large.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise InputError(f"{path}: larger than {MAX_ARRAY_BYTES >> 30} GiB; refused")
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a plain .npy array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is not a plain .npy array (is it an .npz archive?)")
    return array


def load_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an ``.npz`` archive by name, never unpickled.

    Raises:
        InputError: Missing, not npz, of objects, or too large.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_ARRAY_BYTES:
            raise InputError(f"{path}: larger than {MAX_ARRAY_BYTES >> 30} GiB when unpacked; refused")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a plain .npz archive: {error}") from error


def load_labels(path: Path, rows: int) -> IntArray:
    """Class labels (rows,)."""
    labels = load_array(path)
    if labels.shape != (rows,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{path}: labels must be {rows} integers, got {labels.dtype} of shape {labels.shape}"
        )
    return labels.astype(np.int64)


def save_array(path: Path, array: np.ndarray[Any, Any], *, force: bool) -> None:
    """Write a ``.npy`` file whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    _write(path, buffer, force=force)


def save_rows(path: Path, parts: Iterator[np.ndarray[Any, Any]], rows: int) -> None:
    """Write a ``.npy`` file of so many rows as they come, whole or not at all."""
    with open_atomic(path) as file:
        for i, part in enumerate(parts):
            if not i:
                header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(file, header | {"shape": (rows, *part.shape[1:])})
            file.write(np.ascontiguousarray(part).data)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], *, force: bool) -> None:
    """Write an ``.npz`` archive whole or not at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", member.getvalue())
    _write(path, buffer, force=force)


def _write(path: Path, buffer: io.BytesIO, *, force: bool) -> None:
    if path.exists() and not force:
        raise InputError(f"{path} exists: choose another name, or pass --force to replace it")
    write_atomic(path, buffer.getvalue())
