"""The only module that imports hls4ml: a plan in, the written project's files out."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hwq.emit.audit import audit_files, audit_model
from hwq.emit.layers import precision
from hwq.emit.plan import Plan, PlannedLayer
from hwq.errors import CheckFailed, ToolMissing
from hwq.files import data_dir
from hwq.hardware import HardwareConfig, Strategy

HEADERS = ("hwq_threshold.h", "hwq_requant.h")
_DEFAULT_TYPE = "fixed<3,3>"
"""Deliberately absurd: a type that was forgotten is noticed."""
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


def write_firmware(plan: Plan, config: HardwareConfig) -> Firmware:
    """Convert with hls4ml, audit, write, audit again.

    Raises:
        CheckFailed: hls4ml warned, or what it holds or wrote is not what was asked.
        ToolMissing: A layer asks for distributed arithmetic, and da4ml is not installed.
    """
    require_da4ml(plan)
    with tempfile.TemporaryDirectory(prefix="hwq-") as folder, _watched() as said:
        model = to_model(plan, config, folder)
        _raise_if(audit_model(plan, model), said.getvalue())
        model.write()
        _raise_if(audit_files(plan, model, Path(folder)), said.getvalue())
        inputs, outputs = model.get_input_variables(), model.get_output_variables()
        return Firmware(_collect(Path(folder)), _cpp_ports(inputs), _cpp_ports(outputs))


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
    layers = [_layer_dict(p) for p in plan.layers]
    return hls4ml.model.ModelGraph.from_layer_list(settings, layers, list(plan.inputs), list(plan.outputs))


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
        "Backend": "Vitis",
        "Part": config.board.part,
        "ClockPeriod": config.clock_ns,
        "ClockUncertainty": "27%",
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
    types = {key: precision(kind) for key, kind in planned.layer.types.items()}
    settings: dict[str, Any] = {
        "Precision": types,
        "Trace": planned.name in traced,
    }
    if planned.layer.matrix:
        settings |= {"Strategy": planned.strategy.value, "ReuseFactor": planned.reuse}
    return settings


def _layer_dict(planned: PlannedLayer) -> dict[str, Any]:
    layer = planned.layer
    content: dict[str, Any] = {"class_name": layer.class_name, "name": planned.name, **layer.attributes}
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


def _collect(folder: Path) -> dict[str, bytes]:
    """The firmware folder and our headers; hls4ml's own scripts and testbench are replaced by ours."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "firmware").rglob("*"))
        if path.is_file()
    }
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
    threshold = _layer_class("HwqThreshold", ("thresholds",))
    requant = _layer_class("HwqRequant", ("mult", "add"))
    two_slopes = _layer_class("HwqRequantTwoSlopes", ("mult", "add", "low_mult", "low_add", "pivot"))
    backend = hls4ml.backends.get_backend("Vitis")
    for cls, body, call in (
        (threshold, _THRESHOLD_CONFIG, _THRESHOLD_CALL),
        (requant, _REQUANT_CONFIG, _REQUANT_CALL),
        (two_slopes, _TWO_SLOPES_CONFIG, _TWO_SLOPES_CALL),
    ):
        hls4ml.model.layers.register_layer(cls.__name__, cls)
        for template in _templates(cls, body, call):
            backend.register_template(template)
        _registered.append(cls)


def _layer_class(name: str, weights: tuple[str, ...]) -> type:
    from hls4ml.model.attributes import Attribute, TypeAttribute, WeightAttribute
    from hls4ml.model.layers import Layer

    def initialize(self: Any) -> None:
        self.add_output_variable(list(self.get_input_variable().shape))
        for weight in weights:
            self.add_weights_variable(name=weight, var_name=f"{weight}{{index}}")

    attributes = [Attribute("n_in"), Attribute("n_chan")]
    attributes += [WeightAttribute(w) for w in weights] + [TypeAttribute(w) for w in weights]
    return type(name, (Layer,), {"_expected_attributes": attributes, "initialize": initialize})


_THRESHOLD_CONFIG = """struct config{index} : nnet::hwq_threshold_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_chan = {n_chan};
    static const unsigned n_steps = {n_steps};
    static const int base = {base};
    static const int step = {step};
    typedef ap_uint<{count_bits}> count_t;
    typedef {thresholds_t.name} threshold_t;
}};
"""
_THRESHOLD_CALL = (
    "nnet::hwq_threshold<{input_t}, {output_t}, {config}>({input}, {output}, {weight_thresholds});",
    "nnet_utils/hwq_threshold.h",
)
_REQUANT_CONFIG = """struct config{index} : nnet::hwq_requant_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_chan = {n_chan};
    static const unsigned shift = {shift};
    static const bool half_even = {half_even};
    static const long long lo = {lo}LL;
    static const long long hi = {hi}LL;
    typedef {mult_t.name} mult_t;
    typedef {add_t.name} add_t;
    typedef ap_int<{wide_bits}> wide_t;
}};
"""
_REQUANT_CALL = (
    "nnet::hwq_requant<{input_t}, {output_t}, {config}>({input}, {output}, {weight_mult}, {weight_add});",
    "nnet_utils/hwq_requant.h",
)
_TWO_SLOPES_CONFIG = _REQUANT_CONFIG.replace(
    "    typedef ap_int<",
    """    typedef {low_mult_t.name} low_mult_t;
    typedef {low_add_t.name} low_add_t;
    typedef {pivot_t.name} pivot_t;
    typedef ap_int<""",
)
_TWO_SLOPES_CALL = (
    _REQUANT_CALL[0].replace(");", ", {weight_low_mult}, {weight_low_add}, {weight_pivot});"),
    "nnet_utils/hwq_requant.h",
)


def _templates(cls: type, body: str, call: tuple[str, str]) -> tuple[type, type]:
    from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate

    class Config(LayerConfigTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(cls)

        def format(self, node: Any) -> str:
            return body.format(**self._default_config_params(node))

    class Call(FunctionCallTemplate):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(cls, include_header=[call[1]])

        def format(self, node: Any) -> str:
            weights = {f"weight_{key}": node.get_weights(key).name for key in node.weights}
            return call[0].format(**self._default_function_params(node), **weights)

    return Config, Call
