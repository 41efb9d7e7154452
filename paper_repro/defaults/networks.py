"""The default call on small plain networks that nobody tuned for, against maximum likelihood: tables of numbers, not texts.

    python -m paper_repro.defaults.networks [--tasks digits,cancer] [--rows 80,300] [--seeds 0]

scikit-learn's digits, breast cancer and wine, and networks of three layers with adapters on all of them: one at its random
start, or one that knows the first half of the digits and is to learn the others, too. `made`: another task for each seed, of
2 to 4 classes, 5 to 9 features of 20 that tell, 1 or 2 clusters a class, up to 6 % of labels wrong. `melora_elbo` keeps the
prior's weight. Resumable. The rule by which held-out rows weigh the prior was chosen with digits and cancer in sight, on other
training rows; that by which they choose a step, and the belief about a temperature, on those and on `made` with seeds below 25.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from torch import Tensor, nn

import bayespeft
from bayespeft import TrainConfig
from paper_repro.defaults.run import EXPERIMENT, maximum_likelihood, measure
from paper_repro.results import read

DATA = {"digits": load_digits, "half the digits": load_digits, "cancer": load_breast_cancer, "wine": load_wine}
MADE = "made"
METHODS = ("mle", "melora", "melora_elbo")
SIZES = {MADE: (80, 300), "digits": (80, 300), "half the digits": (80, 300), "cancer": (60, 300), "wine": (60,)}
POOL = 0.6  # of all rows; the others are test rows


def rows(task: str, seed: int = 0) -> tuple[Tensor, Tensor, int]:
    """Return features (n, d), classes (n,), and how many of the rows, the first, may be trained on; `seed` makes a task."""
    found = made(seed) if task == MADE else DATA[task](return_X_y=True)
    x, y = torch.tensor(found[0], dtype=torch.float32), torch.tensor(found[1])
    x = x / 16 if "digits" in task else (x - x.mean(0)) / x.std(0)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return x[order], y[order], int(POOL * len(y))


def made(seed: int) -> tuple[Any, Any]:
    """Return the features (n, d) and classes (n,) of a task that the seed makes."""
    return make_classification(
        n_samples=2000,
        n_features=20,
        n_informative=5 + seed % 5,
        n_redundant=4,
        n_classes=2 + seed % 3,
        n_clusters_per_class=1 + seed % 2,
        flip_y=0.02 * (seed % 4),
        random_state=seed,
    )


def network(task: str, x: Tensor, y: Tensor) -> nn.Module:
    """Return a network at its random start, or one that was trained on the first half of the classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classes = int(y.max()) + 1
        made = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes))
    if task.startswith("half"):
        known = y < classes // 2
        optimiser = torch.optim.Adam(made.parameters(), lr=1e-3)
        for _ in range(300):
            optimiser.zero_grad()
            nn.functional.cross_entropy(made(x[known]), y[known]).backward()
            optimiser.step()
    return made


def main() -> None:
    """Run what the results file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(SIZES))
    parser.add_argument("--rows", default="")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--methods", default=",".join(METHODS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in args.tasks.split(","):
        for n in map(int, args.rows.split(",")) if args.rows else SIZES[task]:
            for seed in map(int, args.seeds.split(",")):
                x, y, pool = rows(task, seed)
                chosen = torch.randperm(pool, generator=torch.Generator().manual_seed(seed + 100))[:n]
                train, test = (x[chosen], y[chosen]), (x[pool:], y[pool:])
                rest, held = chosen[n // 5 :], chosen[: n // 5]
                parts = (x[rest], y[rest]), (x[held], y[held])
                made = network(task, x[:pool], y[:pool])
                options: dict[str, Any] = {"targets": "all-linear", "seed": seed, "progress": False}
                for method in args.methods.split(","):
                    facts = {"task": task, "part": "networks", "n": n, "seed": seed}
                    key = {**facts, "method": method}
                    if any(all(record.get(k) == v for k, v in key.items()) for record in read(EXPERIMENT)):
                        continue
                    if method == "mle":
                        maximum_likelihood(made, train, parts, test, options, **facts)
                    else:
                        settings = TrainConfig(kl_weight=1.0) if method == "melora_elbo" else TrainConfig()
                        fit = bayespeft.fit(made, train, "melora", train=settings, **options)
                        measure(fit, test, method=method, **facts)


if __name__ == "__main__":
    main()
