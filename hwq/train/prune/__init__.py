"""Pruning: single weights while a network trains, whole channels before it is quantised.

`Pruner` is a `hwq.train.technique.Technique` and works in any training loop; `prune_channels` makes a
float network narrower; `sparsity` counts the zeros that hardware will see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwq.train.prune.channels import count_macs, narrow, prune_channels
    from hwq.train.prune.pruner import Pruner
    from hwq.train.prune.spec import ChannelSpec, PruneSpec
    from hwq.train.prune.zeros import Sparsity, sparsity

__all__ = [
    "ChannelSpec",
    "PruneSpec",
    "Pruner",
    "Sparsity",
    "count_macs",
    "narrow",
    "prune_channels",
    "sparsity",
]

_MODULES = {
    "ChannelSpec": "spec",
    "PruneSpec": "spec",
    "Pruner": "pruner",
    "Sparsity": "zeros",
    "sparsity": "zeros",
    "count_macs": "channels",
    "narrow": "channels",
    "prune_channels": "channels",
}


def __getattr__(name: str) -> Any:
    """Import on first use: recipes need `spec` alone, and torch takes seconds."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'hwq.train.prune' has no attribute '{name}'")
    return getattr(import_module(f"hwq.train.prune.{_MODULES[name]}"), name)
