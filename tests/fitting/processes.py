"""What each of two processes does in `test_process_noise`: module-level functions, which a spawned process can import."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import bayespeft
from bayespeft import Adaptation, TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.testing import networks

STEPS = 4
TRAIN = TrainConfig(steps=STEPS, lr=1e-2, clip=0.0, average=0.0, kl_warmup=0.5, lr_schedule="constant", warmup=0.0)


def problem(method: str, sharded: bool = False) -> tuple[Adaptation, tuple[torch.Tensor, torch.Tensor], nn.Module]:
    """The same network, data and adaptation in every process; of a network that is `sharded` before, or whole."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(5, 12), nn.Tanh()), nn.Linear(12, 3)).eval()
    x = torch.randn(48, 5, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    if sharded:
        shard(model, [model[0]])
    return bayespeft.adapt(model, (x, y), 48, method, targets="all-linear", train=TRAIN, seed=3), (x, y), model


def parts(data: tuple[torch.Tensor, torch.Tensor], step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of a step: one for each of two processes."""
    x, y = data
    first = 12 * step % 48
    return [(x[i : i + 6], y[i : i + 6]) for i in (first, first + 6)]


def shard(model: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """Leave each process half of the numbers of a frozen base."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for block in (*blocks, model):
        fully_shard(block, mesh=mesh)
    assert sum(p.to_local().numel() for p in model.parameters()) < 0.6 * sum(p.numel() for p in model.parameters())


def train(rank: int, method: str, saved: Path | None = None, first: bool = False) -> dict[str, Any]:
    """Train in a DistributedDataParallel, and return the first step's gradients, the result, and a shared prediction.

    With `saved` the network is sharded, `first` or once it has its adapters, and the posterior saved there.
    """
    adaptation, data, model = problem(method, first)
    if saved is not None and not first:
        shard(model, [model[0]])
    wrapped = DistributedDataParallel(adaptation.module)
    optimizer = adaptation.optimizer()
    gradients: list[torch.Tensor] = []
    with adaptation:
        for step in range(STEPS):
            wrapped(parts(data, step)[rank]).backward()
            if not step:
                gradients = [parameter.grad.clone() for parameter in adaptation.module.parameters()]
            optimizer.step()
            optimizer.zero_grad()
        terms = adaptation.terms()
    posterior = adaptation.posterior()
    if saved is not None:
        posterior.save(saved)
    return {
        "gradients": gradients,
        "values": posterior.joint_guide.state_dict(),
        "terms": terms,
        "probs": shared(posterior, data) if saved is None else None,
        "by_draws": shared(posterior, data, "draws") if saved is None else None,
        "refused": "" if saved is None else refused(posterior, data),
        "alone": posterior.predict(data, draws=4, batch_size=7).probs,
        "five": posterior.predict(data, draws=5, batch_size=7).probs,
    }


def shared(posterior: Any, data: Any, how: Any = True) -> torch.Tensor:
    """Predict, each process a share of the rows, or of the draws."""
    found: torch.Tensor = posterior.predict(data, draws=5 if how == "draws" else 4, batch_size=7, shared=how).probs
    return found


def refused(posterior: Any, data: Any) -> str:
    """Say why rows can't be shared out."""
    try:
        shared(posterior, data)
    except ConfigError as error:
        return str(error)
    return ""


def answers(rank: int, sharded: bool) -> dict[str, torch.Tensor]:
    """Train a causal language model that answers with label tokens, on two questions in each process, and return the result."""
    model, rows = networks.llama(), networks.questions()
    options: Any = {"tokenizer": networks.tokenizer(), "train": TRAIN, "seed": 3}
    adaptation = bayespeft.adapt(model, rows, len(rows), "map", **options)
    if sharded:
        shard(model, model.model.layers)
    wrapped, optimizer = DistributedDataParallel(adaptation.module), adaptation.optimizer()
    with adaptation:
        for step in range(2):
            wrapped(rows[4 * step + 2 * rank : 4 * step + 2 * rank + 2]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return adaptation.posterior().joint_guide.state_dict()


def fitting() -> str:
    """What `fit` says of several processes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bayespeft.fit(
            networks.mlp(), networks.xy(), "map", targets="all-linear", train=TrainConfig(steps=1), progress=False
        )
    return "".join(str(one.message) for one in caught if "process" in str(one.message))


def run(rank: int, folder: str) -> None:
    """Do all of it, and write down what came of it."""
    # By the loopback alone: what a machine calls itself may lead nowhere.
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found: dict[str, Any] = {method: train(rank, method) for method in ("blob", "map")}
    found |= {f"sharded {method}": train(rank, method, Path(folder) / f"{method}{rank}") for method in ("blob", "map")}
    found |= {
        f"sharded first {method}": train(rank, method, Path(folder) / f"first {method}{rank}", first=True)
        for method in ("blob", "map", "dora")
    }
    found["dora"] = train(rank, "dora")
    found |= {"answers": answers(rank, False), "sharded answers": answers(rank, True)}
    torch.save({**found, "fitting": fitting()}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
