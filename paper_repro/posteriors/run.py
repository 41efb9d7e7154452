"""Every posterior on MiniLM with 500 rows of SST-2, CoLA and MRPC: quality, calibration, cost.

    python -m paper_repro.posteriors.run --data-dir DATA [--methods mle,melora] [--tasks sst2] [--seeds 0,1,2] [--keep DIR]
    python -m paper_repro.posteriors.run --data-dir DATA --device cuda --model smollm2 --tasks arc_easy,openbookqa,boolq \
        --limit 100000 --test-limit 100000 --seeds 0,1,2,3,4

Results go into the one results file as they are made; a combination that is there already is not run again, so a killed
run continues. A seed decides the training rows, the fresh head and the fit; the test rows are the same for all.
Post-hoc methods build on the seed's `mle` or `map` fit where --keep has it: the same point, and no second training.
"""

from __future__ import annotations

import torch

from bayespeft import Method, Posterior, registry
from bayespeft.priors.flat import Flat
from paper_repro.posteriors.common import arguments, fitted, metrics, pending, test_rows
from paper_repro.results import append

EXPERIMENT = "posteriors"
# Methods of the package with one thing changed.
VARIANTS = {
    # What the prior on A and B does: without it, B can absorb the scale of C, and with it the KL.
    "melora_free": registry.get("methods", "melora").replace(name="melora_free", point_prior=Flat()),
}
# Which fit a post-hoc method builds on: the one with its own priors.
STARTS = {
    "tfb": "mle",
    "laplace_lora": "map",
    "laplace_lora_diagonal": "map",
    "laplace_last_layer": "map",
    "swag": "mle",
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tasks", default="sst2,cola,mrpc")
    parser.add_argument("--methods", default="mle,map,melora,blob")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rank", type=int, help="of the adapter, where it has one; the method's own by default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for task, method, seed, key in pending(
        args, EXPERIMENT, [chosen(name, args.rank) for name in args.methods.split(",")]
    ):
        start = None
        if method.name in STARTS and args.keep:
            start = fitted(args, task, registry.get("methods", STARTS[method.name]), seed)
        posterior = fitted(args, task, method, seed, start)
        append(EXPERIMENT, **key, start=STARTS[method.name] if start else None, **measured(args, task, posterior))


def chosen(name: str, rank: int | None) -> Method:
    """Return a method or variant by name, of another rank if one is given."""
    method: Method = VARIANTS.get(name) or registry.get("methods", name)
    if not rank:
        return method
    # alpha follows r, so that the scale alpha / r stays.
    return method.replace(adapter=method.adapter.replace(r=rank, alpha=2.0 * rank), name=f"{name}_r{rank}")


def measured(args, task: str, posterior: Posterior) -> dict[str, object]:
    found = posterior.predict(test_rows(args, task), draws=args.draws)
    records = posterior.history.records
    return {
        "test_rows": len(found),
        "draws": found.draws,
        **metrics(found.log_probs, found.labels),
        "mutual_information": round(float(found.mutual_information.mean()), 5),
        "prediction": "linearised" if found.backward_passes else "sampled",
        "forward_passes": found.forward_passes,
        "backward_passes": found.backward_passes,
        "predict_seconds": round(found.seconds, 1),
        "train_seconds": round(posterior.history.seconds, 1),
        "trainable": posterior.joint_guide.trainable(),
        "kl": round(records[-1].kl, 2) if posterior.method.guide.variational else None,
        "temperature": round(posterior.temperature, 4),
        "settings": posterior.method.model_dump(mode="json", exclude={"title", "summary", "reference", "deviations"}),
    }


if __name__ == "__main__":
    main()
