"""The cost of the sparse part of RoSA in one layer: forward and backward pass against LoRA's, interleaved in one process.

    python -m paper_repro.sparse.step [--sizes 2048,4096] [--densities 0.001,0.006,0.02] [--device cuda]

A frozen linear layer stands in the middle of a network: its input wants a gradient. Each sparse variant has LoRA's factors
beside it; `adapter` is `sparse_low_rank` as it is used. `masked` is what there is without sparse kernels: a dense update with
a mask on it and on its gradient. Steps alternate, so that drift of the machine's speed cancels in the ratio of the medians.
On a CPU, which others may use too, the ratio is of the process's own seconds; that of the clock is beside it. Memory is the
most that a step allocates on top of what was there, and what the sparse part keeps between steps: values, gradients, Adam's
moments, positions, mask.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bayespeft.adapters.lora import Lora
from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.layers.layer import Layer, as_layer
from bayespeft.layers.sparse import KERNELS, Kernel, Pattern, choose, sparse_linear
from bayespeft.layers.weights import Shared
from paper_repro.efficiency.timing import timed
from paper_repro.results import append

EXPERIMENT = "sparse_step"
# A float32 value, its gradient, Adam's two moments.
TRAINED = 16
# Positions: int64 in the checkpoint, and the pattern of both orders.
INDEX = 8 + 12


class Case:
    """One layer, its LoRA, and a sparse matrix of one density beside it."""

    def __init__(self, size: int, density: float, rank: int, rows: tuple[int, int], device: str) -> None:
        torch.manual_seed(0)
        linear = nn.Linear(size, size, bias=False).requires_grad_(False).to(device)
        layer = as_layer("layer", linear)
        assert layer is not None
        self.layer: Layer = layer
        self.adapter = SparseLowRank(r=rank, density=density)
        self.lora_adapter = Lora(r=rank)
        factors = {
            name: factor.init.to(device)
            for name, factor in self.adapter.factors(layer, torch.Generator().manual_seed(0)).items()
        }
        self.index = factors.pop("index")
        self.factors = {name: value.requires_grad_() for name, value in factors.items()}
        self.pattern = Pattern.of(self.index, size, size)
        self.x = torch.randn(*rows, size, device=device, requires_grad=True)
        self.dy = torch.randn(*rows, size, device=device)

    def lora(self) -> Tensor:
        """Layer and LoRA."""
        weights = {name: Shared(self.factors[name]) for name in "AB"}
        return self.lora_adapter.apply(weights, self.x, self.layer.module(self.x), self.layer)

    def kernel(self, kernel: Kernel) -> Tensor:
        """Layer, LoRA and the sparse product in one way."""
        return self.lora() + sparse_linear(self.x, self.factors["values"], self.pattern, kernel)

    def own(self) -> Tensor:
        """The adapter as it is used."""
        weights = {name: Shared(value) for name, value in {**self.factors, "index": self.index}.items()}
        return self.adapter.apply(weights, self.x, self.layer.module(self.x), self.layer)

    def step(self, forward: Callable[[], Tensor]) -> None:
        """Forward and backward pass; gradients are dropped."""
        forward().backward(self.dy)
        for tensor in (self.x, *self.factors.values()):
            tensor.grad = None


class Masked:
    """LoRA and a dense update under a mask, on one case's layer."""

    def __init__(self, case: Case) -> None:
        self._case = case
        shape = (case.layer.out_features, case.layer.in_features)
        self._update = torch.zeros(shape, device=case.x.device, requires_grad=True)
        self._mask = (
            torch.zeros(shape, dtype=torch.bool, device=case.x.device).flatten().index_fill(0, case.index, True)
        )
        self._mask = self._mask.reshape(shape)

    def forward(self) -> Tensor:
        """Layer, LoRA and a dense product."""
        self._update.grad = None
        return self._case.lora() + linear(self._case.x, self._update * self._mask)


def peak(step: Callable[[], None], device: str) -> int:
    """Return the most bytes that a step has allocated at one time, on top of what was there."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        total += event.nbytes()
        most = max(most, total)
    return most


def measure(case: Case, args: argparse.Namespace) -> None:
    """Time all variants of a case in turn and append them."""
    size, k, device = case.layer.in_features, len(case.index), args.device
    wanted = args.variants.split(",")
    forwards = {"lora": case.lora, "adapter": case.own}
    forwards |= {kernel.name: partial(case.kernel, kernel) for kernel in KERNELS}
    forwards["masked"] = Masked(case).forward
    steps = {name: partial(case.step, forward) for name, forward in forwards.items() if name in ["lora", *wanted]}
    dense = size * size
    kept = {"lora": 0, "masked": dense * (TRAINED + 1)}
    gc.disable()
    for step in steps.values():
        step()
    clock: dict[str, list[float]] = {name: [] for name in steps}
    own: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.steps):
        for name, step in steps.items():
            begin = time.process_time()
            clock[name].append(timed(step, device))
            own[name].append(time.process_time() - begin)
    gc.enable()
    medians = {name: statistics.median(seconds) for name, seconds in (clock if device == "cuda" else own).items()}
    for name, step in steps.items():
        if name != "lora":
            append(
                EXPERIMENT,
                size=size,
                density=case.adapter.density,
                nonzeros=k,
                variant=name,
                kernel=choose(case.pattern, case.x.device).name if name == "adapter" else None,
                rank=case.adapter.r,
                batch=args.batch,
                length=args.length,
                steps=args.steps,
                device=device,
                lora_ms=round(1000 * medians["lora"], 2),
                ms=round(1000 * medians[name], 2),
                ratio=round(medians[name] / medians["lora"], 3),
                clock_ratio=round(statistics.median(clock[name]) / statistics.median(clock["lora"]), 3),
                step_mib=round(peak(step, device) / 2**20, 2),
                lora_step_mib=round(peak(steps["lora"], device) / 2**20, 2),
                kept_mib=round(kept.get(name, k * (TRAINED + INDEX)) / 2**20, 2),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2048,4096")
    parser.add_argument("--densities", default="0.001,0.006,0.02")
    parser.add_argument("--variants", default="adapter,csr,gather,dense,masked")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch, on a CPU")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for size in map(int, args.sizes.split(",")):
        for density in map(float, args.densities.split(",")):
            measure(Case(size, density, args.rank, (args.batch, args.length), args.device), args)


if __name__ == "__main__":
    main()
