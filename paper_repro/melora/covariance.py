"""What covariance of a layer's weight W a posterior over the core C, and one over A, stand for.

    python -m paper_repro.melora.covariance [--steps 150] [--seeds 0,1,2]

A network that knows half of scikit-learn's digits learns the others, too; then the covariance of its middle layer's W (64 x 64)
is taken in closed form: its rank and trace, how much of it one direction and r of them hold, and how much of it lies beside the
diagonal. Of Me-LoRA, how much wider the standard deviations of Q = C A are that the submission prints.
"""

from __future__ import annotations

import argparse

import torch

from paper_repro.posteriors.digits import fitted
from paper_repro.results import append, read

EXPERIMENT = "weight_covariance"
LAYER = "2"


def measured(name: str, seed: int, steps: int) -> dict[str, float | int | None]:
    """Return what the covariance of W is like after a fit."""
    posterior = fitted(name, seed, steps)
    covariance = posterior.weight_covariance(LAYER)
    weight = posterior.model[int(LAYER)].weight
    values = covariance.eigenvalues()
    variances = covariance.std().square()
    rank = int(posterior.method.adapter.model_dump()["r"])
    law = covariance.q_law
    return {
        "directions": covariance.width,
        "weight_rank": len(values),
        "numbers": covariance.shape[0],
        "spread": float(values.sum().sqrt() / weight.detach().norm()),
        "first": float(values[0] / values.sum()),
        "first_r": float(values[:rank].sum() / values.sum()),
        # Squares of all elements of a matrix are those of its eigenvalues.
        "beside_diagonal": 1 - float(variances.square().sum() / values.square().sum()),
        "published_std": None if law is None else float((law.published_std / law.std).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",")):
        for name in ("melora", "blob"):
            key = {"method": name, "seed": seed, "steps": args.steps}
            if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                append(EXPERIMENT, **key, **measured(name, seed, args.steps))


if __name__ == "__main__":
    main()
