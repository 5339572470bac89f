"""QONNX files: reading them into a `RealGraph`, and running them with qonnx's own executor."""

from __future__ import annotations

import hashlib
import heapq
import warnings
from collections import Counter
from collections.abc import Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from hwq.errors import MALFORMED, InputError, UnsupportedModel
from hwq.lowering.arity import check_attributes
from hwq.lowering.real import RealGraph, RealNode, RealPort

MAX_FILE_BYTES = 2**31
MAX_ELEMENTS = 2**28
"""Of all constants of a file together, and of one sample of an input."""
MAX_RANK = 16
QUANT_DOMAINS = (
    "onnx.brevitas",
    "qonnx.custom_op.general",
    "finn.custom_op.general",
)
CHANNELS_LAST = "qonnx.custom_op.channels_last"
_STANDARD = ("", "ai.onnx")


def read(path: Path) -> RealGraph:
    """Parse and check a QONNX file.

    Raises:
        InputError: Missing, not ONNX, too large, or inconsistent.
        UnsupportedModel: An operator from a domain that hwq does not know.
    """
    data = read_bytes(path)
    return parse(data, path)


def read_bytes(path: Path) -> bytes:
    """Content of a model file, bounded."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 30} GiB; refused")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def parse(data: bytes, path: Path) -> RealGraph:
    """The network in a serialised ONNX model; `path` names it and is where external data may lie."""
    try:
        return _parse(_decode(data, path), data, path)
    except (*MALFORMED, OSError) as error:
        raise InputError(f"{path}: the file is malformed: {error}; export it again") from error


def _parse(model: Any, data: bytes, path: Path) -> RealGraph:
    _check_unique("initialisers", [t.name for t in model.graph.initializer], path)
    stored = [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute)]
    _check_sizes(stored, path)
    constants = {t.name: _array(t, path) for t in model.graph.initializer}
    nodes: list[RealNode] = []
    for i, proto in enumerate(model.graph.node):
        node = _node(proto, i)
        if node.op == "Constant":
            if node.outputs[0] in constants:
                raise InputError(f"{path}: two constants are called '{node.outputs[0]}'")
            constants[node.outputs[0]] = _constant_value(proto, node, path)
        else:
            nodes.append(node)
    inputs = tuple(_port(v, path) for v in model.graph.input if v.name not in constants)
    outputs = tuple(RealPort(v.name, ()) for v in model.graph.output)
    _check_unique("inputs", [p.name for p in inputs], path)
    _check_unique("outputs", [p.name for p in outputs], path)
    ordered = _sort(nodes, set(constants) | {p.name for p in inputs}, path)
    digest = hashlib.sha256(data).hexdigest()
    opset = next((o.version for o in model.opset_import if o.domain in _STANDARD), 13)
    return RealGraph(path.name, inputs, outputs, ordered, constants, digest, opset)


def _check_unique(what: str, names: list[str], path: Path) -> None:
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise InputError(f"{path}: two {what} are called '{twice[0]}'")


def _decode(data: bytes, path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InputError(f"{path} is not an ONNX file (it cannot be parsed): {error}") from error
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} is not an ONNX file, or holds no network")
    if len(model.functions):
        raise InputError(f"{path}: holds ONNX functions; export it without them (inline them first)")
    if len(model.training_info):
        raise InputError(f"{path}: holds ONNX training information; export it for inference (model.eval())")
    if len(model.graph.sparse_initializer):
        raise InputError(f"{path}: holds sparse initialisers; export its constants as dense tensors")
    return model


def _check_sizes(tensors: list[Any], path: Path) -> None:
    """Constants that claim too much, alone or together, are refused before one is read."""
    total = 0
    for tensor in tensors:
        count = abs(prod(tensor.dims))
        total += count
        if total > MAX_ELEMENTS:
            before = f", {total} with those before it" if total > count else ""
            raise InputError(
                f"{path}: constant '{tensor.name}' has {count} elements{before}; "
                f"at most {MAX_ELEMENTS} are read: use a smaller model"
            )


def _array(tensor: Any, path: Path) -> np.ndarray[Any, Any]:
    import onnx
    from onnx import numpy_helper

    if any(d < 0 for d in tensor.dims) or len(tensor.dims) > MAX_RANK:
        dims = list(tensor.dims)[: 2 * MAX_RANK]
        raise InputError(
            f"{path}: constant '{tensor.name}' has the shape {dims}; use at most {MAX_RANK} axes, none negative"
        )
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, path)
    try:
        array = np.asarray(numpy_helper.to_array(tensor, base_dir=str(path.parent)))
    except (*MALFORMED, OSError) as error:
        raise InputError(f"{path}: constant '{tensor.name}' cannot be read: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{path}: constant '{tensor.name}' holds {array.dtype} values; only real numbers are read (float32, int64)"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: constant '{tensor.name}' holds NaN or infinite values")
    return array


def _check_external(tensor: Any, path: Path) -> None:
    """External data must be a plain file beside the model."""
    location = next((e.value for e in tensor.external_data if e.key == "location"), "")
    folder = path.parent.resolve()
    try:
        target = (folder / location).resolve()
        inside = bool(location) and target.is_relative_to(folder) and target.is_file()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, a null byte
        inside = False
    if not inside:
        raise InputError(
            f"{path}: constant '{tensor.name}' lies in '{location[:200]}', which is no file in the model's folder; "
            "put it there, or save the model as one file"
        )
    if target.stat().st_size > MAX_FILE_BYTES:
        raise InputError(
            f"{path}: external data '{location}' is larger than {MAX_FILE_BYTES >> 30} GiB; refused"
        )


def _constant_value(proto: Any, node: RealNode, path: Path) -> np.ndarray[Any, Any]:
    for attribute in proto.attribute:
        if attribute.name == "value":
            return _array(attribute.t, path)
    for key in ("value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            kind = np.float32 if "float" in key else np.int64
            return np.asarray(node.attributes[key], dtype=kind)
    raise UnsupportedModel(
        node.name, "Constant", "holds no dense tensor", "export constants as dense tensors"
    )


def _node(proto: Any, position: int) -> RealNode:
    import onnx

    name = proto.name or f"{proto.op_type}_{position}"
    known = (*QUANT_DOMAINS, CHANNELS_LAST)
    if proto.domain not in (*_STANDARD, *known):
        cure = f"known domains are the standard one and {', '.join(known)}"
        raise UnsupportedModel(name, proto.op_type, f"is from the unknown domain '{proto.domain}'", cure)
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            cure = "export without control flow (If, Loop, Scan)"
            raise UnsupportedModel(name, proto.op_type, "holds a graph of its own", cure)
        if attribute.name in attributes:
            raise InputError(f"node '{name}' ({proto.op_type}) has two attributes '{attribute.name}'")
        if attribute.type != onnx.AttributeProto.TENSOR:
            attributes[attribute.name] = _attribute(attribute, name, proto.op_type)
        elif proto.op_type == "ConstantOfShape":
            attributes[attribute.name] = _single(attribute.t, name)
    if not proto.output or not proto.output[0]:
        raise InputError(f"node '{name}' ({proto.op_type}) has no output")
    last = proto.domain == CHANNELS_LAST
    node = RealNode(proto.op_type, name, tuple(proto.input), tuple(proto.output), attributes, last)
    check_attributes(node)
    return node


def _single(tensor: Any, node: str) -> float | int:
    """The one number of a tensor attribute."""
    from onnx import numpy_helper

    if len(tensor.dims) > 1 or list(tensor.dims) not in ([], [1]) or tensor.external_data:
        raise InputError(f"node '{node}' (ConstantOfShape): its value is not one number")
    number = np.asarray(numpy_helper.to_array(tensor)).reshape(-1)
    if number.dtype.kind not in "fiu" or not np.isfinite(number).all():
        raise InputError(f"node '{node}' (ConstantOfShape): its value is not a real number")
    return float(number[0]) if number.dtype.kind == "f" else int(number[0])


def _attribute(attribute: Any, node: str, op: str) -> Any:
    """A number, a string, or a list of them."""
    import onnx

    try:
        value = onnx.helper.get_attribute_value(attribute)
        many = value if isinstance(value, list) else [value]
        many = [v.decode() if isinstance(v, bytes) else v for v in many]
    except MALFORMED as error:
        raise InputError(
            f"node '{node}' ({op}): attribute '{attribute.name}' cannot be read: {error}"
        ) from error
    if any(isinstance(v, float) and not isfinite(v) for v in many):
        raise InputError(f"node '{node}' ({op}): attribute '{attribute.name}' is NaN or infinite")
    return many if isinstance(value, list) else many[0]


def _port(value: Any, path: Path) -> RealPort:
    import onnx

    kind = value.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        known = kind in onnx.TensorProto.DataType.values()
        stated = onnx.TensorProto.DataType.Name(kind).lower() if known else str(kind)
        raise InputError(
            f"{path}: input '{value.name}' is of type {stated}; networks take float32: export it with float32 inputs"
        )
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if (
        not 2 <= len(dims) <= MAX_RANK
        or any(not 0 < d <= MAX_ELEMENTS for d in dims[1:])
        or np.prod(dims[1:], dtype=float) > MAX_ELEMENTS
    ):
        raise InputError(
            f"{path}: input '{value.name}' has the shape {dims[:MAX_RANK]}; all but the batch must be fixed and sane"
        )
    return RealPort(value.name, tuple(dims[1:]), max(dims[0], 0))


def _sort(nodes: list[RealNode], known: set[str], path: Path) -> tuple[RealNode, ...]:
    """Topological order, the file's own if it is one; a tensor that is made twice, never, or of itself is refused."""
    made = [t for n in nodes for t in n.outputs if t]
    if len(made) != len(set(made)) or known & set(made):
        raise InputError(f"{path}: a tensor is made by two nodes")
    readers: dict[str, list[int]] = {}
    missing = []
    for i, node in enumerate(nodes):
        needs = {t for t in node.inputs if t and t not in known}
        missing.append(len(needs))
        for tensor in needs:
            readers.setdefault(tensor, []).append(i)
    ready = [i for i, count in enumerate(missing) if count == 0]
    order: list[RealNode] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for reader in (r for t in node.outputs for r in readers.get(t, ())):
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        stuck = next(n for n, count in zip(nodes, missing, strict=True) if count)
        raise InputError(
            f"{path}: node '{stuck.name}' ({stuck.op}) reads a tensor that nothing makes, or the graph is cyclic"
        )
    return tuple(order)


