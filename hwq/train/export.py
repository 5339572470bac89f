"""QONNX export, cured of what the exporter gets wrong, read back from the disk and compared with Brevitas.

The exporter writes the float values of a weight and a rounding mode of ROUND, whatever the quantiser
really does. For any other rounding, for a ternary threshold other than one half and for
accumulator-aware quantisers, the file is then silently another network. So in a copy of the model the
weights and biases are replaced by their quantised values, which rounding to nearest leaves where they
are; the copy is exported, and nothing leaves here whose integers, computed exactly from the file, differ.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from brevitas.inject.enum import FloatToIntImplType
from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn.utils import prune

from hwq.errors import InputError
from hwq.files import write_atomic
from hwq.frontends.brevitas import QuantisedParameter, run_parameters

_OPSET = 13
_PARAMETER_QUANTS = ("Quant", "BipolarQuant")
_ROUNDINGS = {"ROUND": np.rint, "FLOOR": np.floor, "CEIL": np.ceil, "ROUND_TO_ZERO": np.trunc}
_CURE = (
    "write the file with hwq.train.export.export_model, which stores the quantised values, "
    "or merge them with brevitas.nn.utils.merge_quant_weights before your own export"
)

Integers = npt.NDArray[np.int64]
Tensors = torch.Tensor | Sequence[torch.Tensor]


def export(model: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
    """Write a model as one self-contained QONNX file, input "input" of (1, C, H, W), output "logits".

    Raises:
        InputError: The file's integers would differ from the model's; nothing is written.
    """
    export_model(model, torch.zeros(1, *input_shape), path, output_names=["logits"])


def export_model(
    model: nn.Module,
    example: Tensors,
    path: str | Path,
    *,
    dynamo: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Write any Brevitas model as one self-contained QONNX file with exactly its evaluation-mode integers.

    The model itself is left as it is.

    Args:
        model: The network.
        example: Its input (N, ...), or a sequence of its inputs; only shapes matter.
        path: The file; replaced as a whole or not at all.
        dynamo: Use torch's newer exporter (opset 20) instead of TorchScript (opset 13).
        input_names: "input", or "input_0" and so on, by default.
        output_names: "output" by default.

    Raises:
        InputError: Brevitas cannot export the model, or only as another network; nothing is written.
    """
    inputs = _inputs(example)
    names = list(
        input_names or (["input"] if len(inputs) == 1 else [f"input_{i}" for i in range(len(inputs))])
    )
    frozen = _copy(model)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        expected = run_parameters(frozen, inputs)
        _freeze(frozen, expected)
        _check_activations(frozen, inputs)
        raw = Path(folder) / "model.onnx"
        _write(frozen, inputs, raw, dynamo, names, list(output_names or ["output"]))
        check_parameters(raw, expected)
        write_atomic(Path(path), raw.read_bytes())


def check_file(model: nn.Module, example: Tensors, path: str | Path) -> None:
    """Hold a file that was exported by other means against its model.

    Args:
        model: The network; left as it is.
        example: Its input, or a sequence of its inputs.
        path: The QONNX file, of either exporter.

    Raises:
        InputError: Naming the first layer, in execution order, whose weights or biases differ.
    """
    copied = _copy(model)
    check_parameters(Path(path), run_parameters(copied, _inputs(example)))


@dataclass(frozen=True)
class FileParameter:
    """What a quantiser of the file makes of a constant: the constant's name, and the integers."""

    name: str
    integers: Integers
    scale: npt.NDArray[np.float64]


def check_parameters(path: Path, expected: Sequence[QuantisedParameter]) -> None:
    """Compare the integers and scales of a QONNX file with the expected ones, layer by layer.

    Constants are found by name, or where the exporter has renamed them by value, then by shape.

    Raises:
        InputError: A layer differs or is missing; the message names it, its first difference and the cure.
    """
    left = file_parameters(path)
    matched: dict[str, FileParameter] = {}
    for accept in (_same_name_and_value, _only_of_its_name, _same_value, _same_shape):
        for parameter in expected:
            if parameter.name in matched:
                continue
            entry = next((e for e in left if accept(parameter, e, left)), None)
            if entry is not None:
                matched[parameter.name] = entry
                left.remove(entry)
    for parameter in expected:
        if parameter.name not in matched:
            raise InputError(
                f"layer '{parameter.layer}': its quantised {parameter.kind} is not in the exported file {path.name}"
            )
        _compare(parameter, matched[parameter.name])
    if left:
        raise InputError(
            f"the exported file quantises the constant '{left[0].name}', which the model does not"
        )


def _same_name_and_value(wanted: QuantisedParameter, entry: FileParameter, _: list[FileParameter]) -> bool:
    return entry.name == wanted.name and np.array_equal(entry.integers, wanted.integers())


def _only_of_its_name(wanted: QuantisedParameter, entry: FileParameter, left: list[FileParameter]) -> bool:
    same = entry.name == wanted.name and entry.integers.shape == wanted.integers().shape
    return same and sum(other.name == entry.name for other in left) == 1


