"""Multiple choice as in BLoB and Laplace-LoRA, at the size of one GPU for minutes: SmolLM2, by number of draws.

    python -m paper_repro.gpu.papers --data-dir DATA --device cuda --tasks arc_easy --methods melora,blob [--steps 200]

All methods train for equally many steps, an ensemble's members too; rates and priors are their own. The test rows are the
same for all. A combination that is in the results is not run again.
"""

from __future__ import annotations

import time

import torch

import bayespeft
from bayespeft import TrainConfig, registry
from paper_repro.posteriors.common import arguments, metrics, of_names, pending, some, test_rows
from paper_repro.results import append

EXPERIMENT = "papers"


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(model="smollm2", limit=2000, test_limit=500, steps=200, max_length=256)
    parser.add_argument("--tasks", default="arc_easy,arc_challenge,openbookqa,boolq")
    parser.add_argument("--methods", default="mle,map,mc_dropout,laplace_lora,blob,blob_official,melora,ensemble")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--draws", default="0,1,5,10")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    methods = [registry.get("methods", name) for name in args.methods.split(",")]
    more = {"batch": args.batch, "max_length": args.max_length}
    for task, method, seed, key in pending(args, EXPERIMENT, methods, **more):
        named = of_names(args, task)
        model, tokenizer = named.network(seed)
        posterior = bayespeft.fit(
            model,
            some(named, "train", args.limit, seed),
            method,
            likelihood=named.likelihood(),
            tokenizer=tokenizer,
            train=TrainConfig(steps=args.steps, batch_size=args.batch),
            seed=seed,
            progress=False,
        )
        rows = test_rows(args, task)
        by_draws, start = {}, time.perf_counter()
        for draws in map(int, args.draws.split(",")):
            if draws == 0 and posterior.joint_guide.latent.members is not None:
                continue  # an ensemble has no mean of its weights
            found = posterior.predict(rows, draws, seed=0, prediction="sampled")
            by_draws[str(draws)] = metrics(found.log_probs, found.labels)
            if found.draws == 0 and draws:
                break  # a point predicts the same however often it is asked
        if posterior.method.predicts == "linearised":
            found = posterior.predict(rows)
            by_draws["linearised"] = metrics(found.log_probs, found.labels)
        append(
            EXPERIMENT,
            **key,
            test_rows=len(rows),
            draws=by_draws,
            train_seconds=round(posterior.history.seconds, 1),
            predict_seconds=round(time.perf_counter() - start, 1),
            trainable=posterior.joint_guide.trainable(),
        )


if __name__ == "__main__":
    main()
