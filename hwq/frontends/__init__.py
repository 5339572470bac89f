"""From model files to integer graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hwq import ir
from hwq.errors import InputError
from hwq.lowering.grid import parse as parse_input_type
from hwq.lowering.lower import Lowering, lower


def load(path: str | Path, input_type: str | None = None) -> Lowering:
    """Lower a QONNX file, or read a saved ``.hwq`` graph (which carries no resolutions).

    Args:
        path: The file.
        input_type: Grid of inputs that the file does not quantise, for example ``fixed<16,6>``.
    """
    file = Path(path)
    grid = parse_input_type(input_type) if input_type else None
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if file.suffix == ".hwq":
        if grid:
            raise InputError(
                "--input-type belongs to the lowering of an .onnx file; a .hwq graph has its input grid already"
            )
        return Lowering(ir.load(file), ())
    from hwq.frontends import qonnx

    lowering = lower(qonnx.read(file), grid)
    return replace(lowering, graph=replace(lowering.graph, source_path=str(file)))
