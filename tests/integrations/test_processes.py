"""Two processes of accelerate, and of a Trainer, end where one does; a checkpoint is written once, and goes on bit by bit."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing import spawn

from tests.integrations.processes import RESUMES, accelerated, point, run

pytest.importorskip("accelerate", reason="it starts the processes")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainer's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(run, (str(folder), port), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def assert_near(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6)


def test_a_loop_with_accelerate_ends_where_one_process_does(two):
    one = accelerated(1)
    assert one["steps"] == 4
    for result in two:
        assert result["accelerated"]["steps"] == 4
        assert_near(result["accelerated"]["values"], one["values"])


def test_a_trainer_ends_where_one_process_does(two, tmp_path):
    one = point(tmp_path, 1)
    for result in two:
        assert_near(result["point"]["values"], one["values"])
        torch.testing.assert_close(result["point"]["predictions"], one["predictions"], rtol=1e-4, atol=1e-6)
    for log, wanted in zip(two[0]["point"]["logs"], one["logs"], strict=True):
        for name in ("nll", "kl", "elbo"):
            assert log[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-6)


def test_a_checkpoint_is_written_once_and_goes_on_bit_by_bit(two, folder):
    names = sorted(path.name for path in (folder / "noisy" / "checkpoint-3").iterdir() if path.suffix == ".pt")
    assert names == [
        "adaptation.pt",
        "noise_0.pt",
        "noise_1.pt",
        *(n for n in names if n.startswith(("opti", "sched"))),
    ]
    kinds = ("whole", "again") if RESUMES else ("whole",)
    first, *others = [result["resumed"][kind] for kind in kinds for result in two]
    for name, value in first.items():
        assert all(torch.equal(value, other[name]) for other in others)