# --- qonnx's executor, a stage of `hwq verify` ----------------------------------------------------


def execute(
    path: Path,
    feeds: Mapping[str, np.ndarray[Any, Any]],
    wanted: set[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, np.ndarray[Any, Any]]:
    """Run the file in float32 with qonnx, one batch.

    Args:
        path: The QONNX file.
        feeds: Float32 inputs by name, batch first.
        wanted: Tensors to return beside the outputs.
        shapes: Of tensors that are computed, 0 standing for the batch; qonnx infers only some.
    """
    run = Executor(path, shapes, len(next(iter(feeds.values()))))
    context = run(feeds)
    return {name: np.asarray(context[name]) for name in [*wanted, *run.outputs]}


class Executor:
    """A file prepared for batches of one size: feeds -> every tensor; its outputs' names in `outputs`."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        import onnx
        import onnxruntime
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.change_batchsize import ChangeBatchSize
        from qonnx.transformation.infer_shapes import InferShapes

        onnxruntime.set_default_logger_severity(3)  # errors only
        model = ModelWrapper(onnx.load(path))
        known = {name: [batch if size == 0 else size for size in shape] for name, shape in shapes.items()}
        for output in model.graph.output:
            if not output.type.tensor_type.shape.dim and output.name in known:
                model.set_tensor_shape(output.name, known[output.name])
        model = model.transform(ChangeBatchSize(batch))
        self.outputs = tuple(output.name for output in model.graph.output)
        for name in known.keys() - set(self.outputs):
            model.set_tensor_shape(name, known[name])
        self.model = model.transform(InferShapes())

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        """Every tensor, from float32 inputs by name."""
        from qonnx.core.onnx_exec import execute_onnx

        with warnings.catch_warnings():
            # shapes that the file does not state
            warnings.filterwarnings("ignore", message="Output shapes disagree")
            context: dict[str, Any] = execute_onnx(self.model, dict(feeds), return_full_exec_context=True)
        return context
