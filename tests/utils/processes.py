"""What each of two processes does in `test_processes`: module-level functions, which a spawned process can import."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from bayespeft.errors import DataError
from bayespeft.utils.processes import distributed, rank, shared_out, world_size


def failing() -> str:
    """One process fails, and all learn of it."""

    def work(item: int) -> int:
        if item == 1:
            raise DataError(f"item {item}, in process {rank()}")
        return item

    try:
        list(shared_out(range(5), work))
    except DataError as error:
        return str(error)
    return ""


def run(number: int, folder: str) -> None:
    """Join a group of two, share work out, and write down what came of it."""
    # By the loopback alone: what a machine calls itself may lead nowhere.
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    worked: list[int] = []
    shared = list(shared_out(range(5), lambda item: worked.append(item) or item * item))
    found = {"who": [distributed(), rank(), world_size()], "shared": shared, "worked": worked, "failing": failing()}
    torch.save(found, Path(folder) / f"{number}.pt")
    dist.destroy_process_group()
