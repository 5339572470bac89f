"""Activations' clipping points from data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.ptq.scales import find_scale
from hwq.train.ptq.spec import PtqSpec
from hwq.train.quantize_spec import QuantizeSpec
from hwq.train.quantizers import TensorQuant

_MOST = 1 << 20
"""Values of one quantiser that are looked at."""


def calibrate(model: nn.Module, data: Tensor | Iterable[Tensor], spec: QuantizeSpec) -> None:
    """Set the clipping point of every activation quantiser from what reaches it, nothing being quantised.

    The input quantiser and one-bit activations keep theirs, which have another meaning.

    Args:
        model: Made by `hwq.train.quantize`; left in its mode.
        data: Inputs (N, ...), or batches of them; in the network's evaluation mode.
        spec: Says how, in `calibration` and `percentile`.

    Raises:
        InputError: There is no data, or not all of it is finite.
    """
    batches = [data] if isinstance(data, Tensor) else list(data)
    if not batches or not all(len(x) and bool(x.isfinite().all()) for x in batches):
        raise InputError("calibration needs data, all of it finite")
    how = PtqSpec(calibration=spec.calibration, percentile=spec.percentile)
    for quantiser, seen in _observed(model, batches).items():
        values = torch.cat([x.reshape(1, -1) for x in seen], dim=1)
        values = values[:, :: -(-values.shape[1] // _MOST)]
        codes, pot = quantiser.quantiser.codes, quantiser.power_of_two
        scale = find_scale(values, codes.low, codes.high, how, power_of_two=pot)
        quantiser.start_at((scale * quantiser.steps).reshape(()))


def _observed(model: nn.Module, batches: list[Tensor]) -> dict[TensorQuant, list[Tensor]]:
    """What reached each activation quantiser while every quantiser let its values pass."""
    quantisers = {name: m for name, m in model.named_modules() if isinstance(m, TensorQuant)}
    training = model.training
    for quantiser in quantisers.values():
        quantiser.observed = []
    try:
        with torch.no_grad():
            model.eval()
            for x in batches:
                model(x)
        return {
            quantiser: quantiser.observed
            for name, quantiser in quantisers.items()
            if quantiser.observed and not quantiser.quantiser.codes.bipolar
            and not name.startswith("input_quant") and "weight_quant." not in name
        }  # fmt: skip
    finally:
        for quantiser in quantisers.values():
            quantiser.observed = None
        model.train(training)
