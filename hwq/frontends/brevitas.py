"""A trained Brevitas network as NumPy: its weight integers, and what each activation quantiser put out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwq.errors import InputError
from hwq.train.require import require_training

require_training()

import torch  # noqa: E402  (after the check, so that its absence has a clear message)
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer as QuantWBIOL  # noqa: E402
from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase, TruncQuantProxyFromInjector  # noqa: E402
from torch import nn  # noqa: E402

from hwq.train import checkpoint as checkpoints  # noqa: E402
from hwq.train.machine import reproducible  # noqa: E402

Trace = list[tuple[str, npt.NDArray[np.float32]]]
OUTPUT = "output"


def find_checkpoint(path: Path) -> Path:
    """The checkpoint itself, or `checkpoints/best.pt` of a folder that `hwq train` wrote."""
    return path / "checkpoints" / "best.pt" if path.is_dir() else path


def load_model(checkpoint: Path) -> nn.Module:
    """The network of a checkpoint (or of a run's folder), in evaluation mode.

    Raises:
        InputError: There is no checkpoint, or hwq did not write it.
    """
    return checkpoints.load_model(find_checkpoint(checkpoint))


def trace(run_dir_or_checkpoint: Path, x: npt.NDArray[np.float32], batch: int = 256) -> Trace:
    """Every activation quantiser's and truncation's dequantised output in execution order, then the network's output.

    Args:
        run_dir_or_checkpoint: A folder that `hwq train` wrote, or a checkpoint file.
        x: Images (N, C, H, W), float32.
        batch: Images that go through the network at once; memory beyond the result grows with it.

    Returns:
        Pairs of module name and array (N, ...); the last is ("output", logits (N, classes)). A module
        that runs several times in one pass has as many entries.
    """
    return trace_model(load_model(run_dir_or_checkpoint), x, batch)


def trace_model(model: nn.Module, x: npt.NDArray[np.float32], batch: int = 256) -> Trace:
    """What `trace` gives, of any Brevitas network with one input, in evaluation mode."""
    images = np.ascontiguousarray(x, dtype=np.float32)
    if len(images) == 0:
        raise InputError("the input array has no rows: give at least one image")
    with reproducible(), torch.no_grad():
        parts = [_trace_batch(model, images[i : i + batch]) for i in range(0, len(images), batch)]
    return [(same[0][0], np.concatenate([array for _, array in same])) for same in zip(*parts, strict=True)]


def weight_integers(model: nn.Module) -> dict[str, npt.NDArray[np.int64]]:
    """The integers that Brevitas itself computes for every quantised weight, by layer name.

    Accumulator-aware weights depend on the input: use `run_parameters` for them.
    """
    return {
        name: layer.quant_weight().int().detach().numpy().astype(np.int64)
        for name, layer in model.named_modules()
        if isinstance(layer, QuantWBIOL) and layer.weight_quant.is_quant_enabled
    }


@dataclass(frozen=True)
class QuantisedParameter:
    """A weight or bias as its quantiser put it out in a forward pass.

    Attributes:
        layer: Name of the layer.
        kind: "weight" or "bias".
        outputs: Everything that the quantiser returned: value, scale, zero point, bit width, ...
    """

    layer: str
    kind: str
    outputs: tuple[torch.Tensor, ...]

    @property
    def name(self) -> str:
        """Of the parameter, as in a state dict."""
        return f"{self.layer}.{self.kind}".removeprefix(".")

    def integers(self) -> npt.NDArray[np.int64]:
        """Its integers, zero point included.

        Raises:
            InputError: The quantiser is not an integer one.
        """
        value, scale, zero_point = (t.detach().numpy().astype(np.float64) for t in self.outputs[:3])
        if self.kind == "bias":
            scale, zero_point = scale.reshape(-1), zero_point.reshape(-1)
        quotients = value / scale + zero_point
        if len(self.outputs) not in (4, 6) or not (np.abs(quotients - np.rint(quotients)) < 2e-3).all():
            raise InputError(
                f"layer '{self.layer}': its {self.kind} quantiser does not give integers\n"
                "  cure: use an integer quantiser of brevitas.quant, without groups"
            )
        return np.rint(quotients).astype(np.int64)


def run_parameters(model: nn.Module, inputs: Sequence[torch.Tensor]) -> list[QuantisedParameter]:
    """Every quantised weight and bias that a forward pass uses, in execution order.

    Args:
        model: In evaluation mode; left as it is.
        inputs: Example inputs, batch first.

    Raises:
        InputError: A quantiser gives other values on each pass, or is shared in a way that no file can hold.
    """
    found: dict[str, QuantisedParameter] = {}

    def record(owners: list[tuple[str, str, nn.Module]], arguments: Any, outputs: Any) -> None:
        for name, kind, layer in owners:
            if getattr(layer, kind).data_ptr() != arguments[0].data_ptr():
                continue
            new = QuantisedParameter(name, kind, tuple(t.detach().clone() for t in outputs))
            old = found.setdefault(new.name, new)
            if not torch.equal(old.outputs[0], new.outputs[0]):
                raise InputError(
                    f"layer '{name}': its {kind} quantiser gives other values on every call\n"
                    "  cure: make its rounding deterministic in evaluation mode, and give shared layers one input scale"
                )

    owners: dict[nn.Module, list[tuple[str, str, nn.Module]]] = {}
    for name, layer in model.named_modules():
        for kind in ("weight", "bias"):
            proxy = getattr(layer, f"{kind}_quant", None)
            if proxy is not None and getattr(layer, kind, None) is not None and proxy.is_quant_enabled:
                owners.setdefault(proxy.tensor_quant, []).append((name, kind, layer))
    handles = [
        quantiser.register_forward_hook(
            lambda _, arguments, outputs, same=same: record(same, arguments, outputs)
        )
        for quantiser, same in owners.items()
    ]
    try:
        with torch.no_grad():
            for _ in range(2):
                model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def _trace_batch(model: nn.Module, images: npt.NDArray[np.float32]) -> Trace:
    entries: Trace = []

    def record(name: str, value: Any) -> None:
        tensor: torch.Tensor = value if isinstance(value, torch.Tensor) else value.value
        entries.append((name, tensor.detach().numpy().copy()))

    handles = [
        proxy.register_forward_hook(
            lambda _, __, value, name=name: record(
                name.removesuffix(".act_quant").removesuffix(".trunc_quant"), value
            )
        )
        for name, proxy in model.named_modules()
        if isinstance(proxy, (ActQuantProxyFromInjectorBase, TruncQuantProxyFromInjector))
        and proxy.is_quant_enabled
    ]
    try:
        record(OUTPUT, model(torch.from_numpy(images)))
    finally:
        for handle in handles:
            handle.remove()
    return entries
