"""Arrays: NumPy's .npz, and the idx files in which MNIST and its relatives come."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwq.errors import InputError
from hwq.train.data.dataset import Raw
from hwq.train.data_spec import DataSpec

_MAX_BYTES = 4 << 30
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_IDX_FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def read_npz(spec: DataSpec) -> Raw:
    """x_train, y_train, x_test and y_test of an .npz file; without the test arrays, it is split."""
    path = Path(spec.path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("x_train", "y_train", "x_test", "y_test") if key in file}
            found = ", ".join(file)
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path} cannot be read as .npz: {error}") from error
    if "x_train" not in arrays or "y_train" not in arrays or len(arrays) == 3:
        raise InputError(f"{path} holds {found or 'nothing'}: need x_train, y_train, x_test, y_test "
                         "(or the first two, to be split)")  # fmt: skip
    for key, array in arrays.items():
        if array.dtype.kind not in ("biufU" if key.startswith("y") else "biuf"):
            raise InputError(f"{path}: array {key} is of type {array.dtype}; need real numbers")
    return Raw(str(path), arrays["x_train"], arrays["y_train"], arrays.get("x_test"), arrays.get("y_test"))


def read_idx(spec: DataSpec) -> Raw:
    """The four files of a folder: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz."""
    x, y, x_test, y_test = (read_idx_file(_find(Path(spec.path), stem)) for stem in _IDX_FILES)
    if x.ndim == 3 and x_test.ndim == 3:
        x, x_test = x[:, None], x_test[:, None]
    return Raw(spec.path, x, y, x_test, y_test)


def read_idx_file(path: Path) -> npt.NDArray[Any]:
    """One idx file: two zeros, a type, the number of axes, their lengths as big-endian words, the values.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".

    Raises:
        InputError: The file is not idx, or is longer or shorter than its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zeros, kind, axes = struct.unpack(">HBB", file.read(4))
            if zeros or kind not in _IDX_TYPES or not 1 <= axes <= 4:
                raise InputError(
                    f"{path} is not an idx file: it begins with {zeros:04x} {kind:02x} {axes:02x}"
                )
            shape = struct.unpack(f">{axes}I", file.read(4 * axes))
            dtype = np.dtype(_IDX_TYPES[kind])
            size = math.prod(shape) * dtype.itemsize
            if size > _MAX_BYTES:
                raise InputError(f"{path}: its header promises {size} bytes; hwq reads at most {_MAX_BYTES}")
            content = file.read(size + 1)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"{path} cannot be read as idx: {error}") from error
    if len(content) != size:
        more = "more" if len(content) > size else f"only {len(content)}"
        raise InputError(
            f"{path}: its header promises {size} bytes of values, the file has {more}: get it again"
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _find(folder: Path, stem: str) -> Path:
    found = sorted(path for sep in "-." for path in folder.glob(f"{stem}{sep}idx*-ubyte*"))
    plain = [path for path in found if path.suffix != ".gz"]
    if not found:
        raise InputError(f"folder {folder} has no file {stem}-idx*-ubyte or {stem}-idx*-ubyte.gz")
    return (plain or found)[0]
