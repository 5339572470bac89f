"""Variations of training images; everything random comes from the generator given."""

from __future__ import annotations

import torch


def flip_images(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image (N, C, H, W) left to right with probability one half."""
    mirrored = torch.randint(0, 2, (len(x), 1, 1, 1), generator=generator, dtype=torch.bool)
    return torch.where(mirrored, x.flip(-1), x)
