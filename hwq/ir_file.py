"""The ``.hwq`` file: a zip of JSON and npy, without pickle; what is read is distrusted."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from dataclasses import replace
from fractions import Fraction
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from hwq.errors import InputError
from hwq.exact import Surd, exact_array
from hwq.files import write_atomic
from hwq.ir import Graph, Node, Port, Tensor, check
from hwq.ir_validation import validate

FORMAT = 1
_MAX_FILE_BYTES = 2**31
_MAX_TERMS = 64
_INTEGER = re.compile(r"0*[1-9][0-9]*", re.ASCII)
_FRACTION = re.compile(r"-?[0-9]+(/0*[1-9][0-9]*)?", re.ASCII)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
)
"""What reading a damaged file can raise below; RuntimeError holds RecursionError and NotImplementedError."""


def _encode_number(value: Surd) -> list[list[str]]:
    return [[str(n), str(c)] for n, c in value.terms]


def _decode_number(terms: list[list[str]]) -> Surd:
    """In its simplest form, so that equal numbers have equal terms."""
    if len(terms) > _MAX_TERMS:
        raise ValueError(f"a number of {len(terms)} roots")
    total = Surd()
    for n, c in terms:
        if not _INTEGER.fullmatch(n) or not _FRACTION.fullmatch(c):
            raise ValueError(f"'{c[:40]}·√{n[:40]}' is not an exact number")
        total = total + Surd.sqrt(int(n)) * Fraction(c)
    return total


def save(graph: Graph, path: Path) -> None:
    """Write `graph` to `path`, whole or not at all."""
    arrays: list[np.ndarray[Any, Any]] = []

    def encode(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype == object:
            return {"exact": [_encode_number(Surd.of(v)) for v in value]}
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {"npy": len(arrays) - 1}
        if isinstance(value, MappingProxyType):
            return dict(value)
        raise NotImplementedError(type(value))

    content = msgspec.to_builtins(replace(graph, source_path=""), enc_hook=encode)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "graph.json", json.dumps({"format": FORMAT, "graph": content}, indent=1).encode())
        for i, array in enumerate(arrays):
            packed = io.BytesIO()
            np.save(packed, array, allow_pickle=False)
            _add(archive, f"{i}.npy", packed.getvalue())
    write_atomic(path, buffer.getvalue())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """With a fixed date, so that equal graphs are equal files."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def load(path: Path) -> Graph:
    """Read a ``.hwq`` file and check it.

    Raises:
        InputError: Not such a file, of another version, damaged, or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except _DAMAGE as error:
        detail = str(error) or type(error).__name__
        raise InputError(f"{path} is not a .hwq graph, or is damaged: {detail}") from error


def _read(archive: zipfile.ZipFile, path: Path) -> Graph:
    members = archive.infolist()
    if sum(m.file_size for m in members) > _MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {_MAX_FILE_BYTES >> 30} GiB when unpacked; refused")
    if len({m.filename for m in members}) != len(members):
        raise ValueError("two members have one name")
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise ValueError("a compression that hwq does not write")
    content = json.loads(archive.read("graph.json"))
    if content["format"] != FORMAT:
        raise InputError(
            f"{path}: .hwq format {content['format']}, this hwq reads {FORMAT}: lower the model again"
        )
    return check(validate(_decode_graph(content["graph"], archive)))


def _array(data: bytes) -> np.ndarray[Any, Any]:
    """An npy file whose header tells the truth about its size."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in (np.dtype("<i8"), np.dtype("<f8")):
        raise ValueError(f"an array of {dtype}; arrays are int64 or float64")
    if any(s < 0 for s in shape) or prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array of shape {shape} in {len(data)} bytes")
    array: np.ndarray[Any, Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _decode_graph(content: dict[str, Any], archive: zipfile.ZipFile) -> Graph:
    from hwq.ops import OPS

    def decode(kind: type, value: Any) -> Any:
        if kind is not np.ndarray and getattr(kind, "__origin__", None) is not np.ndarray:
            raise TypeError(f"cannot read {kind}")
        if "exact" in value:
            return exact_array([_decode_number(v) for v in value["exact"]])
        return _array(archive.read(f"{int(value['npy'])}.npy"))

    def build(kind: Any, value: Any) -> Any:
        return msgspec.convert(value, kind, dec_hook=decode)

    nodes = tuple(build(Node, n) for n in content["nodes"])
    typed = tuple(Node(n.op, n.name, n.inputs, n.output, build(OPS[n.op].params, n.params)) for n in nodes)
    return Graph(
        name=build(str, content["name"]),
        inputs=build(tuple[Port, ...], content["inputs"]),
        outputs=build(tuple[Port, ...], content["outputs"]),
        nodes=typed,
        tensors=build(dict[str, Tensor], content["tensors"]),
        source_sha256=build(str, content["source_sha256"]),
        notes=build(tuple[str, ...], content["notes"]),
    )
