"""The intrinsic dimension of a small network on scanned digits, by Fastfood and by a dense random projection.

    python -m paper_repro.intrinsic_dimension.digits [--dimensions 10,30,...] [--seeds 0,1,2]

As in Li et al. 2018, arXiv 1804.08838: a fully connected network stays at its random start, and d numbers, projected at
random to the change of all weights, are trained. scikit-learn's 1,797 digits, of which 500 are held out. Resumable.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import bayespeft
from bayespeft import Method, TrainConfig, registry
from bayespeft.adapters.intrinsic import Intrinsic
from paper_repro.intrinsic_dimension.dense import Dense
from paper_repro.results import append, read

EXPERIMENT = "intrinsic_digits"
DIMENSIONS = (10, 30, 100, 200, 400)
TEST, WIDTH = 500, 50
# Of two rates each, by the training NLL at d = 100.
RATES = {"all": 1e-2, "fastfood": 1e-1, "dense": 1e-1}


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training and test points x (rows, 64) in 0 to 1, and classes (rows,)."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(digits.data, dtype=torch.float32)[order] / 16, torch.tensor(digits.target)[order]
    return (x[TEST:], y[TEST:]), (x[:TEST], y[:TEST])


def network(seed: int) -> nn.Module:
    """Return a network at its random start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)
        ).eval()


def method(projection: str, d: int, seed: int) -> Method:
    """Return the method: all weights, or d numbers behind a projection."""
    if projection == "all":
        return registry.get("methods", "full")
    kind = Dense if projection == "dense" else Intrinsic
    return registry.get("methods", "intrinsic").replace(adapter=kind(d=d, scale="one", seed=seed))


def measured(projection: str, d: int, seed: int, steps: int) -> dict[str, Any]:
    """Fit and return accuracy on the held-out digits."""
    train, (x, y) = data()
    start = time.perf_counter()
    posterior = bayespeft.fit(
        network(seed),
        train,
        method(projection, d, seed),
        targets="all-linear",
        train=TrainConfig(steps=steps, batch_size=64, lr=RATES[projection]),
        seed=seed,
        progress=False,
    )
    found = posterior.predict((x, y), draws=0)
    last = posterior.history.records[-10:]
    return {
        "accuracy": round(float((found.log_probs.argmax(-1) == found.labels).double().mean()), 4),
        "train_nll": round(sum(r.nll for r in last) / len(last), 4),
        "seconds": round(time.perf_counter() - start, 2),
        "trainable": posterior.joint_guide.trainable(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", default=",".join(map(str, DIMENSIONS)))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    # The dense projection is for this comparison alone.
    warnings.filterwarnings("ignore", message="the posterior of this fit can be used, but not saved")
    for seed in map(int, args.seeds.split(",")):
        cases = [("all", 0), *((kind, int(d)) for d in args.dimensions.split(",") for kind in ("fastfood", "dense"))]
        for projection, d in cases:
            key = {"projection": projection, "d": d, "seed": seed, "steps": args.steps}
            if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                append(EXPERIMENT, **key, test_rows=TEST, **measured(projection, d, seed, args.steps))


if __name__ == "__main__":
    main()
