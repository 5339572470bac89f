"""The recipe's section [train]."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=0.9)]


class TrainSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, how fast, and on what.

    Attributes:
        batch_size: Rows of one optimiser step, over all replicas together.
        learning_rate: The peak of the schedule.
        schedule: After the warm-up half a cosine to zero, or the peak to the end; one-cycle also begins with
            half a cosine and, for Adam and SGD, moves the momentum against the rate.
        warmup: Fraction of all steps during which the rate rises.
        optimiser: adamw and adamw8bit decouple the weight decay; adam and sgd add it to the gradient.
        momentum: Of SGD.
        nesterov: Of SGD.
        weight_decay: On weights only (not on batch normalisation, biases and scales).
        quantiser_rate: The learning rate of scales, clips and bit widths is this many times the others'.
        clip_gradient: Largest norm of the gradient of all parameters together; 0 is any.
        ema: Decay of the moving average of the weights, which is then what is scored and exported; 0 is none.
        label_smoothing: Probability mass moved from the true class to all classes.
        precision: Of the forward pass's products (autocast); weights stay in float32.
        device: auto is CUDA where there is some.
        threads: Of one replica on the CPU; other counts sum in other orders, so it belongs to the result.
        compile: Fuse the forward and backward pass with torch.compile.
        jit: Brevitas's own fusion, BREVITAS_JIT; read when Brevitas is imported.
        init: Checkpoint of another run of the same network, float or quantised, to start from.
    """

    epochs: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    batch_size: Annotated[int, msgspec.Meta(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.01
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    warmup: Fraction = 0.2
    optimiser: Literal["adamw", "adam", "sgd", "adamw8bit"] = "adamw"
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    quantiser_rate: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.0
    clip_gradient: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    label_smoothing: Fraction = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    compile: bool = False
    jit: bool = False
    init: str = ""

    def __post_init__(self) -> None:
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ValueError("nesterov is a kind of momentum: it needs optimiser sgd and momentum above 0")
        if self.compile and self.jit:
            raise ValueError("compile and jit both fuse the quantisers: set one of them")
