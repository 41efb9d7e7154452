"""The intrinsic dimension of MiniLM on small tasks: accuracy by d, beside training all linear layers.

    python -m paper_repro.intrinsic_dimension.texts --data-dir DATA [--dimensions 10,100,1000] [--tasks sst2,mrpc]

As in Aghajanyan et al. 2020, arXiv 2012.13255, with one trained scale a layer. 200 rows; resumable.
"""

from __future__ import annotations

import torch

from bayespeft import registry
from paper_repro.posteriors.common import arguments, fitted, metrics, pending, test_rows
from paper_repro.results import append

EXPERIMENT = "intrinsic"


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(limit=200, test_limit=400)
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--dimensions", default="10,100,1000")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    intrinsic, full = registry.get("methods", "intrinsic"), registry.get("methods", "full")
    cases = [(0, full), *((int(d), intrinsic) for d in args.dimensions.split(","))]
    for d, base in cases:
        chosen = base.replace(adapter=base.adapter.replace(d=d)) if d else base
        for task, method, seed, key in pending(args, EXPERIMENT, [chosen], d=d):
            found = (posterior := fitted(args, task, method, seed)).predict(test_rows(args, task), draws=0)
            append(
                EXPERIMENT,
                **key,
                test_rows=len(found),
                **metrics(found.log_probs, found.labels),
                train_seconds=round(posterior.history.seconds, 1),
            )


if __name__ == "__main__":
    main()
