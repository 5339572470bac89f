"""An epoch's batches: drawn from (seed, epoch) alone, so every process and every resumed run has the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwq.train.data import Dataset
from hwq.train.distributed import Replicas
from hwq.train.recipe import Recipe


@dataclass(frozen=True)
class TrainingRows:
    """The training part on its device, as a source of batches."""

    x: Tensor
    y: Tensor
    shift: int
    seed: int
    batch_size: int
    replicas: Replicas

    @property
    def count(self) -> int:
        """Batches in an epoch; an incomplete last one is left out, because batch normalisation needs rows."""
        return len(self.x) // self.batch_size

    def epoch(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This replica's rows of the epoch's shuffled, shifted batches."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, index))
        offsets = draw_shifts(len(self.x), self.shift, generator)
        order = torch.randperm(len(self.x), generator=generator)
        for number in range(self.count):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            part = self.replicas.share(rows)
            here = part.to(self.x.device)
            yield shift_images(self.x[here], offsets[:, part], self.shift), self.y[here]


def training_rows(recipe: Recipe, data: Dataset, device: torch.device, replicas: Replicas) -> TrainingRows:
    """A recipe's source of batches."""
    return TrainingRows(
        torch.from_numpy(data.x_train).to(device),
        torch.from_numpy(data.y_train).to(device),
        recipe.data.shift,
        recipe.seed,
        min(recipe.train.batch_size, len(data.x_train)),
        replicas,
    )


def epoch_seed(seed: int, index: int) -> int:
    """Seed of everything random in an epoch."""
    return seed * 1_000_003 + index


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
