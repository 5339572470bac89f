"""What a run computes on: device, precision, threads, and Brevitas's own compiler."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from hwq.errors import InputError
from hwq.train.train_spec import TrainSpec

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(spec: TrainSpec, local_rank: int = 0) -> torch.device:
    """The device of this replica.

    Raises:
        InputError: No CUDA device, or one that cannot do the precision.
    """
    cuda = torch.cuda.is_available()
    if spec.device == "cuda" and not cuda:
        raise InputError(
            "key 'train.device': cuda, but torch finds no CUDA device here\n  cure: cpu, or auto for what there is"
        )
    device = torch.device("cuda", local_rank) if cuda and spec.device != "cpu" else torch.device("cpu")
    if spec.precision == "float16" and device.type != "cuda":
        raise InputError(
            "key 'train.precision': float16 is for CUDA devices; on the CPU take bfloat16 or float32"
        )
    if spec.precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError("key 'train.precision': this CUDA device has no bfloat16: take float16 or float32")
    return device


def autocast(spec: TrainSpec, device: torch.device) -> AbstractContextManager[object]:
    """Products in the recipe's precision inside."""
    if spec.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[spec.precision])


def jit_enabled() -> bool:
    """Whether Brevitas was imported with its own compiler on."""
    from brevitas import config

    return bool(config.JIT_ENABLED)


@contextmanager
def reproducible(threads: int = 1) -> Iterator[None]:
    """Deterministic kernels on so many threads inside; the caller's torch settings and random state after."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(mode=strict)
