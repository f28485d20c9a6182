"""One process or several under torchrun: which part of a batch is whose, and on what device."""

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
    """This process's place among those that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process validates, logs and writes checkpoints."""
        return self.rank == 0

    def share(self, pairs: int) -> int:
        """Pairs of a step that fall to each process.

        Raises:
            ConfigError: when they cannot be dealt out evenly, since then no two numbers of
                processes would train alike.
        """
        if pairs % self.world:
            raise ConfigError(f"fit.pairs: {pairs} cannot be dealt out to {self.world} processes")
        return pairs // self.world

    def numbers(self, start: int, steps: int, pairs: int) -> list[int]:
        """The numbers of this process's pairs of steps ``start`` to ``steps``, in order."""
        share = self.share(pairs)
        first = self.rank * share
        return [s * pairs + first + k for s in range(start, steps) for k in range(share)]

    def wrapped(self, model: nn.Module) -> nn.Module:
        """``model`` with its gradients averaged over all processes."""
        if self.world == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def sum(self, value: float) -> float:
        """The sum of ``value`` over all processes."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total)

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over all processes."""
        return self.sum(value.item()) / self.world

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined() -> Iterator[Workers]:
    """Join the processes that torchrun started, over NCCL with GPUs and Gloo without; alone, the
    one process takes the GPU where there is one."""
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
