"""The layers of our own for hls4ml: which C++ function each is, and its configuration as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwq.ir import IntType


@dataclass(frozen=True)
class OwnLayer:
    """One function of `hls_templates/`.

    Attributes:
        header: File, without its suffix.
        function: In namespace nnet; called with types, tensors and arrays in the order of these attributes.
        inputs: How many tensors it reads.
        arrays: Constants that it is called with, by their C++ names; ``{name}_t`` is the type of one.
        whole_pixels: A stream's pixel must be the last axis; else it may be a part of it.
    """

    header: str
    function: str
    inputs: int = 1
    arrays: tuple[str, ...] = ()
    whole_pixels: bool = True


_SLOPES = ("mult", "add", "low_mult", "low_add", "pivot")

OWN: dict[str, OwnLayer] = {
    "HwqThreshold": OwnLayer("hwq_threshold", "hwq_threshold", arrays=("thresholds",), whole_pixels=False),
    "HwqRequant": OwnLayer("hwq_requant", "hwq_requant", arrays=_SLOPES[:2], whole_pixels=False),
    "HwqRequantTwoSlopes": OwnLayer("hwq_requant", "hwq_requant", arrays=_SLOPES, whole_pixels=False),
    "HwqTable": OwnLayer("hwq_lut", "hwq_table", arrays=("values",), whole_pixels=False),
    "HwqPieces": OwnLayer("hwq_lut", "hwq_pieces", arrays=("breaks", "values"), whole_pixels=False),
    "HwqJoin": OwnLayer("hwq_join", "hwq_join", inputs=2, arrays=("mult0", "mult1", "add")),
    "HwqConcat": OwnLayer("hwq_concat", "hwq_concat", inputs=2),
    "HwqMatmul": OwnLayer("hwq_matmul", "hwq_matmul", inputs=2),
    "HwqSlice": OwnLayer("hwq_slice", "hwq_slice"),
    "HwqPad": OwnLayer("hwq_pad", "hwq_pad"),
    "HwqTranspose": OwnLayer("hwq_transpose", "hwq_transpose"),
    "HwqUpsample": OwnLayer("hwq_upsample", "hwq_upsample"),
    "HwqDepthToSpace": OwnLayer("hwq_depth_to_space", "hwq_depth_to_space"),
    "HwqGlobalSum": OwnLayer("hwq_global_sum", "hwq_global_sum"),
    "HwqArgmax": OwnLayer("hwq_argmax", "hwq_argmax"),
    "HwqPool": OwnLayer("hwq_pool", "hwq_pool", arrays=("row_factor", "column_factor")),
    "HwqDepthwise": OwnLayer("hwq_depthwise", "hwq_depthwise", arrays=("weights",)),
}
"""By layer class, as hls4ml knows it."""

HEADERS = (
    *sorted({f"{own.header}.h" for own in OWN.values()}),
    "hwq_window.h",
    "hwq_fill_buffer.h",
    "hwq_copy.h",
)

_SIGNED = frozenset({"lo", "hi", "base", "step", "fill"})
"""Constants that may be negative; the others are counts."""


def constants(class_name: str, attributes: Mapping[str, Any]) -> list[str]:
    """The body of the layer's C++ configuration, a line each; hls4ml fills in ``{...}``.

    >>> constants("HwqTable", {"n_in": 4, "lo": -2, "last": True, "index_t": IntType(0, 3)})[:2]
    ['static const unsigned n_in = 4;', 'static const long long lo = -2LL;']
    """
    lines = [_constant(name, value) for name, value in attributes.items()]
    return lines + [f"typedef {{{name}_t.name}} {name}_t;" for name in OWN[class_name].arrays]


def _constant(name: str, value: bool | int | IntType) -> str:
    if isinstance(value, IntType):
        return f"typedef ap_{'' if value.signed else 'u'}int<{value.bits}> {name};"
    if isinstance(value, bool):
        return f"static const bool {name} = {'true' if value else 'false'};"
    if name in _SIGNED:
        return f"static const long long {name} = {value}LL;"
    return f"static const unsigned {name} = {value};"
