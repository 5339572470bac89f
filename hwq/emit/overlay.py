"""A PYNQ overlay around a project: which words its DMA moves, for the C++, the Tcl and the driver alike."""

from __future__ import annotations

import json
import math
from typing import Any

from hwq import boards
from hwq.boards import Family
from hwq.emit.manifest import real_json
from hwq.errors import InputError
from hwq.hardware import Backend, HardwareConfig
from hwq.ir import Graph, IntType, Port

WORD_BITS = 64
MOST_DMAS = 4
FORMAT = 1

COPIED = {
    "hwq_axis.h": "hwq_axis.h",
    "axis_stand_in/ap_axi_sdata.h": "ap_axi_sdata.h",
    "driver/hwq_driver.py": "hwq_driver.py",
    "scripts/overlay.tcl": "overlay.tcl",
    "scripts/overlay_hls.tcl": "overlay_hls.tcl",
}


def make_overlay(graph: Graph, config: HardwareConfig, top: str) -> dict[str, Any]:
    """What the driver reads (``overlay.json``).

    Args:
        graph: The network.
        config: Where it is built.
        top: Its C++ function.

    Raises:
        InputError: A board, tool or network that no overlay is written for.
    """
    _check(graph, config)
    return {
        "format": FORMAT,
        "top": top,
        "word_bits": WORD_BITS,
        "clock_mhz": 1000 / config.clock_ns,
        "inputs": [_stream(graph, p) for p in graph.inputs],
        "outputs": [_stream(graph, p) for p in graph.outputs],
    }


def overlay_json(overlay: dict[str, Any]) -> bytes:
    """The file's content."""
    return (json.dumps(overlay, indent=1, ensure_ascii=False) + "\n").encode()


def _check(graph: Graph, config: HardwareConfig) -> None:
    board = config.board
    if board.family is not Family.ZYNQ_7000:
        able = [n for n in boards.names() if boards.load(n).family is Family.ZYNQ_7000]
        raise InputError(
            f"--overlay: {board.name} is of the family {board.family.value}, and overlays need the processor "
            f"of {Family.ZYNQ_7000.value} only: choose one of {', '.join(able)}"
        )
    if config.backend is not Backend.VITIS:
        raise InputError(
            f"--overlay: the backend {config.backend.value} has no AXI4-Stream type without TUSER, TID and TDEST: "
            f"choose --backend {Backend.VITIS.value}"
        )
    for ports, kind in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        if len(ports) > MOST_DMAS:
            raise InputError(
                f"--overlay: the model has {len(ports)} {kind}; each needs a DMA stream, and Zynq-7000 has {MOST_DMAS} "
                f"high-performance ports for DMA: join some of the {kind} in the model"
            )


def _stream(graph: Graph, port: Port) -> dict[str, Any]:
    tensor = graph.tensors[port.tensor]
    bits = lane_bits(port.name, tensor.type)
    size = math.prod(tensor.shape)
    real = graph.meaning(port)
    return {
        "name": port.name,
        "shape": list(tensor.shape),
        "dtype": f"{'int' if tensor.type.signed else 'uint'}{bits}",
        "lo": tensor.type.lo,
        "hi": tensor.type.hi,
        "bipolar": port.quantizer is not None and port.quantizer.bipolar,
        "bits": bits,
        "size": size,
        "words": -(-size * bits // WORD_BITS),
        **({"real": real_json(real)} if real else {}),
    }


def lane_bits(name: str, kind: IntType) -> int:
    """Bits of the NumPy type that holds the codes of a port.

    >>> lane_bits("x", IntType(0, 255)), lane_bits("x", IntType(-1, 128))
    (8, 16)

    Raises:
        InputError: More than 64.
    """
    for bits in (8, 16, 32, WORD_BITS):
        if kind.bits <= bits:
            return bits
    raise InputError(
        f"--overlay: '{name}' has codes of {kind.bits} bits, and a word has {WORD_BITS}: quantise it in the model"
    )
