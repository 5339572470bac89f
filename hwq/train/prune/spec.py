"""The [prune] section: which weights become zero, when, and which channels go."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Sparse = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Kept = Annotated[int, msgspec.Meta(ge=1, le=64)]


class ChannelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole channels, removed from the trained float network before it is quantised.

    Attributes:
        macs: Multiplications to keep, as a share of the dense network's; the result has at most as many.
        importance: Of a channel, over all layers that it couples: their weights' magnitude, or the first
            order Taylor expansion of the loss on training data (Molchanov 2019).
        multiple_of: Widths stay multiples of this number.
        smallest: No layer keeps a smaller share of its channels than this.
        samples: Training samples for the Taylor importance.
        ignore: Layers (names, or patterns with * and ?) that keep their outputs.
    """

    macs: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    importance: Literal["magnitude", "taylor"] = "magnitude"
    multiple_of: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    smallest: Share = 0.1
    samples: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2048
    ignore: tuple[str, ...] = ()


class PruneSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pruning of single weights, and of channels.

    Attributes:
        sparsity: Share of the weights that end as zeros; 0 prunes none.
        method: When masks are made. "gradual" follows a cubic from `start` to `end` (Zhu & Gupta 2017);
            "one-shot" prunes once, at `start`; "rigl" starts sparse and moves weights until `end` (Evci
            2020); "lottery" trains `rounds` + 1 times, prunes after each of the first `rounds`, and
            goes back to early weights (Frankle & Carbin 2019; Frankle 2020); "hold" keeps the zeros
            that the initial weights have.
        importance: What makes a weight worth keeping: its magnitude; the sum of -weight x gradient
            ("movement", Sanh 2020); the square of weight x gradient ("taylor", Molchanov 2019); or its
            square for each LUT that it costs ("hardware").
        scope: Whether weights compete over all layers, or in their own.
        pattern: [n, m] keeps n of each m successive inputs of a weight's kernel position; instead of `sparsity`.
        layers: Sparsity by layer (name or pattern), for layers that do not take part in `scope`.
        ignore: Layers (names, or patterns with * and ?) that stay dense.
        start: Where pruning begins, as a share of the run (lottery: of the first round, where the
            weights to go back to are taken).
        end: Where it ends.
        every: Optimiser steps between two changes of the masks.
        initial: Sparsity at `start`, of the gradual schedule.
        distribution: Of rigl's weights over the layers: Erdős-Rényi-Kernel, or the same share in each.
        exchange: Share of the weights that rigl first moves at a time; falls to 0 as a cosine.
        rounds: Of the lottery.
        penalty: Added to the loss: the sum of the magnitudes, or of the Euclidean norms of each output's
            weights (Wen 2016), which empties channels.
        strength: Factor of the penalty.
        channels: Structured pruning.
        seed: Draws rigl's first weights.
    """

    sparsity: Sparse = 0.0
    method: Literal["gradual", "one-shot", "rigl", "lottery", "hold"] = "gradual"
    importance: Literal["magnitude", "movement", "taylor", "hardware"] = "magnitude"
    scope: Literal["global", "layer"] = "global"
    pattern: tuple[Kept, Kept] | None = None
    layers: dict[str, Sparse] = {}
    ignore: tuple[str, ...] = ()
    start: Share = 0.1
    end: Share = 0.6
    every: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50
    initial: Sparse = 0.0
    distribution: Literal["erk", "uniform"] = "erk"
    exchange: Share = 0.3
    rounds: Annotated[int, msgspec.Meta(ge=1, le=30)] = 3
    penalty: Literal["none", "l1", "group"] = "none"
    strength: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 1e-4
    channels: ChannelSpec | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"end ({self.end}) lies before start ({self.start})")
        if self.initial > self.sparsity > 0:
            raise ValueError(f"initial ({self.initial}) is above sparsity ({self.sparsity})")
        if self.pattern is not None:
            self._check_pattern(*self.pattern)
        if self.method == "rigl" and self.importance != "magnitude":
            raise ValueError("method rigl drops by magnitude and grows by gradient: leave importance out")

    def _check_pattern(self, kept: int, group: int) -> None:
        if kept >= group:
            raise ValueError(f"pattern [{kept}, {group}] keeps all: give fewer than {group} of {group}")
        if self.sparsity or self.layers:
            raise ValueError(f"pattern [{kept}, {group}] fixes the sparsity: leave sparsity and layers out")
        if self.method == "rigl":
            raise ValueError("method rigl has no pattern: use gradual or one-shot")

    @property
    def target(self) -> float:
        """The sparsity of layers without an entry of their own."""
        return self.sparsity if self.pattern is None else 1 - self.pattern[0] / self.pattern[1]

    @property
    def makes_zeros(self) -> bool:
        """Whether single weights are pruned at all."""
        return self.method == "hold" or self.target > 0 or any(self.layers.values())
