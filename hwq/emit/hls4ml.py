"""The only module that imports hls4ml: a plan in, the written project's files out."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from hwq.emit.audit import audit_files, audit_model
from hwq.emit.layers import Binary, precision
from hwq.emit.own import HEADERS, OWN, OwnLayer
from hwq.emit.plan import Plan, PlannedLayer, configuration
from hwq.errors import CheckFailed, ToolMissing
from hwq.files import data_dir
from hwq.hardware import SHIFT_REGISTER_PIXELS, Backend, FifoDepths, HardwareConfig, Strategy, legal_reuse
from hwq.ir import IntType

CLOCK_UNCERTAINTY = "27%"
_DEFAULT_TYPE = "fixed<3,3>"
"""Deliberately absurd: a type that was forgotten is noticed."""
_COPIED = "hwq_copied"
"""Attribute of layers each reader of which gets a copy."""
_registered: list[type] = []


@dataclass(frozen=True)
class CppPort:
    """An argument of the top function: its name, its definition in a caller, and its number of words."""

    variable: str
    definition: str
    words: int


@dataclass(frozen=True)
class Firmware:
    """What hls4ml wrote: files relative to the project, and the top function's arguments."""

    files: Mapping[str, bytes]
    inputs: tuple[CppPort, ...]
    outputs: tuple[CppPort, ...]


Depths = Mapping[tuple[str, int], int]
"""Of a stream: by the hls4ml layer that reads it, and which of its inputs it is."""


def write_firmware(plan: Plan, config: HardwareConfig, depths: Depths | None = None) -> Firmware:
    """Convert with hls4ml, audit, write, audit again.

    Args:
        plan: The layers.
        config: Where and how.
        depths: Of the streams between them; hls4ml's own for those not named.

    Raises:
        CheckFailed: hls4ml warned, or what it holds or wrote is not what was asked.
        ToolMissing: A layer asks for distributed arithmetic, and da4ml is not installed.
    """
    require_da4ml(plan)
    from hls4ml.model.types import WeightVariable

    with tempfile.TemporaryDirectory(prefix="hwq-") as folder, _watched() as said:
        model = to_model(plan, config, folder)
        _raise_if(audit_model(plan, model), said.getvalue())
        for (reader, index), depth in (depths or {}).items():
            node = model.graph[reader]
            stream = node.get_input_variable(node.inputs[index])
            stream.pragma = ("stream", depth)
        with _replaced(WeightVariable, __iter__=_joined):
            model.write()
        _raise_if(audit_files(plan, model, Path(folder), depths or {}), said.getvalue())
        inputs, outputs = model.get_input_variables(), model.get_output_variables()
        files = _collect(Path(folder))
        if config.fifo is not FifoDepths.TENSOR:
            top = f"firmware/{plan.top}.cpp"
            files[top] = _with_shift_registers(files[top].decode(), config.backend).encode()
        return Firmware(files, _cpp_ports(inputs), _cpp_ports(outputs))


def require_da4ml(plan: Plan) -> None:
    """Refuse distributed arithmetic without the package that finds its adders."""
    wanted = [p for p in plan.layers if p.strategy is Strategy.DISTRIBUTED_ARITHMETIC]
    if wanted and not find_spec("da4ml"):
        node = wanted[0].node
        raise ToolMissing(
            f"layer '{node and node.name}': distributed arithmetic needs the package da4ml: "
            "pip install 'hwq[da]', or build the layer with --strategy latency"
        )


def _cpp_ports(variables: list[Any]) -> tuple[CppPort, ...]:
    return tuple(CppPort(v.name, v.definition_cpp(), int(v.size())) for v in variables)


