"""Which learning rate for VeRA's two vectors, on a task that may choose settings.

    python -m paper_repro.defaults.vera_rate --data-dir DATA [--seeds 0,1]

Test rows are taken from the training split, so that no test set is seen. A case that the results file has is not measured
again.
"""

from __future__ import annotations

import argparse

import bayespeft
from bayespeft import TrainConfig
from bayespeft.methods.vera import METHOD
from bayespeft.report.metric import value_of
from paper_repro.defaults.tasks import network, rows
from paper_repro.results import append, read

EXPERIMENT = "vera_rate"
RATES = (5e-3, 2e-2, 8e-2)
ROWS, TEST, BATCH, STEPS = 200, 400, 8, 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", default="0,1")
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        for rate in RATES:
            if not any((r["rate"], r["seed"]) == (rate, seed) for r in read(EXPERIMENT)):
                measure(rate, seed, args.data_dir)


def measure(rate: float, seed: int, data_dir: str | None) -> None:
    """Fit at one rate, the head at its own, and append how well it does."""
    train, test = rows("sst2", "development", data_dir, ROWS, TEST, seed)
    model, tokenizer = network("minilm", train, seed)
    settings = TrainConfig(lr=rate, batch_size=BATCH, steps=STEPS)
    posterior = bayespeft.fit(model, train, METHOD, train=settings, tokenizer=tokenizer, seed=seed, progress=False)
    report = posterior.report(test, quotes=0, resamples=10)
    figures = {name: value_of(report.metrics[name]) or 0.0 for name in ("accuracy", "nll", "ece")}
    append(
        EXPERIMENT, rate=rate, task="sst2", seed=seed, rows=ROWS, test_rows=TEST, batch=BATCH, steps=STEPS,
        **{name: round(value, 5) for name, value in figures.items()},
        train_nll=round(posterior.history.records[-1].nll, 5), seconds=round(posterior.history.seconds, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
