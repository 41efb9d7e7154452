"""MiniLM on the first 1000 rows of MRPC and SST-2: each method and seed, with 0, 1, 5 and 10 draws.

    python -m paper_repro.calibration.run --data-dir DATA [--methods mle,map,melora,blob] [--seeds 0,1,2]

Results go into the one results file as they are made; a combination that is there already is not run again. Defaults
of the methods were chosen on other rows of the training split, never on these test sets.
"""

from __future__ import annotations

import argparse
import math

import torch

import bayespeft
from bayespeft.data.load import load as load_rows
from bayespeft.pretrained.load import load as load_model
from bayespeft.report.metrics import accuracy, brier, ece, nll
from paper_repro.results import append, read

DRAWS = (1, 5, 10)


def metrics(log_probs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return accuracy, NLL, ECE and Brier score."""
    p, y = log_probs.double().numpy(), labels.numpy()
    return {f.__name__: round(float(f(p, y)), 5) for f in (accuracy, nll, ece, brier)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--tasks", default="mrpc,sst2")
    parser.add_argument("--methods", default="mle,map,melora,blob")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for seed in map(int, args.seeds.split(",")):
        for task in args.tasks.split(","):
            train = load_rows(task, "train", data_dir=args.data_dir, limit=args.limit, seed=seed)
            test = load_rows(task, "test", data_dir=args.data_dir)
            for method in args.methods.split(","):
                key = {"task": task, "model": args.model, "method": method, "seed": seed, "limit": args.limit}
                if any(all(record[k] == v for k, v in key.items()) for record in read("calibration")):
                    continue
                model, tokenizer = load_model(args.model, "classification", 2, seed=seed)
                posterior = bayespeft.fit(model, train, method, tokenizer=tokenizer, seed=seed, progress=False)
                found = {"0": posterior.predict(test, draws=0)}
                by_draws = {"0": metrics(found["0"].log_probs, found["0"].labels)}
                information = 0.0
                if posterior.joint_guide.stochastic:
                    result = posterior.predict(test, draws=max(DRAWS), keep_draws=True)
                    information = float(result.mutual_information.mean())
                    for k in DRAWS:
                        average = torch.logsumexp(result.draw_log_probs[:k].double(), 0) - math.log(k)
                        by_draws[str(k)] = metrics(average, result.labels)
                last = posterior.history.records[-1]
                append(
                    "calibration",
                    **key,
                    test_rows=len(test),
                    draws=by_draws,
                    mutual_information=round(information, 5),
                    kl=round(last.kl, 2),
                    kl_weight=posterior.method.train.kl_weight,
                    kl_warmup=posterior.method.train.kl_warmup,
                    train_seconds=round(posterior.history.seconds, 1),
                    trainable=posterior.joint_guide.trainable(),
                    settings=posterior.method.model_dump(
                        mode="json", exclude={"title", "summary", "reference", "deviations"}
                    ),
                )


if __name__ == "__main__":
    main()