def to_model(plan: Plan, config: HardwareConfig, folder: str) -> Any:
    """hls4ml's `ModelGraph` of a plan."""
    import hls4ml

    _register(hls4ml)
    settings = {**_target(plan, config), "OutputDir": folder, "HLSConfig": _hls_config(plan)}
    layers = [_layer_dict(p, copied=p.name in plan.copied) for p in plan.layers]
    with (
        _replaced(
            hls4ml.backends.get_backend(config.backend.value), generate_conv2d_line_buffer_fn=_fill_buffer
        ),
        _replaced(hls4ml.backends.FPGABackend, get_valid_reuse_factors=_legal_reuse),
    ):
        return hls4ml.model.ModelGraph.from_layer_list(
            settings, layers, list(plan.inputs), list(plan.outputs)
        )


_FILL = """template <class data_T, typename CONFIG_T>
class fill_buffer_{index}
    : public nnet::hwq_fill_buffer<data_T, CONFIG_T, nnet::FillConv2DBuffer<data_T, CONFIG_T>, {top}, {left}> {{}};
"""


def _fill_buffer(index: int, *_args: Any, pad: tuple[int, int, int, int], **_kwargs: Any) -> str:
    """Loops in place of hls4ml's tables of indices in io_parallel; pads are top, bottom, left, right."""
    return _FILL.format(index=index, top=pad[0], left=pad[2])


def _legal_reuse(_backend: Any, n_in: int, n_out: int) -> list[int]:
    """The same, which hls4ml finds by trying every number."""
    return legal_reuse(n_in, n_out)