def _same_value(wanted: QuantisedParameter, entry: FileParameter, _: list[FileParameter]) -> bool:
    return any(np.array_equal(form, wanted.integers()) for form in (entry.integers, entry.integers.T))


def _same_shape(wanted: QuantisedParameter, entry: FileParameter, _: list[FileParameter]) -> bool:
    shape = wanted.integers().shape
    return shape in (entry.integers.shape, entry.integers.shape[::-1])


def _compare(wanted: QuantisedParameter, entry: FileParameter) -> None:
    """Integers, then scales; a matrix may be stored transposed."""
    integers, found, scale = wanted.integers(), entry.integers, entry.scale
    expected_scale = wanted.outputs[1].numpy().astype(np.float64)
    if found.shape != integers.shape or (
        not np.array_equal(found, integers) and np.array_equal(found.T, integers)
    ):
        found, scale = found.T, scale.T
    wrong = np.argwhere(found != integers)
    if len(wrong):
        where = tuple(int(i) for i in wrong[0])
        raise InputError(
            f"layer '{wanted.layer}': {len(wrong)} of {integers.size} exported {_PLURAL[wanted.kind]} mean other "
            f"integers than the trained model's; at {where} the file says {found[where]}, "
            f"Brevitas {integers[where]}\n  cure: {_CURE}"
        )
    if wanted.kind == "bias":
        expected_scale = expected_scale.reshape(-1)
    if not np.array_equal(np.broadcast_to(scale, found.shape), np.broadcast_to(expected_scale, found.shape)):
        raise InputError(
            f"layer '{wanted.layer}': the scale of the exported {wanted.kind} is not the trained model's\n"
            f"  cure: {_CURE}"
        )


_PLURAL = {"weight": "weights", "bias": "biases"}


def file_parameters(path: Path) -> list[FileParameter]:
    """What the file's quantisers of constants mean in real arithmetic, in the file's order."""
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    found = []
    for node in graph.node:
        if node.op_type in _PARAMETER_QUANTS and all(name in values for name in node.input):
            arrays = [values[name] for name in node.input]
            found.append(FileParameter(node.input[0], _integers(node, arrays), arrays[1].astype(np.float64)))
    return found


def round_quotients(
    weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], zero_point: npt.NDArray[np.float32]
) -> Integers:
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


def _integers(node: onnx.NodeProto, inputs: list[npt.NDArray[np.float32]]) -> Integers:
    """The integers of one quantiser of a constant: QONNX's Quant or BipolarQuant."""
    if node.op_type == "BipolarQuant":
        return np.where(inputs[0] >= 0, 1, -1).astype(np.int64)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("rounding_mode", b"ROUND") != b"ROUND":
        raise InputError(
            f"node '{node.name}': rounding mode {attributes['rounding_mode'].decode()} of a constant\n  cure: {_CURE}"
        )
    weight, scale, zero_point, bits = inputs
    low, high = _range(int(bits), signed=bool(attributes["signed"]), narrow=bool(attributes["narrow"]))
    return np.clip(round_quotients(weight, scale, zero_point), low, high)


