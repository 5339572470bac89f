"""What a row does not say, from what it does: the part's family and grade, widths and sizes of what a layer reads."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from hwq.cost.row_schema import Layer, Row

SERIES7 = ("zynq7", "artix7", "kintex7", "virtex7", "spartan7")
ULTRASCALE = ("kintexu", "virtexu")
"""The family between 7-series and UltraScale+."""
_FAMILIES = (
    ("xc7z", "zynq7"), ("xc7a", "artix7"), ("xc7k", "kintex7"), ("xc7v", "virtex7"), ("xc7s", "spartan7"),
    ("xczu", "zynqus"), ("xck26", "zynqus"), ("xck24", "zynqus"), ("xcvc", "versal"), ("xcvm", "versal"),
)  # fmt: skip
_PLUS = re.compile(r"^xc(?:ku|vu)\d+p")
_OLDER = re.compile(r"^xc(ku|vu)\d+")
_GRADE = re.compile(r"-(\d)(?:L|LV|MP|HP)?(?:-|$)", re.IGNORECASE)
VIVADO_FLOW, VITIS_FLOW = "hls4ml/Vivado", "hls4ml/Vitis"
_FIRST_VITIS = "2020.2"
_KEEPS_SIZE = ("activation", "softmax", "batchnorm")
_MATRICES = ("dense", "conv1d", "conv2d")


def complete(row: Row) -> Row:
    """A row whose part and layers say what follows from the rest of it; what nothing says stays None."""
    layers: list[Layer] = []
    matrix: Layer | None = None
    for given, after in zip(row.layers, [*row.layers[1:], None], strict=True):
        layer = _layer(_resized(given, after), layers[-1] if layers else None)
        if layer.type in _MATRICES:
            matrix = layer = _scheduled(layer, matrix)
        layers.append(layer)
    found: dict[str, Any] = {"layers": layers}
    if row.part and row.family is None:
        found["family"] = family(row.part)
    if row.part and row.speed is None and (grade := _GRADE.search(row.part)):
        found["speed"] = int(grade[1])
    if not row.flow and row.tool:
        found["flow"] = VITIS_FLOW if row.tool >= _FIRST_VITIS else VIVADO_FLOW
    if row.design_style is None and row.io != "io_stream":
        found["design_style"] = "dataflow" if any(_is_task(layer) for layer in layers) else "pipeline"
    return msgspec.structs.replace(row, **found)


def family(part: str) -> str | None:
    """By the part's name.

    >>> family("xc7z020clg400-1"), family("xcu250-figd2104-2L-e"), family("xcku115-flvb2104-2-i")
    ('zynq7', 'virtexus', 'kintexu')
    """
    name = part.lower()
    for start, known in _FAMILIES:
        if name.startswith(start):
            return known
    if _PLUS.match(name):
        return "kintexus" if name.startswith("xcku") else "virtexus"
    if older := _OLDER.match(name):
        return "kintexu" if older[1] == "ku" else "virtexu"
    return "virtexus" if name.startswith("xcu") else None


def _is_task(layer: Layer) -> bool:
    """Whether hls4ml ties io_parallel layers by DATAFLOW for its sake: positions, or shared multipliers."""
    return "conv" in layer.type or (layer.strategy == "resource" and (layer.rf or 1) > 1)


def _resized(layer: Layer, after: Layer | None) -> Layer:
    """One that does not say to what size: what the next layer reads."""
    if layer.type != "resize" or layer.out_w is not None or after is None:
        return layer
    return msgspec.structs.replace(layer, out_h=after.in_h, out_w=after.in_w)


def _layer(layer: Layer, before: Layer | None) -> Layer:
    """With what it reads from the layer before."""
    if before is None:
        return layer
    found: dict[str, Any] = {}
    if layer.in_bits is None:
        found["in_bits"] = before.out_bits or before.acc_bits or before.in_bits
    if layer.n_in is None and layer.in_w is None and layer.in_ch is None:
        found |= _shape(layer, before)
    if layer.type in _KEEPS_SIZE and layer.out_ch is None and layer.in_ch is None:
        found["out_ch"] = channels = _channels(before)
        if layer.out_w is None and layer.n_in and channels and layer.n_in % channels == 0:
            found |= {"out_h": 1, "out_w": layer.n_in // channels}
    return msgspec.structs.replace(layer, **found)


def _scheduled(layer: Layer, matrix: Layer | None) -> Layer:
    """With the schedule of the product before it, which hls4ml's settings give to the whole model.

    A strategy that nobody says is Resource where a multiplier works on more than a column.
    """
    rf = layer.rf or (matrix.rf if matrix else None)
    strategy = layer.strategy or (matrix.strategy if matrix else None)
    if strategy is None:
        taps = (
            (layer.kh or 1) * (layer.kw or 1) * (layer.in_ch or 1)
            if "conv" in layer.type
            else layer.n_in or 1
        )
        strategy = "resource" if (rf or 1) > max(1, taps) else "latency"
    w_bits = layer.w_bits or (matrix.w_bits if matrix else None)
    return msgspec.structs.replace(layer, strategy=strategy, rf=rf, w_bits=w_bits)


def _shape(layer: Layer, before: Layer) -> dict[str, Any]:
    """Sizes of the tensor that the layer before makes."""
    height, width, channels = before.out_h, before.out_w, before.out_ch
    if before.type in (*_KEEPS_SIZE, "merge"):
        height, width = height or before.in_h, width or before.in_w
        channels = channels or before.in_ch
    if width is None or channels is None:
        return {"n_in": before.n_out or before.n_in}
    if layer.type in ("dense", "gru", "bidir_gru"):
        return {"n_in": (height or 1) * width * channels}
    return {"in_h": height, "in_w": width, "in_ch": channels}


def _channels(before: Layer) -> int | None:
    """Elements that arrive at once in io_stream."""
    if before.out_ch:
        return before.out_ch
    return before.in_ch if before.type in ("pad", "resize", *_KEEPS_SIZE) else before.n_out
