"""Variations of training images, drawn for a whole epoch and applied to a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_shifts(count: int, pixels: int, generator: torch.Generator) -> Tensor:
    """Offsets (2, count, 1), down and right, of 0..2·pixels; nothing is drawn for no pixels."""
    if pixels == 0:
        return torch.zeros(2, count, 1, dtype=torch.int64)
    return torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator)


def shift_images(x: Tensor, offsets: Tensor, pixels: int) -> Tensor:
    """Move every image (N, C, H, W) by its offset less `pixels`, towards the origin; zeros come in."""
    if pixels == 0:
        return x
    count, channels, height, width = x.shape
    offsets = offsets.to(x.device)
    padded = torch.nn.functional.pad(x, (pixels,) * 4)
    rows = (torch.arange(height, device=x.device) + offsets[0])[:, None, :, None]
    columns = (torch.arange(width, device=x.device) + offsets[1])[:, None, None, :]
    samples = torch.arange(count, device=x.device)[:, None, None, None]
    return padded[samples, torch.arange(channels, device=x.device)[:, None, None], rows, columns]


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """Whether to mirror each of so many images, with probability one half."""
    return torch.randint(0, 2, (count, 1, 1, 1), generator=generator, dtype=torch.bool)


def flip_images(x: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the marked images (N, C, H, W) left to right."""
    return torch.where(mirrored.to(x.device), x.flip(-1), x)
