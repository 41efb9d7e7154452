"""Parameters and memory with the backbone: what a posterior over C, or over A, adds to the network that it sits on.

    python -m paper_repro.melora.memory [--model minilm] [--methods mle,map,melora,blob] [--steps 5]

Five steps of 16 texts of 64 tokens. What training keeps of a trained number is four numbers of float32: itself, its
gradient and Adam's two moments. Each method runs in a process of its own, whose peak is that of the fit. Resumable.
"""

from __future__ import annotations

import argparse
import multiprocessing
from typing import Any

import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.pretrained.load import load as load_model
from paper_repro.results import append, read

EXPERIMENT = "backbone_memory"
BATCH, WORDS = 16, 62
KEPT = 4 * 4


def measured(model: str, method: str, steps: int, seed: int) -> dict[str, Any]:
    """Fit for a few steps, and return counts and bytes."""
    torch.set_num_threads(1)
    network, tokenizer = load_model(model, "classification", 2)
    backbone = sum(p.numel() for p in network.parameters())
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    rows = [{"text": " ".join(["good"] * WORDS), "label": n % 2} for n in range(BATCH)]
    posterior = bayespeft.fit(
        network,
        rows,
        method,
        tokenizer=tokenizer,
        train=TrainConfig(steps=steps, batch_size=BATCH, calibrate=False),
        seed=seed,
        progress=False,
    )
    trained = posterior.joint_guide.trainable()
    return {
        "backbone": backbone,
        "trainable": trained,
        "share": trained / backbone,
        "weights_bytes": weights,
        "trained_bytes": KEPT * trained,
        "peak_memory_bytes": posterior.history.peak_memory_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--methods", default="mle,map,melora,blob")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--here", action="store_true", help="in this process, whose peak is then that of all")
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for seed in map(int, args.seeds.split(",")):
        for method in args.methods.split(","):
            key = {"model": args.model, "method": method, "steps": args.steps, "seed": seed}
            if any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                continue
            case = (args.model, method, args.steps, seed)
            if args.here:
                found = measured(*case)
            else:
                with spawn.Pool(1) as pool:
                    found = pool.apply(measured, case)
            append(EXPERIMENT, **key, **found)


if __name__ == "__main__":
    main()
