"""Several processes that train one network: `torchrun --nproc-per-node 2 -m hwq train RECIPE`.

Every process has a replica and takes its equal share of each batch; gradients are averaged before the
optimiser's step, in one all-reduce, so the recipe is the same and so is the learning rate. That is what
torch's DistributedDataParallel does; it is not used because Brevitas puts new parameters in place of
some when a state is loaded, and techniques have parameters outside the network.

Batch normalisation: one set of statistics over all replicas on CUDA (SyncBatchNorm); on the CPU,
where torch has none, each replica normalises by its own share, and the running statistics are averaged
after each epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hwq.errors import CheckFailed, InputError
from hwq.train.require import replica_rank


@dataclass(frozen=True)
class Replicas:
    """How many processes train together, and which of them this one is; `local_rank` counts on one machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    def share(self, rows: Tensor) -> Tensor:
        """This replica's rows of a batch."""
        size = len(rows) // self.count
        return rows[self.rank * size : (self.rank + 1) * size]

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the replicas: the same bits in all of them."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Until all replicas are here."""
        if self.count > 1:
            dist.barrier()

    def check_equal(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """Hold every replica's tensors to those of the first, bit for bit.

        Raises:
            CheckFailed: Some differ; the message names one.
        """
        if self.count == 1:
            return
        for name, tensor in named:
            first = tensor.detach().clone()
            dist.broadcast(first, src=0)
            same = torch.tensor(int(torch.equal(first, tensor)), device=tensor.device)
            dist.all_reduce(same, op=dist.ReduceOp.MIN)
            if not same:
                raise CheckFailed(
                    f"the replicas' '{name}' differ after an epoch: something in the network or a technique "
                    "is random, or counts, in each process on its own"
                )


@contextmanager
def replicas(device: str) -> Iterator[Replicas]:
    """The replicas that torchrun started, joined by nccl on CUDA and gloo on the CPU; else this process alone."""
    rank, count = replica_rank()
    if count == 1:
        yield Replicas()
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local_rank)
    try:
        yield Replicas(rank, count, local_rank)
    finally:
        dist.destroy_process_group()


def check_batch(batch_size: int, rows: int, count: int) -> None:
    """Refuse a batch without equal shares of two rows or more, which batch normalisation needs."""
    size = min(batch_size, rows)
    if size % count or size // count < 2:
        raise InputError(
            f"key 'train.batch_size': {size} rows cannot be shared among {count} replicas, two or more each\n"
            f"  cure: a multiple of {count}, at least {2 * count}"
        )


def share_batch_norm(model: nn.Module, device: torch.device, count: int) -> nn.Module:
    """The network with batch statistics over all replicas, where torch can do that."""
    if count == 1 or device.type != "cuda":
        return model
    shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return shared
