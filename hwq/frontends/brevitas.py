"""A trained Brevitas network as NumPy: its weight integers, and what each activation quantiser put out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwq.errors import InputError
from hwq.train.require import require_training

require_training()

import torch  # noqa: E402  (after the check, so that its absence has a clear message)
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer as QuantWBIOL  # noqa: E402
from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase  # noqa: E402
from torch import nn  # noqa: E402

from hwq.train import checkpoint as checkpoints  # noqa: E402
from hwq.train.loop import reproducible  # noqa: E402

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
    """Every activation quantiser's dequantised output in execution order, then the network's output.

    Args:
        run_dir_or_checkpoint: A folder that `hwq train` wrote, or a checkpoint file.
        x: Images (N, C, H, W), float32.
        batch: Images that go through the network at once; memory beyond the result grows with it.

    Returns:
        Pairs of module name and array (N, ...); the last is ("output", logits (N, classes)). A module
        that runs several times in one pass has as many entries.
    """
    model = load_model(run_dir_or_checkpoint)
    images = np.ascontiguousarray(x, dtype=np.float32)
    if len(images) == 0:
        raise InputError("the input array has no rows: give at least one image")
    with reproducible(), torch.no_grad():
        parts = [_trace_batch(model, images[i : i + batch]) for i in range(0, len(images), batch)]
    return [(same[0][0], np.concatenate([array for _, array in same])) for same in zip(*parts, strict=True)]


def weight_integers(model: nn.Module) -> dict[str, npt.NDArray[np.int64]]:
    """The integers that Brevitas itself computes for every quantised weight, by layer name."""
    return {
        name: layer.quant_weight().int().detach().numpy().astype(np.int64)
        for name, layer in model.named_modules()
        if isinstance(layer, QuantWBIOL) and layer.weight_quant.is_quant_enabled
    }


def _trace_batch(model: nn.Module, images: npt.NDArray[np.float32]) -> Trace:
    entries: Trace = []

    def record(name: str, value: Any) -> None:
        tensor: torch.Tensor = value if isinstance(value, torch.Tensor) else value.value
        entries.append((name, tensor.detach().numpy().copy()))

    handles = [
        proxy.register_forward_hook(
            lambda _, __, value, name=name: record(name.removesuffix(".act_quant"), value)
        )
        for name, proxy in model.named_modules()
        if isinstance(proxy, ActQuantProxyFromInjectorBase) and proxy.is_quant_enabled
    ]
    try:
        record(OUTPUT, model(torch.from_numpy(images)))
    finally:
        for handle in handles:
            handle.remove()
    return entries
