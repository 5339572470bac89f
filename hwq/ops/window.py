"""Sliding windows over (N, H, W, C): shared by convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""
MAX_ELEMENTS = 2**28
"""Of one tensor, a sample."""


def out_size(size: Pair, kernel: Pair, strides: Pair, pads: Pads, dilations: Pair = (1, 1)) -> Pair:
    """Output height and width.

    >>> out_size((8, 8), (3, 3), (2, 2), (1, 1, 1, 1))
    (4, 4)
    """
    pairs = (kernel, strides, dilations)
    if any(len(p) != 2 or min(p) < 1 for p in pairs) or len(pads) != 4 or min(pads) < 0:
        raise ValueError(f"a window of {kernel}, strides {strides}, dilation {dilations}, pads {pads}")
    if (size[0] + pads[0] + pads[2]) * (size[1] + pads[1] + pads[3]) > MAX_ELEMENTS:
        raise ValueError(f"pads {pads} make more than {MAX_ELEMENTS} elements of {size}")
    h, w = (
        (size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in (0, 1)
    )
    if min(h, w) < 1:
        raise ValueError(
            f"a window of {kernel} (dilation {dilations}) does not fit in {size} with pads {pads}"
        )
    return h, w


def windows(
    x: np.ndarray[Any, Any], kernel: Pair, strides: Pair, pads: Pads, dilations: Pair = (1, 1), fill: int = 0
) -> np.ndarray[Any, Any]:
    """View (N, out_h, out_w, C, kernel_h, kernel_w) of x padded with `fill`."""
    if any(pads):
        top, left, bottom, right = pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=(1, 2))
    return view[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