def _range(bits: int, *, signed: bool, narrow: bool) -> tuple[int, int]:
    levels = 2**bits
    return (-levels // 2 + narrow, levels // 2 - 1) if signed else (0, levels - 1 - narrow)


# --- the cure -------------------------------------------------------------------------------------


class _Fixed(nn.Module):
    """A quantiser whose result is known: of the one parameter, or of those that share it."""

    def __init__(self, known: list[tuple[nn.Module, str, tuple[torch.Tensor, ...]]]) -> None:
        super().__init__()
        self.known = {getattr(layer, kind).data_ptr(): outputs for layer, kind, outputs in known}

    def forward(self, x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
        return self.known[x.data_ptr()]


def _copy(model: nn.Module) -> nn.Module:
    """An equal model on the CPU in evaluation mode, sharing nothing with the given one."""
    try:
        return deepcopy(model).cpu().eval()
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"the model cannot be copied, and the exporter would change it: {error}\n"
            "  cure: build it anew, load its state_dict, and export that"
        ) from error


def _inputs(example: Tensors) -> tuple[torch.Tensor, ...]:
    given = (example,) if isinstance(example, torch.Tensor) else tuple(example)
    return tuple(x.detach().cpu() for x in given)


def _freeze(model: nn.Module, parameters: Sequence[QuantisedParameter]) -> None:
    """Replace weights and biases by their quantised values, and their quantisers by what these gave."""
    fixed: dict[nn.Module, list[tuple[nn.Module, str, tuple[torch.Tensor, ...]]]] = {}
    stored: dict[int, tuple[str, torch.Tensor]] = {}
    for parameter in parameters:
        layer, kind, value = model.get_submodule(parameter.layer), parameter.kind, parameter.outputs[0]
        if f"{kind}_mask" in dict(layer.named_buffers(recurse=False)):
            prune.remove(layer, kind)  # type: ignore[no-untyped-call]
        tensor = getattr(layer, kind)
        first, before = stored.setdefault(tensor.data_ptr(), (parameter.layer, value))
        if not torch.equal(before, value):
            raise InputError(
                f"layer '{parameter.layer}': shares its {kind} with '{first}' but quantises it differently\n"
                "  cure: give both layers the same quantiser, or a parameter each"
            )
        tensor.data.copy_(value)
        fixed.setdefault(getattr(layer, f"{kind}_quant"), []).append((layer, kind, parameter.outputs))
    for proxy, known in fixed.items():
        proxy.tensor_quant = _Fixed(known)
        _round_to_nearest(proxy)


def _round_to_nearest(proxy: Any) -> None:
    """Make the exporter write ROUND; what the quantiser does is not touched."""
    proxy.quant_injector = proxy.quant_injector.let(float_to_int_impl_type=FloatToIntImplType.ROUND)


def _check_activations(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Hold what every activation quantiser does against what the exporter will say of it.

    Raises:
        InputError: The file would hold another quantiser, as for a ternary threshold that is not one half.
    """
    with torch.no_grad():
        model(*inputs)
    for name, proxy in model.named_modules():
        if not isinstance(proxy, ActQuantProxyFromInjectorBase) or not proxy.is_quant_enabled:
            continue
        quantiser = proxy.fused_activation_quant_proxy.tensor_quant
        if proxy.rounding_mode not in _ROUNDINGS and _does(quantiser, proxy, "ROUND"):
            _round_to_nearest(proxy)
        if proxy.rounding_mode not in _ROUNDINGS or not _does(quantiser, proxy, proxy.rounding_mode):
            raise InputError(
                f"layer '{name.removesuffix('.act_quant')}': QONNX has no form of its activation quantiser "
                f"(rounding {proxy.rounding_mode})\n"
                "  cure: round with ROUND, FLOOR, CEIL or ROUND_TO_ZERO, and keep a ternary threshold at 0.5"
            )


def _does(quantiser: nn.Module, proxy: Any, mode: str) -> bool:
    """Whether it is clip, then round by the mode; tried around every boundary of up to 64 codes."""
    with torch.no_grad():
        _, scale, zero_point, bits = quantiser(torch.zeros(1))
        if int(bits) == 1:
            return True
        low, high = _range(int(bits), signed=bool(proxy.is_signed), narrow=bool(proxy.is_narrow_range))
        codes = np.unique(np.linspace(low - 2, high + 2, 64).round())
        parts = np.array([-0.499, -0.375, -0.25, -0.01, 0.01, 0.25, 0.375, 0.499])
        places = (codes[:, None] + parts).ravel()
        grid = torch.tensor(places, dtype=torch.float64).reshape(-1, *[1] * max(scale.ndim - 1, 0))
        value = quantiser(((grid - zero_point) * scale).float())[0]
        found = (value.double() / scale.double() + zero_point).round()
        wanted = _ROUNDINGS[mode](np.clip(grid.numpy(), low, high))
    return bool((found.numpy() == wanted).all())


def _write(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    dynamo: bool,
    input_names: list[str],
    output_names: list[str],
) -> None:
    from brevitas.export import export_qonnx  # its import warns

    options = {"optimize": True, "external_data": False} if dynamo else {"opset_version": _OPSET}
    try:
        export_qonnx(
            model, args=inputs, export_path=str(path), dynamo=dynamo, input_names=input_names,
            output_names=output_names, **options,
        )  # fmt: skip
    except Exception as error:
        raise InputError(
            f"Brevitas cannot export this model: {type(error).__name__}: {error}\n"
            f"  cure: try dynamo={not dynamo}, or replace the layer that is named"
        ) from error
    proto = onnx.load(path)
    _fold_logarithms(proto)
    _keep_own_ports(proto.graph)
    onnx.save(proto, path)


def _fold_logarithms(proto: onnx.ModelProto) -> None:
    """Store the input bit width of a truncation as a number; TorchScript writes Ceil(Log(levels) / Log(2))."""
    graph = proto.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    known |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    folded: set[str] = set()
    for node in list(graph.node):
        if all(name in known for name in node.input) and (node.op_type == "Log" or folded & set(node.input)):
            single = onnx.helper.make_graph([node], "single", [], [onnx.ValueInfoProto(name=node.output[0])])
            single.initializer.extend(numpy_helper.from_array(known[name], name) for name in node.input)
            model = onnx.helper.make_model(single, opset_imports=proto.opset_import)
            (value,) = ReferenceEvaluator(model).run(None, {})
            known[node.output[0]] = np.asarray(value, dtype=np.float32)
            folded.add(node.output[0])
            graph.node.remove(node)
    graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in sorted(folded))


def _keep_own_ports(graph: onnx.GraphProto) -> None:
    """The exporter lists weights as inputs, and the scale and bit width of a QuantTensor as outputs; drop them."""
    constants = {tensor.name for tensor in graph.initializer}
    computed = {name for node in graph.node if node.op_type != "Constant" for name in node.output}
    inputs = [value for value in graph.input if value.name not in constants]
    outputs = [value for value in graph.output if value.name in computed]
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)
