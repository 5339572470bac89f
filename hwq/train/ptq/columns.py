"""The inputs of a layer as rows of the matrix product that it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS, _CHUNK = 1 << 14, 64


def columns(layer: Any, inputs: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """For each of the inputs (N, ...) one matrix (groups, rows, weights of one output), same rows for all.

    Where a convolution has more places than can be held, rows are drawn at random.
    """
    parts: list[list[Tensor]] = [[] for _ in inputs]
    chunks = range(0, len(inputs[0]), _CHUNK)
    for start in chunks:
        flat = [_unfolded(layer, x[start : start + _CHUNK]) for x in inputs]
        rows, most = flat[0].shape[1], max(1, _ROWS // len(chunks))
        drawn = torch.randperm(rows, generator=generator)[:most] if rows > most else torch.arange(rows)
        for part, x in zip(parts, flat, strict=True):
            part.append(x[:, drawn])
    return [torch.cat(part, 1) for part in parts]


def _unfolded(layer: Any, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)  # noqa: SLF001
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    if isinstance(layer, nn.Conv1d):
        x, kernel, dilation, stride = x[:, :, None], (1, *kernel), (1, *dilation), (1, *stride)
    flat = functional.unfold(x, kernel, dilation, 0, stride)
    samples, rows, places = flat.shape
    grouped = flat.reshape(samples, layer.groups, rows // layer.groups, places)
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, samples * places, -1)
