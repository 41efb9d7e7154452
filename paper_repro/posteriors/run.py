"""Every posterior on MiniLM with 500 rows of SST-2, CoLA and MRPC: quality, calibration, cost.

    python -m paper_repro.posteriors.run --data-dir DATA [--methods mle,melora] [--tasks sst2] [--seeds 0,1,2] [--keep DIR]

Results go into the one results file as they are made; a combination that is there already is not run again, so a killed
run continues. A seed decides the training rows, the fresh head and the fit; the test rows are the same for all.
Post-hoc methods build on the seed's `mle` or `map` fit where --keep has it: the same point, and no second training.
"""

from __future__ import annotations

import torch

from bayespeft import Method, Posterior, registry
from bayespeft.priors.flat import Flat
from paper_repro.posteriors.common import arguments, fitted, metrics, test_rows
from paper_repro.results import append, read

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
    for seed in map(int, args.seeds.split(",")):
        for task in args.tasks.split(","):
            for name in args.methods.split(","):
                method: Method = VARIANTS.get(name) or registry.get("methods", name)
                if args.rank:
                    # alpha follows r, so that the scale alpha / r stays.
                    adapter = method.adapter.replace(r=args.rank, alpha=2.0 * args.rank)
                    method = method.replace(adapter=adapter, name=f"{name}_r{args.rank}")
                key = {"task": task, "model": args.model, "method": method.name, "seed": seed, "limit": args.limit}
                if any(all(record[k] == v for k, v in key.items()) for record in read(EXPERIMENT)):
                    continue
                start = None
                if name in STARTS and args.keep and not args.rank:
                    start = fitted(args, task, registry.get("methods", STARTS[name]), seed)
                posterior = fitted(args, task, method, seed, start)
                append(EXPERIMENT, **key, start=STARTS[name] if start else None, **measured(args, task, posterior))


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
        "trainable": posterior.approximation.trainable(),
        "kl": round(records[-1].kl, 2) if posterior.method.guide.variational else None,
        "temperature": round(posterior.temperature, 4),
        "settings": posterior.method.model_dump(mode="json", exclude={"title", "summary", "reference", "deviations"}),
    }


if __name__ == "__main__":
    main()
