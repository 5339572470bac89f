"""From a quantised network to its integer graph."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from hwq.errors import InputError
from hwq.frontends import load
from hwq.ir import Graph
from hwq.train.export import export_model
from hwq.train.quantizers import WEIGHTED


def convert(
    model: nn.Module,
    example: Tensor | Sequence[Tensor],
    *,
    path: str | Path | None = None,
    input_type: str | None = None,
) -> Graph:
    """Export, check against the network's own integers, and lower; the network is left as it is.

    Args:
        model: What `hwq.train.quantize` made, trained or not; taken in evaluation mode.
        example: Its input (N, ...), or a sequence of its inputs; only shapes matter.
        path: Keeps the QONNX file here; the graph's torch and qonnx stages of `hwq verify` read it.
        input_type: Grid of an input that the network does not quantise, e.g. `ufixed<8,0>`.

    Raises:
        InputError: A layer has float weights, or the file would be another network.
        UnsupportedModel: A part has no integer form; the message names the layer and the cure.
    """
    for name, module in model.named_modules():
        if type(module) in WEIGHTED:
            raise InputError(
                f"layer '{name}': its weights are float, so it has no integer form\n"
                f"  cure: take it out of quantize.ignore, e.g. with quantize.layers.'{name}'.weights = 8"
            )
    if path is not None:
        export_model(model, example, path)
        return load(path, input_type).graph
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_model(model, example, file)
        return replace(load(file, input_type).graph, source_path="")
