"""Two processes against one, and a run that was resumed against one that was not: by how much they differ.

    python -m paper_repro.efficiency.processes [--parts gradient,resumed]

The first gradient of two gloo processes on this machine (`DistributedDataParallel` around an adaptation) against that of one
process at equal noise; and the variational parameters of a `BayesTrainer` that goes on from a checkpoint half way against those
of one that ran through. What is run is what the tests run (`tests/fitting/processes.py`, `tests/integrations/processes.py`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from paper_repro.results import append
from tests.fitting import processes
from tests.fitting.test_process_noise import one
from tests.integrations.processes import STEPS, resumed

METHODS = ("blob", "map")
PARTS = ("gradient", "resumed")


def gradient(folder: Path) -> None:
    """Append by how much the mean gradient of two processes is off that of one."""
    spawn(processes.run, (str(folder),), nprocs=2)
    found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for method in METHODS:
        _, expected = one(method)
        mine, yours = (result[method]["gradients"] for result in found)
        append(
            "processes", part="gradient", method=method, processes=2, backend="gloo",
            numbers=sum(value.numel() for value in expected), largest=max(value.abs().max().item() for value in expected),
            difference=_most(mine, expected), between=_most(mine, yours),
        )  # fmt: skip


def resume(folder: Path) -> None:
    """Append by how much a run that was resumed half way is off one that ran through."""
    found = resumed(folder, 1)
    whole, again = (
        [value for value in found[name].values() if value.is_floating_point()] for name in ("whole", "again")
    )
    append(
        "processes", part="resumed", method="melora", steps=STEPS, processes=1,
        numbers=sum(value.numel() for value in whole), difference=_most(whole, again),
    )  # fmt: skip


def _most(found: list[Tensor], expected: list[Tensor]) -> float:
    return max((one - other).abs().max().item() for one, other in zip(found, expected, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", default=",".join(PARTS))
    parts = parser.parse_args().parts.split(",")
    torch.set_num_threads(1)
    for part, measure in zip(PARTS, (gradient, resume), strict=True):
        if part in parts:
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder))


if __name__ == "__main__":
    main()
