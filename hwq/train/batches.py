"""An epoch's batches: drawn from (seed, epoch) alone, so every process and every resumed run has the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwq.train.augment import draw_flips, draw_shifts, flip_images, shift_images
from hwq.train.data import Dataset
from hwq.train.distributed import Replicas
from hwq.train.recipe import Recipe


@dataclass(frozen=True)
class TrainingRows:
    """The training part on its device, as a source of batches."""

    x: Tensor
    y: Tensor
    shift: int
    flip: bool
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
        mirrored = draw_flips(len(self.x), generator) if self.flip else None
        order = torch.randperm(len(self.x), generator=generator)
        for number in range(self.count):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            part = self.replicas.share(rows)
            here = part.to(self.x.device)
            x = shift_images(self.x[here], offsets[:, part], self.shift)
            yield x if mirrored is None else flip_images(x, mirrored[part]), self.y[here]


def training_rows(recipe: Recipe, data: Dataset, device: torch.device, replicas: Replicas) -> TrainingRows:
    """A recipe's source of batches."""
    return TrainingRows(
        torch.from_numpy(data.x_train).to(device),
        torch.from_numpy(data.y_train).to(device),
        recipe.data.shift,
        recipe.data.flip,
        recipe.seed,
        min(recipe.train.batch_size, len(data.x_train)),
        replicas,
    )


def epoch_seed(seed: int, index: int) -> int:
    """Seed of everything random in an epoch."""
    return seed * 1_000_003 + index
