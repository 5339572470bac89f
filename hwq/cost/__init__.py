"""Estimates of resources, cycles and inferences per second without vendor tools, each with a band.

`hwq.cost.model` holds the records, `hwq.cost.laws` one law a kind of layer, `hwq.cost.fits` the
coefficients (``fits.json``, made by `hwq.cost.calibrate` from ``points/*.csv``), and
`hwq.cost.assemble` puts a whole design together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwq.cost.assemble import estimate
    from hwq.cost.model import Estimate, Fits, LayerCost, Stage, Value

__all__ = ["Estimate", "Fits", "LayerCost", "Stage", "Value", "estimate"]


def __getattr__(name: str) -> Any:
    """Import on first use: the ops import their laws from here, and `assemble` imports the ops."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'hwq.cost' has no attribute '{name}'")
    return getattr(import_module("hwq.cost.assemble" if name == "estimate" else "hwq.cost.model"), name)
