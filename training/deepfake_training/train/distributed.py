"""Training in one process or in several under torchrun.

timm's ``init_distributed_device`` is not used: it also reacts to SLURM's variables, never leaves
the process group, and the division of pairs would remain here anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from deepfake_training.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Workers:
    """The rank of this process, the number of processes, and the device of this one."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True in the one process that validates, logs and writes checkpoints."""
        return self.rank == 0

    def share(self, pairs: int) -> int:
        """Return the number of a step's pairs that each process takes; ``ConfigError`` if they do
        not divide evenly, because the result of the training would then depend on the number of
        processes."""
        if pairs % self.world:
            raise ConfigError(
                f"fit.pairs: {pairs} is not divisible by {self.world} processes. Start another "
                "number of processes."
            )
        return pairs // self.world

    def numbers(self, start: int, steps: int, pairs: int) -> list[int]:
        """Return the numbers of this process's pairs in the steps ``start`` to ``steps``."""
        share = self.share(pairs)
        first = self.rank * share
        return [s * pairs + first + k for s in range(start, steps) for k in range(share)]

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return ``model`` with its gradients averaged over all processes."""
        if self.world == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def sum(self, value: float) -> float:
        """Return the sum of ``value`` over all processes."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total)

    def mean(self, value: torch.Tensor) -> float:
        """Return the mean of a scalar over all processes."""
        return self.sum(value.item()) / self.world

    def wait(self) -> None:
        """Wait until every process has reached this point."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined() -> Iterator[Workers]:
    """Join the processes that torchrun started, and leave them at the end of the block.

    They communicate over NCCL on GPUs and over Gloo on CPUs. A single process takes the GPU if
    there is one.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    gpu = torch.cuda.is_available()
    if world == 1:
        yield Workers(0, 1, torch.device("cuda" if gpu else "cpu"))
        return
    device = torch.device("cpu")
    if gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Workers(distributed.get_rank(), world, device)
    finally:
        distributed.destroy_process_group()
