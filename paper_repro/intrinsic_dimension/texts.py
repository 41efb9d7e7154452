"""The intrinsic dimension of MiniLM on small tasks: accuracy by d, by Fastfood and by a dense projection, beside all weights.

    python -m paper_repro.intrinsic_dimension.texts --data-dir DATA [--dimensions 1,10,100,1000] [--dense 10,100] [--seeds 0]

As in Aghajanyan et al. 2020, arXiv 2012.13255, with one trained scale a layer. 200 rows of at most 24 tokens, 16 a step. A
fresh head is trained beside the d numbers, so that d = 1 is nearly the head alone. A dense projection holds 43 MB for each of
the d numbers. Resumable.
"""

from __future__ import annotations

import warnings

import torch

from bayespeft import Method, registry
from bayespeft.adapters.intrinsic import Intrinsic
from paper_repro.intrinsic_dimension.dense import Dense
from paper_repro.posteriors.common import arguments, fitted, metrics, pending, test_rows
from paper_repro.results import append

EXPERIMENT = "intrinsic"
# Of a projection that of the digits; of all weights five times the method's own, because steps are few.
RATES = {"all": 1e-4, "fastfood": 1e-1, "dense": 1e-1}


def chosen(projection: str, d: int, seed: int) -> Method:
    """Return the method: all linear layers, or d numbers behind a projection of that seed."""
    base: Method = registry.get("methods", "full" if projection == "all" else "intrinsic")
    if projection != "all":
        base = base.replace(adapter=(Dense if projection == "dense" else Intrinsic)(d=d, scale="layer", seed=seed))
    return base.replace(train=base.train.replace(lr=RATES[projection], batch_size=16, calibrate=False))


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(limit=200, test_limit=300, steps=100, max_length=24)
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--dimensions", default="1,10,100,1000")
    parser.add_argument("--dense", default="10,100", help="the dimensions of the dense projection")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    # The dense projection is for this comparison alone.
    warnings.filterwarnings("ignore", message="the posterior of this fit can be used, but not saved")
    cases = [
        ("all", 0),
        *(("fastfood", int(d)) for d in args.dimensions.split(",")),
        *(("dense", int(d)) for d in args.dense.split(",") if d),
    ]
    for seed in map(int, args.seeds.split(",")):
        args.seeds = str(seed)
        for projection, d in cases:
            method = chosen(projection, d, seed)
            for task, _, _, key in pending(
                args, EXPERIMENT, [method], projection=projection, d=d, max_length=args.max_length
            ):
                posterior = fitted(args, task, method, seed)
                found = posterior.predict(test_rows(args, task), draws=0)
                last = posterior.history.records[-10:]
                append(
                    EXPERIMENT,
                    **key,
                    test_rows=len(found),
                    **metrics(found.log_probs, found.labels),
                    train_nll=round(sum(r.nll for r in last) / len(last), 4),
                    train_seconds=round(posterior.history.seconds, 1),
                    trainable=posterior.joint_guide.trainable(),
                )


if __name__ == "__main__":
    main()
