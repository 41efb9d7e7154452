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
from paper_repro.text import spread

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


def table() -> str:
    """How well each rate does, over the seeds that all of them have."""
    records = read(EXPERIMENT)
    common = set.intersection(*({r["seed"] for r in records if r["rate"] == rate} for rate in RATES))
    if not common:
        return "not measured yet"
    lines = [
        f"{ROWS} rows of SST-2, {STEPS} steps of batches of {BATCH}, {TEST} other rows of its training split; mean ± standard "
        f"deviation over {len(common)} seeds. {records[-1]['date']}; `paper_repro/defaults/vera_rate.py`.",
        "",
        "| rate | accuracy, % | NLL, nats | ECE, % | NLL in training, nats |",
        "|---|---|---|---|---|",
    ]
    figures = (("accuracy", 100, 1), ("nll", 1, 3), ("ece", 100, 1), ("train_nll", 1, 3))
    for rate in RATES:
        own = [r for r in records if r["rate"] == rate and r["seed"] in common]
        cells = (spread([r[name] for r in own], scale, digits) for name, scale, digits in figures)
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
