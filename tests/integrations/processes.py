"""What each of two processes does in `test_processes`: module-level functions, which a spawned process can import."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from datasets import Dataset
from packaging.version import Version
from torch.utils.data import DataLoader

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks

STEPS, PER_STEP = 6, 8
# Before 5, transformers' own Trainer reads an optimiser's state to "cpu:0" in several processes on a CPU, which torch lacks.
RESUMES = Version(transformers.__version__).major >= 5
RATES = TrainConfig(lr=1e-2, kl_warmup=0.5)


def trainer(folder: Path, count: int, method: str, **options: Any) -> Any:
    """A trainer whose step takes the same rows, however many processes share them."""
    from transformers import TrainingArguments

    from bayespeft.integrations import BayesTrainer

    tokenizer = networks.tokenizer()
    rows = [
        {**tokenizer(row["text"], padding="max_length", max_length=8), "labels": row["label"]}
        for row in networks.sentences()
    ]
    arguments = TrainingArguments(
        str(folder), use_cpu=True, report_to=[], disable_tqdm=True, max_steps=STEPS, logging_steps=2, seed=3,
        per_device_train_batch_size=PER_STEP // count, per_device_eval_batch_size=5, **options,
    )  # fmt: skip
    data = Dataset.from_list(rows)
    return BayesTrainer(
        networks.bert(), arguments, train_dataset=data, processing_class=tokenizer, guide=method, train=RATES, draws=3
    )


def point(folder: Path, count: int) -> dict[str, Any]:
    """A point, which has no noise."""
    found = trainer(folder, count, "map", save_strategy="no")
    found.train()
    return {
        "values": found.posterior().joint_guide.state_dict(),
        "logs": [log for log in found.state.log_history if "elbo" in log],
        "predictions": torch.tensor(found.predict(found.train_dataset).predictions),
    }


def resumed(folder: Path, count: int) -> dict[str, Any]:
    """Noise of each process, with a checkpoint half way, and the same from there on."""
    saving = {"save_strategy": "steps", "save_steps": 3}
    whole = trainer(folder, count, "melora", **saving)
    whole.train()
    found = {"whole": whole.posterior().joint_guide.state_dict()}
    if RESUMES:
        again = trainer(folder, count, "melora", **saving)
        again.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
        found["again"] = again.posterior().joint_guide.state_dict()
    return found


def accelerated(count: int) -> dict[str, Any]:
    """The same with accelerate, in a loop of one's own."""
    from accelerate import Accelerator

    model, (x, y) = networks.mlp(), networks.xy()
    x, y = x[:32], y[:32]
    train = TrainConfig(steps=4, lr=1e-2, average=0.0, kl_warmup=0.0)
    adaptation = bayespeft.adapt(model, (x, y), len(x), "map", targets="all-linear", train=train, seed=3)
    loader = DataLoader(list(zip(x, y, strict=True)), batch_size=PER_STEP // count)
    objective, optimizer, batches = Accelerator(cpu=True).prepare(adaptation.module, adaptation.optimizer(), loader)
    with adaptation:
        for batch in batches:
            objective(tuple(batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return {"steps": adaptation.steps, "values": adaptation.posterior().joint_guide.state_dict()}


def everything(folder: Path, count: int) -> dict[str, Any]:
    """All of it."""
    torch.set_num_threads(1)
    return {
        "accelerated": accelerated(count),
        "point": point(folder / "point", count),
        "resumed": resumed(folder / "noisy", count),
    }


def run(rank: int, folder: str, port: int) -> None:
    """Do all of it as one of two processes, as a launcher starts them, and write down what came of it."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in place.items()}}
    # By the loopback alone: what a machine calls itself may lead nowhere.
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(everything(Path(folder), 2), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
