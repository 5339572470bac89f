"""Sliding windows over (N, H, W, C): shared by convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""
MAX_ELEMENTS = 2**28
"""Of one tensor, a sample."""
MAX_INPUT_DILATION = 2**12


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


def spread(x: np.ndarray[Any, Any], dilations: Pair) -> np.ndarray[Any, Any]:
    """(N, H, W, C) with dilation - 1 zeros between neighbouring pixels.

    >>> spread(np.array([[[[1], [2]]]]), (1, 3)).ravel().tolist()
    [1, 0, 0, 2]
    """
    if dilations == (1, 1):
        return x
    n, h, w, c = x.shape
    out = np.zeros((n, *spread_size((h, w), dilations), c), dtype=x.dtype)
    out[:, :: dilations[0], :: dilations[1]] = x
    return out


def spread_size(size: Pair, dilations: Pair) -> Pair:
    """Height and width with zeros between the pixels.

    >>> spread_size((3, 4), (2, 1))
    (5, 4)
    """
    if len(dilations) != 2 or not all(1 <= d <= MAX_INPUT_DILATION for d in dilations):
        raise ValueError(f"input dilation {dilations}; 1 to {MAX_INPUT_DILATION} are possible")
    return (size[0] - 1) * dilations[0] + 1, (size[1] - 1) * dilations[1] + 1
