"""Which rule for RoSA's mask: what gradients of the warm-up are made of, on tasks that may choose settings.

    python -m paper_repro.sparse.mask --data-dir DATA [--tasks sst2,mrpc] [--seeds 0,1,2] [--rows 200] [--epochs 4] [--batch 8]

Test rows are taken from the training split, so that no test set is seen. A case that the results file has is not measured
again.
"""

from __future__ import annotations

import argparse
from typing import Any

import bayespeft
from bayespeft import TrainConfig
from bayespeft.methods.rosa_sparse import METHOD
from bayespeft.report.metric import value_of
from paper_repro.defaults.tasks import network, rows
from paper_repro.results import append, read

EXPERIMENT = "rosa_mask"
TEST = 400
RULES: dict[str, dict[str, Any]] = {
    "one gradient": {"mask": "mean_squared", "mask_gradients": 1},
    "64 gradients, squared": {"mask": "mean_squared", "mask_gradients": 64},
    "64 gradients, signed": {"mask": "mean", "mask_gradients": 64},
    "64 gradients, absolute": {"mask": "mean_absolute", "mask_gradients": 64},
    "random": {"mask": "random"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--tasks", default="sst2,mrpc")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        for task in args.tasks.split(","):
            for rule in RULES:
                case = {"rule": rule, "task": task, "seed": seed}
                size = {"rows": args.rows, "epochs": args.epochs, "batch": args.batch}
                if not any(all(r[k] == v for k, v in {**case, **size}.items()) for r in read(EXPERIMENT)):
                    measure(case, size, args.data_dir)


def measure(case: dict[str, Any], size: dict[str, int], data_dir: str | None) -> None:
    """Fit one rule on one draw of the training rows, and append how well it does."""
    seed = case["seed"]
    train, test = rows(case["task"], "development", data_dir, size["rows"], TEST, seed)
    model, tokenizer = network("minilm", train, seed)
    method = METHOD.replace(adapter=METHOD.adapter.replace(**RULES[case["rule"]]))
    settings = TrainConfig(epochs=size["epochs"], batch_size=size["batch"])
    posterior = bayespeft.fit(model, train, method, train=settings, tokenizer=tokenizer, seed=seed, progress=False)
    report = posterior.report(test, quotes=0, resamples=10)
    figures = {name: value_of(report.metrics[name]) or 0.0 for name in ("accuracy", "nll", "ece")}
    append(
        EXPERIMENT, **case, **size, test_rows=len(test),
        **{name: round(value, 5) for name, value in figures.items()},
        train_nll=round(posterior.history.records[-1].nll, 5), seconds=round(posterior.history.seconds, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