@contextlib.contextmanager
def _replaced(owner: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Functions of hls4ml that ours stand in for."""
    kept = {name: getattr(owner, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, function in kept.items():
            setattr(owner, name, function)


def _joined(variable: Any) -> Iterator[str]:
    """Weights as one text; hls4ml writes them one at a time, and a CNV has 1.5 million."""
    values, order = np.unique(variable.data, return_inverse=True)
    texts = [variable.precision_fmt.format(value) for value in values.tolist()]
    return iter([", ".join([texts[i] for i in order.ravel().tolist()])])


def _hls_config(plan: Plan) -> dict[str, Any]:
    traced = {p.name for p, _, _ in plan.traced()}
    named = {p.name: _layer_config(p, traced) for p in plan.layers}
    default = {"default": _DEFAULT_TYPE}
    # Latency: a Resource model makes hls4ml's top a DATAFLOW region even if no layer is a Resource one.
    model = {"Precision": default, "ReuseFactor": 1, "Strategy": "latency", "BitExact": False}
    return {"Model": model, "LayerName": named}


def _target(plan: Plan, config: HardwareConfig) -> dict[str, Any]:
    return {
        "ProjectName": plan.top,
        "Backend": config.backend.value.title(),
        "Part": config.board.part,
        "ClockPeriod": config.clock_ns,
        "ClockUncertainty": CLOCK_UNCERTAINTY,
        "IOType": "io_stream" if plan.stream else "io_parallel",
        "TraceOutput": True,
        "WriterConfig": {
            "Namespace": None,
            "WriteWeightsTxt": True,  # csim reads them at run time: 20k compiled ones cost 10 s
            "WriteTar": False,
            "TBOutputStream": "both",
            "WriteEmulationConstants": False,
        },
    }


def _layer_config(planned: PlannedLayer, traced: set[str]) -> dict[str, Any]:
    types = {key: _precision(kind) for key, kind in planned.layer.types.items()}
    settings: dict[str, Any] = {
        "Precision": types,
        "Trace": planned.name in traced,
    }
    if planned.layer.matrix:
        settings |= {"Strategy": planned.strategy.value, "ReuseFactor": planned.reuse}
    return settings


def _precision(kind: IntType) -> Any:
    """The XNOR type has no name in hls4ml: `uint<1>` would be an integer."""
    from hls4ml.model.types import XnorPrecisionType

    return XnorPrecisionType() if isinstance(kind, Binary) else precision(kind)


def _layer_dict(planned: PlannedLayer, *, copied: bool) -> dict[str, Any]:
    layer = planned.layer
    content: dict[str, Any] = {"class_name": layer.class_name, "name": planned.name}
    if layer.class_name in OWN:
        content |= {"out_shape": list(layer.shape), "constants": configuration(planned)}
    else:
        content |= layer.attributes
    if copied:
        content[_COPIED] = True
    content |= {f"{key}_data": array.astype(np.float64) for key, array in layer.data.items()}
    if layer.matrix:
        content |= {"use_bias": False, "bias_data": None}
    if planned.inputs:
        content |= {"inputs": list(planned.inputs), "outputs": [planned.name]}
    return content


@contextlib.contextmanager
def _watched() -> Iterator[io.StringIO]:
    """Catch what hls4ml prints, and its Python warnings."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
        said.writelines(f"WARNING: {w.message}\n" for w in caught if issubclass(w.category, UserWarning))


def _raise_if(findings: list[str], said: str) -> None:
    warned = [line for line in said.splitlines() if re.match(r"\s*(WARN|ERROR)", line)]
    if findings or warned:
        listed = "".join(f"\n  - {text}" for text in (*findings, *warned))
        raise CheckFailed(f"hls4ml did not build what was asked; please report this as a bug of hwq:{listed}")


_BINDING = {
    Backend.VITIS: "#pragma HLS BIND_STORAGE variable={} type=fifo impl=srl",
    Backend.VIVADO: "#pragma HLS RESOURCE variable={} core=FIFO_SRL",
}


def _with_shift_registers(top: str, backend: Backend) -> str:
    """The top function with a binding after the depth of every short FIFO."""

    def bound(found: re.Match[str]) -> str:
        line, indent, name, depth = found.group(0, 1, 2, 3)
        if int(depth) > SHIFT_REGISTER_PIXELS:
            return line
        return f"{line}\n{indent}{_BINDING[backend].format(name)}"

    return re.sub(r"( *)#pragma HLS STREAM variable=(\w+) depth=(\d+)", bound, top)


def _collect(folder: Path) -> dict[str, bytes]:
    """The firmware folder and our headers; hls4ml's own scripts and testbench are replaced by ours."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "firmware").rglob("*"))
        if path.is_file()
    }
    code = "firmware/nnet_utils/nnet_code_gen.h"
    if b"hwq_fill_buffer" in files.get(code, b""):
        anchor = b'#include "nnet_common.h"\n'
        files[code] = files[code].replace(anchor, anchor + b'#include "hwq_fill_buffer.h"\n', 1)
    for name in HEADERS:
        files[f"firmware/nnet_utils/{name}"] = (data_dir("hls_templates") / name).read_bytes()
    return _reachable(files)


def _reachable(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without the headers of hls4ml's library that no file includes."""
    library = "firmware/nnet_utils/"
    by_name: dict[str, list[str]] = {}
    for path in files:
        by_name.setdefault(path.rsplit("/", 1)[1], []).append(path)
    pending = [p for p in files if not p.startswith(library)]
    seen = set(pending)
    while pending:
        for name in re.findall(rb'#include\s+"(?:[^"]*/)?([^"/]+)"', files[pending.pop()]):
            new = [p for p in by_name.get(name.decode(), []) if p not in seen]
            seen.update(new)
            pending += new
    return {path: content for path, content in files.items() if path in seen}


def _register(hls4ml: Any) -> None:
    """Tell hls4ml our layers, once a process: its registry is global."""
    if _registered:
        return
    from hls4ml.model.layers import Reshape

    # Its pass "remove_transpose_before_flatten" permutes weights for one order of axes, whichever it is.
    kept = type("HwqReshape", (Reshape,), {"_channels_last_keep_transpose": True})
    hls4ml.model.layers.register_layer(kept.__name__, kept)
    _register_copies(hls4ml)
    for name, own in OWN.items():
        cls = _layer_class(name, own)
        hls4ml.model.layers.register_layer(name, cls)
        for backend in Backend:
            for template in _templates(cls, own):
                hls4ml.backends.get_backend(backend.value).register_template(template)
        _registered.append(cls)


def _register_copies(hls4ml: Any) -> None:
    """What hls4ml's Clone is to streams, for arrays; both backends go through Vivado's flow."""
    from hls4ml.backends.template import FunctionCallTemplate
    from hls4ml.model.layers import Layer
    from hls4ml.model.optimizer import OptimizerPass

    class HwqCopy(Layer):  # type: ignore[misc]
        def initialize(self) -> None:
            shape = self.get_input_variable().shape
            for i, name in enumerate(self.outputs, 1):
                self.add_output_variable(shape, out_name=name, var_name=f"layer{{index}}_cpy{i}")

    class Call(FunctionCallTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(HwqCopy, include_header=["nnet_utils/hwq_copy.h"])

        def format(self, node: Any) -> str:
            tensors = [node.get_input_variable(), *(node.variables[name] for name in node.outputs)]
            types = f"{tensors[0].type.name}, {tensors[1].type.name}, {tensors[0].size()}"
            return f"nnet::hwq_copy<{types}>({', '.join(t.name for t in tensors)});"

    class Copies(OptimizerPass):  # type: ignore[misc]
        def match(self, node: Any) -> bool:
            return bool(node.get_attr(_COPIED))

        def transform(self, model: Any, node: Any) -> bool:
            del node.attributes[_COPIED]
            _insert_copy(model, node, HwqCopy)
            return True

    hls4ml.model.layers.register_layer(HwqCopy.__name__, HwqCopy)
    for backend in Backend:
        hls4ml.backends.get_backend(backend.value).register_template(Call)
    hls4ml.backends.get_backend("vivado").register_pass("hwq_copies", Copies, flow="vivado:streaming")


def _insert_copy(model: Any, node: Any, copy: type) -> None:
    """Between a layer and its readers, in hls4ml's order of copies: an output port, then the layers."""
    (name,) = node.outputs
    copies = (f"{name}_cpy{i}" for i in count(1))
    made = []
    if name in model.outputs:
        made.append(next(copies))
        model.outputs[model.outputs.index(name)] = made[0]
    for reader in node.get_output_use_map()[name]:
        made.append(next(copies))
        reader.inputs[reader.inputs.index(name)] = made[-1]
    new = model.make_node(copy, f"copy_{node.name}", {}, [name], made)
    for output in made:
        new.attributes[output].type = node.attributes["result_t"]
    model.insert_node(new)


def _layer_class(name: str, own: OwnLayer) -> type:
    from hls4ml.model.attributes import TypeAttribute, WeightAttribute
    from hls4ml.model.layers import Layer

    def initialize(self: Any) -> None:
        self.add_output_variable(self.get_attr("out_shape"))
        for array in own.arrays:  # apart from the number: mult1 of layer 9 is not mult of layer 19
            self.add_weights_variable(name=array, var_name=f"{array}_{{index}}")

    attributes = [WeightAttribute(a) for a in own.arrays] + [TypeAttribute(a) for a in own.arrays]
    return type(name, (Layer,), {"_expected_attributes": attributes, "initialize": initialize})


def _templates(cls: type, own: OwnLayer) -> tuple[type, type]:
    from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate

    class Config(LayerConfigTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(cls)

        def format(self, node: Any) -> str:
            params = self._default_config_params(node)
            body = "".join(f"    {line}\n" for line in node.get_attr("constants")).format(**params)
            return f"struct config{node.index} : nnet::{own.function}_config {{\n{body}}};\n"

    class Call(FunctionCallTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(cls, include_header=[f"nnet_utils/{own.header}.h"])

        def format(self, node: Any) -> str:
            tensors = [node.get_input_variable(name) for name in node.inputs]
            tensors.append(node.get_output_variable())
            types = [t.type.name for t in tensors]
            arguments = [t.name for t in tensors] + [node.get_weights(a).name for a in own.arrays]
            return f"nnet::{own.function}<{', '.join(types)}, config{node.index}>({', '.join(arguments)});"

    return Config, Call
