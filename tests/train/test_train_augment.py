"""Mirrored images: each is itself or its mirror image, about half of them, the same for the same seed."""

from __future__ import annotations

import torch

from hwq.train.augment import draw_flips, flip_images


def test_about_half_of_the_images_are_mirrored_and_the_rest_are_as_they_were() -> None:
    x = torch.rand(400, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    flipped = flip_images(x, draw_flips(len(x), torch.Generator().manual_seed(0)))
    same = (flipped == x).flatten(1).all(1)
    mirrored = (flipped == x.flip(3)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 160 < int(mirrored.sum()) < 240
    assert torch.equal(flipped, flip_images(x, draw_flips(len(x), torch.Generator().manual_seed(0))))
