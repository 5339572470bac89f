"""Which designs no measured one stands for: what `hwq cost evaluate` flags as outside the calibrated paths."""

from __future__ import annotations

from hwq.cost.model import LayerCost
from hwq.cost.row_schema import Layer, Row

_FOREIGN = ("unknown", "gru", "conv/parallel", "finn", "distributed")
"""Kinds of layers of which no design is calibrated, or designs of one source that differ widely."""
_QUANTISED_BITS = 10
"""Narrower weights come from training with quantisers, which spreads them over their type."""
_SMALLEST_IN = 4
"""Products of fewer inputs are mostly what stands around them."""
_LARGEST_PRODUCT = 1 << 17
"""Weights of the largest unrolled layer that is calibrated, times 4, rounded up."""


def is_outside(row: Row, layers: list[LayerCost]) -> bool:
    """Whether errors beyond half of the value must be expected."""
    if row.template != "upstream" or any(c.path.startswith(_FOREIGN) for c in layers):
        return True
    if any(layer.type.startswith("depthwise") or _divides(layer) for layer in row.layers):
        return True
    if row.level == "layer" and _is_vague(row.layers[0], stream=row.io == "io_stream"):
        return True
    if has_guessed_weights(row) and any((x.w_bits or 16) < _QUANTISED_BITS for x in _matrices(row)):
        return True
    if row.io != "io_stream" and sum(_is_folded(layer) for layer in row.layers) > 1:
        return True
    return any(_is_extreme(layer) for layer in _matrices(row))


def has_guessed_weights(row: Row) -> bool:
    """Whether a trained network's weights are unknown: single layers of a search are built with random ones."""
    unrolled = [x for x in _matrices(row) if (x.strategy or "latency") != "resource" or (x.rf or 1) == 1]
    return len(unrolled) > 1 and any(_is_guess(layer) for layer in unrolled)


def _matrices(row: Row) -> list[Layer]:
    return [
        layer
        for layer in row.layers
        if layer.type == "dense" or ("conv" in layer.type and "finn" not in layer.type)
    ]


def _is_guess(layer: Layer) -> bool:
    return layer.w is None or layer.w.u3 is None or (layer.w.src or "").startswith("expected")


def _divides(layer: Layer) -> bool:
    """A mean over windows that reach beyond the image: Vivado HLS divides by their size, Vitis HLS does not."""
    if not layer.type.startswith("pooling") or layer.op != "avg":
        return False
    sizes = ((layer.in_w, layer.out_w, layer.pw), (layer.in_h, layer.out_h, layer.ph))
    return any(given and out and window and out * window > given for given, out, window in sizes)


def _is_folded(layer: Layer) -> bool:
    """With shared multipliers; between two of them in io_parallel lie channels that were never measured."""
    return layer.strategy == "resource" and (layer.rf or 1) > 1 and (layer.w_bits or layer.w) is not None


def _is_vague(layer: Layer, *, stream: bool) -> bool:
    """An element-wise layer alone: how many elements a word of its stream has, or that a copy is kept, is not said."""
    if layer.type != "activation":
        return False
    return layer.act == "linear" or (stream and layer.out_ch is None and layer.in_ch is None)


def _is_extreme(layer: Layer) -> bool:
    depthwise = layer.type.startswith("depthwise")
    taps = (layer.kh or 1) * (layer.kw or 1) if "conv" in layer.type else 1
    n_in = taps * (1 if depthwise else layer.in_ch or layer.n_in or _SMALLEST_IN)
    weights = n_in * (layer.n_out or layer.out_ch or 1)
    unrolled = (layer.rf or 1) == 1 or layer.strategy != "resource"
    return n_in < _SMALLEST_IN or (unrolled and weights > _LARGEST_PRODUCT)
