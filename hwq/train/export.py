"""QONNX export, read back from the disk and compared with Brevitas's own integers.

The exporter writes a weight's float values and a rounding mode of ROUND, whatever the quantiser
really does. For any other rounding, and for accumulator-aware quantisers, the file is then silently
another network. So nothing leaves here whose integers, computed exactly from the file, differ.
"""

from __future__ import annotations

import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from hwq.errors import InputError
from hwq.files import write_atomic
from hwq.frontends.brevitas import weight_integers

_OPSET = 13
_WEIGHT_QUANTS = ("Quant", "BipolarQuant")
_CURE = (
    "give the layer a weight quantiser that rounds to nearest (float_to_int_impl_type = ROUND) and is not "
    "accumulator-aware, or store the rounded weights with brevitas.nn.utils.merge_quant_weights before export"
)


def export(model: nn.Module, input_shape: tuple[int, int, int], path: Path) -> None:
    """Write a model in evaluation mode as one self-contained QONNX file, input "input" of (1, C, H, W).

    The exporter leaves traces in the model: load it afresh before using it again.

    Raises:
        InputError: The file's weight integers differ from the model's; nothing is written.
    """
    expected = weight_integers(model)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from brevitas.export import export_qonnx  # its import warns too

            export_qonnx(
                model,
                args=torch.zeros(1, *input_shape),
                export_path=str(raw),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["input"],
                output_names=["logits"],
            )
        proto = onnx.load(raw)
        _drop_initializer_inputs(proto.graph)
        onnx.save(proto, raw)
        check_weights(raw, expected)
        write_atomic(path, raw.read_bytes())


def check_weights(path: Path, expected: dict[str, npt.NDArray[np.int64]]) -> None:
    """Compare the weight integers of a QONNX file with the expected ones, layer by layer.

    Raises:
        InputError: A layer differs or is missing; the message names it, its first difference and the cure.
    """
    found = file_weight_integers(path)
    for layer, integers in expected.items():
        if layer not in found:
            raise InputError(f"layer '{layer}': its quantised weight is not in the exported file {path.name}")
        if found[layer].shape != integers.shape:
            raise InputError(
                f"layer '{layer}': the exported weight has shape {found[layer].shape}, "
                f"the model's {integers.shape}"
            )
        wrong = np.argwhere(found[layer] != integers)
        if len(wrong):
            where = tuple(int(i) for i in wrong[0])
            raise InputError(
                f"layer '{layer}': {len(wrong)} of {integers.size} exported weights mean other "
                f"integers than the trained model's; at {where} the file says {found[layer][where]}, "
                f"Brevitas {integers[where]}\n"
                f"  cure: {_CURE}"
            )
    extra = sorted(set(found) - set(expected))
    if extra:
        raise InputError(f"the exported file quantises weights of '{extra[0]}', which the model does not")


def file_weight_integers(path: Path) -> dict[str, npt.NDArray[np.int64]]:
    """The integers that the file's weight quantisers mean in real arithmetic, by layer name."""
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        node.input[0].removesuffix(".weight"): _integers(node, [values[name] for name in node.input])
        for node in graph.node
        if node.op_type in _WEIGHT_QUANTS and node.input[0] in values
    }


def round_quotients(
    weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], zero_point: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """round(weight / scale + zero_point) of the real numbers that the floats are, half to even.

    A float64 quotient decides where it is clearly away from a half; the rest is done in fractions.

    >>> w = np.array([0.5, 1.5, 0.3], dtype=np.float32)
    >>> round_quotients(w, np.array(1, np.float32), np.array(0, np.float32)).tolist()
    [0, 2, 0]
    """
    scales, zeros = np.broadcast_to(scale, weight.shape), np.broadcast_to(zero_point, weight.shape)
    quotients = weight.astype(np.float64) / scales + zeros
    rounded = np.rint(quotients)
    close = np.abs(np.abs(quotients - rounded) - 0.5) < 1e-6
    for where in zip(*np.nonzero(close), strict=True):
        exact = Fraction(float(weight[where])) / Fraction(float(scales[where]))
        rounded[where] = round(exact + Fraction(float(zeros[where])))
    return rounded.astype(np.int64)


def _integers(node: onnx.NodeProto, inputs: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.int64]:
    """The integers of one weight quantiser: QONNX's Quant or BipolarQuant."""
    if node.op_type == "BipolarQuant":
        return np.where(inputs[0] >= 0, 1, -1).astype(np.int64)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("rounding_mode", b"ROUND") != b"ROUND":
        raise InputError(
            f"node '{node.name}': rounding mode {attributes['rounding_mode'].decode()} of a weight"
        )
    weight, scale, zero_point, bits = inputs
    levels = 2 ** int(bits)
    narrow, signed = bool(attributes["narrow"]), bool(attributes["signed"])
    low, high = (-levels // 2 + narrow, levels // 2 - 1) if signed else (0, levels - 1 - narrow)
    return np.clip(round_quotients(weight, scale, zero_point), low, high)


def _drop_initializer_inputs(graph: onnx.GraphProto) -> None:
    """The exporter lists every weight as a graph input too; what is left is the image alone."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)
