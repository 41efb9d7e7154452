"""Bayes over sparse values and in random subspaces, beside the same adapters without it and Me-LoRA, at one budget.

    python -m paper_repro.subspace.bayes --data-dir DATA [--methods bayes_rosa,melora] [--tasks sst2] [--seeds 0,1,2]

MiniLM with 500 rows; query and value projections, each with as many adapted numbers as LoRA of rank 8, within 2 % (a
posterior's standard deviations come on top). `rosa_map` is `bayes_rosa` with a point in place of q: the same adapter,
priors and schedule, so what is between the two is the posterior alone. Resumable, as `paper_repro.posteriors.run`.
"""

from __future__ import annotations

import torch

from bayespeft import Method, Targets
from bayespeft.guides.point import Point
from paper_repro.posteriors.common import arguments, fitted, pending
from paper_repro.posteriors.run import measured
from paper_repro.results import append
from paper_repro.subspace.glue import at_budget, layers

EXPERIMENT = "subspace_bayes"
METHODS = "mle,rosa_sparse,rosa_map,bayes_rosa,rosa_subspace,bayes_subspace,melora"
AUTO = Targets()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rank", type=int, default=8, help="of the LoRA whose numbers are the budget")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    shapes = layers(args.model, AUTO)

    def chosen(name: str) -> Method:
        if name == "rosa_map":
            return at_budget("bayes_rosa", shapes, args.rank, AUTO).replace(name=name, guide=Point())
        return at_budget(name, shapes, args.rank, AUTO)

    for task, method, seed, key in pending(args, EXPERIMENT, [chosen(name) for name in args.methods.split(",")]):
        append(EXPERIMENT, **key, **measured(args, task, fitted(args, task, method, seed)))


if __name__ == "__main__":
    main()
